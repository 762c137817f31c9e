"""Converts a fitted estimator into ONNX, the same bytes each time."""

import json

import onnx
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.base import is_classifier
from xgboost import XGBClassifier

from model import TrainedModel

# Old enough for the runtimes people have in production, new enough for every operator used here. Not the newest
# one that the converter knows, which would change with its version.
TARGET_OPSET = {'': 17, 'ai.onnx.ml': 3}
# The version of the file format that belongs to it, for graphs that are not made by a converter.
IR_VERSION = 8

# skl2onnx knows scikit-learn's estimators; the converter for XGBoost's comes from onnxmltools.
update_registered_converter(
    XGBClassifier,
    'XGBoostXGBClassifier',
    calculate_linear_classifier_output_shapes,
    convert_xgboost,
    options={'nocl': [True, False], 'zipmap': [True, False, 'columns']},
)


def to_onnx(model: TrainedModel, training: dict) -> bytes:
    """Serializes the model with a batch dimension of any size; `training` becomes its metadata property of that name.

    Raises onnx.checker.ValidationError if the result breaks the ONNX specification.
    """
    graph = _convert(model) if model.graph is None else model.graph()
    _import_each_domain_once(graph)
    onnx.helper.set_model_props(graph, {'training': json.dumps(training)})
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString(deterministic=True)


def _convert(model: TrainedModel) -> onnx.ModelProto:
    """Leaves ZipMap out of classifiers: many runtimes cannot return its list of maps, and all return a tensor."""
    options = {id(model.estimator): {'zipmap': False}} if is_classifier(model.estimator) else None
    return convert_sklearn(
        model.estimator,
        name=model.name,
        initial_types=[(model.input_tensor, FloatTensorType([None, model.columns]))],
        target_opset=TARGET_OPSET,
        options=options,
    )


def _import_each_domain_once(graph: onnx.ModelProto) -> None:
    """Tidies the opset imports: the tree converters list a domain twice, and not always in the same order."""
    versions: dict[str, int] = {}
    for opset in graph.opset_import:
        versions[opset.domain] = max(opset.version, versions.get(opset.domain, 0))
    del graph.opset_import[:]
    graph.opset_import.extend(onnx.helper.make_opsetid(domain, versions[domain]) for domain in sorted(versions))
