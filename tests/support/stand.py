"""A small memory:// whose changes are interrupted, and what must be true of it afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from openmem import Memory
from openmem.adapters import memory as adapter
from openmem.adapters.memory.indexes import UserIndex
from openmem.embedding.testing import WordEmbedder
from openmem.runtime import bridge
from support.interrupts import Countdown, at_bytecodes, at_calls
from support.stores import everything

VERBS = ("add", "update", "delete", "add_many", "supersede")
LOCKING = {"transact", "transact_in_turn"}
"""Functions that take and release a lock: there CPython itself sees to it that no signal comes between."""
Way = Callable[[int | None], AbstractContextManager[Countdown]]
Change = tuple[Callable[[], Any], int]
"""What makes a change, and how many entries of the audit log it is worth."""


def traced(frame: FrameType) -> bool:
    path = Path(frame.f_code.co_filename)
    return path.is_relative_to(Path(adapter.__file__).parent.parent) and frame.f_code.co_name not in LOCKING


WAYS: dict[str, Way] = {"calls": at_calls, "bytecodes": lambda at: at_bytecodes(at, traced)}


class Stand:
    """A small store, what is in it, and the changes that are interrupted."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.memory = Memory("memory://?audit_limit=1000000", embedder="test:16")
        self.fresh = 0
        self.changes = 0
        self.memory.add("never in the way", "other", external_id="e")
        self.refill()
        for verb in VERBS:  # what a process does once is done
            self.refill()
            self.do(getattr(self, verb)())

    def content(self) -> str:
        self.fresh += 1
        return f"word{self.fresh} shared tea {self.fresh % 3}"

    def records(self) -> list[Any]:
        return everything(self.memory, "u")

    def add(self) -> Change:
        content = self.content()
        return lambda: self.memory.add(content, "u", external_id=content, metadata={"k": [1]}), 1

    def update(self) -> Change:
        record, content = self.chance.choice(self.records()), self.content()
        return lambda: self.memory.update(record.id, content=content, tags=[content]), 1

    def delete(self) -> Change:
        record = self.chance.choice(self.records())
        return lambda: self.memory.delete(record.id), 1

    def add_many(self) -> Change:
        contents = [self.content() for _ in range(5)]
        return lambda: self.memory.add_many([{"content": each} for each in contents], user_id="u"), 5

    def supersede(self) -> Change:
        free = [record.id for record in self.records() if record.superseded_by is None]
        content = self.content()
        return lambda: self.memory.add(content, "u", supersedes=free[:2]), 1

    def do(self, change: Change) -> None:
        change[0]()
        self.changes += change[1]

    def refill(self) -> None:
        """Keep the store at a handful of records, whatever the interrupts left of it."""
        records = self.records()
        for record in records[8:]:
            self.memory.delete(record.id)
            self.changes += 1
        for _ in range(4 - len(records)):
            self.do(self.add())

    def state(self) -> dict[str, Any]:
        return {record.id: record for record in self.records()}

    def logged(self) -> int:
        log = self.memory.adapter.store.logs["u"]  # type: ignore[attr-defined]
        return sum(entry.action != "list" for entry in log)


def check(stand: Stand, before: dict[str, Any], verb: str) -> bool:
    """Hold the store against what it was; return whether the change took place."""
    after = stand.state()
    whole = after != before
    if verb in ("add", "supersede"):
        assert len(after) - len(before) == int(whole)
    elif verb == "add_many":
        assert len(after) - len(before) == 5 * int(whole)
    elif verb == "delete":
        assert len(before) - len(after) == int(whole)
    else:
        assert after.keys() == before.keys()
    for record in after.values():
        for each in record.supersedes or ():
            assert after[each].superseded_by == record.id
        if record.superseded_by is not None:
            assert record.id in (after[record.superseded_by].supersedes or ())
    return whole


def indexed(user: UserIndex) -> Any:
    """Write an index down so that two can be compared, whatever the order in which they were made."""
    postings = {term: {key: user.least[key]} if isinstance(key, str) else key for term, key in user.postings.items()}
    return user.order, user.external, postings, user.least, user.weight


def hold_indexes(memory: Memory) -> None:
    """Hold the indexes of every user against such as are made anew of the records."""
    store = memory.adapter.store  # type: ignore[attr-defined]
    embedder = WordEmbedder(dimension=16)
    for user_id in ("u", "other"):
        user, anew = store.users[user_id], UserIndex(16)
        for record in everything(memory, user_id):
            anew.add(store.memories[record.id], user.vector(record.id))
            [vector] = bridge.step(embedder.embed([record.content]))
            assert np.allclose(user.vector(record.id), vector, atol=1e-6)
        assert indexed(user) == indexed(anew)
        assert sorted(user.index.keys) == sorted(anew.index.keys) == sorted(user.index.row_of)
        assert all(user.index.keys[row] == key for key, row in user.index.row_of.items())
    assert len(store.memories) == sum(len(user.order) for user in store.users.values())


def interrupt(stand: Stand, verb: str, way: Way) -> bool:
    """Interrupt one verb at a moment drawn; return whether the interrupt came."""
    stand.refill()
    change = getattr(stand, verb)()
    with way(None) as count:
        stand.do(change)
    stand.refill()
    change, before = getattr(stand, verb)(), stand.state()
    came = False
    try:
        with way(stand.chance.randint(1, count.seen)):
            change[0]()
    except KeyboardInterrupt:
        came = True
    if check(stand, before, verb):
        stand.changes += change[1]
    assert stand.logged() == stand.changes
    return came
