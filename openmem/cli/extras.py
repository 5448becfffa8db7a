"""Whether the packages of an extra are there: installed, and such that their modules can be found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_EXTRA = re.compile(r"""extra\s*==\s*["']([\w.-]+)["']""")


def missing(needing: Distribution, extras: Sequence[str]) -> list[str]:
    """Name the packages that an extra asks for and that are not installed."""
    return [name for name in _packages(needing, extras) if _installed(name) is None]


def broken(needing: Distribution, extras: Sequence[str]) -> list[str]:
    """Name the packages of an extra that are installed but for modules which cannot be found."""
    found = [(name, _installed(name)) for name in _packages(needing, extras)]
    return [name for name, package in found if package is not None and not all(map(_is_found, _modules(package)))]


def _packages(needing: Distribution, extras: Sequence[str]) -> list[str]:
    names = []
    for requirement in needing.requires or ():
        what, _, condition = requirement.partition(";")
        name, of = _NAME.match(what.strip()), _EXTRA.search(condition)
        if name and of and of[1] in extras:
            names.append(name[0])
    return names


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _modules(package: Distribution) -> Iterator[str]:
    """Name the modules that a package brings, as its list of files has them; none where it has no such list."""
    for file in package.files or ():
        if len(file.parts) == 2 and file.name == "__init__.py":
            yield file.parts[0]
        elif len(file.parts) == 1 and file.suffix in (".py", ".so", ".pyd"):
            yield file.name.partition(".")[0]


def _is_found(module: str) -> bool:
    """Tell whether a module can be imported; a folder that is left of it has no origin."""
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None
