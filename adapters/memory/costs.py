"""How long a request to memory:// may take: rough, but enough to tell a few milliseconds from many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openmem._generated import models
from openmem.protocol.validation import count_values

LONG = 2000
"""Microseconds beyond which work on memory:// leaves the event loop."""
CHANGE = 25
"""Microseconds that it takes to store and index a small memory; to test or copy one takes about one."""
READ = 10
"""Microseconds that it takes to answer one of many that are read."""
Named = Callable[[Mapping[str, Any]], models.MemoryRecord | None]


def cost(request: Any, memory: models.MemoryRecord | None, user: int, log: int) -> int:
    """Estimate the microseconds of a request other than add, which takes its own weight, and get, its memory's.

    memory: the one whose id it names; user: the weight of all the user's memories; log: the entries of the user's log.
    """
    kind = type(request)  # isinstance takes longer with these classes than all the rest of this
    about = 0 if memory is None else weight(memory)
    if kind is models.UpdateRequest:
        return CHANGE * (about + weight(request))
    if kind is models.DeleteRequest:
        return CHANGE * about
    if kind is models.AddManyRequest:
        many = len(request.items) > LONG // CHANGE
        return CHANGE * (len(request.items) if many else sum(map(weight, request.items)))
    if kind is models.DeleteManyRequest:
        return CHANGE * len(request.ids)
    if kind is models.EraseRequest:
        return user if request.dry_run else CHANGE * user
    return log if kind is models.AuditRequest else user


def long_update(request: models.UpdateManyRequest, named: Named) -> bool:
    """Tell whether changing many takes long; named: finds the memory that fields name, whose weight counts too."""
    items = request.items
    if len(items) > LONG // CHANGE:
        return True
    memories = [named(item.__dict__) for item in items]
    return CHANGE * (sum(map(weight, items)) + sum(weight(each) for each in memories if each)) > LONG


def long_read(request: models.GetManyRequest, named: Named) -> bool:
    """Tell whether reading many takes long."""
    one, names = ("id", request.ids) if request.ids is not None else ("external_id", request.external_ids or [])
    if len(names) > LONG // READ:
        return True
    memories = [named({one: each, "user_id": request.user_id}) for each in names]
    return READ * len(names) + sum(weight(each) for each in memories if each) > LONG


def weight(item: models.MemoryRecord | models.AddRequest | models.UpdateRequest) -> int:
    """Estimate how many small memories one weighs, by the length of its content and the values in what is nested."""
    found = 1 + len(item.content or "") // 1000
    if item.metadata:
        found += _values(item.metadata) // 4
    if item.__pydantic_extra__:
        found += _values(item.__pydantic_extra__) // 4
    source = item.__dict__.get("source")
    if source is not None and source.__pydantic_extra__:
        found += _values(source.__pydantic_extra__) // 4
    return found


def _values(value: Any) -> int:
    return count_values(value, 4 * LONG)
