"""Golden samples: inputs with the answers of the library that trained the model, and the proof that ONNX agrees."""

import json

import numpy as np
import onnxruntime

from bundle_format import field_value, plain
from model import Feature, TrainedModel

ABSOLUTE_TOLERANCE = 1e-5
RELATIVE_TOLERANCE = 1e-4


def golden_lines(model: TrainedModel) -> str:
    """One JSON object per golden row: `{"input": {field: value}, "output": {field: value}}`.

    Outputs are what the library predicted, not what ONNX Runtime made of it. A field is a number where the tensor has
    one value per row, and a list of numbers otherwise. A feature whose every value is its default is left out.
    """
    answers = {output.field: output.predict(model.batch(model.golden_rows)) for output in model.outputs}
    lines = []
    for index, row in enumerate(model.golden_rows):
        output = {field: field_value(answer[index]) for field, answer in answers.items()}
        lines.append(json.dumps({'input': _input_record(row, model.features), 'output': output}))
    return '\n'.join(lines) + '\n'


def largest_difference(model: TrainedModel, session: onnxruntime.InferenceSession) -> float:
    """Compares library and ONNX Runtime over the golden and the probe rows; returns the largest absolute difference.

    Raises ValueError at the first output whose shape differs, whose integers differ at all, or whose floats differ by
    more than the tolerance.
    """
    rows = model.batch(np.vstack([model.golden_rows, model.probe_rows]))
    answers = session.run([output.tensor for output in model.outputs], {model.input_tensor: rows})
    differences = [
        _difference(f'{model.name}, output {output.field}', output.predict(rows), answer)
        for output, answer in zip(model.outputs, answers, strict=True)
    ]
    return max(differences)


def _difference(what: str, expected: np.ndarray, actual: np.ndarray) -> float:
    if actual.shape != expected.shape:
        raise ValueError(f'{what}: ONNX Runtime answers with shape {actual.shape}, the library with {expected.shape}')
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    exact = np.issubdtype(actual.dtype, np.integer)
    allowed = 0.0 if exact else ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(expected)
    beyond = ~(difference <= allowed)  # so that NaN counts as beyond
    if beyond.any():
        row = int(np.argwhere(beyond)[0][0])
        raise ValueError(
            f'{what}: ONNX Runtime and the library disagree in {int(beyond.sum())} values, first in row {row}: '
            f'{actual[row]}, expected {expected[row]}'
        )
    return float(difference.max())


def _input_record(row: np.ndarray, features: tuple[Feature, ...]) -> dict:
    record = {}
    start = 0
    for feature in features:
        columns = row[start : start + feature.columns]
        start += feature.columns
        if feature.default is not None and (columns == np.float32(feature.default)).all():
            continue
        record[feature.name] = plain(columns[0]) if feature.length is None else [plain(value) for value in columns]
    return record
