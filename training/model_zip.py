"""The classic zip of a trained model: model.pkl, metadata.json, requirements.txt. Looks at all of it but the pickle.

Only the standard library: nothing in here may depend on what a zip brings along.
"""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

PICKLE, METADATA, REQUIREMENTS = 'model.pkl', 'metadata.json', 'requirements.txt'
NAMES = (PICKLE, METADATA, REQUIREMENTS)

# Of all three files, unpacked. A forest of a few thousand trees has this much; a zip bomb has more.
LARGEST_BYTES = 1024**3
# Of the two texts.
LARGEST_TEXT = 1024**2

# Distribution names and versions as PyPA's specifications have them, exactly one version, no options, no URLs.
_PIN = re.compile(
    r'(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?P<extras>\[[A-Za-z0-9._, -]+\])?\s*'
    r'==\s*(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)(?P<marker>\s*;[^#]+)?'
)


class ZipRefused(ValueError):
    """The zip is not what it should be; the message says what to do."""


@dataclass(frozen=True)
class ModelZip:
    """What the zip says of itself; the pickle is still in it, unopened."""

    file: Path
    metadata: dict
    requirements: tuple[str, ...]


def read_model_zip(file: Path) -> ModelZip:
    """Checks the zip and reads its two texts. Raises ZipRefused."""
    with _open(file) as archive:
        entries = _entries(file, archive)
        return ModelZip(
            file,
            _metadata(_text(archive, entries[METADATA])),
            parse_requirements(_text(archive, entries[REQUIREMENTS])),
        )


def unpack_pickle(model_zip: ModelZip, folder: Path) -> Path:
    """Writes the pickle into `folder`, under its fixed name, and returns its path. Raises ZipRefused."""
    target = folder / PICKLE
    with _open(model_zip.file) as archive:
        entry = _entries(model_zip.file, archive)[PICKLE]
        try:
            with archive.open(entry) as source, target.open('wb') as sink:
                _copy(source, sink, entry)
        except BadZipFile as error:
            raise ZipRefused(f'{model_zip.file}: {PICKLE} is damaged: {error}') from error
    return target


def parse_requirements(text: str) -> tuple[str, ...]:
    """The pins of a requirements.txt, as `name==version`, without comments. Raises ZipRefused at any other line."""
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        requirement = re.sub(r'(^|\s)#.*', '', line).strip()
        if not requirement:
            continue
        match = _PIN.fullmatch(requirement)
        if not match:
            raise ZipRefused(f'{REQUIREMENTS}, line {number}: {requirement!r} {_what_is_wrong(requirement)}')
        pins.append(f'{match["name"]}{match["extras"] or ""}=={match["version"]}{match["marker"] or ""}')
    if not pins:
        raise ZipRefused(f'{REQUIREMENTS} is empty: it must pin what the model was trained with (`pip freeze` says it)')
    return tuple(pins)


def _what_is_wrong(requirement: str) -> str:
    if requirement.startswith('-') or '--' in requirement:
        return 'is an option of pip; here are only lines like scikit-learn==1.9.1'
    if '://' in requirement or '@' in requirement:
        return 'names a place to install from; here are only lines like scikit-learn==1.9.1, from the package index'
    if '*' in requirement:
        return 'has a wildcard: write the one version that the model was trained with'
    return (
        'is not pinned: a pickle opens only with the versions that wrote it, so write scikit-learn==1.9.1 or the like'
    )


def _open(file: Path) -> ZipFile:
    try:
        return ZipFile(file)
    except (BadZipFile, OSError) as error:
        raise ZipRefused(f'{file} cannot be read as a zip: {error}') from error


def _entries(file: Path, archive: ZipFile) -> dict[str, ZipInfo]:
    """The three entries by name. Anything else in the zip, or one name twice, is refused, whatever it is."""
    entries: dict[str, ZipInfo] = {}
    for entry in archive.infolist():
        # A name with a slash, a backslash, a drive or dots can be none of the three.
        if entry.filename not in NAMES:
            raise ZipRefused(f'{file} holds {entry.filename!r}; a model zip holds {", ".join(NAMES)} and nothing else')
        if entry.filename in entries:
            raise ZipRefused(f'{file} holds {entry.filename} twice')
        mode = entry.external_attr >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise ZipRefused(f'{file}: {entry.filename} is no plain file (a link, for one); pack the file itself')
        if entry.flag_bits & 0x1:
            raise ZipRefused(f'{file}: {entry.filename} is encrypted')
        entries[entry.filename] = entry
    missing = [name for name in NAMES if name not in entries]
    if missing:
        raise ZipRefused(f'{file} has no {" and no ".join(missing)}; a model zip holds {", ".join(NAMES)}')
    if sum(entry.file_size for entry in entries.values()) > LARGEST_BYTES:
        raise ZipRefused(f'{file} unpacks to more than {LARGEST_BYTES} bytes')
    return entries


def _text(archive: ZipFile, entry: ZipInfo) -> str:
    if entry.file_size > LARGEST_TEXT:
        raise ZipRefused(f'{entry.filename} has {entry.file_size} bytes; at most {LARGEST_TEXT} are read')
    try:
        with archive.open(entry) as source:
            # What the directory of the zip says of the size need not be so.
            content = source.read(LARGEST_TEXT + 1)
    except BadZipFile as error:
        raise ZipRefused(f'{entry.filename} is damaged: {error}') from error
    if len(content) > LARGEST_TEXT:
        raise ZipRefused(f'{entry.filename} has more bytes than the zip says')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ZipRefused(f'{entry.filename} is not UTF-8: {error}') from error


def _copy(source, sink, entry: ZipInfo) -> None:
    left = entry.file_size
    while chunk := source.read(1024 * 1024):
        left -= len(chunk)
        if left < 0:
            raise ZipRefused(f'{entry.filename} has more bytes than the zip says')
        sink.write(chunk)


def _metadata(text: str) -> dict:
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise ZipRefused(f'{METADATA} is not valid JSON: {error}') from error
    if not isinstance(metadata, dict):
        raise ZipRefused(f'{METADATA} is {type(metadata).__name__}; expected an object')
    return metadata
