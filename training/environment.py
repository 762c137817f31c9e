"""The Python environment that a bundle is trained in: the exact pins of requirements.txt, or of another such file."""

from importlib import metadata
from pathlib import Path

REQUIREMENTS_FILE = Path(__file__).parent / 'requirements.txt'


def pinned_requirements(file: Path = REQUIREMENTS_FILE) -> list[str]:
    """The pins of a file as `name==version`, in its order, without comments; `-r` brings in the pins of another one."""
    pins = []
    for line in map(str.strip, file.read_text(encoding='utf-8').splitlines()):
        if line.startswith('-r '):
            pins += pinned_requirements(file.parent / line[3:].strip())
        elif line and not line.startswith('#'):
            pins.append(line)
    return pins


def require_pinned_environment(file: Path = REQUIREMENTS_FILE) -> None:
    """Raises RuntimeError that names every package whose installed version is not the pinned one."""
    wrong = []
    for requirement in pinned_requirements(file):
        name, pinned = requirement.split('==')
        installed = _installed_version(name)
        if installed != pinned:
            wrong.append(f'{name} is {installed or "not installed"}, expected {pinned}')
    if wrong:
        raise RuntimeError(
            f'this Python environment is not the pinned one ({"; ".join(wrong)}): '
            f'install it with `pip install -r training/{file.name}`'
        )


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
