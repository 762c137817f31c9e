"""PyTorch's networks, exported by torch.onnx."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import torch
from torch import nn

from exported import Answer, Exported, Input
from exporters import data
from model import RANDOM_STATE, Feature

OPSET = 18


def mlp() -> Exported:
    """A batch of any size."""
    iris = data.iris()
    model = _train(_perceptron(), iris.data.train, iris.data.train_target)
    graph = _export(model, (torch.zeros(2, 4),), ['measures'], ['scores'], {'measures': {0: 'batch'}})
    return _exported('torch-mlp', 'Linear, ReLU, Linear, Softmax', 'iris', graph, iris.features, iris.golden, model)


def mlp_batch_of_8() -> Exported:
    """Exported without a dynamic axis, from an example of eight rows: all runs are of eight, the last one padded."""
    iris = data.iris()
    model = _train(_perceptron(), iris.data.train, iris.data.train_target)
    graph = _export(model, (torch.zeros(8, 4),), ['measures'], ['scores'])
    title = 'Linear, ReLU, Linear, Softmax; exported for [8, 4]'
    return _exported('torch-mlp-batch-8', title, 'iris', graph, iris.features, iris.golden, model)


def cnn() -> Exported:
    """Exported without a dynamic axis, from an example of one image."""
    digits = data.digits()
    images = digits.data.train.reshape(-1, 1, 8, 8)
    torch.manual_seed(RANDOM_STATE)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    model = _train(nn.Sequential(*layers, nn.Linear(128, 10), nn.Softmax(1)), images, digits.data.train_target)
    graph = _export(model, (torch.zeros(1, 1, 8, 8),), ['image'], ['scores'])
    golden = digits.golden[:20].reshape(-1, 1, 8, 8)
    title = 'Conv2d, BatchNorm2d, MaxPool2d, Linear; exported for [1, 1, 8, 8]'
    return _exported('torch-cnn', title, 'digits', graph, digits.features, golden, model)


def half() -> Exported:
    """Weights, inputs and outputs are float16, and so are PyTorch's own answers."""
    digits = data.digits()
    torch.manual_seed(RANDOM_STATE)
    layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(1)]
    model = _train(nn.Sequential(*layers), digits.data.train, digits.data.train_target).half()
    graph = _export(model, (torch.zeros(2, 64).half(),), ['pixels'], ['scores'], {'pixels': {0: 'batch'}})
    golden = digits.golden[:20].astype(np.float16)
    title = 'Linear, ReLU, Linear, Softmax; all of it float16'
    # Eleven bits: the two sum up in another order, or in float32.
    tolerance = (2e-3, 2e-3)
    return _exported('torch-float16', title, 'digits', graph, digits.features, golden, model, tolerance)


def external_data() -> Exported:
    """Its weights lie in a file of their own, as they do for models that are larger than a protobuf may be."""
    iris = data.iris()
    model = _train(_perceptron(), iris.data.train, iris.data.train_target)
    graph = _export(model, (torch.zeros(2, 4),), ['measures'], ['scores'], {'measures': {0: 'batch'}})
    title = 'Linear, ReLU, Linear, Softmax; weights in a file beside it'
    export = _exported('torch-external-data', title, 'iris', graph, iris.features, iris.golden, model)
    return replace(export, weights='model.onnx.data')


class _Words(nn.Module):
    """Six word numbers in; out come the class, whether it is sure, and the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.memory = nn.GRU(8, 12, batch_first=True)
        self.classes = nn.Linear(12, 3)

    def scores(self, words: torch.Tensor) -> torch.Tensor:
        _, last = self.memory(self.words(words))
        return torch.softmax(self.classes(last[-1]), 1)

    def forward(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scores = self.scores(words)
        return scores.argmax(1), scores.amax(1) > 0.9, scores


def words() -> Exported:
    """int64 in; int64, bool and float32 out."""
    random = np.random.default_rng(RANDOM_STATE)
    rows = random.integers(0, 50, (400, 6))
    target = (rows[:, 0] + rows[:, 5]) * 3 // 99
    torch.manual_seed(RANDOM_STATE)
    model = _Words()
    _fit(model, model.scores, torch.from_numpy(rows[:300]), target[:300], rounds=150)
    graph = _export(
        model, (torch.zeros(2, 6, dtype=torch.int64),), ['words'], ['label', 'sure', 'scores'], {'words': {0: 'batch'}}
    )
    golden = rows[300 : 300 + data.GOLDEN_ROWS]
    features = (Feature('words', length=6),)
    return _exported('torch-gru', 'Embedding, GRU, Linear', 'word numbers (made up)', graph, features, golden, model)


def _perceptron() -> nn.Module:
    torch.manual_seed(RANDOM_STATE)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(1))


def _train(model: nn.Module, rows: np.ndarray, target: np.ndarray) -> nn.Module:
    _fit(model, model, torch.from_numpy(rows), target, rounds=100)
    return model


def _fit(model: nn.Module, scores: Callable, rows: torch.Tensor, target: np.ndarray, rounds: int) -> None:
    """Enough training for the answers to mean something; ends in the mode for predictions."""
    wanted = torch.from_numpy(target)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(rounds):
        optimizer.zero_grad()
        nn.functional.nll_loss(scores(rows).clamp_min(1e-9).log(), wanted).backward()
        optimizer.step()
    model.eval()


def _export(
    model: nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, dict[int, str]] | None = None,
) -> onnx.ModelProto:
    """Without `dynamic` the graph keeps the batch of the example."""
    shapes = None
    if dynamic is not None:
        shapes = tuple({axis: torch.export.Dim(name) for axis, name in each.items()} for each in dynamic.values())
    program = torch.onnx.export(
        model,
        example,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=shapes,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    return program.model_proto


def _exported(
    name: str,
    title: str,
    dataset: str,
    graph: onnx.ModelProto,
    features: tuple[Feature, ...],
    golden: np.ndarray,
    model: nn.Module,
    tolerance: tuple[float, float] = (1e-5, 1e-4),
) -> Exported:
    """A network of one input; the answers are those of PyTorch on the CPU."""
    with torch.no_grad():
        answers = model(torch.from_numpy(golden))
    answers = answers if isinstance(answers, tuple) else (answers,)
    names = [output.name for output in graph.graph.output]
    return Exported(
        name=name,
        library='torch',
        exporter='torch',
        model=title,
        dataset=dataset,
        graph=graph,
        inputs=(Input(graph.graph.input[0].name, features, golden),),
        answers=tuple(Answer(each, each, answer.numpy()) for each, answer in zip(names, answers, strict=True)),
        tolerance=tolerance,
    )


EXPORTERS = {
    'torch-mlp': mlp,
    'torch-mlp-batch-8': mlp_batch_of_8,
    'torch-cnn': cnn,
    'torch-float16': half,
    'torch-gru': words,
    'torch-external-data': external_data,
}
