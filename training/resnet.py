"""A convolutional network of the shape, and so the cost, of ResNet-50: the heavy model of the bench.

The shape is that of He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition" (2015), with the stride in the
3 x 3 convolution as later implementations have it, and batch norms folded into the convolutions: 25.5 million
parameters, 4.1 billion multiplications and additions an image. The weights are random, so the scores mean nothing; the
time that they take does not depend on it.

A real file would have 102 MB. This one stores BASE_LENGTH numbers, and its graph repeats, cuts and scales them into
each weight. All of that depends on constants alone, so ONNX Runtime does it once, when the model is opened (its
constant folding, part of every optimization level), and runs what it would run with stored weights.
"""

from typing import Any, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export import IR_VERSION, TARGET_OPSET
from model import RANDOM_STATE, Feature, Output, TrainedModel

NAME = 'resnet50-shaped'
IMAGE = 'image'
SCORES = 'scores'
CLASSES = 1000
CHANNELS, SIZE = 3, 224
# Width of the bottleneck, number of blocks, stride of the first of them.
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
EXPANSION = 4

# The largest prime below 2^14: no row of a weight begins at the same place of the repeated block as another near it.
BASE_LENGTH = 16381
BIAS_SCALE = 0.1
# What a block adds is small beside what goes around it, so that sixteen blocks do not blow the values up.
BRANCH_GAIN = 0.3
# Grey: stands in for an image that is left out. The golden sample leaves it out, as it would fill 300 KB with digits.
DEFAULT_PIXEL = 0.5


def resnet50_shaped() -> TrainedModel:
    """Input is one array: 3 x 224 x 224 numbers, channel by channel, row by row. Output is 1000 scores."""
    network = ResidualNetwork(RANDOM_STATE)
    feature = Feature(IMAGE, length=CHANNELS * SIZE * SIZE, default=DEFAULT_PIXEL)
    random = np.random.default_rng(RANDOM_STATE)
    return TrainedModel(
        name=NAME,
        version='1',
        dataset='none: random weights',
        estimator=network,
        input_tensor=IMAGE,
        features=(feature,),
        outputs=(Output(SCORES, SCORES, network.scores),),
        golden_rows=np.full((1, feature.columns), DEFAULT_PIXEL, dtype=np.float32),
        probe_rows=random.uniform(0, 1, size=(2, feature.columns)).astype(np.float32),
        metrics={},
        graph=network.graph,
        row_shape=(CHANNELS, SIZE, SIZE),
    )


class Operators(Protocol):
    """What the network is made of. A value is whatever the implementation computes with."""

    def conv(self, value: Any, channels: tuple[int, int], kernel: int, stride: int, gain: float) -> Any:
        """Convolution from channels[0] to channels[1] with a bias; keeps the size where the stride is 1."""

    def relu(self, value: Any) -> Any:
        """The larger of each element and 0."""

    def add(self, left: Any, right: Any) -> Any:
        """Sum, element by element."""

    def max_pool(self, value: Any) -> Any:
        """The largest of 3 x 3 neighbours, every second one in either direction."""

    def mean_pool(self, value: Any) -> Any:
        """Mean of each channel: a vector a row."""

    def dense(self, value: Any, columns: tuple[int, int]) -> Any:
        """Matrix product with a bias, from columns[0] to columns[1]."""


def scores_of(image: Any, ops: Operators) -> Any:
    """The network, from images to scores, in whatever `ops` computes."""
    value = ops.max_pool(ops.relu(ops.conv(image, (CHANNELS, 64), kernel=7, stride=2, gain=1)))
    channels = 64
    for width, blocks, first_stride in STAGES:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            value = _bottleneck(value, ops, (channels, width), stride, project=block == 0)
            channels = width * EXPANSION
    return ops.dense(ops.mean_pool(value), (channels, CLASSES))


def _bottleneck(value: Any, ops: Operators, channels: tuple[int, int], stride: int, *, project: bool) -> Any:
    outer, width = channels
    branch = ops.relu(ops.conv(value, (outer, width), kernel=1, stride=1, gain=1))
    branch = ops.relu(ops.conv(branch, (width, width), kernel=3, stride=stride, gain=1))
    branch = ops.conv(branch, (width, width * EXPANSION), kernel=1, stride=1, gain=BRANCH_GAIN)
    if project:
        value = ops.conv(value, (outer, width * EXPANSION), kernel=1, stride=stride, gain=0.5**0.5)
    return ops.relu(ops.add(branch, value))


class ResidualNetwork:
    """The network with weights drawn from a seed."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed).standard_normal(BASE_LENGTH)
        self._base = ((draw - draw.mean()) / draw.std()).astype(np.float32)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Scores of float32 images, shape [rows, 3, 224, 224], computed by NumPy in float64; float32, [rows, 1000]."""
        return np.vstack([scores_of(row.astype(np.float64), NumpyOperators(self._base)) for row in rows])

    def graph(self) -> onnx.ModelProto:
        """The ONNX graph, with a batch dimension of any size."""
        ops = OnnxOperators(self._base)
        ops.rename(scores_of(IMAGE, ops), SCORES)
        graph = helper.make_graph(
            ops.nodes,
            NAME,
            [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [None, CHANNELS, SIZE, SIZE])],
            [helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [None, CLASSES])],
            [*ops.initializers.values()],
        )
        opset = helper.make_opsetid('', TARGET_OPSET[''])
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


