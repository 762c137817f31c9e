"""scikit-learn's models, exported by skl2onnx."""

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DataType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from export import TARGET_OPSET
from exported import Answer, Exported, Input
from exporters import data
from model import RANDOM_STATE, Feature

X = 'float_input'


def pipeline() -> Exported:
    """Columns of strings, floats and integers, each an input of its own, as a DataFrame has them."""
    orders = data.orders()
    table = pd.DataFrame({name: getattr(orders, name) for name in ('country', 'channel', 'amount', 'items')})
    columns = ColumnTransformer(
        [
            ('names', OneHotEncoder(handle_unknown='ignore'), ['country', 'channel']),
            ('numbers', StandardScaler(), ['amount', 'items']),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(table[:400], orders.returned[:400])
    golden = table[400 : 400 + data.GOLDEN_ROWS]
    types = {
        'country': StringTensorType,
        'channel': StringTensorType,
        'amount': FloatTensorType,
        'items': Int64TensorType,
    }
    return Exported(
        name='sklearn-pipeline',
        library='scikit-learn',
        exporter='skl2onnx',
        model='ColumnTransformer (OneHotEncoder, StandardScaler), LogisticRegression',
        dataset='orders (made up)',
        graph=_convert(model, [(name, kind([None, 1])) for name, kind in types.items()]),
        inputs=tuple(Input(name, (Feature(name),), golden[[name]].to_numpy()) for name in types),
        answers=_classified(model, golden),
    )


def text() -> Exported:
    """A string a row, cut into words in the graph."""
    kinds = {
        'refund': ['money back please', 'refund my order', 'i want my money back', 'please refund the broken lamp'],
        'delivery': ['where is my parcel', 'the parcel is late', 'when does my order arrive', 'parcel not here'],
        'praise': ['thank you for the lamp', 'great shop thank you', 'i love my order', 'the lamp is great'],
    }
    sentences = np.array([sentence for group in kinds.values() for sentence in group])
    labels = np.repeat(list(kinds), [len(group) for group in kinds.values()])
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(sentences, labels)
    others = ['great parcel', 'refund', 'the parcel with my lamp is late', 'nothing known here at all', 'thank you']
    golden = np.array([*sentences, *others])
    return Exported(
        name='sklearn-text',
        library='scikit-learn',
        exporter='skl2onnx',
        model='TfidfVectorizer, LogisticRegression; string labels',
        dataset='sentences (made up)',
        # Without a locale the graph asks for en_US.UTF-8, and does not open where the machine lacks it.
        graph=_convert(model, [('text', StringTensorType([None]))], {id(model[0]): {'locale': 'C'}}),
        inputs=(Input('text', (Feature('text'),), golden),),
        answers=_classified(model, golden),
    )


def forest_classifier() -> Exported:
    """Labels are strings: the names of the species."""
    iris = data.iris()
    names = np.array(iris.classes)
    model = RandomForestClassifier(20, max_depth=5, random_state=RANDOM_STATE)
    model.fit(iris.data.train, names[iris.data.train_target])
    return _export('sklearn-forest-classifier', 'RandomForestClassifier; string labels', 'iris', model, iris)


def forest_regressor() -> Exported:
    """Exported for one row at a time, as the old tutorials have it: [1, 4]."""
    iris = data.iris()
    model = RandomForestRegressor(20, max_depth=5, random_state=RANDOM_STATE)
    model.fit(iris.data.train, iris.data.train_target)
    return _export(
        'sklearn-forest-regressor', 'RandomForestRegressor, exported for [1, 4]', 'iris', model, iris, batch=1
    )


def gradient_boosting() -> Exported:
    """A regressor."""
    diabetes = data.diabetes()
    model = GradientBoostingRegressor(n_estimators=40, max_depth=3, random_state=RANDOM_STATE)
    model.fit(diabetes.data.train, diabetes.data.train_target)
    return _export('sklearn-gradient-boosting', 'GradientBoostingRegressor', 'diabetes', model, diabetes)


def svc() -> Exported:
    """Probabilities by Platt's method."""
    iris = data.iris()
    model = SVC(probability=True, random_state=RANDOM_STATE).fit(iris.data.train, iris.data.train_target)
    return _export('sklearn-svc', 'SVC with probabilities', 'iris', model, iris)


def logistic() -> Exported:
    """Without ZipMap: probabilities are a tensor."""
    wine = data.wine()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(wine.data.train, wine.data.train_target)
    return _export('sklearn-logistic', 'StandardScaler, LogisticRegression', 'wine', model, wine)


def logistic_zipmap() -> Exported:
    """With ZipMap, the default of skl2onnx: the probabilities are a list of maps, and only the label is a tensor."""
    wine = data.wine()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(wine.data.train, wine.data.train_target)
    graph = convert_sklearn(
        model, initial_types=[(X, FloatTensorType([None, wine.golden.shape[1]]))], target_opset=TARGET_OPSET
    )
    return Exported(
        name='sklearn-logistic-zipmap',
        library='scikit-learn',
        exporter='skl2onnx',
        model='StandardScaler, LogisticRegression; ZipMap left in, the label alone is served',
        dataset='wine',
        graph=graph,
        inputs=(Input(X, wine.features, wine.golden),),
        answers=(Answer('output_label', 'label', model.predict(wine.golden)),),
    )


def neighbours() -> Exported:
    """The graph carries the training data."""
    iris = data.iris()
    model = KNeighborsClassifier().fit(iris.data.train, iris.data.train_target)
    return _export('sklearn-neighbours', 'KNeighborsClassifier', 'iris', model, iris)


def isolation_forest() -> Exported:
    """No classifier and no regressor: 1 or -1, and a score."""
    wine = data.wine()
    model = IsolationForest(n_estimators=12, max_samples=16, random_state=RANDOM_STATE).fit(wine.data.train)
    graph = _convert(model, [(X, FloatTensorType([None, wine.golden.shape[1]]))])
    return Exported(
        name='sklearn-isolation-forest',
        library='scikit-learn',
        exporter='skl2onnx',
        model='IsolationForest',
        dataset='wine',
        graph=graph,
        inputs=(Input(X, wine.features, wine.golden),),
        answers=(
            Answer('label', 'label', model.predict(wine.golden).reshape(-1, 1)),
            Answer('scores', 'score', model.decision_function(wine.golden).reshape(-1, 1)),
        ),
    )


def _export(
    name: str, title: str, dataset: str, model: BaseEstimator, numbers: data.Numbers, batch: int | None = None
) -> Exported:
    """A classifier or regressor of one tensor of floats."""
    rows = numbers.golden
    if hasattr(model, 'classes_'):
        answers = _classified(model, rows)
    else:
        answers = (Answer('variable', 'prediction', model.predict(rows).reshape(-1, 1)),)
    return Exported(
        name=name,
        library='scikit-learn',
        exporter='skl2onnx',
        model=title,
        dataset=dataset,
        graph=_convert(model, [(X, FloatTensorType([batch, rows.shape[1]]))]),
        inputs=(Input(X, numbers.features, rows),),
        answers=answers,
    )


def _convert(model: BaseEstimator, inputs: list[tuple[str, DataType]], options: dict[int, dict] | None = None):
    without_zipmap = {id(model): {'zipmap': False}} if hasattr(model, 'classes_') else {}
    options = {**without_zipmap, **(options or {})}
    return convert_sklearn(model, initial_types=inputs, target_opset=TARGET_OPSET, options=options)


def _classified(model: BaseEstimator, rows) -> tuple[Answer, ...]:
    # In pipelines the converter names the outputs after those of the last step.
    return (
        Answer('label', 'label', np.asarray(model.predict(rows))),
        Answer('probabilities', 'probabilities', model.predict_proba(rows)),
    )


EXPORTERS = {
    'sklearn-pipeline': pipeline,
    'sklearn-text': text,
    'sklearn-forest-classifier': forest_classifier,
    'sklearn-forest-regressor': forest_regressor,
    'sklearn-gradient-boosting': gradient_boosting,
    'sklearn-svc': svc,
    'sklearn-logistic': logistic,
    'sklearn-logistic-zipmap': logistic_zipmap,
    'sklearn-neighbours': neighbours,
    'sklearn-isolation-forest': isolation_forest,
}
