"""The store of records that a backend provides for the shared verbs, and audit entries as it keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from openmem.protocol import cursors
from openmem.types import AuditRequest, AuditResponse, ListRequest, MemoryRecord, Stats

from .search import Source
from .vectors import Floats


class Logged(NamedTuple):
    """An audit entry as it is kept: the fields of AuditEntry."""

    timestamp: datetime
    app: str | None
    action: str
    memory_id: str | None
    scope: str | None
    request_id: str | None


def asked(entry: Logged, request: AuditRequest) -> bool:
    """Tell whether a request for a user's audit log selects an entry of that user."""
    of_app = request.app is None or entry.app == request.app
    return of_app and (request.since is None or entry.timestamp >= request.since)


def audit_response(entries: Iterable[Logged]) -> AuditResponse:
    """Answer with entries, in their order."""
    return AuditResponse.model_validate({"entries": [entry._asdict() for entry in entries]})


class Records(Protocol):
    """What a change reads and writes, over all users."""

    def get(self, memory_id: str) -> MemoryRecord | None:
        """Read a record."""

    def by_external_id(self, user_id: str, external_id: str) -> MemoryRecord | None:
        """Read the record that has a user's external_id."""

    def insert(self, memory: MemoryRecord, vector: Sequence[float] | None) -> None:
        """Store a new record and index it."""

    def replace(self, old: MemoryRecord, new: MemoryRecord, vector: Sequence[float] | None) -> None:
        """Store a changed record; index it anew where the content differs."""

    def remove(self, memory: MemoryRecord) -> None:
        """Remove a record and all that is indexed of it."""

    def hand_out(self, memory: MemoryRecord) -> MemoryRecord:
        """Return what a caller may keep and change: a copy, where the store keeps the record itself."""

    def log(self, user_id: str, entry: Logged) -> None:
        """Append to a user's audit log."""


class Store(Records, Protocol):
    """A transaction of a backend in this process."""

    def many(self, ids: Sequence[str]) -> Iterable[MemoryRecord]:
        """Read records by id, in any order; those that do not exist are left out."""

    def many_by_external_id(self, user_id: str, external_ids: Sequence[str]) -> Iterable[MemoryRecord]:
        """Read a user's records by external_id, in any order; those that do not exist are left out."""

    def newest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[MemoryRecord]:
        """Walk a user's records by created_at, then id, descending, from after a position; bounds inclusive."""

    def oldest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[MemoryRecord]:
        """Walk them ascending, from after a position."""

    def vectors(self, user_id: str, ids: Sequence[str]) -> Mapping[str, Sequence[float] | Floats]:
        """Read the vectors, of length 1, of those of a user's records that have one."""

    def chain(self, memory: MemoryRecord) -> Iterable[MemoryRecord]:
        """Read the supersession chain that a memory belongs to, itself included, in any order."""

    def stats(self, selected: ListRequest, now: datetime) -> Stats:
        """Count the records that are selected, in every state, at a moment; `counting` does so by walking."""

    def scopes(self, selected: ListRequest, now: datetime) -> Iterable[tuple[str, int]]:
        """Name the scopes of the records selected, with how many, in any order and as often as may be; as stats."""

    def owners(self, after: str | None) -> Iterator[tuple[str, int]]:
        """Walk the users that have records, with how many, by code points, from after one."""

    def source(self, user_id: str) -> AbstractContextManager[Source[Any]]:
        """Hold a user's search index still for one search."""

    def load(self, user_id: str, keys: Sequence[Any]) -> Iterator[tuple[Any, MemoryRecord]]:
        """Read the records of keys of the user's search index."""

    def forget(self, user_id: str, moment: datetime) -> None:
        """Remove a user's audit log, the entries of this transaction included, and what else is kept of the user.

        Entries of reads that were made by the moment and are stored later are dropped.
        """

    def logged(self, user_id: str) -> Iterator[Logged]:
        """Walk a user's audit log, most recent first."""
