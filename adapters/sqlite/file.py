"""One SQLite file as one adapter has it open: its transactions, and what they have in common."""

from __future__ import annotations

import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import wraps
from itertools import chain, repeat
from sqlite3 import Connection
from threading import get_ident
from time import monotonic, sleep
from types import FrameType
from typing import Concatenate, ParamSpec, TypeVar

from openmem._generated.models import EmbeddingInfo
from openmem.errors import OMPError
from openmem.runtime.fork import Lock

from ..kit.audit import Entry, ReadLog
from ..kit.base import within_itself
from . import scrubbing
from .connections import Connections
from .errors import is_busy, locked, only_read, translated
from .forgetting import remembered
from .index import Caches
from .records import Records
from .settings import SqliteSettings

P = ParamSpec("P")
T = TypeVar("T")
PAUSES = (0.001, 0.002, 0.005, 0.01)
"""Seconds between attempts at what SQLite does not wait for, or would wait for within itself; the last repeats."""
UNDONE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
"""What ends a commit before its last byte is in the log; what comes later may be found there after a crash."""

logger = logging.getLogger("openmem")


def pauses() -> Iterator[float]:
    """Say how long to wait between attempts."""
    return chain(PAUSES, repeat(PAUSES[-1]))


def alone(method: Callable[Concatenate[File, P], T]) -> Callable[Concatenate[File, P], T]:
    """Refuse what a thread begins in the midst of another call: its locks are held, by the thread itself.

    That is what a signal handler does, or a __del__ that the garbage collector calls at any moment. The frame is kept
    to tell who is inside: where an interrupt kept it from being taken away, it is no longer on the thread's stack.
    """

    @wraps(method)
    def call(self: File, /, *args: P.args, **options: P.kwargs) -> T:
        thread = get_ident()
        held, outer = self.inside.get(thread), sys._getframe() if thread in self.inside else None
        while outer is not None and outer is not held:
            outer = outer.f_back
        if outer is not None:
            raise within_itself()
        try:
            self.inside[thread] = sys._getframe()  # in no variable: a frame that holds itself is freed late
            return method(self, *args, **options)
        finally:
            self.inside.pop(thread, None)

    return call


