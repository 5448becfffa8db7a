"""Clients: the sync and the async one are the same."""

from __future__ import annotations

import inspect
from typing import Any

from openmem._generated.verbs import VERBS
from openmem.client import AsyncMemory, Memory

from ..check import check
from ..harness import Harness


@check("SYN-1", "both clients have every verb with the same parameters")
async def have_the_same_verbs(h: Harness) -> None:
    """Compare the signatures of both clients and of their views for one user."""
    for verb in VERBS:
        plain, awaited = inspect.signature(getattr(Memory, verb)), inspect.signature(getattr(AsyncMemory, verb))
        h.require(plain == awaited, f"{verb} differs: {plain} / {awaited}")
    record = await h.add(h.own("fact"))
    h.require(await h.all_ids() == [record.id], "the client under test does not list what it added")


@check("SYN-1", "a view for one user answers as the client does for that user")
async def bind_to_a_user(h: Harness) -> None:
    """Add and read through for_user, beside another user's records."""
    await h.add(h.own("theirs"), h.other)
    view: Any = h.memory.bound(h.user)
    record = await view.add(h.own("mine"))
    await view.wait_for_ingest([record.id])
    both = [record.id, *await h.all_ids(h.other)]
    h.expect(h.ids(await view.list()), [record.id], among=both, what="list of the view")
    h.expect(h.ids(await view.search("mine theirs")), [record.id], among=both, what="search of the view")
    h.require((await view.get(record.id)).user_id == h.user, "get of the view answers another user")
