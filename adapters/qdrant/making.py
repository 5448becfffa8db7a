"""Turns among processes that make something in a folder."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import portalocker

from ..kit.folders import in_use
from ..kit.marker import MARKER
from .engine import SERVER

PATIENCE = 5.0
"""Seconds to wait for another process that makes something in the folder."""


@contextmanager
def alone_making(folder: Path) -> Iterator[None]:
    """Keep other processes from making anything in a folder; who waited finds what they made, or that it is theirs."""
    until = time.monotonic() + PATIENCE
    with (folder / MARKER).open("r+") as marker:
        while True:
            try:
                portalocker.lock(marker, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
                break
            except portalocker.AlreadyLocked as error:
                if time.monotonic() > until:
                    raise in_use(folder, SERVER) from error
            time.sleep(random.uniform(0.005, 0.015))  # noqa: S311  against two that wait alike
        try:
            yield
        finally:
            portalocker.unlock(marker)
