"""What became of a batch: the results of its items in order, what failed of them, and one error for all of it."""

from __future__ import annotations

from typing import NamedTuple

from .._generated.models import BatchResult, ErrorDetail
from ..errors import Written, from_detail


class Failed(NamedTuple):
    """The result of an item that failed, and the place of the item in its batch, counted from 0."""

    place: int
    result: BatchResult


class BatchResults(list[BatchResult]):
    """One result an item, in order: a list that also says what failed."""

    @property
    def ids(self) -> list[str]:
        """The ids of the items that were done, in order."""
        return [result.id for result in self if result.error is None and result.id is not None]

    @property
    def failed(self) -> list[Failed]:
        """The results with errors, each with its place."""
        return [Failed(place, result) for place, result in enumerate(self) if result.error is not None]

    def raise_for_errors(self) -> None:
        """Raise one error where items failed: of the kind of the first, naming it and how many there are.

        Its `written` is of the whole batch: part where other items were done.
        """
        errors = [(place, result.error) for place, result in enumerate(self) if result.error is not None]
        if not errors:
            return
        place, first = errors[0]
        told = f"{len(errors)} of {len(self)} items failed; the first is item {place}: {first.message}"
        error = from_detail(first.model_copy(update={"message": told}))
        error.written = self._written([detail for _, detail in errors])
        raise error

    def _written(self, errors: list[ErrorDetail]) -> Written:
        if len(errors) < len(self):
            return "part"
        said = {from_detail(detail).written for detail in errors}
        return "nothing" if said == {"nothing"} else "part" if "part" in said else "perhaps"
