"""A store in memory in which changes are worked out before they are written, all at once, to a remote engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from openmem._generated.models import AddRequest, DeleteRequest, MemoryRecord, UpdateRequest

from .audit import Entry
from .changes import linked
from .store import Logged

Change = AddRequest | UpdateRequest | DeleteRequest
Key = tuple[str, str]
"""user_id and external_id."""


class Wanted(NamedTuple):
    """Records to read: by id, and by user and external_id."""

    ids: frozenset[str] = frozenset()
    keys: frozenset[Key] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.ids or self.keys)


class Unread(Exception):
    """A rule needs a record that was not read; once it is, the rule runs again from its beginning."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted)
        self.wanted = wanted


class Staging:
    """Records as they were read, and what becomes of them; a Records for the rules."""

    def __init__(self) -> None:
        self._now: dict[str, MemoryRecord | None] = {}
        self._keys: dict[Key, str | None] = {}
        self.read: dict[str, MemoryRecord] = {}
        """The stored state of what was read."""
        self.inserted: dict[str, MemoryRecord] = {}
        self.replaced: dict[str, MemoryRecord] = {}
        self.removed: dict[str, MemoryRecord] = {}
        self.vectors: dict[str, Sequence[float]] = {}
        """New vectors, by id: of what is inserted, and of what is replaced where its content is new."""
        self.entries: list[Entry] = []
        self.reads: Sequence[Entry] = ()
        """The first of the entries: of reads, kept back; those of users forgotten since are not to be stored."""
        self.erased: set[str] = set()
        """Of what is removed, that of which nothing may be kept, whatever the engine keeps of what it removes."""

    def learn(self, wanted: Wanted, found: Iterable[MemoryRecord]) -> None:
        """Take in what was found of the wanted records; the rest does not exist."""
        records = {memory.id: memory for memory in found if memory.id not in self._now}
        self.read.update(records)
        self._now.update(dict.fromkeys(wanted.ids - self._now.keys()))
        self._now.update(records)
        self._keys.update(dict.fromkeys(wanted.keys))
        self._keys.update({(m.user_id, m.external_id): m.id for m in records.values() if m.external_id is not None})

    def neighbours(self) -> Wanted:
        """Name the links of what was read that were not read themselves."""
        ids = {each for memory in self.read.values() for each in linked(memory)}
        return Wanted(frozenset(ids - self._now.keys()))

    def get(self, memory_id: str) -> MemoryRecord | None:
        """Return a record; Unread where it was not read yet."""
        try:
            return self._now[memory_id]
        except KeyError:
            raise Unread(Wanted(ids=frozenset([memory_id]))) from None

    def by_external_id(self, user_id: str, external_id: str) -> MemoryRecord | None:
        """Return the record that has a user's external_id; Unread where it was not asked for yet."""
        key = (user_id, external_id)
        if key not in self._keys:
            raise Unread(Wanted(keys=frozenset([key])))
        memory_id = self._keys[key]
        return self._now[memory_id] if memory_id is not None else None

    def insert(self, memory: MemoryRecord, vector: Sequence[float] | None) -> None:
        """Stage a new record."""
        self._now[memory.id] = self.inserted[memory.id] = memory
        if memory.external_id is not None:
            self._keys[memory.user_id, memory.external_id] = memory.id
        if vector is not None:
            self.vectors[memory.id] = vector

    def replace(self, old: MemoryRecord, new: MemoryRecord, vector: Sequence[float] | None) -> None:
        """Stage a changed record."""
        self._now[new.id] = new
        (self.inserted if new.id in self.inserted else self.replaced)[new.id] = new
        if vector is not None:
            self.vectors[new.id] = vector

    def remove(self, memory: MemoryRecord) -> None:
        """Stage the end of a record."""
        self._now[memory.id] = None
        if memory.external_id is not None:
            self._keys[memory.user_id, memory.external_id] = None
        self.vectors.pop(memory.id, None)
        self.replaced.pop(memory.id, None)
        if self.inserted.pop(memory.id, None) is None:
            self.removed[memory.id] = memory

    def hand_out(self, memory: MemoryRecord) -> MemoryRecord:
        """Return the record itself: nothing is kept here."""
        return memory

    def log_reads(self, reads: Sequence[Entry]) -> None:
        """Stage the entries of reads that were kept back, before any other, or what is left of them."""
        self.entries[: len(self.reads)] = reads
        self.reads = reads

    def log(self, user_id: str, entry: Logged) -> None:
        """Stage an audit entry."""
        self.entries.append((user_id, entry))


def wanted(changes: Iterable[Change]) -> Wanted:
    """Name what a number of changes is known to need before any of them is worked out."""
    ids: set[str] = set()
    keys: set[Key] = set()
    for change in changes:
        if change.external_id is not None:
            keys.add((change.user_id or "", change.external_id))
        elif not isinstance(change, AddRequest):
            ids.add(change.id or "")
        if not isinstance(change, DeleteRequest):
            ids.update(change.supersedes or ())
    return Wanted(frozenset(ids), frozenset(keys))