class Cuts:
    """Deals out the repeated base block, piece after piece, in the order in which the network asks for weights."""

    def __init__(self) -> None:
        self._next = 0

    def cut(self, length: int) -> tuple[int, int]:
        """Where the next `length` numbers begin within the base block, and how many repetitions of it they take."""
        start = self._next
        self._next = (start + length) % BASE_LENGTH
        return start, -(-(start + length) // BASE_LENGTH)


def _weight_scale(gain: float, inputs: int) -> float:
    """Keeps the mean square of values through a layer of `inputs` and a ReLU (He and others, 2015), times `gain`."""
    return float(np.float32(gain * (2 / inputs) ** 0.5))


class NumpyOperators:
    """Computes one image of shape [channels, height, width] in float64."""

    def __init__(self, base: np.ndarray) -> None:
        self._base = base
        self._cuts = Cuts()

    def conv(self, value: Any, channels: tuple[int, int], kernel: int, stride: int, gain: float) -> Any:
        inputs = channels[0] * kernel * kernel
        weights = self._constant(_weight_scale(gain, inputs), (channels[1], inputs))
        bias = self._constant(BIAS_SCALE, (channels[1], 1))
        windows = self._windows(value, kernel, stride, 0)
        _, height, width = windows.shape[:3]
        columns = windows.transpose(0, 3, 4, 1, 2).reshape(inputs, height * width)
        return (weights @ columns + bias).reshape(-1, height, width)

    def relu(self, value: Any) -> Any:
        return np.maximum(value, 0)

    def add(self, left: Any, right: Any) -> Any:
        return left + right

    def max_pool(self, value: Any) -> Any:
        return self._windows(value, 3, 2, -np.inf).max(axis=(3, 4))

    def mean_pool(self, value: Any) -> Any:
        return value.mean(axis=(1, 2))

    def dense(self, value: Any, columns: tuple[int, int]) -> Any:
        weights = self._constant(_weight_scale(1, columns[0]), columns)
        return (value @ weights + self._constant(BIAS_SCALE, (columns[1],))).astype(np.float32)

    def _windows(self, value: Any, kernel: int, stride: int, outside: float) -> Any:
        """A view of shape [channels, height, width, kernel, kernel]."""
        margin = kernel // 2
        padded = np.pad(value, ((0, 0), (margin, margin), (margin, margin)), constant_values=outside)
        return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]

    def _constant(self, scale: float, shape: tuple[int, ...]) -> np.ndarray:
        """float32 product, as the graph makes it, in float64."""
        length = int(np.prod(shape))
        start, repeats = self._cuts.cut(length)
        scaled = self._base * np.float32(scale)
        return np.tile(scaled, repeats)[start : start + length].reshape(shape).astype(np.float64)


class OnnxOperators:
    """Writes nodes; a value is the name of a tensor."""

    def __init__(self, base: np.ndarray) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {'base': numpy_helper.from_array(base, 'base')}
        self._cuts = Cuts()

    def conv(self, value: Any, channels: tuple[int, int], kernel: int, stride: int, gain: float) -> Any:
        inputs = channels[0] * kernel * kernel
        weights = self._constant(_weight_scale(gain, inputs), (channels[1], channels[0], kernel, kernel))
        bias = self._constant(BIAS_SCALE, (channels[1],))
        window = {'kernel_shape': [kernel] * 2, 'strides': [stride] * 2, 'pads': [kernel // 2] * 4}
        return self._node('Conv', value, weights, bias, **window)

    def relu(self, value: Any) -> Any:
        return self._node('Relu', value)

    def add(self, left: Any, right: Any) -> Any:
        return self._node('Add', left, right)

    def max_pool(self, value: Any) -> Any:
        return self._node('MaxPool', value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def mean_pool(self, value: Any) -> Any:
        return self._node('Flatten', self._node('GlobalAveragePool', value))

    def dense(self, value: Any, columns: tuple[int, int]) -> Any:
        weights = self._constant(_weight_scale(1, columns[0]), columns)
        return self._node('Gemm', value, weights, self._constant(BIAS_SCALE, (columns[1],)))

    def rename(self, value: str, name: str) -> None:
        """Calls the result of the last node `name`."""
        assert self.nodes[-1].output[0] == value
        self.nodes[-1].output[0] = name

    def _constant(self, scale: float, shape: tuple[int, ...]) -> str:
        """A weight or bias that is made of the base block when the model is opened."""
        length = int(np.prod(shape))
        start, repeats = self._cuts.cut(length)
        scaled = self._node('Mul', 'base', self._initializer(np.float32(scale)))
        repeated = self._node('Tile', scaled, self._initializer(np.int64([repeats])))
        bounds = [self._initializer(np.int64([bound])) for bound in (start, start + length)]
        return self._node('Reshape', self._node('Slice', repeated, *bounds), self._initializer(np.int64(shape)))

    def _initializer(self, values: np.ndarray) -> str:
        name = f'{values.dtype}_' + '_'.join(str(value) for value in np.ravel(values))
        self.initializers.setdefault(name, numpy_helper.from_array(np.asarray(values), name))
        return name

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f'{operator.lower()}_{len(self.nodes)}'
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name
