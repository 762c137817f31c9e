"""What convert.py refuses before it opens or installs anything: python training/test_model_zip.py.

Standard library only.
"""

from __future__ import annotations

import contextlib
import io
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import convert
import model_zip
from model_zip import ZipRefused, parse_requirements, read_model_zip, unpack_pickle

GOOD = {
    'model.pkl': b'never opened',
    'metadata.json': b'{"dataset": "iris"}',
    'requirements.txt': b'scikit-learn==1.9.1\n',
}


class ZipTest(unittest.TestCase):
    """Each test has a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / 'model.zip'

    def write(self, entries) -> Path:
        with ZipFile(self.file, 'w', ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return self.file

    def refused(self, entries, message: str) -> None:
        with self.assertRaisesRegex(ZipRefused, message):
            read_model_zip(self.write(entries))


class Contents(ZipTest):
    def test_reads_the_texts_and_leaves_the_pickle_alone(self) -> None:
        found = read_model_zip(self.write(GOOD.items()))
        self.assertEqual(found.metadata, {'dataset': 'iris'})
        self.assertEqual(found.requirements, ('scikit-learn==1.9.1',))
        self.assertEqual(unpack_pickle(found, self.folder).read_bytes(), b'never opened')

    def test_each_file_must_be_there(self) -> None:
        for name in GOOD:
            rest = [item for item in GOOD.items() if item[0] != name]
            self.refused(rest, f'model.zip has no {name}; a model zip holds')

    def test_nothing_else_may_be_there_wherever_it_would_go(self) -> None:
        for name in (
            '../model.pkl',
            '/etc/model.pkl',
            'C:\\model.pkl',
            'a/model.pkl',
            'sub/',
            'notes.txt',
            '..',
            './model.pkl',
        ):
            self.refused([*GOOD.items(), (name, b'x')], 'and nothing else')
        self.assertEqual([each.name for each in self.folder.iterdir()], ['model.zip'])

    def test_one_name_twice(self) -> None:
        with self.assertWarns(UserWarning):
            self.refused([*GOOD.items(), ('model.pkl', b'another')], 'holds model.pkl twice')

    def test_a_link(self) -> None:
        link = ZipInfo('model.pkl')
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        rest = [item for item in GOOD.items() if item[0] != 'model.pkl']
        self.refused([*rest, (link, b'/etc/passwd')], 'model.pkl is no plain file')

    def test_sizes(self) -> None:
        with mock.patch.object(model_zip, 'LARGEST_BYTES', 1000):
            self.refused([*GOOD.items()][1:] + [('model.pkl', bytes(1001))], 'unpacks to more than 1000 bytes')
        with mock.patch.object(model_zip, 'LARGEST_TEXT', 10):
            self.refused(GOOD.items(), r'(metadata\.json|requirements\.txt) has \d+ bytes; at most 10')

    def test_a_size_that_is_not_true(self) -> None:
        content = bytes(200_000)
        self.write([('model.pkl', content), *[*GOOD.items()][1:]])
        found = read_model_zip(self.file)
        # What both headers of the entry say of its size, made smaller.
        zipped = self.file.read_bytes().replace(len(content).to_bytes(4, 'little'), (100).to_bytes(4, 'little'))
        self.file.write_bytes(zipped)
        with self.assertRaises(ZipRefused):
            unpack_pickle(found, self.folder)

    def test_no_zip_at_all_and_texts_that_are_none(self) -> None:
        self.file.write_bytes(b'PK? no')
        with self.assertRaisesRegex(ZipRefused, 'cannot be read as a zip'):
            read_model_zip(self.file)
        for content, message in (
            (b'{', 'not valid JSON'),
            (b'[]', 'is list; expected an object'),
            (b'\xff', 'not UTF-8'),
        ):
            self.refused({**GOOD, 'metadata.json': content}.items(), message)


class Requirements(unittest.TestCase):
    def test_pins(self) -> None:
        text = '# made by pip freeze\n\nscikit-learn==1.9.1  # trees\nxgboost[pandas] == 3.2.0\n'
        text += 'numpy==2.4.6+local.1;python_version>"3"\n'
        pins = ('scikit-learn==1.9.1', 'xgboost[pandas]==3.2.0', 'numpy==2.4.6+local.1;python_version>"3"')
        self.assertEqual(parse_requirements(text), pins)

    def test_what_is_not_pinned_or_comes_from_elsewhere(self) -> None:
        cases = {
            'scikit-learn': 'is not pinned',
            'scikit-learn>=1': 'is not pinned',
            'scikit-learn==1.*': 'wildcard',
            'a==1,<2': 'is not pinned',
            '-r other.txt': 'option of pip',
            '--index-url https://example.com': 'option of pip',
            '-e .': 'option of pip',
            'a==1 --hash=sha256:00': 'option of pip',
            'a @ https://example.com/a.whl': 'place to install from',
            'git+https://example.com/a': 'place to install from',
            './a.whl': 'is not pinned',
            '': 'is empty',
        }
        for text, message in cases.items():
            with self.subTest(text), self.assertRaisesRegex(ZipRefused, message):
                parse_requirements(f'{text}\n')


class Command(ZipTest):
    def run_command(self, *arguments: str) -> tuple[int, str]:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = convert.main([*arguments, '--out', str(self.folder / 'models')])
            except SystemExit as end:
                code = end.code
        return code, errors.getvalue()

    def test_wrong_usage_ends_with_2(self) -> None:
        file = str(self.write(GOOD.items()))
        for arguments, message in (
            ((file, '--version', '1'), 'required: --name'),
            ((file, '--name', '../up', '--version', '1'), 'beginning with a letter or digit'),
            ((file, '--name', 'a', '--version', '1', '--features', 'a,,b'), 'is no feature'),
            ((file, '--name', 'a', '--version', '1', '--features', 'a,b,a'), '"a" occurs twice'),
            ((file, '--name', 'a', '--version', '1', '--features', 'a:date'), 'is no feature'),
            ((file + 'x', '--name', 'a', '--version', '1'), 'is no file'),
        ):
            code, errors = self.run_command(*arguments)
            self.assertEqual((code, message in errors), (2, True), errors)

    def test_a_bundle_that_is_there_is_left_alone_and_nothing_is_installed(self) -> None:
        there = self.folder / 'models' / 'iris' / '1'
        there.mkdir(parents=True)
        file = str(self.write(GOOD.items()))
        with mock.patch.object(convert.subprocess, 'run', side_effect=AssertionError('nothing may run')):
            code, errors = self.run_command(file, '--name', 'iris', '--version', '1')
        self.assertEqual((code, 'another --version' in errors), (1, True), errors)

    def test_a_zip_that_is_refused_runs_nothing(self) -> None:
        file = str(self.write({**GOOD, 'requirements.txt': b'scikit-learn\n'}.items()))
        with mock.patch.object(convert.subprocess, 'run', side_effect=AssertionError('nothing may run')):
            code, errors = self.run_command(file, '--name', 'iris', '--version', '1')
        self.assertEqual((code, 'is not pinned' in errors), (1, True), errors)

    def test_the_help_says_why_the_worker_opens_no_pickle(self) -> None:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), self.assertRaises(SystemExit):
            convert.main(['--help'])
        self.assertIn('the worker never opens one', printed.getvalue())
        self.assertIn('convert only zips that you would run as programs', printed.getvalue())


if __name__ == '__main__':
    unittest.main(verbosity=1 if sys.stdout.isatty() else 2)
