"""The file in a folder that says which engine the folder belongs to: written whole, or not at all."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

MARKER = ".openmem"
"""Its name."""
_WHOLE = re.compile(rb"[a-z0-9+_-]+\r?\n")


def engine_of(folder: Path) -> str | None:
    """Read it; None where there is none, or one that a machine left empty or torn when it went down."""
    try:
        written = (folder / MARKER).read_bytes()
    except FileNotFoundError:
        return None
    return written.decode().strip() if _WHOLE.fullmatch(written) else None


def mark(folder: Path, engine: str, mode: int) -> None:
    """Write it to the disk, unless another process did: of two engines that come at once one is refused."""
    marker = folder / MARKER
    whole = folder / f"{MARKER}.{os.urandom(4).hex()}"
    with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(f"{engine}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    try:
        marker.hardlink_to(whole)
    except FileExistsError:
        if engine_of(folder) is None:
            whole.replace(marker)
    except OSError:  # a file system without links
        whole.replace(marker)
    whole.unlink(missing_ok=True)
    _keep(folder)


def _keep(folder: Path) -> None:
    """Have the disk keep the names in a folder, where the system can."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
