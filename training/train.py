"""Trains the models and writes their bundles: python training/train.py [--only NAME] [--out FOLDER] [--check].

README.md says what it needs and what it makes.
"""

import arithmetic  # noqa: F401, I001 - first, before anything imports NumPy

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import digits
import ffnn
import iris
import resnet
from bundle import bundle_files, write_bundle
from check import difference
from environment import require_pinned_environment
from model import TrainedModel

CHECKOUT = Path(__file__).resolve().parent.parent
IRIS_DATA = 'iris-data'
IRIS_CSV = CHECKOUT / 'dev' / 'data' / 'iris.csv'

# The bundles of the demo and of the tests, and those that only the bench needs, each with its store.
DEMO_STORE = CHECKOUT / 'models'
BENCH_STORE = CHECKOUT / 'bench' / 'models'

TRAINERS: dict[str, Callable[[], TrainedModel]] = {
    'iris-regressor': iris.regressor,
    'iris-classifier': iris.classifier,
    'iris-xgboost': iris.xgboost,
    'digits-mlp': digits.mlp,
    'ffnn': ffnn.ffnn,
    'resnet50-shaped': resnet.resnet50_shaped,
}
BENCH_ONLY = {'resnet50-shaped'}


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code: 0 done, 1 failed or, with --check, different."""
    options = _parse(arguments)
    names = [options.only] if options.only else [*TRAINERS, IRIS_DATA]
    try:
        require_pinned_environment()
        if options.check:
            return check(names, options.out)
        for name in names:
            make(name, options.out or _store_of(name), IRIS_CSV)
    except (RuntimeError, ValueError, OSError) as error:
        print(f'train: {error}', file=sys.stderr)
        return 1
    return 0


def make(name: str, store: Path, csv: Path) -> list[tuple[Path, Path]]:
    """Makes what `name` stands for: a bundle in `store`, or the iris rows in the file `csv`. Prints what it made.

    Returns each file written, beside its path relative to where it belongs: the store, or the folder of `csv`.
    """
    if name == IRIS_DATA:
        iris.write_csv(csv)
        print(f'{IRIS_DATA}: {csv.name} {csv.stat().st_size} bytes')
        return [(csv, Path(csv.name))]
    model = TRAINERS[name]()
    print(write_bundle(model, store))
    return [(store / file, file) for file in bundle_files(model.name, model.version)]


def check(names: list[str], store: Path | None) -> int:
    """Makes everything again in a temporary folder and compares it with what is committed; 0 if nothing differs.

    Bundles are compared with those in `store`, or where that is None each with the one in its own store.
    """
    findings = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            committed_in = IRIS_CSV.parent if name == IRIS_DATA else store or _store_of(name)
            for fresh, file in make(name, Path(folder), Path(folder) / IRIS_CSV.name):
                findings.append(difference(committed_in / file, fresh))
    differences = [finding for finding in findings if finding]
    for line in differences:
        print(f'train: {line}', file=sys.stderr)
    if differences:
        print(f'train: {len(differences)} of {len(findings)} files are not what training makes', file=sys.stderr)
        return 1
    print(f'{len(findings)} files are, byte for byte, what training makes')
    return 0


def _store_of(name: str) -> Path:
    return BENCH_STORE if name in BENCH_ONLY else DEMO_STORE


def _parse(arguments: list[str]) -> argparse.Namespace:
    description = 'Trains the models of the demo and the bench and writes their bundles.'
    parser = argparse.ArgumentParser(prog='train.py', description=description)
    parser.add_argument('--only', choices=[*TRAINERS, IRIS_DATA], help='make this one alone')
    parser.add_argument('--out', type=Path, help='the model store (default: models, bench/models for the heavy one)')
    parser.add_argument('--check', action='store_true', help='write nothing, compare with what is there')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
