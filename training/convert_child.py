"""The part of convert.py that opens the pickle, in the environment that the zip pins, on a request (a JSON file).

Runs on Python 3.8 and with old versions of the libraries.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bundle_format import ELEMENT_TYPES, FORMAT, field_value, pretty, signature
from convert_rows import Columns, golden_rows

# Old enough for the runtimes people have in production, new enough for every operator of the converters.
TARGET_OPSET = {'': 15, 'ai.onnx.ml': 3}
LIBRARIES = ('sklearn', 'xgboost', 'lightgbm')
FLOATS = 'features'


class Failed(Exception):
    """The conversion failed; the message says why and what to do."""


def main(request_file: str) -> int:
    """Carries out the request; returns the exit code."""
    request = json.loads(Path(request_file).read_text(encoding='utf-8'))
    try:
        model = load(request['pickle'])
        check_kind(model)
        columns = Columns.of(model, request['features'])
        rows, origin = golden_rows(model, columns, request['sample'])
        artifact, answers = to_onnx(model, columns, rows)
        difference = compare(artifact, columns, rows, answers, request['tolerance'])
        write(request, artifact, columns, rows, answers, origin, model)
    except (Failed, ValueError) as error:
        print(f'convert: {error}', file=sys.stderr)
        return 1
    print(f'{len(rows)} golden samples from {origin}; largest difference to ONNX Runtime {difference:.1e}')
    return 0


def load(file: str) -> Any:
    """Opens the pickle, of pickle or joblib. This runs whatever it holds. Raises Failed."""
    try:
        from joblib import load as read
    except ImportError:

        def read(name: str) -> Any:
            with open(name, 'rb') as source:
                return pickle.load(source)

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            model = read(file)
    except ModuleNotFoundError as error:
        raise Failed(f'model.pkl needs the module {error.name}, which requirements.txt does not bring: pin its package')
    except Exception as error:  # noqa: BLE001 - a pickle may raise whatever it likes
        raise Failed(
            f'model.pkl does not open ({type(error).__name__}: {error}): it is damaged, or requirements.txt pins '
            'other versions than it was written with'
        )
    for warning in caught:
        if warning.category.__name__ == 'InconsistentVersionWarning' or 'when using version' in str(warning.message):
            first = str(warning.message).split('. ')[0]
            raise Failed(f'{first}. requirements.txt must pin the version that wrote model.pkl')
    return model


def check_kind(model: Any) -> None:
    """Raises Failed unless it is a fitted classifier or regressor of a library that can be converted."""
    kind = type(model)
    what = f'model.pkl holds a {kind.__module__}.{kind.__qualname__}'
    if kind.__module__.split('.')[0] not in LIBRARIES:
        raise Failed(
            f'{what}; converted are classifiers and regressors of scikit-learn (pipelines, too), XGBoost, LightGBM'
        )
    if kind.__name__ == 'Booster':
        raise Failed(f'{what}; put it into the XGBClassifier, LGBMRegressor, … that it was trained as, and pickle that')
    if not hasattr(model, 'predict') or not (is_classifier(model) or is_regressor(model)):
        raise Failed(f'{what}; converted are classifiers and regressors')


def is_classifier(model: Any) -> bool:
    """Without sklearn.base.is_classifier, which changed its ways from version to version."""
    return hasattr(model, 'classes_') or hasattr(model, 'predict_proba')


def is_regressor(model: Any) -> bool:
    """The same for regressors."""
    last = model.steps[-1][1] if hasattr(model, 'steps') else model
    return not is_classifier(model) and 'Regress' in ' '.join(kind.__name__ for kind in type(last).__mro__)


def to_onnx(model: Any, columns: Columns, rows: Any) -> tuple[bytes, dict[str, np.ndarray]]:
    """The model, and the library's answers for the rows by output tensor. Raises Failed."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    given = columns.for_model(rows)
    predictions = np.asarray(model.predict(given))
    probabilities = np.asarray(model.predict_proba(given)) if hasattr(model, 'predict_proba') else None
    register_boosters(model)
    if columns.separate:
        types = {'number': FloatTensorType, 'string': StringTensorType}
        inputs = [(column.name, types[column.type]([None, 1])) for column in columns.all]
    else:
        inputs = [(FLOATS, FloatTensorType([None, len(columns.all)]))]
    options = {id(model): {'zipmap': False}} if probabilities is not None else None
    try:
        graph = convert_sklearn(model, initial_types=inputs, target_opset=TARGET_OPSET, options=options)
    except Exception as error:  # noqa: BLE001 - the converters raise whatever their parts raise
        raise Failed(f'the converter refuses the model: {type(error).__name__}: {str(error).splitlines()[0][:500]}')
    names = [output.name for output in graph.graph.output]
    answers = {names[0]: predictions if is_classifier(model) else predictions.reshape(len(rows), -1)}
    if probabilities is not None:
        answers[names[1]] = probabilities
    return graph.SerializeToString(), answers


