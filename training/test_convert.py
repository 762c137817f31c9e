"""Whole conversions, with real zips and fresh environments: python training/test_convert.py, some minutes.

Run it where scikit-learn, XGBoost and pandas are installed (README.md): it makes the zips with them, and pins those.
What the worker makes of the bundles is asked of it, where Node and the checkout's packages are there.
"""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import unittest
from importlib import metadata, util
from pathlib import Path
from unittest import mock
from zipfile import ZipFile

import joblib
import numpy as np
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import convert
import convert_child

CHECKOUT = Path(__file__).resolve().parent.parent
IRIS = load_iris()
NAMES = 'sepal_length,sepal_width,petal_length,petal_width'


def pins(*packages: str) -> str:
    """Of the versions that are installed here."""
    return ''.join(f'{package}=={metadata.version(package)}\n' for package in packages)


def dumped(model: object, by=pickle) -> bytes:
    """The bytes of its pickle."""
    content = io.BytesIO()
    by.dump(model, content)
    return content.getvalue()


class FolderTest(unittest.TestCase):
    """Each test has a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.store = self.folder / 'models'


class Conversions(FolderTest):
    def convert(self, content: bytes, requirements: str, *options: str, code: int = 0) -> tuple[dict, list[dict]]:
        file = self.folder / 'model.zip'
        with ZipFile(file, 'w') as archive:
            archive.writestr('model.pkl', content)
            archive.writestr('metadata.json', json.dumps({'dataset': 'iris', 'r2_score': 0.9}))
            archive.writestr('requirements.txt', requirements)
        arguments = [str(file), '--name', 'm', '--version', '1', '--out', str(self.store), *options]
        self.assertEqual(convert.main(arguments), code)
        bundle = self.store / 'm' / '1'
        if code != 0:
            self.assertFalse(bundle.exists())
            return {}, []
        golden = [json.loads(line) for line in (bundle / 'golden.jsonl').read_text().splitlines()]
        return json.loads((bundle / 'model.json').read_text()), golden

    def predict(self, row: dict) -> dict:
        """What the worker says, having repeated the golden samples."""
        if not shutil.which('npm') or not (CHECKOUT / 'node_modules').exists():
            self.skipTest('the bundle is right by ONNX Runtime in Python; no npm here to ask the worker')
        # By npm, which brings the Node of the checkout along.
        command = ['npm', 'run', '-s', 'sluice', '--', 'predict', '--model', 'm', '--json', json.dumps(row)]
        environment = {**os.environ, 'MODEL_STORE': str(self.store)}
        run = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def test_the_zip_of_the_tutorial(self) -> None:
        forest = RandomForestRegressor(n_estimators=30, random_state=1).fit(IRIS.data, IRIS.target)
        manifest, golden = self.convert(dumped(forest, joblib), pins('scikit-learn', 'numpy'), '--features', NAMES)
        self.assertEqual(manifest['training']['r2_score'], 0.9)
        self.assertEqual(manifest['training']['requirements'], pins('scikit-learn', 'numpy').split())
        self.assertEqual(len(golden), 50)
        # Made of what the trees know: the rows reach leaves of all species.
        self.assertGreater(np.std([sample['output']['prediction'] for sample in golden]), 0.3)
        [expected] = forest.predict([list(golden[0]['input'].values())])
        self.assertAlmostEqual(golden[0]['output']['prediction'], expected, places=6)
        prediction = self.predict(dict.fromkeys(NAMES.split(','), 0))
        self.assertAlmostEqual(prediction['prediction'], forest.predict([[0, 0, 0, 0]])[0], places=5)

    def test_a_pipeline_of_a_data_frame_with_strings_and_a_sample(self) -> None:
        import pandas as pd

        random = np.random.default_rng(3)
        table = pd.DataFrame({'country': random.choice(['at', 'de', 'fr'], 200), 'age': random.integers(18, 80, 200)})
        wanted = np.where((table.country == 'de') & (table.age > 40), 'yes', 'no')
        steps = ColumnTransformer([('c', OneHotEncoder(), ['country']), ('a', StandardScaler(), ['age'])])
        model = make_pipeline(steps, LogisticRegression(max_iter=1000)).fit(table, wanted)
        sample = self.folder / 'sample.csv'
        table.head(20).to_csv(sample)
        requirements = pins('scikit-learn', 'pandas')
        manifest, golden = self.convert(dumped(model), requirements, '--sample', str(sample))
        self.assertEqual([each['type'] for each in manifest['inputs']], ['string', 'float32'])
        self.assertEqual([each['input']['country'] for each in golden], table.country.head(20).tolist())
        self.assertEqual([each['output']['label'] for each in golden], model.predict(table.head(20)).tolist())
        prediction = self.predict({'country': 'de', 'age': 70})
        row = pd.DataFrame({'country': ['de'], 'age': [70]})
        self.assertEqual(prediction['label'], model.predict(row)[0])
        np.testing.assert_allclose(prediction['probabilities'], model.predict_proba(row)[0], atol=1e-5)

    def test_xgboost_of_a_data_frame(self) -> None:
        import pandas as pd
        from xgboost import XGBClassifier

        table = pd.DataFrame(IRIS.data, columns=NAMES.split(','))
        model = XGBClassifier(n_estimators=10, max_depth=3, n_jobs=1).fit(table, IRIS.target)
        package = next(name for name in ('xgboost-cpu', 'xgboost') if _installed(name))
        manifest, _ = self.convert(dumped(model), pins('scikit-learn', package, 'pandas'))
        self.assertEqual([each['name'] for each in manifest['inputs'][0]['features']], NAMES.split(','))
        self.assertEqual([output['field'] for output in manifest['outputs']], ['label', 'probabilities'])
        row = IRIS.data[70].tolist()
        prediction = self.predict(dict(zip(NAMES.split(','), row, strict=True)))
        self.assertEqual(prediction['label'], int(model.predict([row])[0]))
        np.testing.assert_allclose(prediction['probabilities'], model.predict_proba([row])[0], atol=1e-5)

    @unittest.skipUnless(util.find_spec('lightgbm'), 'LightGBM is not installed here')
    def test_lightgbm_at_the_end_of_a_pipeline(self) -> None:
        from lightgbm import LGBMRegressor

        booster = LGBMRegressor(n_estimators=10, num_leaves=7, n_jobs=1, verbose=-1)
        model = make_pipeline(StandardScaler(), booster).fit(IRIS.data, IRIS.target)
        self.convert(dumped(model), pins('scikit-learn', 'lightgbm'), '--features', NAMES)
        row = IRIS.data[120].tolist()
        prediction = self.predict(dict(zip(NAMES.split(','), row, strict=True)))
        self.assertAlmostEqual(prediction['prediction'], model.predict([row])[0], places=4)

    def test_pins_that_nobody_has(self) -> None:
        self.convert(b'', 'scikit-learn==0.0.1\n', code=1)


class Refusals(FolderTest):
    """The part that opens the pickle, in this environment."""

    def refused(self, content: bytes, features: list[str] | None = None, sample: str | None = None) -> str:
        file = self.folder / 'model.pkl'
        file.write_bytes(content)
        asked = features and [{'name': name, 'type': None} for name in features]
        request = {'pickle': str(file), 'out': str(self.folder / 'bundle'), 'name': 'm', 'version': '1'}
        request |= {'features': asked, 'sample': sample, 'tolerance': [1e-5, 1e-4], 'training': {}}
        (self.folder / 'request.json').write_text(json.dumps(request))
        errors = io.StringIO()
        with mock.patch.object(sys, 'stderr', errors):
            self.assertEqual(convert_child.main(str(self.folder / 'request.json')), 1)
        self.assertFalse((self.folder / 'bundle').exists())
        return errors.getvalue()

    def test_what_cannot_be_converted(self) -> None:
        self.assertIn('holds a builtins.dict; converted are', self.refused(dumped({})))
        clusters = KMeans(2, n_init=1).fit(IRIS.data)
        self.assertIn('converted are classifiers and regressors', self.refused(dumped(clusters)))
        self.assertIn('does not open', self.refused(b'no pickle'))
        self.assertIn('needs the module nowhere_to_be_found', self.refused(b'cnowhere_to_be_found\nModel\n.'))

    def test_a_pickle_of_another_version(self) -> None:
        model = LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)
        state = dumped(model).replace(metadata.version('scikit-learn').encode(), b'0.0.1')
        self.assertIn('must pin the version that wrote model.pkl', self.refused(state, NAMES.split(',')))

    def test_features_that_do_not_fit(self) -> None:
        content = dumped(LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target))
        self.assertIn('names 3 columns, the model takes 4', self.refused(content, ['a', 'b', 'c']))
        self.assertIn('name them with --features', self.refused(content))

    def test_samples_that_do_not_fit(self) -> None:
        content = dumped(LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target))
        sample = self.folder / 'sample.csv'
        for text, message in (
            ('a,b,c\n1,2,3\n', 'has no column d; it has a, b, c'),
            ('a,b,c,d\n', 'has a header and no rows'),
            ('a,b,c,d\n1,2,3,four\n', "row 1: d is 'four', which is no number"),
        ):
            sample.write_text(text)
            self.assertIn(message, self.refused(content, ['a', 'b', 'c', 'd'], str(sample)))


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == '__main__':
    unittest.main(verbosity=2)
