"""What a trainer hands over: a fitted estimator with all that its bundle has to say about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

RANDOM_STATE = 42
TEST_SIZE = 0.33

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Feature:
    """One field of the input record. It fills `length` neighbouring columns of the input tensor; None is one scalar.

    `default` stands in for a missing value, or for each element of a missing array.
    """

    name: str
    length: int | None = None
    default: float | None = None

    @property
    def columns(self) -> int:
        """How many columns it fills."""
        return 1 if self.length is None else self.length


@dataclass(frozen=True)
class Output:
    """One field of the prediction: the ONNX output that it is read from, and the library's own answer for a batch.

    `predict` takes rows in the shape of the input tensor and answers in the shape of the ONNX output, batch dimension
    first.
    """

    tensor: str
    field: str
    predict: Predict


@dataclass(frozen=True)
class Split:
    """A data set cut in two, the same way each time. Rows are float32, shape [rows, columns]."""

    train: np.ndarray
    test: np.ndarray
    train_target: np.ndarray
    test_target: np.ndarray


@dataclass(frozen=True)
class TrainedModel:
    """A fitted estimator, ready for export. `golden_rows` and `probe_rows` are float32, shape [rows, columns].

    The golden rows are published with the bundle; the probe rows only serve to compare library and ONNX Runtime here.
    `features` are in the order of the input tensor's columns. `graph` makes the ONNX graph of a model that skl2onnx
    cannot convert, or not into the nodes that are wanted. `row_shape` is the shape of one row of the input tensor where
    it is not [columns].
    """

    name: str
    version: str
    dataset: str
    estimator: object
    input_tensor: str
    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]
    golden_rows: np.ndarray
    probe_rows: np.ndarray
    metrics: dict[str, float]
    classes: tuple[str, ...] | None = None
    graph: Callable[[], onnx.ModelProto] | None = None
    row_shape: tuple[int, ...] | None = None

    @property
    def columns(self) -> int:
        """The width of the input tensor."""
        return sum(feature.columns for feature in self.features)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Rows of shape [rows, columns] in the shape of the input tensor."""
        return rows if self.row_shape is None else rows.reshape(-1, *self.row_shape)


def split(rows: np.ndarray, target: np.ndarray) -> Split:
    """Cuts off TEST_SIZE of the data for testing.

    Rows become float32 first: the tensors that the model will serve are float32, so training, golden samples and
    serving all see the same numbers.
    """
    train, test, train_target, test_target = train_test_split(
        rows.astype(np.float32), target, test_size=TEST_SIZE, random_state=RANDOM_STATE
    )
    return Split(train, test, train_target, test_target)


def probe_rows(rows: np.ndarray, count: int = 2000) -> np.ndarray:
    """Every row of the data set, then `count` random rows within its bounds: inputs nobody picked to look good."""
    random = np.random.default_rng(RANDOM_STATE)
    drawn = random.uniform(rows.min(axis=0), rows.max(axis=0), size=(count, rows.shape[1]))
    return np.vstack([rows, drawn]).astype(np.float32)


def classifier_outputs(estimator: Any) -> tuple[Output, ...]:
    """The outputs of a classifier exported without ZipMap: the class number, and one probability per class."""
    return (
        Output('label', 'label', estimator.predict),
        Output('probabilities', 'probabilities', estimator.predict_proba),
    )


def classifier_metrics(estimator: Any, data: Split) -> dict[str, float]:
    """Accuracy and log loss on the test rows."""
    return rounded(
        {
            'accuracy': accuracy_score(data.test_target, estimator.predict(data.test)),
            'log_loss': log_loss(data.test_target, estimator.predict_proba(data.test)),
        }
    )


def rounded(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics to six digits: no reader needs more, and the last bits of a float64 sum are noise."""
    return {name: round(float(value), 6) for name, value in metrics.items()}
