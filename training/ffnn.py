"""The feed-forward network of the Crayfish benchmark, trained on the digits, so that its answers mean something.

Crayfish ("Crayfish: Navigating the Labyrinth of Machine Learning Inference in Stream Processing Systems", EDBT 2024)
measures engines with two networks. The small one reads 28 x 28 images: 784, then four layers of 32 with ReLU, then 10
numbers without softmax; 28,618 parameters. PyTorch wrote theirs as five Gemm and four Relu nodes, and so does this
module: scikit-learn's converter would add a softmax and the choice of the label.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from export import IR_VERSION, TARGET_OPSET
from model import RANDOM_STATE, Feature, Output, TrainedModel, classifier_metrics, probe_rows, split

HIDDEN_LAYERS = (32, 32, 32, 32)
IMAGE = 'image'
SCORES = 'scores'
GOLDEN_TEST_ROWS = 20


def ffnn() -> TrainedModel:
    """28,618 parameters. Input is one array: 784 grey values from 0 to 1, row by row. Output is one score per digit."""
    digits = load_digits()
    rows = _enlarged(digits.images)
    data = split(rows, digits.target)
    network = MLPClassifier(hidden_layer_sizes=HIDDEN_LAYERS, random_state=RANDOM_STATE, max_iter=400)
    network.fit(data.train, data.train_target)
    return TrainedModel(
        name='ffnn',
        version='1',
        dataset='digits',
        estimator=network,
        input_tensor=IMAGE,
        features=(Feature(IMAGE, length=rows.shape[1]),),
        outputs=(Output(SCORES, SCORES, lambda batch: _scores(network, batch)),),
        golden_rows=data.test[:GOLDEN_TEST_ROWS],
        probe_rows=probe_rows(rows),
        metrics=classifier_metrics(network, data),
        classes=tuple(str(name) for name in digits.target_names),
        graph=lambda: _graph(network),
    )


def _enlarged(images: np.ndarray) -> np.ndarray:
    """8 x 8 grey values from 0 to 16, as rows of 28 x 28 from 0 to 1: each pixel nine times, in a margin of 2."""
    enlarged = np.kron(images / 16, np.ones((1, 3, 3)))
    return np.pad(enlarged, ((0, 0), (2, 2), (2, 2))).reshape(len(images), -1)


def _scores(network: MLPClassifier, rows: np.ndarray) -> np.ndarray:
    """What the layers make of float32 rows, computed in float64 and without ONNX; float32, shape [rows, 10]."""
    values = rows.astype(np.float64)
    *hidden, last = zip(network.coefs_, network.intercepts_, strict=True)
    for weights, bias in hidden:
        values = np.maximum(values @ weights + bias, 0)
    weights, bias = last
    return (values @ weights + bias).astype(np.float32)


def _graph(network: MLPClassifier) -> onnx.ModelProto:
    """Gemm, Relu, Gemm, ..., Gemm with a batch dimension of any size."""
    nodes, initializers = [], []
    source, last = IMAGE, len(network.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        names = f'weights_{layer}', f'bias_{layer}'
        for name, values in zip(names, (weights, bias), strict=True):
            initializers.append(numpy_helper.from_array(values.astype(np.float32), name))
        target = SCORES if layer == last else f'sum_{layer}'
        nodes.append(helper.make_node('Gemm', [source, *names], [target]))
        if layer < last:
            source = f'hidden_{layer}'
            nodes.append(helper.make_node('Relu', [target], [source]))
    pixels, scores = network.coefs_[0].shape[0], network.coefs_[-1].shape[1]
    graph = helper.make_graph(
        nodes,
        'ffnn',
        [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [None, pixels])],
        [helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [None, scores])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', TARGET_OPSET[''])], ir_version=IR_VERSION)
