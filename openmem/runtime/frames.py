"""Keeps what a caller gave out of the frames that a report of an error shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..errors import OMPError

Made = TypeVar("Made")
Given = ParamSpec("Given")


def without_locals(make: Callable[Given, Made]) -> Callable[Given, Made]:
    """Let what is raised show no frame that holds what was given: some reports print the variables of each."""

    @wraps(make)
    def made(*arguments: Given.args, **options: Given.kwargs) -> Made:
        try:
            return make(*arguments, **options)
        except OMPError as error:
            failure = error.with_traceback(None)
        del arguments, options
        raise failure

    return made
