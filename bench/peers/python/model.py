"""The ONNX Runtime session."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort

from settings import Settings


class Model:
    """A model on the CPU, and the headers that name it."""

    def __init__(self, settings: Settings):
        options = ort.SessionOptions()
        options.intra_op_num_threads = settings.intra_op_threads
        options.inter_op_num_threads = 1
        # A thread that spins while it waits takes the core that librdkafka's threads need.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        model = Path(settings.model_file).read_bytes()
        self._session = ort.InferenceSession(model, options, providers=['CPUExecutionProvider'])
        self._input = settings.model_input
        self._outputs = list(settings.model_outputs)
        self._row_shape = self._find_row_shape()
        self.headers = [
            ('model-name', settings.model_name.encode()),
            ('model-version', settings.model_version.encode()),
            ('model-sha256', hashlib.sha256(model).hexdigest()[:16].encode()),
            ('execution-provider', b'cpu'),
        ]

    def run(self, rows: np.ndarray) -> list[np.ndarray]:
        """Outputs in the order of MODEL_OUTPUT, of rows [n, FEATURES]."""
        return self._session.run(self._outputs, {self._input: rows.reshape(-1, *self._row_shape)})

    def _find_row_shape(self) -> list[int]:
        for tensor in self._session.get_inputs():
            if tensor.name == self._input:
                return tensor.shape[1:]
        names = ', '.join(tensor.name for tensor in self._session.get_inputs())
        raise SystemExit(f'MODEL_INPUT is "{self._input}", but the model has the inputs {names}')
