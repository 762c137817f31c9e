"""What stands in the files of a bundle (docs/models.md), whichever library made the model.

Needs nothing but the standard library, NumPy and ONNX Runtime's description of the graph, and runs on Python 3.8 too:
convert.py takes it along into environments of other people's models.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

FORMAT = 1

# ONNX Runtime's names of the element types on the left, the bundle's on the right.
ELEMENT_TYPES = {
    'tensor(float16)': 'float16',
    'tensor(float)': 'float32',
    'tensor(double)': 'float64',
    'tensor(int64)': 'int64',
    'tensor(int32)': 'int32',
    'tensor(bool)': 'bool',
    'tensor(string)': 'string',
}


def signature(node: Any) -> dict:
    """Element type and shape of a tensor (an onnxruntime.NodeArg), as model.json has them.

    A dimension of any size is null, whether ONNX gives it a name or not.
    """
    shape = [dimension if isinstance(dimension, int) else None for dimension in node.shape]
    return {'type': ELEMENT_TYPES[node.type], 'shape': shape}


def pretty(manifest: dict) -> bytes:
    """The bytes of a model.json."""
    return (json.dumps(manifest, indent=2) + '\n').encode()


def field_value(row: Any) -> Any:
    """One row of a tensor as a golden sample has it: a value where the row has one element, otherwise a flat list.

    Shapes [] and [1] are both one value per row.
    """
    values = [plain(value) for value in np.ravel(row)]
    return values[0] if len(values) == 1 else values


def plain(value: Any) -> Any:
    """A value as JSON has it.

    Floats become the shortest decimal that reads back as the same number of the same width, e.g. 5.1 for float32's
    5.0999999; what JSON has no number for becomes a string.
    """
    if isinstance(value, (str, np.str_)):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if not np.isfinite(value):
        return {'nan': 'NaN', 'inf': 'Infinity', '-inf': '-Infinity'}[str(float(value))]
    number = float(str(value))
    if type(value)(number) != value:
        raise ValueError(f'{number} does not read back as the {type(value).__name__} {value!r}')
    return int(number) if number.is_integer() else number
