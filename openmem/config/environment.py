"""Variables of the environment that configure a client: OPENMEM_ and the name of an option."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Collection, Iterable
from functools import cache

PREFIX = "OPENMEM_"
NOT_OPTIONS = {"profile", "config", "user"}
"""These choose a profile, its file, and the command's user."""
_LINK = re.compile(r"(_SERVICE_(HOST|PORT)(_\w+)?|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")
"""What Kubernetes and Docker call the variables of a service, which may be named like us."""
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_NEAR, _NEAR_SHORT, _SHORT = 0.8, 0.66, 4  # how alike names are; of names with so few letters

logger = logging.getLogger("openmem")


def variables() -> dict[str, str]:
    """Gather the variables that may be options, by the option's name; an empty one counts as not set."""
    found = {name.removeprefix(PREFIX).lower(): text for name, text in os.environ.items() if name.startswith(PREFIX)}
    return {
        name: text
        for name, text in found.items()
        if text and name not in NOT_OPTIONS and not (name == "port" and _ADDRESS.match(text))
    }


def variable(option: str) -> str:
    """Name the variable of an option."""
    return f"{PREFIX}{option.upper()}"


def warn_of_near_misses(names: Iterable[str], known: Collection[str]) -> None:
    """Warn, once in this process, of each name that is nearly one of the known; others are somebody else's."""
    known = sorted({*known, *NOT_OPTIONS})
    for name in names:
        cutoff = _NEAR_SHORT if len(name) <= _SHORT else _NEAR
        near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
        if near and not _LINK.search(variable(name)):
            warn_once(f"{variable(name)} is not read; did you mean {variable(near[0])}?")


def warn_of_unused(option: str, why: str) -> None:
    """Warn, once in this process, that the variable of an option is of no effect."""
    warn_once(f"{variable(option)} is not used: {why}.")


@cache
def warn_once(message: str) -> None:
    """Log a warning, unless this process did."""
    logger.warning(message)
