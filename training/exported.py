"""A model that another library trained and exported, and the bundle that Sluice's tests serve it from."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from bundle import bundle_files, feature_entry
from bundle_format import FORMAT, field_value, pretty, signature
from model import RANDOM_STATE, Feature

VERSION = '1'


@dataclass(frozen=True)
class Input:
    """An input tensor: its features from left to right, and the golden rows as the graph takes them, [rows, ...]."""

    tensor: str
    features: tuple[Feature, ...]
    rows: np.ndarray


@dataclass(frozen=True)
class Answer:
    """An output tensor, and what the original library says for the golden rows: [rows, ...], in the graph's shape."""

    tensor: str
    field: str
    values: np.ndarray


@dataclass(frozen=True)
class Exported:
    """A real export, ready to be written as the bundle `name`. The table in docs/exports.md is made of these words.

    `library` and `exporter` are names of Python packages; `model` says what was trained, `dataset` on what.
    `tolerance` is what golden samples may differ by, absolute and relative. `weights` names the file beside model.onnx
    that gets the weights, as exporters do it for large models; None keeps them in model.onnx.
    """

    name: str
    library: str
    exporter: str
    model: str
    dataset: str
    graph: onnx.ModelProto
    inputs: tuple[Input, ...]
    answers: tuple[Answer, ...]
    tolerance: tuple[float, float] = (1e-5, 1e-4)
    weights: str | None = None


def number_features(names: Sequence[str]) -> tuple[Feature, ...]:
    """A scalar feature for each name; names of data sets become names of fields ("flavanoids (mg)": flavanoids_mg)."""
    return tuple(Feature('_'.join(''.join(c if c.isalnum() else ' ' for c in name).split())) for name in names)


def write_exported(export: Exported, store: Path) -> str:
    """Writes the bundle and returns a line for people.

    Raises ValueError when ONNX Runtime's own Python package differs from the library by more than the tolerance: then
    the export is wrong, and nothing is written.
    """
    tidy(export.graph, export.name)
    whole = export.graph.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(whole, providers=['CPUExecutionProvider'])
    difference = _largest_difference(export, session)
    artifact = whole if export.weights is None else _without_weights(export, store)
    contents = [artifact, pretty(_manifest(export, artifact, session)), _golden_lines(export).encode()]
    for file, content in zip(bundle_files(export.name, VERSION), contents, strict=True):
        path = store / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    size = sum(map(len, contents))
    return f'{export.name}: {size} bytes, {len(artifact)} of them the model; largest difference {difference:.1e}'


def exported_files(export: Exported) -> list[Path]:
    """The paths of its files, relative to the store."""
    files = bundle_files(export.name, VERSION)
    return files if export.weights is None else [*files, files[0].with_name(export.weights)]


def _without_weights(export: Exported, store: Path) -> bytes:
    """Writes the weights into their file; returns the model that refers to it."""
    file = store / exported_files(export)[-1]
    file.parent.mkdir(parents=True, exist_ok=True)
    # What is there would be appended to.
    file.unlink(missing_ok=True)
    graph = onnx.ModelProto()
    graph.CopyFrom(export.graph)
    onnx.external_data_helper.convert_model_to_external_data(graph, location=export.weights, size_threshold=0)
    return onnx.external_data_helper.write_external_data_tensors(graph, str(file.parent)).SerializeToString(
        deterministic=True
    )


def tidy(graph: onnx.ModelProto, name: str) -> None:
    """Drops what tells of the machine that exported, or is another in each run: stack traces, paths, random names."""
    graph.graph.name = name
    del graph.metadata_props[:]
    graph.doc_string = ''
    graphs = [graph.graph]
    for function in graph.functions:
        _tidy_part(function, function.node)
    while graphs:
        inner = graphs.pop()
        _tidy_part(inner, [*inner.node, *inner.value_info, *inner.input, *inner.output, *inner.initializer])
        graphs += [attribute.g for node in inner.node for attribute in node.attribute if attribute.HasField('g')]


def _tidy_part(part: onnx.GraphProto | onnx.FunctionProto, things: Sequence) -> None:
    for thing in [part, *things]:
        thing.ClearField('doc_string')
        del thing.metadata_props[:]


