"""Compares freshly trained files with the committed ones, byte for byte."""

from itertools import zip_longest
from pathlib import Path

_EXCERPT = 60


def difference(committed: Path, fresh: Path) -> str | None:
    """None if both files hold the same bytes, otherwise one line that says where the committed one differs."""
    if not committed.is_file():
        return f'{committed} is missing'
    old, new = committed.read_bytes(), fresh.read_bytes()
    if old == new:
        return None
    at = _first_difference(old, new)
    if committed.suffix == '.onnx':
        return f'{committed} differs from byte {at} on: it has {len(old)} bytes, the retrained model {len(new)}'
    line = old.count(b'\n', 0, at) + 1
    return f'{committed} differs in line {line}: {_excerpt(old, at)!r}, retrained: {_excerpt(new, at)!r}'


def _first_difference(old: bytes, new: bytes) -> int:
    return next(at for at, (was, now) in enumerate(zip_longest(old, new)) if was != now)


def _excerpt(content: bytes, at: int) -> str:
    """The part of the line that holds the byte `at`, from a little before it."""
    start = max(content.rfind(b'\n', 0, at) + 1, at - _EXCERPT // 2)
    end = content.find(b'\n', at)
    stop = min(len(content) if end < 0 else end, at + _EXCERPT // 2)
    return content[start:stop].decode(errors='replace').strip()
