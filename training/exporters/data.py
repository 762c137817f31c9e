"""The data that the models are trained on: what scikit-learn brings along, and a table of orders made up here."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from model import RANDOM_STATE, Feature, Split, split
from exported import number_features

GOLDEN_ROWS = 40


@dataclass(frozen=True)
class Numbers:
    """A data set of numbers only. `golden` are float32 rows that no model was trained on."""

    features: tuple[Feature, ...]
    data: Split
    classes: tuple[str, ...] = ()

    @property
    def golden(self) -> np.ndarray:
        """The first rows of the test half."""
        return self.data.test[:GOLDEN_ROWS]


def _numbers(bunch) -> Numbers:
    classes = tuple(str(name) for name in getattr(bunch, 'target_names', ()))
    return Numbers(number_features(bunch.feature_names), split(bunch.data, bunch.target), classes)


def iris() -> Numbers:
    """Four measures of a flower, three species."""
    return _numbers(load_iris())


def wine() -> Numbers:
    """Thirteen measures of a wine, three growers."""
    return _numbers(load_wine())


def cancer() -> Numbers:
    """Thirty measures of a tumour, two classes."""
    return _numbers(load_breast_cancer())


def diabetes() -> Numbers:
    """Ten measures of a patient; how far the disease went, 25 to 346."""
    return _numbers(load_diabetes())


def digits() -> Numbers:
    """Images of 8 × 8 grey values, 0 to 1, and ten digits."""
    bunch = load_digits()
    return Numbers((Feature('pixels', length=64),), split(bunch.data / 16, bunch.target))


COUNTRIES = ('at', 'de', 'fr', 'it', 'pl')
CHANNELS = ('app', 'phone', 'shop', 'web')


@dataclass(frozen=True)
class Orders:
    """Made up: orders of a shop, columns of different types, and whether the goods came back."""

    country: np.ndarray
    channel: np.ndarray
    amount: np.ndarray
    items: np.ndarray
    returned: np.ndarray

    def rows(self, chosen: slice) -> 'Orders':
        """Some of the orders."""
        return Orders(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def orders(count: int = 600) -> Orders:
    """The same orders each time. Whether one came back depends on all columns, and on chance."""
    random = np.random.default_rng(RANDOM_STATE)
    country = random.choice(COUNTRIES, count)
    channel = random.choice(CHANNELS, count)
    amount = np.round(random.gamma(2, 40, count), 2).astype(np.float32)
    items = random.integers(1, 9, count)
    leaning = (country == 'de') + (channel == 'app') + amount / 100 + items / 4 - 2.5
    returned = (leaning + random.normal(0, 0.5, count) > 0).astype(np.int64)
    return Orders(country, channel, amount, items, returned)