def _manifest(export: Exported, artifact: bytes, session: onnxruntime.InferenceSession) -> dict:
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    absolute, relative = export.tolerance
    [batch] = {signature(node)['shape'][0] for node in inputs.values()}
    return {
        'format': FORMAT,
        'name': export.name,
        'version': VERSION,
        'sha256': hashlib.sha256(artifact).hexdigest(),
        'inputs': [
            {
                'tensor': each.tensor,
                **_declared(inputs[each.tensor], each.rows, batch),
                'features': [feature_entry(feature) for feature in each.features],
            }
            for each in export.inputs
        ],
        'outputs': [
            {'tensor': each.tensor, 'field': each.field, **_declared(outputs[each.tensor], each.values, batch)}
            for each in export.answers
        ],
        'tolerance': {'absolute': absolute, 'relative': relative},
        'training': {
            'library': _versioned(export.library),
            'exporter': _versioned(export.exporter),
            'model': export.model,
            'dataset': export.dataset,
            'random_state': RANDOM_STATE,
        },
    }


def _declared(node: onnxruntime.NodeArg, rows: np.ndarray, batch: int | None) -> dict:
    """The signature of a tensor; what the graph leaves open but for the batch, the rows tell.

    CatBoost's regressors declare [N] and answer [N, 1]: model.json says what the graph says. onnxmltools declares one
    label where LightGBM answers for every row: `batch`, that of the inputs, holds for the outputs.
    """
    declared = signature(node)
    row = rows.shape[1:] if len(declared['shape']) == rows.ndim else declared['shape'][1:]
    return {**declared, 'shape': [batch, *row]}


def _versioned(package: str) -> str:
    return f'{package} {metadata.version(package)}'


def _golden_lines(export: Exported) -> str:
    """Answers are written with all digits of a double, so that a difference is that of the models, not of the text."""
    lines = []
    for row in range(len(export.inputs[0].rows)):
        record = {}
        for each in export.inputs:
            values = np.ravel(each.rows[row])
            start = 0
            for feature in each.features:
                columns = values[start : start + feature.columns]
                start += feature.columns
                one = field_value(columns)
                record[feature.name] = one if feature.length is None or isinstance(one, list) else [one]
        answer = {each.field: field_value(_doubles(each.values[row])) for each in export.answers}
        lines.append(json.dumps({'input': record, 'output': answer}))
    return '\n'.join(lines) + '\n'


def _doubles(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    return values.astype(np.float64) if np.issubdtype(values.dtype, np.floating) else values


def _largest_difference(export: Exported, session: onnxruntime.InferenceSession) -> float:
    rows = len(export.inputs[0].rows)
    batch = signature(session.get_inputs()[0])['shape'][0] or rows
    largest = 0.0
    for first in range(0, rows, batch):
        # A graph of a fixed batch gets it full: the last rows are repeated.
        chosen = np.minimum(np.arange(first, first + batch), rows - 1)
        feeds = {each.tensor: each.rows[chosen] for each in export.inputs}
        results = session.run([answer.tensor for answer in export.answers], feeds)
        for answer, result in zip(export.answers, results, strict=True):
            largest = max(largest, _difference(export, answer, answer.values[chosen], result))
    return largest


def _difference(export: Exported, answer: Answer, expected: np.ndarray, got: np.ndarray) -> float:
    what = f'{export.name}, output {answer.tensor}'
    if got.shape != expected.shape:
        raise ValueError(f'{what}: ONNX Runtime answers with the shape {got.shape}, the library with {expected.shape}')
    if not np.issubdtype(got.dtype, np.floating):
        if (got.astype(expected.dtype) != expected).any():
            raise ValueError(f'{what}: ONNX Runtime answers {got}, the library {expected}')
        return 0.0
    absolute, relative = export.tolerance
    wanted = expected.astype(np.float64)
    difference = np.abs(got.astype(np.float64) - wanted)
    if not (difference <= absolute + relative * np.abs(wanted)).all():
        raise ValueError(f'{what}: ONNX Runtime and the library differ by up to {difference.max()}')
    return float(difference.max())