def register_boosters(model: Any) -> None:
    """Tells skl2onnx how to convert the estimators of XGBoost and LightGBM that are in the model."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes

    estimators = [model, *(step for _, step in getattr(model, 'steps', []))]
    for each in estimators:
        # The converter reads the number of a column from its name, f0, f1, …, which is what it is called without names.
        if hasattr(each, 'get_booster'):
            each.get_booster().feature_names = None
    options = {'nocl': [True, False], 'zipmap': [True, False, 'columns']}
    for kind in {type(each) for each in estimators}:
        library = kind.__module__.split('.')[0]
        if library == 'xgboost':
            from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as converter
        elif library == 'lightgbm':
            from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as converter
        else:
            continue
        if kind.__name__.endswith('Classifier'):
            shape = shapes.calculate_linear_classifier_output_shapes
            update_registered_converter(kind, f'{library}{kind.__name__}', shape, converter, options=options)
        else:
            shape = shapes.calculate_linear_regressor_output_shapes
            update_registered_converter(kind, f'{library}{kind.__name__}', shape, converter)


def compare(
    artifact: bytes, columns: Columns, rows: Any, answers: dict[str, np.ndarray], tolerance: list[float]
) -> float:
    """The largest difference between the library and ONNX Runtime; raises Failed where it is beyond the tolerance."""
    import onnxruntime

    absolute, relative = tolerance
    session = onnxruntime.InferenceSession(artifact, providers=['CPUExecutionProvider'])
    results = session.run(list(answers), columns.for_graph(rows, FLOATS))
    largest = 0.0
    for (name, expected), got in zip(answers.items(), results):
        if np.asarray(got).dtype.kind not in 'f':
            wrong = np.asarray(got).astype(str) != expected.reshape(np.shape(got)).astype(str)
            difference = 0.0
        else:
            wanted = expected.reshape(got.shape).astype(np.float64)
            distance = np.abs(got.astype(np.float64) - wanted)
            wrong = ~(distance <= absolute + relative * np.abs(wanted))
            difference = float(distance.max())
        if wrong.any():
            count = int(wrong.reshape(len(rows), -1).any(axis=1).sum())
            raise Failed(
                f'output {name}: ONNX Runtime and the library disagree in {count} of {len(rows)} samples, by up to '
                f'{difference:.3g}. ONNX computes in float32: values close to where a tree splits can fall on the '
                'other side. Give rows of real data by --sample, or a larger --absolute-tolerance'
            )
        largest = max(largest, difference)
    return largest


def write(
    request: dict, artifact: bytes, columns: Columns, rows: Any, answers: dict[str, np.ndarray], origin: str, model: Any
) -> None:
    """Writes the bundle, model.json last."""
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact, providers=['CPUExecutionProvider'])
    fields = ['label', 'probabilities'] if is_classifier(model) else ['prediction']
    outputs = [node for node in session.get_outputs() if node.name in answers]
    unknown = [f'{node.name} ({node.type})' for node in outputs if node.type not in ELEMENT_TYPES]
    if unknown:
        raise Failed(f'the graph has outputs that no prediction can have: {", ".join(unknown)}')
    absolute, relative = request['tolerance']
    manifest = {
        'format': FORMAT,
        'name': request['name'],
        'version': request['version'],
        'sha256': hashlib.sha256(artifact).hexdigest(),
        'inputs': [
            {'tensor': node.name, **signature(node), 'features': columns.features(node.name)}
            for node in session.get_inputs()
        ],
        'outputs': [{'tensor': node.name, 'field': field, **signature(node)} for node, field in zip(outputs, fields)],
        'tolerance': {'absolute': absolute, 'relative': relative},
        'training': {
            **request['training'],
            'converted_by': [f'{name}=={metadata.version(name)}' for name in ('skl2onnx', 'onnx', 'onnxruntime')],
            'golden_rows': origin,
        },
    }
    lines = []
    for index in range(len(rows)):
        answer = {field: field_value(answers[node.name][index]) for node, field in zip(outputs, fields)}
        lines.append(json.dumps({'input': columns.record(rows, index), 'output': answer}))
    folder = Path(request['out'])
    folder.mkdir()
    (folder / 'model.onnx').write_bytes(artifact)
    (folder / 'golden.jsonl').write_bytes(('\n'.join(lines) + '\n').encode())
    (folder / 'model.json').write_bytes(pretty(manifest))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
