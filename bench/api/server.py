"""The usual way to serve a model: FastAPI on uvicorn with uvloop and httptools, orjson, ONNX Runtime.

It takes and gives what Sluice does, the Open Inference Protocol in JSON or with binary tensors, and leaves out what costs and
is not needed: no Pydantic model of the body, no thread pool around a run of microseconds, one thread in the runtime, no
access log. One process for each core is uvicorn's own way to use more than one.

    uvicorn server:app --host 127.0.0.1 --port 8000 --workers 2 --loop uvloop --http httptools --no-access-log
"""

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ['MODEL_FILE'], options, providers=['CPUExecutionProvider'])
NAMES = [output.name for output in session.get_outputs() if output.type.startswith('tensor')]
DTYPES = {'FP32': np.float32, 'FP64': np.float64, 'INT64': np.int64, 'INT32': np.int32}
DATATYPES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
HEADER_LENGTH = 'inference-header-content-length'

app = FastAPI(openapi_url=None)


@app.get('/v2/health/ready')
async def ready() -> Response:
    return Response()


@app.post('/v2/models/{name}/infer')
async def infer(name: str, request: Request) -> Response:
    body = await request.body()
    length = request.headers.get(HEADER_LENGTH)
    if length is None:
        feeds = {
            given['name']: np.array(given['data'], dtype=DTYPES[given['datatype']]).reshape(given['shape'])
            for given in orjson.loads(body)['inputs']
        }
        outputs = session.run(NAMES, feeds)
        answer = {'model_name': name, 'model_version': '1', 'outputs': [described(*named) for named in zip(NAMES, outputs)]}
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type='application/json')
    at = int(length)
    feeds = {}
    for given in orjson.loads(body[:at])['inputs']:
        end = at + given['parameters']['binary_data_size']
        feeds[given['name']] = np.frombuffer(body[at:end], dtype=DTYPES[given['datatype']]).reshape(given['shape'])
        at = end
    outputs = session.run(NAMES, feeds)
    tails = [output.tobytes() for output in outputs]
    answer = {
        'model_name': name,
        'model_version': '1',
        'outputs': [
            {
                'name': output_name,
                'datatype': DATATYPES[output.dtype],
                'shape': output.shape,
                'parameters': {'binary_data_size': len(tail)},
            }
            for output_name, output, tail in zip(NAMES, outputs, tails)
        ],
    }
    header = orjson.dumps(answer)
    headers = {HEADER_LENGTH: str(len(header))}
    return Response(b''.join([header, *tails]), media_type='application/octet-stream', headers=headers)


def described(name: str, output: np.ndarray) -> dict:
    return {'name': name, 'datatype': DATATYPES[output.dtype], 'shape': output.shape, 'data': output.reshape(-1)}