class File:
    """Transactions of one adapter: any number that read, each of one snapshot, beside one that writes."""

    def __init__(self, settings: SqliteSettings, embedding: EmbeddingInfo | None) -> None:
        self.patience = settings.busy_timeout
        self.connections = Connections(
            settings.path, private=settings.private, synchronous=settings.synchronous, patience=self.patience
        )
        self._embedding = embedding
        self._cached_users, self._rewrites = settings.cached_users, settings.rewrite
        self.inside: dict[int, FrameType] = {}
        """Threads in the midst of a call of ours."""
        self._begin()
        self._writing = Lock()  # in this process writers queue here, in their order
        self._obtained = 0.0

    def _begin(self) -> None:
        self.reads = ReadLog()
        self._caches = Caches(self._embedding, self._cached_users)

    def forked(self) -> None:
        """Begin anew in a child of fork."""
        self.connections.forked()
        self._begin()

    @alone
    def read(self, work: Callable[[Records], T]) -> T:
        """Do work that reads, all of it in one snapshot; then store the entries of reads if it is time to."""
        until = monotonic() + self.patience
        for pause in pauses():
            epoch = self.connections.epoch
            try:
                result, entries = self._read(work, self._caches_at(epoch))
            except Exception:  # nothing need have locked what it read: perhaps what was half-way written
                if self.connections.is_unchanged(epoch):
                    raise
            else:
                if self.connections.is_unchanged(epoch):
                    break
            if monotonic() > until:
                raise locked(self.connections.path)
            sleep(pause)
        for user_id, entry in entries:
            self.reads.keep(user_id, entry)
        if self.reads.full:
            self._store_reads()
        return result

    def _caches_at(self, epoch: int) -> Caches:
        if self._caches.epoch != epoch:  # what was kept may be of a file that was half-way written
            self._caches = Caches(self._embedding, self._cached_users, epoch)
        return self._caches

    def _read(self, work: Callable[[Records], T], caches: Caches) -> tuple[T, list[Entry]]:
        with self.connections.lend() as connection:
            store = Records(connection, self.reads, caches, writes=False)
            connection.execute("BEGIN")
            try:
                return work(store), store.entries
            finally:
                store.release()
                if connection.in_transaction:  # SQLite itself rolls back where the disk fails
                    connection.execute("COMMIT")

    @alone
    def write(self, work: Callable[[Records], T], since: float | None = None) -> T:
        """Do work that writes: all of it or nothing; since: the moment from which busy_timeout counts."""
        if not self.connections.writable:
            raise only_read(self.connections.path)
        return self._write(work, since or monotonic())

    def _write(self, work: Callable[[Records], T], since: float) -> T:
        with self._writing:
            for pause in pauses():
                with self.connections.lend(writes=True) as connection:
                    if self._begun(connection):
                        return self._finish(connection, work)
                # Only waiting for other processes counts: from the last time that this one had its turn.
                if monotonic() > max(since, self._obtained) + self.patience:
                    break
                sleep(pause)
            raise locked(self.connections.path)

    @alone
    def store_reads(self) -> None:
        """Store the audit entries of reads if that is possible at once; a read neither waits for it nor fails by it."""
        self._store_reads()

    def _store_reads(self) -> None:
        if not (self.connections.writable and len(self.reads)):
            return
        try:
            with self.connections.lend(writes=True) as connection:
                if self._begun(connection):
                    self._finish(connection, lambda store: None)
        except OMPError as error:
            logger.debug("audit entries of reads are kept back: %s", error)

    @alone
    def scrub(self) -> list[str]:
        """Leave nothing of what was deleted in the file and its log; say what could not be done."""
        with self._writing:
            why = self._tried(scrubbing.rewrite) if self._rewrites else scrubbing.SWITCHED_OFF
            left = [scrubbing.NOT_REWRITTEN.format(why)] if why else []
            if why := self._tried(scrubbing.empty_log):
                left.append(scrubbing.NOT_EMPTIED.format(why))
            return left

    def _tried(self, work: Callable[[Connection], bool]) -> str:
        """Do work as soon as no other connection is in the way; return why it could not be done."""
        until = monotonic() + min(self.patience, scrubbing.PATIENCE)
        for pause in pauses():
            try:
                with self.connections.lend(writes=True) as connection:
                    self.connections.check()
                    if work(connection):
                        return ""
            except OMPError as error:  # of the disk, or of the file
                return error.message
            if monotonic() > until:
                break
            sleep(pause)
        return scrubbing.IN_THE_WAY

    def forget_vectors(self, user_id: str) -> None:
        """Let go of a user's vectors in memory."""
        self._caches.drop(user_id)

    @alone
    def close(self) -> None:
        """Store the audit entries kept back and close every connection; raises what could not be stored."""
        try:
            if len(self.reads) and self.connections.writable:
                self._write(lambda store: None, monotonic())
        finally:
            self.connections.close()

    def _begun(self, connection: Connection) -> bool:
        """Begin to write unless another does."""
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            return False
        self._obtained = monotonic()
        return True

    def _finish(self, connection: Connection, work: Callable[[Records], T]) -> T:
        store = Records(connection, self.reads, self._caches, writes=True)
        stored: list[object] = []
        try:
            with self.reads.storing(stored) if len(self.reads) else nullcontext(()) as entries:
                if entries and (left := remembered(connection, entries)):
                    store.log_all(left)
                result = work(store)
                self.connections.check()
                self._commit(connection, stored)
        finally:
            store.release()
            if connection.in_transaction:  # SQLite itself rolls back where the disk fails
                connection.execute("ROLLBACK")
        return result

    def _commit(self, connection: Connection, stored: list[object]) -> None:
        try:
            stored += map(connection.execute, ["COMMIT"])  # in one step, which no signal can split
        except sqlite3.Error as error:
            undone = connection.in_transaction or getattr(error, "sqlite_errorcode", None) in UNDONE
            raise translated(error, self.connections.path, "nothing" if undone else "perhaps") from error
