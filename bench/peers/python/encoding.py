"""Outputs of the model into values of predictions: Confluent's frame and an Avro record, a field for each output."""

from collections.abc import Sequence

import numpy as np

from decoding import MAGIC, varint

ONE_BYTE = 0x80

# Bytes of each row: a matrix where all rows have as many, else a list.
Column = np.ndarray | list[bytes]


class PredictionEncoder:
    """Encodes batches of outputs, each [rows] or [rows, …], float32 or int64; one element a row is no Avro array."""

    def __init__(self, schema_id: int):
        self._frame = np.frombuffer(bytes([MAGIC]) + schema_id.to_bytes(4, 'big'), np.uint8)

    def encode(self, outputs: Sequence[np.ndarray]) -> list[bytes]:
        """A value for each row."""
        rows = len(outputs[0])
        columns: list[Column] = [_constant(self._frame, rows)]
        for output in outputs:
            elements = output.reshape(rows, -1)
            width = elements.shape[1]
            if width == 1:
                columns.append(_encode_elements(elements))
            else:
                count = np.frombuffer(varint(2 * width), np.uint8)
                end = np.zeros(1, np.uint8)
                columns += [_constant(count, rows), _encode_elements(elements), _constant(end, rows)]
        if all(isinstance(column, np.ndarray) for column in columns):
            return _slices(np.concatenate(columns, axis=1))
        lists = [_slices(column) if isinstance(column, np.ndarray) else column for column in columns]
        return [b''.join(parts) for parts in zip(*lists, strict=True)]


def _encode_elements(elements: np.ndarray) -> Column:
    rows = len(elements)
    if elements.dtype == np.float32:
        return np.ascontiguousarray(elements, '<f4').view(np.uint8).reshape(rows, -1)
    if elements.dtype == np.int64:
        zigzag = ((elements << 1) ^ (elements >> 63)).view(np.uint64)
        if (zigzag < ONE_BYTE).all():
            return zigzag.astype(np.uint8)
        return [b''.join(map(varint, row)) for row in zigzag.tolist()]
    raise TypeError(f'the model has an output of type {elements.dtype}; expected float32 or int64')


def _constant(part: np.ndarray, rows: int) -> np.ndarray:
    return np.broadcast_to(part, (rows, len(part)))


def _slices(table: np.ndarray) -> list[bytes]:
    rows, width = table.shape
    joined = table.tobytes()
    return [joined[at : at + width] for at in range(0, rows * width, width)]
