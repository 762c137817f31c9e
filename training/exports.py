"""Makes real exported models for the tests: python training/exports.py [--only NAME] [--out FOLDER] [--check].

Each is trained and exported by its own library (exporters/); its golden samples are that library's predictions.
README.md says what it needs.
"""

import arithmetic  # noqa: F401, I001 - first, before anything imports NumPy

import argparse
import importlib
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from check import difference
from environment import require_pinned_environment
from exported import Exported, exported_files, write_exported

HERE = Path(__file__).resolve().parent
REQUIREMENTS_FILE = HERE / 'requirements-exports.txt'
STORE = HERE.parent / 'test' / 'fixtures' / 'exports'

# Converters walk through sets of names.
HASH_SEED = '0'

# The first word of an export's name is its library; the module that makes it.
LIBRARIES = {
    'keras': 'exporters.keras_models',
    'sklearn': 'exporters.scikit',
    'xgboost': 'exporters.trees',
    'lightgbm': 'exporters.trees',
    'catboost': 'exporters.trees',
    'torch': 'exporters.pytorch',
}


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code: 0 done, 1 failed or, with --check, different."""
    options = _parse(arguments)
    if options.only is None or os.environ.get('PYTHONHASHSEED') != HASH_SEED:
        return _in_processes([options.only] if options.only else [*LIBRARIES], arguments)
    # What the libraries announce for later versions of theirs, dozens of lines.
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    try:
        require_pinned_environment(REQUIREMENTS_FILE)
        exporters = _exporters(options.only)
        return check(exporters, options.out) if options.check else make(exporters, options.out)
    except (RuntimeError, ValueError, OSError) as error:
        print(f'exports: {error}', file=sys.stderr)
        return 1


def make(exporters: list[Callable[[], Exported]], store: Path) -> int:
    """Writes the exports into `store`; 0."""
    for export in exporters:
        print(write_exported(export(), store), flush=True)
    return 0


def check(exporters: list[Callable[[], Exported]], store: Path) -> int:
    """Makes the exports again in a temporary folder and compares them with those in `store`; 0 if nothing differs."""
    findings = []
    with tempfile.TemporaryDirectory() as folder:
        for make_export in exporters:
            export = make_export()
            write_exported(export, Path(folder))
            findings += [difference(store / file, Path(folder) / file) for file in _repeatable(export)]
    differences = [finding for finding in findings if finding]
    for line in differences:
        print(f'exports: {line}', file=sys.stderr)
    print(f'{len(findings) - len(differences)} of {len(findings)} files are, byte for byte, what the exporters make')
    return 1 if differences else 0


def _repeatable(export: Exported) -> list[Path]:
    """The files that come out the same each time. tf2onnx orders and names nodes differently from run to run."""
    files = exported_files(export)
    return [file for file in files if file.suffix == '.jsonl'] if export.exporter == 'tf2onnx' else files


def _in_processes(names: list[str], arguments: list[str]) -> int:
    """A process for each name: one that loads TensorFlow and PyTorch ends over the LLVM that each of them brings."""
    environment = {**os.environ, 'PYTHONHASHSEED': HASH_SEED}
    codes = [
        subprocess.run([sys.executable, __file__, *arguments, '--only', name], env=environment).returncode
        for name in names
    ]
    return 1 if any(codes) else 0


def _exporters(name: str) -> list[Callable[[], Exported]]:
    """The makers of one export, or of all of a library."""
    library = name.split('-')[0]
    if library not in LIBRARIES:
        raise ValueError(f'"{name}" begins with no library of {", ".join(LIBRARIES)}')
    known = importlib.import_module(LIBRARIES[library]).EXPORTERS
    chosen = {each: maker for each, maker in known.items() if name in (each, each.split('-')[0])}
    if not chosen:
        raise ValueError(f'there is no export "{name}"; of this kind there are {", ".join(known)}')
    return list(chosen.values())


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='exports.py', description='Makes real exported models for the tests.')
    parser.add_argument('--only', metavar='NAME', help='make this export alone, or those of a library: torch')
    parser.add_argument('--out', type=Path, default=STORE, help='the model store (default: test/fixtures/exports)')
    parser.add_argument('--check', action='store_true', help='write nothing, compare with what is there')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
