"""Writes a model bundle: `<store>/<name>/<version>/` with model.onnx, model.json and golden.jsonl."""

import hashlib
from pathlib import Path

import onnxruntime

from bundle_format import FORMAT, pretty, signature
from environment import pinned_requirements
from export import to_onnx
from golden import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, golden_lines, largest_difference
from model import RANDOM_STATE, TEST_SIZE, Feature, TrainedModel


def bundle_files(name: str, version: str) -> list[Path]:
    """The paths of a bundle's files, relative to the store."""
    return [Path(name) / version / file for file in ('model.onnx', 'model.json', 'golden.jsonl')]


def write_bundle(model: TrainedModel, store: Path) -> str:
    """Exports, verifies and writes one model; returns a line for people about what was written.

    Nothing is written unless ONNX Runtime agrees with the library: raises ValueError (see largest_difference).
    """
    training = _training(model)
    artifact = to_onnx(model, training)
    session = onnxruntime.InferenceSession(artifact, providers=['CPUExecutionProvider'])
    difference = largest_difference(model, session)

    contents = [artifact, pretty(_manifest(model, artifact, session, training)), golden_lines(model).encode()]
    for file, content in zip(bundle_files(model.name, model.version), contents, strict=True):
        path = store / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    metrics = ''.join(f'{metric} {value}, ' for metric, value in model.metrics.items())
    rows = len(model.golden_rows) + len(model.probe_rows)
    return (
        f'{model.name} {model.version}: model.onnx {len(artifact)} bytes, {metrics}'
        f'largest difference to ONNX Runtime {difference:.1e} over {rows} rows'
    )


def _manifest(model: TrainedModel, artifact: bytes, session: onnxruntime.InferenceSession, training: dict) -> dict:
    """The content of model.json. Types and shapes come from the ONNX graph, what they mean from the trainer."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    return {
        'format': FORMAT,
        'name': model.name,
        'version': model.version,
        'sha256': hashlib.sha256(artifact).hexdigest(),
        'inputs': [
            {
                'tensor': model.input_tensor,
                **signature(inputs[model.input_tensor]),
                'features': [feature_entry(feature) for feature in model.features],
            }
        ],
        'outputs': [
            {'tensor': output.tensor, 'field': output.field, **signature(outputs[output.tensor])}
            for output in model.outputs
        ],
        'tolerance': {'absolute': ABSOLUTE_TOLERANCE, 'relative': RELATIVE_TOLERANCE},
        'training': training,
    }


def feature_entry(feature: Feature) -> dict:
    """A feature as model.json has it."""
    optional = {'length': feature.length, 'default': feature.default}
    return {'name': feature.name, **{key: value for key, value in optional.items() if value is not None}}


def _training(model: TrainedModel) -> dict:
    """How the model came to be: enough to judge it and to train it again."""
    kind = type(model.estimator)
    return {
        'dataset': model.dataset,
        'random_state': RANDOM_STATE,
        'test_size': TEST_SIZE,
        'model_module': kind.__module__,
        'model_type': kind.__name__,
        'metrics': model.metrics,
        **({'classes': list(model.classes)} if model.classes else {}),
        'requirements': pinned_requirements(),
    }
