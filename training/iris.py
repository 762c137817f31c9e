"""The iris models (a random forest as regressor and as classifier, boosted trees), and the data as CSV for the demo."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import r2_score
from sklearn.utils import Bunch
from xgboost import XGBClassifier

from model import (
    RANDOM_STATE,
    Feature,
    Output,
    Split,
    TrainedModel,
    classifier_metrics,
    classifier_outputs,
    probe_rows,
    rounded,
    split,
)

FEATURES = tuple(Feature(name) for name in ('sepal_length', 'sepal_width', 'petal_length', 'petal_width'))
GOLDEN_TEST_ROWS = 40


def regressor() -> TrainedModel:
    """Predicts the class number as a quantity. A toy as statistics, but the classic first model to deploy."""
    iris, data = _load()
    forest = RandomForestRegressor(random_state=RANDOM_STATE).fit(data.train, data.train_target)
    return TrainedModel(
        name='iris-regressor',
        estimator=forest,
        # ONNX's regressors answer with a column, scikit-learn's with a vector.
        outputs=(Output('variable', 'prediction', lambda rows: forest.predict(rows).reshape(-1, 1)),),
        metrics=rounded({'r2_score': r2_score(data.test_target, forest.predict(data.test))}),
        **_common(iris, data),
    )


def classifier() -> TrainedModel:
    """The species, by random forest."""
    return _classifier('iris-classifier', RandomForestClassifier(random_state=RANDOM_STATE))


def xgboost() -> TrainedModel:
    """The species, by gradient-boosted trees of the XGBoost library."""
    return _classifier('iris-xgboost', XGBClassifier(n_estimators=50, max_depth=3, random_state=RANDOM_STATE, n_jobs=1))


def write_csv(file: Path) -> None:
    """Writes the 150 flowers with a header line, in the data set's own order, species by name."""
    iris = load_iris()
    lines = [','.join([feature.name for feature in FEATURES] + ['species'])]
    for row, target in zip(iris.data.tolist(), iris.target, strict=True):
        lines.append(','.join([*map(repr, row), str(iris.target_names[target])]))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('\n'.join(lines) + '\n', encoding='utf-8', newline='\n')


def _classifier(name: str, estimator: RandomForestClassifier | XGBClassifier) -> TrainedModel:
    iris, data = _load()
    estimator.fit(data.train, data.train_target)
    return TrainedModel(
        name=name,
        estimator=estimator,
        outputs=classifier_outputs(estimator),
        metrics=classifier_metrics(estimator, data),
        classes=tuple(str(species) for species in iris.target_names),
        **_common(iris, data),
    )


def _load() -> tuple[Bunch, Split]:
    iris = load_iris()
    return iris, split(iris.data, iris.target)


def _common(iris: Bunch, data: Split) -> dict[str, Any]:
    """What the three models share. The golden row of four zeros is the one everybody tries first."""
    zeros = np.zeros((1, len(FEATURES)), dtype=np.float32)
    return {
        'version': '1',
        'dataset': 'iris',
        'input_tensor': 'float_input',
        'features': FEATURES,
        'golden_rows': np.vstack([zeros, data.test[:GOLDEN_TEST_ROWS]]),
        'probe_rows': probe_rows(iris.data),
    }
