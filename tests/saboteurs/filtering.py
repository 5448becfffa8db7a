"""Saboteurs of what filters mean."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from openmem import InvalidRequestError
from openmem.protocol import filters

from .base import MemoryAdapter, but, plant


def _test(**tests: Any) -> AbstractContextManager[Any]:
    return mock.patch.dict(filters.TESTS, tests)


@plant("FIL-1", "FIL-2", "FIL-3")
class FilterIgnoredByList(MemoryAdapter):  # CaviraOSS #97
    async def list(self, request):
        return await super().list(but(request, filter=None))


@plant("FIL-5")
class FilterIgnoredBySearch(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, filter=None))


@plant("FIL-2")
def missing_never_differs():  # SQL: NULL <> 1 is not true
    return _test(ne=lambda stored, value: stored is not None and not filters.equal(stored, value))


@plant("FIL-2")
def missing_is_less():
    return _test(lt=lambda stored, value: stored is None or filters.ordered(lambda a, b: a < b)(stored, value))


@plant("FIL-3")
def numbers_as_text():
    return _test(gt=lambda stored, value: stored is not None and str(stored) > str(value))


@plant("FIL-3")
def numbers_by_float():
    return _test(eq=lambda a, b: filters.equal(float(a) if filters.is_number(a) else a, b))


@plant("FIL-3")
def true_is_one():
    return _test(eq=lambda stored, value: stored == value)


@plant("FIL-3")
def text_is_a_number():
    return _test(eq=lambda stored, value: stored is not None and str(stored) == str(value))


@plant("FIL-1")
def text_without_case():
    def equal(stored, value):
        return filters.equal(*(each.lower() if isinstance(each, str) else each for each in (stored, value)))

    return _test(eq=equal)


@plant("FIL-1")
def contains_by_element_only():
    return _test(contains=lambda stored, value: isinstance(stored, list) and value in stored)


@plant("FIL-1")
def or_is_and():
    return mock.patch.object(filters, "Either", filters.Every)


@plant("FIL-4")
def unknown_operators_are_dropped():
    right = filters.read_condition

    def condition(key, path, operator, value):
        try:
            return right(key, path, operator, value)
        except InvalidRequestError:
            return filters.Every(())

    return mock.patch.object(filters, "read_condition", condition)


@plant("FIL-6")
def values_as_patterns():
    def like(stored, value):
        if not (isinstance(stored, str) and isinstance(value, str)):
            return filters.contains(stored, value)
        return re.search(re.escape(value).replace("%", ".*").replace("_", "."), stored, re.DOTALL) is not None

    return _test(contains=like)


@plant("FIL-7")
def filters_of_any_size():
    return mock.patch.multiple(filters, MAX_FILTER_CONDITIONS=10**9, MAX_FILTER_BYTES=10**9)


@plant("FIL-7")
def fewer_conditions_than_declared():
    return mock.patch.object(filters, "MAX_FILTER_CONDITIONS", 400)
