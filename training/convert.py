"""Turns the classic zip of a model (model.pkl, metadata.json, requirements.txt) into a bundle.

    python training/convert.py model.zip --name iris --version 1 --features a,b,c,d [--sample rows.csv] [--out models]

Needs Python alone: the packages that the zip pins, and the converters, are installed into an environment that goes when
the bundle is written.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from model_zip import ModelZip, ZipRefused, read_model_zip, unpack_pickle

WHY = """\
Opening a pickle runs whatever code its author, or whoever changed it since, put into it, and it opens only with the
versions that wrote it. So the worker never opens one: it serves ONNX, which is data. This command does open the pickle,
once, in a process and a Python environment of its own, which share your files and your network all the same:
convert only zips that you would run as programs."""

CONVERTERS = ('onnx', 'onnxruntime', 'skl2onnx')
# skl2onnx takes the converters of these libraries from there.
MORE_CONVERTERS = {'xgboost': 'onnxmltools', 'xgboost-cpu': 'onnxmltools', 'lightgbm': 'onnxmltools'}

FOLDER_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]*')
FEATURE = re.compile(r'([^.:,\s]+(?:\.[^.:,\s]+)*)(?::(number|string))?')


class Failed(Exception):
    """The conversion failed; the message says why and what to do."""


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code: 0 done, 1 failed, 2 wrong usage (by argparse)."""
    options = _parse(arguments)
    try:
        model_zip = read_model_zip(options.zip)
        bundle = options.out / options.name / options.version
        if bundle.exists():
            raise Failed(f'{bundle} is there already: give the model another --version')
        print(WHY, file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix='sluice-convert-') as folder:
            written = convert(model_zip, options, Path(folder))
            bundle.parent.mkdir(parents=True, exist_ok=True)
            _move(written, bundle)
    except (Failed, ZipRefused, OSError) as error:
        print(f'convert: {error}', file=sys.stderr)
        return 1
    print(f'{bundle} is written; look at it with: npm run -s sluice -- predict --model {options.name} ROW')
    return 0


def convert(model_zip: ModelZip, options: argparse.Namespace, folder: Path) -> Path:
    """Makes the bundle in `folder` and returns its path. Raises Failed, ZipRefused."""
    python = _environment(model_zip, options.python, folder / 'environment')
    job = folder / 'job'
    job.mkdir()
    request = {
        'pickle': str(unpack_pickle(model_zip, job)),
        'out': str(job / 'bundle'),
        'name': options.name,
        'version': options.version,
        'features': options.features,
        'sample': str(options.sample.resolve()) if options.sample else None,
        'tolerance': [options.absolute_tolerance, options.relative_tolerance],
        'training': {**model_zip.metadata, 'requirements': list(model_zip.requirements)},
    }
    (job / 'request.json').write_text(json.dumps(request), encoding='utf-8')
    child = Path(__file__).resolve().parent / 'convert_child.py'
    # -s: no packages of the user; what is imported is what the zip pins.
    run = subprocess.run([str(python), '-s', str(child), str(job / 'request.json')], cwd=job, env=_environ(job))
    if run.returncode != 0:
        raise Failed(f'nothing was written (the converting process ended with exit code {run.returncode}; see above)')
    return job / 'bundle'


def _environment(model_zip: ModelZip, python: str, folder: Path) -> Path:
    """A new virtual environment with the zip's pins and the converters; returns its interpreter."""
    print(f'installing {", ".join(model_zip.requirements)} and the converters; this takes a minute', file=sys.stderr)
    if python == sys.executable:
        venv.create(folder, with_pip=True)
    else:
        _run([python, '-m', 'venv', str(folder)], f'{python} cannot make a virtual environment')
    inside = folder / ('Scripts' if os.name == 'nt' else 'bin') / 'python'
    pins = folder / 'requirements.txt'
    pins.write_text('\n'.join(model_zip.requirements) + '\n', encoding='utf-8')
    names = {re.split(r'[\[=]', pin)[0].lower().replace('_', '-') for pin in model_zip.requirements}
    more = {MORE_CONVERTERS[name] for name in names if name in MORE_CONVERTERS}
    _run(
        # Wheels only: building a package runs its code, too.
        [str(inside), '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:']
        + ['-r', str(pins), *CONVERTERS, *sorted(more)],
        f'the pins of requirements.txt and the converters do not install together on {python}, as wheels; '
        'if they are of an older Python, name it with --python python3.9',
    )
    return inside


def _run(command: list[str], failure: str) -> None:
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        raise Failed(f'{failure}: {error}') from error
    if run.returncode != 0:
        raise Failed(f'{failure}:\n{run.stdout.strip()[-2000:]}')


def _environ(home: Path) -> dict[str, str]:
    """The variables of the converting process: whoever wrote the pickle need not learn passwords from the others."""
    kept = ('PATH', 'LANG', 'LC_ALL', 'TMPDIR', 'TEMP', 'TMP', 'SYSTEMROOT')
    return {'HOME': str(home), **{name: os.environ[name] for name in kept if name in os.environ}}


def _move(written: Path, bundle: Path) -> None:
    """Copies beside the place, then renames: a worker that looks sees the whole bundle or none."""
    beside = bundle.with_name(f'.{bundle.name}.{os.getpid()}')
    try:
        shutil.copytree(written, beside)
        beside.rename(bundle)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _features(text: str) -> list[dict]:
    features = []
    for part in text.split(','):
        match = FEATURE.fullmatch(part.strip())
        if not match:
            raise argparse.ArgumentTypeError(
                f'{part!r} is no feature: names are separated by commas, `:string` may follow one (country:string,age)'
            )
        features.append({'name': match[1], 'type': match[2]})
    names = [feature['name'] for feature in features]
    for name in names:
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f'"{name}" occurs twice')
    return features


def _folder_name(text: str) -> str:
    if not FOLDER_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f'"{text}": letters, digits, ".", "_" and "-", beginning with a letter or digit'
        )
    return text


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'{text} is no file')
    return Path(text)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='convert.py',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Turns a zip of model.pkl (pickle or joblib), metadata.json and requirements.txt into a bundle.',
        epilog=WHY,
    )
    parser.add_argument('zip', type=_file, help='the zip: exactly these three files, requirements.txt pinned by ==')
    parser.add_argument('--name', type=_folder_name, required=True, help='of the model')
    parser.add_argument('--version', type=_folder_name, required=True)
    parser.add_argument(
        '--features',
        type=_features,
        help='fields of the input records in the order of the columns: a,b,country:string '
        '(default: the columns of the DataFrame that the model was fitted on)',
    )
    parser.add_argument('--sample', type=_file, help='CSV with a header: rows for the golden samples, up to 50')
    parser.add_argument('--out', type=Path, default=Path('models'), help='the model store (default: models)')
    parser.add_argument('--python', default=sys.executable, help='the Python that requirements.txt is for')
    parser.add_argument('--absolute-tolerance', type=float, default=1e-5, help='of the golden samples (default: 1e-5)')
    parser.add_argument('--relative-tolerance', type=float, default=1e-4, help='the same (default: 1e-4)')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
