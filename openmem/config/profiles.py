"""Profiles: the file openmem.toml, found, read, and its ${VARIABLES} put in."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from ..urls import redact

FILE = "openmem.toml"
PLACE = "OPENMEM_CONFIG"
"""The variable that names the file."""
_KEYS = ("default", "profiles")
_PLAIN = re.compile(r"[a-z_]{1,20}")
_NO_VARIABLE = re.compile(r"\$\{(?!\w+\})|^\$[A-Z_][A-Z0-9_]*$")
"""What means a variable to a shell, and not here."""


class Profile(NamedTuple):
    """The options of one profile, and the folder that its relative paths begin in."""

    options: dict[str, Any]
    folder: Path | None


def read_profile(profile: str | None, path: str | Path | None = None) -> Profile:
    """Read one profile of openmem.toml; None means its `default`. ${NAME} in a text is an environment variable.

    The file is the one OPENMEM_CONFIG names, else openmem.toml in this folder or the nearest above. Raises
    ConfigurationError, which quotes no value.
    """
    if profile is not None and (not isinstance(profile, str) or not profile.strip()):
        raise ConfigurationError("the name of the profile is no text, or blank.", remedy="Name one, or leave it out.")
    file = expanded(Path(path)) if path else _find_file()
    if file is None:
        if profile is None:
            return Profile({}, None)
        remedy = f"Write one, or set {PLACE}."
        raise ConfigurationError(f"no {FILE} is found for profile '{redact(profile)}'.", remedy=remedy)
    document = _parsed(file)
    _check_keys(document, file)
    profiles = document.get("profiles", {})
    name = profile or document.get("default")
    if name is None:
        return Profile({}, None)
    if not isinstance(name, str) or not isinstance(profiles, dict):
        raise ConfigurationError(
            f"{file.name} is not as expected.", remedy="Write default = 'NAME' and a table [profiles.NAME]."
        )
    if name not in profiles:
        near = difflib.get_close_matches(name, list(profiles), n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        remedy = f"{hint}It has: {', '.join(profiles)}."
        raise ConfigurationError(f"{file.name} has no profile '{redact(name)}'.", remedy=remedy)
    if not isinstance(profiles[name], dict):
        raise ConfigurationError(f"{file.name}: profile '{name}' is no table.", remedy=f"Write [profiles.{name}].")
    options = {key: _substituted(value, file) for key, value in profiles[name].items()}
    return Profile(options, file.absolute().parent)


def expanded(path: Path) -> Path:
    """Replace ~ at the start of a path by the home folder; ConfigurationError where there is none."""
    try:
        return path.expanduser()
    except RuntimeError:
        home = path.parts[0]
    raise ConfigurationError(f"there is no home folder {home}.", remedy="Write the path without '~'.")


def _check_keys(document: Mapping[str, Any], file: Path) -> None:
    """Refuse what stands outside of the profiles, where nothing would read it."""
    for name in document.keys() - _KEYS:
        near = difflib.get_close_matches(name, _KEYS, n=1)
        what = f"'{name}'" if near or _PLAIN.fullmatch(name) else "a name"
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise ConfigurationError(
            f"{file.name} has {what} at its top, which is not read.",
            remedy=f"{hint}Write options under [profiles.NAME], and default = 'NAME' above.",
        )


def _find_file() -> Path | None:
    named = os.environ.get(PLACE)
    if named:
        return expanded(Path(named))
    try:
        here = Path.cwd()
    except OSError:  # the folder was deleted under us
        return None
    return next((folder / FILE for folder in (here, *here.parents) if (folder / FILE).is_file()), None)


def _parsed(file: Path) -> dict[str, Any]:
    """Parse a file; what the parser says is not passed on, for it quotes what it read."""
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        fault, remedy = f"cannot be read: {error.strerror}", "Correct the file's name or its rights."
    except UnicodeDecodeError:
        fault, remedy = "is not UTF-8", "Save it as UTF-8."
    except RecursionError:
        fault, remedy = "is nested too deeply", "Correct the file."
    except ValueError as error:
        place = re.search(r"line \d+, column \d+|end of document", str(error))
        where = f" at {place[0]}" if place else ""
        fault, remedy = f"is not TOML{where}", "Correct it there: text stands in quotes, and no name is given twice."
    raise ConfigurationError(f"{file.name} {fault}.", remedy=remedy)


def _substituted(value: Any, file: Path) -> Any:
    """Put the environment's values for ${NAME}, in tables and lists too."""
    if isinstance(value, dict):
        return {name: _substituted(each, file) for name, each in value.items()}
    if isinstance(value, list):
        return [_substituted(each, file) for each in value]
    if not isinstance(value, str):
        return value
    if _NO_VARIABLE.search(value):  # of a password nothing is quoted
        remedy = "Write ${NAME}, and no more within the braces; a text that has such signs comes from a variable too."
        raise ConfigurationError(f"{file.name} names a variable otherwise than as ${{NAME}}.", remedy=remedy)
    return re.sub(r"\$\{(\w+)\}", lambda match: _variable(match[1], file), value)


def _variable(name: str, file: Path) -> str:
    if name not in os.environ:
        raise ConfigurationError(f"{file.name} names ${{{name}}}, which is not set.", remedy="Set the variable.")
    return os.environ[name]
