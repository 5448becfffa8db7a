"""sqlite:///file.db keeps everything in one SQLite file, shared by any number of threads and processes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Literal, TypeVar
from urllib.parse import SplitResult, unquote

from pydantic import Field

from openmem.adapter import Embed, Settings
from openmem.bridge import offload
from openmem.errors import ConfigurationError, OMPError, ProviderError, ProviderUnavailableError
from openmem.fork import leave_to_parent

from ..embedded import EmbeddedAdapter
from ..native import check_place, newer_schema
from ..store import Logged, Store
from .records import CachedVectors, Records
from .schema import APPLICATION_ID, MIGRATIONS

T = TypeVar("T")
PAUSE = 0.01
"""Seconds between attempts at what SQLite does not wait for."""
PENDING_READS = 256
"""Audit entries of reads kept back until a write: a read should not wait for the disk."""


class SqliteSettings(Settings):
    """Options of sqlite://."""

    path: Path
    synchronous: Literal["full", "normal"] = "full"
    """full: an acknowledged write survives a power cut; normal: it survives the end of the process."""
    busy_timeout: float = Field(default=30.0, gt=0)
    """Seconds to wait for another process's write."""
    cached_users: int = Field(default=1000, ge=1)
    """Users whose vectors are kept in memory."""


class SqliteAdapter(EmbeddedAdapter):
    """One file: WAL, records as JSON, an inverted index with statistics per user, vectors searched exactly."""

    name = "sqlite"
    settings_type = SqliteSettings
    settings: SqliteSettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._start()

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read the path: sqlite:///relative.db, sqlite:////absolute.db."""
        path = unquote(url.path.removeprefix("/"))
        if url.netloc or path == ":memory:":
            raise ConfigurationError(
                "a sqlite URL has three slashes and a file name.", remedy="Write sqlite:///memory.db, or memory://."
            )
        return {"path": path} if path else {}

    async def transact(self, work: Callable[[Store], T], *, write: bool) -> T:
        """Run work on a connection of its own: in one transaction when it writes, else statement by statement."""
        return await offload(self._transact, work, write)

    async def open(self) -> None:
        """Open or make the file, bring its schema up to date and hold it to its embedding."""
        await offload(self._open)

    async def close(self) -> None:
        """Store the audit entries kept back and close every connection."""
        await offload(self._close)

    async def reembed(self, embed: Embed) -> int:
        """Make every vector anew with the configured embedder; return how many memories there are.

        Interrupted, the store refuses to open until it is run again.
        """
        embedding = self.configured_embedding()
        await offload(self._migrate)
        await offload(self._transact, Records.drop_vectors, True)
        done = last = 0
        while rows := await offload(self._transact, partial(Records.contents_after, key=last, limit=1000), False):
            vectors = await embed([content for _, _, content in rows])
            put = partial(Records.put_vectors, rows=rows, vectors=vectors, model=embedding.model)
            await offload(self._transact, put, True)
            done, last = done + len(rows), rows[-1][0]
        await offload(self._transact, partial(Records.set_embedding, embedding=embedding), True)
        return done

    # --- connections ------------------------------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._owner != os.getpid():
            leave_to_parent(self._idle)
            self._start()
        connection = None
        try:
            connection = self._idle_or_new()
            yield connection
        except sqlite3.Error as error:
            raise _translated(error, self.settings.path) from error
        finally:
            if connection is not None:
                self._idle.append(connection)
                if self._closed:
                    self._close_idle()

    def _start(self) -> None:
        self._owner = os.getpid()
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._writing = threading.Lock()  # in this process writers queue here, not in SQLite's polling
        self._reads: deque[tuple[str, Logged]] = deque()
        self._caching = threading.Lock()
        self._caches: OrderedDict[int, CachedVectors] = OrderedDict()

    def _idle_or_new(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.settings.path, timeout=self.settings.busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA synchronous={self.settings.synchronous}")
        except sqlite3.Error:  # the file is no database
            connection.close()
            raise
        return connection

    def _transact(self, work: Callable[[Any], T], write: bool) -> T:
        with self._connection() as connection:
            if write:
                return self._write(connection, work)
            result = work(Records(self, connection, writes=False))
            if len(self._reads) >= PENDING_READS:
                self.flush(connection)
            return result

    def _write(self, connection: sqlite3.Connection, work: Callable[[Records], T]) -> T:
        with self._writing:
            connection.execute("BEGIN IMMEDIATE")
            reads = [self._reads.popleft() for _ in range(len(self._reads))]
            try:
                store = Records(self, connection, writes=True)
                if reads:
                    store.log_all(reads)
                result = work(store)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back where the disk fails
                    connection.execute("ROLLBACK")
                self._reads.extendleft(reversed(reads))
                raise
            return result

    def flush(self, connection: sqlite3.Connection) -> None:
        """Store the audit entries kept back."""
        if self._reads:
            self._write(connection, lambda store: None)

    def keep_back(self, user_id: str, entry: Logged) -> None:
        """Keep the audit entry of a read until the next write."""
        self._reads.append((user_id, entry))

    def _close(self) -> None:
        if self._opening.done:
            with self._connection() as connection:
                self.flush(connection)
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # --- opening ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._migrate()
        with self._connection() as connection:
            self._write(connection, Records.reindex)
            self._write(connection, lambda store: store.hold_to(self.embedding))

    def _migrate(self) -> None:
        path = self.settings.path
        check_place(path)
        with self._connection() as connection:
            used = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if used and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise ConfigurationError(f"{path} is another program's database.", remedy="Name a new file.")
            _use_log(connection, self.settings.busy_timeout)
            self._write(connection, lambda store: _apply_migrations(connection, path))

    def cache(self, user: int) -> CachedVectors | None:
        """Return a user's cached vectors, forgetting those of the user longest unused; None without an embedding."""
        if self.embedding is None:
            return None
        with self._caching:
            cached = self._caches.get(user)
            if cached is None:
                cached = self._caches[user] = CachedVectors(self.embedding.dimension)
                if len(self._caches) > self.settings.cached_users:
                    self._caches.popitem(last=False)
            self._caches.move_to_end(user)
            return cached


def _apply_migrations(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise newer_schema(str(path), version, len(MIGRATIONS))
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


def _use_log(connection: sqlite3.Connection, patience: float) -> None:
    """Switch a database to its write-ahead log; SQLite itself does not wait for others that do so too."""
    deadline = monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or monotonic() > deadline:
                raise
        sleep(PAUSE)


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _translated(error: sqlite3.Error, path: Path) -> OMPError:
    code = getattr(error, "sqlite_errorcode", None)
    if _is_busy(error):
        return ProviderUnavailableError(
            f"{path} is locked by another writer.", remedy="Raise busy_timeout, or find what holds the lock."
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN):
        return ConfigurationError(f"{path} cannot be opened as a database.", remedy="Check the path and its rights.")
    return ProviderError(f"SQLite failed: {error}.", remedy=f"Check the disk and the file {path}.")
