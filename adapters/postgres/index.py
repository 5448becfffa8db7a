"""The index of vectors: made in the background, beside readers and writers, by one process at a time.

CREATE INDEX CONCURRENTLY waits for every transaction that is older than it, whosever, and where it is interrupted it
leaves an index that is not valid: that one costs time and answers nothing, and is dropped by whoever builds next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import errors

from openmem.errors import OMPError

from .schema import INDEX_LOCK, Names
from .sessions import Session, connect
from .settings import PostgresSettings
from .vectors import Vectors

AGAIN, LONGEST = 10.0, 600.0
"""Seconds until another attempt: at first, and, twice as long after every failure, at the most."""
LOOK_AFTER = 2.0
"""Seconds for which users who grow are gathered before it is looked whether they need the index."""
TURN = 0.1
"""Seconds for which a statement may keep others waiting while it waits for its own lock."""
PROGRESS = 5.0
"""Seconds between two looks at how far the index is."""

_FOUND = """SELECT t.oid::regclass::text, t.relname::text, i.indexrelid::regclass::text,
    coalesce(i.indisvalid, false), EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.indexrelid), t.relkind = 'p'
    FROM (SELECT 'openmem.memories'::regclass AS oid
        UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = 'openmem.memories'::regclass) n
    JOIN pg_class t USING (oid) LEFT JOIN (pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        JOIN pg_am a ON a.oid = x.relam AND a.amname = 'hnsw') ON i.indrelid = t.oid
        AND (x.relname = t.relname || '_embedding' OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.oid))
    ORDER BY t.relkind = 'p' DESC, t.relname"""
_UNDER_WAY = """SELECT phase, blocks_done * 100 / nullif(blocks_total, 0) FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND relid = ANY(%s::text[]::regclass[])"""

Needed = Callable[[str], Awaitable[tuple[bool, bool]]]
"""Tells of a user whether the index is needed, and whether it is there."""

logger = logging.getLogger("openmem")


class Found(NamedTuple):
    """A table of memories and its index. Of a divided store the whole comes first, which has no rows of its own."""

    table: str
    name: str
    made: str | None
    valid: bool
    attached: bool
    divided: bool


class IndexBuilder:
    """Builds the index of vectors where it is wanted. Belongs to one event loop."""

    def __init__(self, settings: PostgresSettings, names: Names, vectors: Vectors | None) -> None:
        self._settings, self._names, self._vectors = settings, names, vectors
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._grown = set[str]()
        self.exists = False
        """Whether there was an index when it was last looked for."""
        self._not_before, self._pause = 0.0, AGAIN
        self.useful = vectors is not None and vectors.indexable and settings.index != "none"
        """Whether an index may be made at all."""

    @property
    def ready(self) -> bool:
        """Whether a wish for the index would be heard now."""
        return self.useful and (self._task is None or self._task.done()) and monotonic() >= self._not_before

    @property
    def building(self) -> bool:
        """Whether this process is at it."""
        return self._task is not None and not self._task.done()

    def want(self) -> None:
        """Have the index built in the background: something would have taken it, and there is none."""
        if self.ready:
            self._start(self._try())

    def look(self, users: Sequence[str], needed: Needed) -> None:
        """Have it found out in the background whether users who grew need the index, and have it made if so."""
        if not self.exists:
            self._grown.update(users)
            if self.ready:
                self._start(self._look(needed))

    async def mend(self, session: Session) -> None:
        """On opening: go on with what was left half made, and make the index where it is wanted at once.

        For that one it waits, unless transactions of others keep it from being finished.
        """
        whole = (await self.found(session))[0]
        left = whole.made is not None and not whole.valid
        at_once = self._settings.index == "hnsw" and self.useful and not whole.valid
        if left or at_once:
            self._start(self._try(create=self.useful))
        if at_once:
            await self._settled.wait()

    async def close(self) -> None:
        """Give up what is being made; what that leaves is mended by whoever opens the store next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def told(self) -> tuple[str, str]:
        """Say what there is and what it costs, and what to do about it."""
        async with self._session() as session:
            whole = (await self.found(session))[0]
        if whole.valid:
            return "vectors are indexed (HNSW): adding takes about ten times as long as without", ""
        if self.building or whole.made is not None:
            return "the index of vectors is being made, or was left half made; searches are exact", ""
        if self.useful:
            return "vectors are not indexed: no user has too many for exact search", ""
        return "vectors are not indexed: searches are exact, and slower the more memories a user has", ""

    async def found(self, session: Session) -> list[Found]:
        """Look for the index."""
        rows = await (await session.execute(self._names(_FOUND))).fetchall()
        return [Found(*row) for row in rows]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._settled.clear()
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(lambda _: self._settled.set())

    async def _look(self, needed: Needed) -> None:
        await asyncio.sleep(LOOK_AFTER)
        wanted = False
        try:
            while self._grown and not (wanted or self.exists):
                wanted, self.exists = await needed(self._grown.pop())
        except OMPError:  # there will be another occasion
            return
        if wanted and not self.exists:
            await self._try()

    async def _try(self, *, create: bool = True) -> None:
        """Make the index, or only drop what was left of one."""
        self._not_before = monotonic() + self._pause
        try:
            async with self._session() as session, self._alone() as alone:
                found = await self.found(session)
                if not alone or await self._under_way(session, found):
                    logger.info("postgres: another process makes the index of vectors")
                    return
                await self._watched(self._build(session, found, create), found)
        except (psycopg.Error, OMPError) as error:
            self._pause = min(2 * self._pause, LONGEST)
            logger.warning(
                "postgres: the index of vectors was not made, and reads go without: %s", type(error).__name__
            )
        else:
            self._pause = AGAIN

    async def _watched(self, build: Coroutine[Any, Any, None], found: Sequence[Found]) -> None:
        """Build and tell how far it is."""
        logger.info("postgres: the index of vectors of %s is being made", self._names.schema)
        task = asyncio.get_running_loop().create_task(build)
        try:
            while not (await asyncio.wait([task], timeout=PROGRESS))[0]:
                async with self._session() as session:  # one of its own, since builds wait for older snapshots
                    phase, percent = await self._under_way(session, found) or ("between two tables", None)
                if phase.startswith("waiting"):
                    self._settled.set()
                logger.info("postgres: the index of vectors: %s, %s %%", phase, percent or 0)
            task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])
        logger.info("postgres: the index of vectors of %s is ready", self._names.schema)

    async def _under_way(self, session: Session, found: Sequence[Found]) -> tuple[Any, ...] | None:
        """Look at an index that a server process is at, whoever began it."""
        return await (await session.execute(_UNDER_WAY, [[each.table for each in found]])).fetchone()

    async def _build(self, session: Session, found: Sequence[Found], create: bool) -> None:
        whole, *parts = found
        index = f"{self._names.quoted}.memories_embedding"
        if not whole.divided:
            await self._build_one(session, whole, create)
            return
        if create and whole.made is None:
            await self._in_turn(session, f"CREATE INDEX memories_embedding ON ONLY {whole.table} {self._definition}")
        for part in parts:
            if not part.attached:
                await self._build_one(session, part, create)
                if create:
                    own = f"{self._names.quoted}.{part.name}_embedding"
                    await self._in_turn(session, f"ALTER INDEX {index} ATTACH PARTITION {own}")

    async def _build_one(self, session: Session, table: Found, create: bool) -> None:
        if table.made is not None and not table.valid:
            logger.info("postgres: %s was left half made, and is dropped", table.made)
            await session.execute(f"DROP INDEX CONCURRENTLY {table.made}")
        if create and not table.valid:
            await session.execute(
                f"CREATE INDEX CONCURRENTLY {table.name}_embedding ON {table.table} {self._definition}"
            )

    async def _in_turn(self, session: Session, sql: str) -> None:
        """Run a quick statement that nobody can work beside, so that nobody waits long for it."""
        while True:
            try:
                async with session.transaction():
                    await session.execute("SELECT set_config('lock_timeout', %s, true)", [f"{TURN * 1000:.0f}"])
                    await session.execute(sql)
                return
            except errors.LockNotAvailable:
                await asyncio.sleep(10 * TURN)

    @property
    def _definition(self) -> str:
        return self._vectors.index if self._vectors else ""

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        none = dict.fromkeys(("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"), "0")
        async with await connect(self._settings.arguments(**none)) as session:
            yield session

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        """Hold the lock of builders, and say whether it was free.

        A transaction has it, which PgBouncer leaves on one connection; it keeps no snapshot that builds would wait for.
        """
        async with self._session() as session, session.transaction():
            sql = "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))"
            free = (await (await session.execute(sql, [INDEX_LOCK, self._names.schema])).fetchone()) == (True,)
            # A statement with parameters would keep its snapshot until the next one, which has none.
            await session.execute("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
            yield free
