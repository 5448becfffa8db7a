"""sqlite:///file.db keeps everything in one SQLite file, shared by any number of threads and processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from sqlite3 import sqlite_version
from time import monotonic, sleep
from typing import Any, TypeVar, cast
from urllib.parse import SplitResult, unquote

from openmem._generated import models
from openmem.adapter import Embed
from openmem.errors import ClosedError, ConfigurationError
from openmem.runtime.bridge import offload
from openmem.runtime.fork import leave_to_parent

from ..kit.base import check_place
from ..kit.inprocess import InProcessAdapter
from ..kit.reembedding import reembed
from ..kit.store import Store
from . import opening, scanning
from .file import PAUSES, File, pauses
from .records import Records
from .reembedding import Renewal
from .settings import SqliteSettings

T = TypeVar("T")
READERS, WRITERS = 8, 4
"""Threads that work for async callers. Writers take turns, but several are quicker: each has slept when it runs."""


class SqliteAdapter(InProcessAdapter):
    """One file: WAL, records as JSON, an inverted index with statistics per user, vectors searched exactly."""

    name = "sqlite"
    drivers = ("aiosqlite", "pysqlite")
    unreached = (
        "Copies of the file: backups, snapshots, replicas.",
        "What the file system and the disk keep of blocks that were overwritten.",
    )
    settings_type = SqliteSettings
    settings: SqliteSettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file = File(self.settings, self.embedding)
        self._start()

    def _start(self) -> None:
        self._closed = False
        self._readers = ThreadPoolExecutor(READERS, "openmem-sqlite")
        self._writers = ThreadPoolExecutor(WRITERS, "openmem-sqlite")

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read the path: sqlite:///relative.db, sqlite:////absolute.db."""
        path = unquote(url.path.removeprefix("/"))
        if url.netloc:
            raise ConfigurationError(
                "a sqlite URL has three slashes and a file name.", remedy="Write sqlite:///memory.db, or memory://."
            )
        return {"path": path} if path else {}

    def forked(self) -> None:
        """Begin anew in a child of fork."""
        super().forked()
        leave_to_parent((self._readers, self._writers))
        self._file.forked()
        self._start()

    async def transact(self, work: Callable[[Store], T], *, write: bool) -> T:
        """Run work in a transaction of its own: one that writes, or one snapshot."""
        if self._closed:
            raise ClosedError("this adapter is closed.")
        if write:
            return await offload(self._file.write, work, monotonic(), within=self._writers)
        return await offload(self._file.read, work, within=self._readers)

    async def open(self) -> None:
        """Open or make the file, bring its schema up to date and hold it to its embedding."""
        await offload(self._open, within=self._writers)

    async def close(self) -> None:
        """Release everything, then raise what could not be stored."""
        self._closed = True
        try:
            await offload(self._file.close)
        finally:
            for threads in (self._writers, self._readers):
                await offload(threads.shutdown)

    async def stats(self, request: models.StatsRequest) -> models.Stats:
        """Count one user's memories, and the audit entries of reads that are lost."""
        stats = await super().stats(request)
        stats.audit_dropped = self._file.reads.dropped.get(request.user_id)
        return stats

    async def erased(self, request: models.EraseRequest, count: int) -> models.EraseResponse:
        """Let go of the user's vectors in memory too."""
        if not request.dry_run:
            self._file.forget_vectors(request.user_id)
        return await super().erased(request, count)

    async def scrub(self) -> Sequence[str]:
        """Rewrite the file without what was deleted, and empty its log."""
        return await offload(self._file.scrub, within=self._writers)

    async def health(self, request: models.HealthRequest) -> models.Health:
        """Read the file, which must still be in its place."""
        health = await super().health(request)
        return health.model_copy(update={"engine": f"SQLite {sqlite_version}"})

    async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
        """Read the audit log, those entries too that cannot be stored now."""
        await offload(self._file.store_reads, within=self._readers)
        return await super().audit(request)

    async def scan(self, user_id: str) -> AsyncGenerator[Sequence[models.MemoryRecord], None]:
        """Walk what one snapshot holds of a user."""
        with closing(scanning.make_aside()) as aside:
            work = partial(scanning.copy_aside, user_id=user_id, aside=aside)
            await self.transact(cast("Callable[[Store], None]", work), write=False)
            place = 0
            while chunk := await offload(scanning.chunk_after, aside, place, within=self._readers):
                place += len(chunk)
                yield chunk

    async def reembed(self, embed: Embed) -> int:
        """Make every vector anew with the configured embedder; return how many memories there are."""
        embedding = self.configured_embedding()
        await offload(self._begin)
        await offload(self._to_the_end, partial(opening.migrate_only, path=self.settings.path))
        return await reembed(Renewal(self._file, embedding, embed), embed)

    # --- opening ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        path, embedding = self.settings.path, self.embedding
        self._begin()
        if not self._file.connections.writable:
            self._file.read(partial(opening.check_readable, path=path, embedding=embedding))
        elif not self._file.read(partial(opening.is_ready, path=path, embedding=embedding)):
            self._to_the_end(partial(opening.prepare, path=path, embedding=embedding))

    def _begin(self) -> None:
        check_place(self.settings.path)
        self._file.connections.open()
        self._file.read(partial(opening.check_ours, path=self.settings.path))
        if self._file.connections.writable:
            self._use_log()

    def _use_log(self) -> None:
        """Switch the file to its write-ahead log; SQLite does not wait for others that do so too."""
        deadline = monotonic() + self._file.patience
        for pause in pauses():
            with self._file.connections.lend() as connection:
                if opening.uses_log(connection, patient=monotonic() < deadline):
                    return
            sleep(pause)

    def _to_the_end(self, step: Callable[[Records], bool]) -> None:
        """Do long work piece by piece, together with other processes that open the file."""
        while not self._file.write(step):
            sleep(2 * PAUSES[-1])  # longer than others pause, so that they have their turn
