"""The digits model: a small neural network that reads 8 x 8 images of handwritten digits."""

from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from model import RANDOM_STATE, Feature, TrainedModel, classifier_metrics, classifier_outputs, probe_rows, split

GOLDEN_TEST_ROWS = 40


def mlp() -> TrainedModel:
    """17 thousand parameters in two hidden layers. Input is one array: 64 grey values from 0 to 16, row by row."""
    digits = load_digits()
    data = split(digits.data, digits.target)
    network = MLPClassifier(hidden_layer_sizes=(128, 64), random_state=RANDOM_STATE)
    network.fit(data.train, data.train_target)
    return TrainedModel(
        name='digits-mlp',
        version='1',
        dataset='digits',
        estimator=network,
        input_tensor='pixels',
        features=(Feature('pixels', length=digits.data.shape[1]),),
        outputs=classifier_outputs(network),
        golden_rows=data.test[:GOLDEN_TEST_ROWS],
        probe_rows=probe_rows(digits.data),
        metrics=classifier_metrics(network, data),
        classes=tuple(str(name) for name in digits.target_names),
    )
