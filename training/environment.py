"""The Python environment that a bundle is trained in: the exact pins of requirements.txt."""

from importlib import metadata
from pathlib import Path

REQUIREMENTS_FILE = Path(__file__).parent / 'requirements.txt'


def pinned_requirements() -> list[str]:
    """The pins of requirements.txt as `name==version`, in the order of the file, without comments."""
    lines = (line.strip() for line in REQUIREMENTS_FILE.read_text(encoding='utf-8').splitlines())
    return [line for line in lines if line and not line.startswith('#')]


def require_pinned_environment() -> None:
    """Raises RuntimeError that names every package whose installed version is not the pinned one."""
    wrong = []
    for requirement in pinned_requirements():
        name, pinned = requirement.split('==')
        installed = _installed_version(name)
        if installed != pinned:
            wrong.append(f'{name} is {installed or "not installed"}, expected {pinned}')
    if wrong:
        raise RuntimeError(
            f'this Python environment is not the pinned one ({"; ".join(wrong)}): '
            'install it with `pip install -r training/requirements.txt`'
        )


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
