"""Erasing in several steps: how many memories are erased, also where it ends half-way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .._generated.models import BatchResponse
from ..errors import OMPError, ProviderError, from_detail

REMEDY = "Erase again: it goes on with the rest."


def count_erased(answers: BatchResponse, before: int = 0) -> int:
    """Count what deletions erased; what was gone already does not count, and is no failure.

    before: memories erased by earlier steps. Raises the first failure, which says how many are erased together.
    """
    count = sum(1 for each in answers.results if each.id is not None and each.error is None)
    failures = (each.error for each in answers.results if each.error is not None and each.error.code != "not_found")
    failure = next(failures, None)
    if failure is not None:
        raise stopped(from_detail(failure), before + count)
    return count


def stopped(error: OMPError, count: int) -> OMPError:
    """Have an error say how many memories were erased before it."""
    if count:
        error.message = f"{count} memories are erased, the others not: {error.message}"
        error.args, error.remedy, error.written = (error.message,), REMEDY, "part"
    return error


@contextmanager
def part_written(count: int) -> Iterator[None]:
    """Have an error within the block say how many memories were erased before it."""
    try:
        yield
    except OMPError as error:
        raise stopped(error, count) from error.__cause__
    except Exception as error:
        if not count:
            raise
        raise stopped(ProviderError(f"the provider failed with {type(error).__name__}."), count) from error
