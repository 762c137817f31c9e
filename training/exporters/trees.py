"""Boosted trees: XGBoost and LightGBM through onnxmltools, CatBoost by its own export."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from catboost import CatBoost, CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from xgboost import XGBClassifier, XGBRegressor

from exported import Answer, Exported, Input
from exporters import data
from model import RANDOM_STATE

# The newest that onnxmltools knows.
OPSET = 15


def xgboost_classifier() -> Exported:
    """Three classes."""
    wine = data.wine()
    model = XGBClassifier(n_estimators=15, max_depth=3, random_state=RANDOM_STATE, n_jobs=1)
    model.fit(wine.data.train, wine.data.train_target)
    graph = convert_xgboost(model, initial_types=_floats(wine), target_opset=OPSET)
    return _classifier('xgboost-classifier', 'xgboost-cpu', 'XGBClassifier', 'wine', model, wine, graph)


def xgboost_regressor() -> Exported:
    """One number."""
    diabetes = data.diabetes()
    model = XGBRegressor(n_estimators=30, max_depth=3, random_state=RANDOM_STATE, n_jobs=1)
    model.fit(diabetes.data.train, diabetes.data.train_target)
    graph = convert_xgboost(model, initial_types=_floats(diabetes), target_opset=OPSET)
    return _regressor('xgboost-regressor', 'xgboost-cpu', 'XGBRegressor', model, diabetes, graph)


def lightgbm_classifier() -> Exported:
    """Two classes."""
    cancer = data.cancer()
    model = LGBMClassifier(n_estimators=20, num_leaves=7, random_state=RANDOM_STATE, n_jobs=1, verbose=-1)
    model.fit(cancer.data.train, cancer.data.train_target)
    graph = convert_lightgbm(model, initial_types=_floats(cancer), target_opset=OPSET, zipmap=False)
    return _classifier('lightgbm-classifier', 'lightgbm', 'LGBMClassifier', 'breast cancer', model, cancer, graph)


def lightgbm_regressor() -> Exported:
    """One number."""
    diabetes = data.diabetes()
    model = LGBMRegressor(n_estimators=30, num_leaves=7, random_state=RANDOM_STATE, n_jobs=1, verbose=-1)
    model.fit(diabetes.data.train, diabetes.data.train_target)
    graph = convert_lightgbm(model, initial_types=_floats(diabetes), target_opset=OPSET)
    return _regressor('lightgbm-regressor', 'lightgbm', 'LGBMRegressor', model, diabetes, graph)


def catboost_classifier() -> Exported:
    """CatBoost always writes a ZipMap: the label is a tensor, the probabilities are not."""
    wine = data.wine()
    model = CatBoostClassifier(iterations=15, depth=3, **_QUIET).fit(wine.data.train, wine.data.train_target)
    return Exported(
        name='catboost-classifier',
        library='catboost',
        exporter='catboost',
        model='CatBoostClassifier; ZipMap is always there, the label alone is served',
        dataset='wine',
        graph=_export_catboost(model),
        inputs=(Input('features', wine.features, wine.golden),),
        answers=(Answer('label', 'label', np.ravel(model.predict(wine.golden))),),
    )


def catboost_regressor() -> Exported:
    """One number."""
    diabetes = data.diabetes()
    model = CatBoostRegressor(iterations=30, depth=3, **_QUIET).fit(diabetes.data.train, diabetes.data.train_target)
    graph = _export_catboost(model)
    return _regressor('catboost-regressor', 'catboost', 'CatBoostRegressor', model, diabetes, graph, 'catboost')


# CatBoost would write a folder of logs.
_QUIET = {'random_seed': RANDOM_STATE, 'thread_count': 1, 'verbose': False, 'allow_writing_files': False}


def _export_catboost(model: CatBoost) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'model.onnx'
        model.save_model(str(file), format='onnx')
        return onnx.load(file)


def _floats(numbers: data.Numbers) -> list[tuple[str, FloatTensorType]]:
    return [('input', FloatTensorType([None, numbers.golden.shape[1]]))]


def _classifier(
    name: str, library: str, title: str, dataset: str, model, numbers: data.Numbers, graph: onnx.ModelProto
) -> Exported:
    return Exported(
        name=name,
        library=library,
        exporter='onnxmltools',
        model=title,
        dataset=dataset,
        graph=graph,
        inputs=(Input('input', numbers.features, numbers.golden),),
        answers=(
            Answer('label', 'label', model.predict(numbers.golden)),
            Answer('probabilities', 'probabilities', model.predict_proba(numbers.golden)),
        ),
    )


def _regressor(
    name: str,
    library: str,
    title: str,
    model,
    numbers: data.Numbers,
    graph: onnx.ModelProto,
    exporter: str = 'onnxmltools',
) -> Exported:
    [tensor] = [output.name for output in graph.graph.output]
    return Exported(
        name=name,
        library=library,
        exporter=exporter,
        model=title,
        dataset='diabetes',
        graph=graph,
        inputs=(Input(graph.graph.input[0].name, numbers.features, numbers.golden),),
        answers=(Answer(tensor, 'prediction', model.predict(numbers.golden).reshape(-1, 1)),),
    )


EXPORTERS = {
    'xgboost-classifier': xgboost_classifier,
    'xgboost-regressor': xgboost_regressor,
    'lightgbm-classifier': lightgbm_classifier,
    'lightgbm-regressor': lightgbm_regressor,
    'catboost-classifier': catboost_classifier,
    'catboost-regressor': catboost_regressor,
}
