"""What errors of a change say of what was written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from openmem.errors import OMPError, ProviderUnavailableError


def says(error: OMPError, left: Collection[str]) -> OMPError:
    """Have an error say what was written: of a request without an answer nobody knows."""
    if left:
        error.written = "part"
    elif not isinstance(error, ProviderUnavailableError):
        error.written = "nothing"
    return error


@contextmanager
def nothing_written() -> Iterator[None]:
    """Have errors say that no memory was changed."""
    try:
        yield
    except OMPError as error:
        error.written = "nothing"
        raise
