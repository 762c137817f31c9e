"""Asks a server with NVIDIA's client, as any user of it would: `triton_client.py HOST:PORT`. Prints JSON of what came out."""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(sys.argv[1], concurrency=8)
seen = {
    'live': client.is_server_live(),
    'ready': client.is_server_ready(),
    'model_ready': client.is_model_ready('iris-classifier'),
    'version_ready': client.is_model_ready('iris-classifier', '1'),
    'nobody_ready': client.is_model_ready('nobody'),
    'server': client.get_server_metadata(),
    'model': client.get_model_metadata('iris-classifier', '1'),
}

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0], [5.9, 3.0, 4.2, 1.5]], dtype=np.float32)


def ask(binary_in, binary_out, rows=ROWS, **more):
    tensor = triton.InferInput('float_input', list(rows.shape), 'FP32')
    tensor.set_data_from_numpy(rows, binary_data=binary_in)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ('probabilities', 'label')]
    result = client.infer('iris-classifier', [tensor], outputs=outputs, **more)
    return {
        'label': result.as_numpy('label').tolist(),
        'probabilities': result.as_numpy('probabilities').tolist(),
        'id': result.get_response().get('id'),
        'version': result.get_response()['model_version'],
    }


seen['answers'] = [
    ask(binary_in, binary_out, request_id='a', model_version='1') for binary_in in (False, True) for binary_out in (False, True)
]
seen['compressed'] = ask(True, True, request_compression_algorithm='gzip')
tensor = triton.InferInput('float_input', [3, 4], 'FP32')
tensor.set_data_from_numpy(ROWS)
seen['default_outputs'] = client.infer('iris-classifier', [tensor]).as_numpy('label').tolist()
seen['timeout'] = ask(True, True, timeout=5_000_000)['label']
pending = []
for _ in range(20):
    tensor = triton.InferInput('float_input', [3, 4], 'FP32')
    tensor.set_data_from_numpy(ROWS)
    pending.append(client.async_infer('iris-classifier', [tensor]))
seen['async'] = [request.get_result().as_numpy('label').tolist() for request in pending]

words = triton.InferInput('words', [2, 2], 'BYTES')
seen['strings'] = []
for binary in (False, True):
    words.set_data_from_numpy(np.array([['one', 'zwölf'], ['', 'two']], dtype=object), binary_data=binary)
    result = client.infer('strings', [words], outputs=[triton.InferRequestedOutput(n, binary_data=binary) for n in ('echo', 'code')])
    echo = [[v.decode() if isinstance(v, bytes) else v for v in row] for row in result.as_numpy('echo')]
    seen['strings'].append({'echo': echo, 'code': result.as_numpy('code').tolist()})

try:
    ask(True, True, rows=np.zeros((1, 3), dtype=np.float32))
except InferenceServerException as error:
    seen['error'] = [error.status(), error.message()]
print(json.dumps(seen))
