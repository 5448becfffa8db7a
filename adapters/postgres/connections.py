"""Connections to Postgres: two pools, transactions, and what becomes of a connection that is lost."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Protocol

import psycopg
from psycopg_pool import AsyncConnectionPool

from openmem.errors import ConflictError, InvalidRequestError, ProviderUnavailableError
from openmem.runtime.bridge import finished

from ..kit.remote import NotWritten
from .failures import RACES, translated
from .schema import MAINTENANCE
from .sessions import Session

Rows = list[tuple[Any, ...]]
Configure = Callable[[Session], Awaitable[None]]
Read = Callable[[Session], Awaitable[Rows | None]]

REPLICA_PATIENCE = 1.0
"""Seconds to wait for a connection to the replica, in whose place the server answers."""
DOWN_FOR = 10.0
"""Seconds for which a server that did not answer is not asked where another one may be."""
CLOSING = 0.5
"""Seconds that connections under way have to end when the pools are closed."""


class Access(Protocol):
    """How a server is reached, and how much of it is used."""

    @property
    def pool_size(self) -> int:
        """Connections at the most."""

    @property
    def connect_timeout(self) -> float:
        """Seconds to wait for one."""

    @property
    def rls(self) -> bool:
        """Whether transactions name the users whose rows they see."""

    def arguments(self) -> dict[str, Any]:
        """Return what psycopg connects with."""

    def replica_arguments(self) -> dict[str, Any] | None:
        """Return the same for the replica that reads may use; None without one."""


class Server:
    """The pool of one server, and whether that answered lately."""

    def __init__(self, arguments: dict[str, Any], access: Access, configure: Configure) -> None:
        self.pool = AsyncConnectionPool[Session](
            connection_class=Session,
            kwargs=arguments,
            configure=configure,
            min_size=1,
            max_size=access.pool_size,
            timeout=access.connect_timeout,
            reconnect_timeout=access.connect_timeout / 2,  # attempts wait ever longer: begun anew when needed
            name="openmem",
            open=False,
        )
        self._down_until = self._renewed = 0.0

    @property
    def down(self) -> bool:
        """Whether it did not answer lately."""
        return monotonic() < self._down_until

    @asynccontextmanager
    async def session(self, patience: float | None = None) -> AsyncIterator[Session]:
        """Lend a connection; raises errors of psycopg."""
        try:
            session = await self.pool.getconn(patience)
        except psycopg.Error:
            self._down_until = monotonic() + DOWN_FOR
            raise
        session.begin()
        began = monotonic()
        try:
            yield session
            self._down_until = 0.0
        finally:
            await self._take_back(session, began)

    async def _take_back(self, session: Session, began: float) -> None:
        """Return a connection; where it was lost, so were the idle ones as a rule, and all are made anew, once."""
        try:
            await self.pool.putconn(session)
        except asyncio.CancelledError:  # while it waited for its turn, before the pool had the connection
            session._pool = self.pool
            await finished(self.pool.putconn(session))
            raise
        if session.closed and not (session.ended_here or self.pool.closed):
            self._down_until = monotonic() + DOWN_FOR
            if began > self._renewed:
                self._renewed = monotonic()
                await self.pool.drain()

    async def read(self, read: Read, patience: float | None = None) -> Rows | None:
        """Read with a connection of the pool."""
        session: Session | None = None
        try:
            async with self.session(patience) as session:
                return await read(session)
        except psycopg.Error as error:
            raise translated(error, lost=session is not None and session.closed) from error

    async def close(self) -> None:
        """Close every connection, also those that are still being made."""
        workers = [*self.pool._workers, *filter(None, [self.pool._sched_runner])]
        closing = asyncio.ensure_future(self.pool.close())
        await asyncio.wait([closing], timeout=CLOSING)
        while workers := [worker for worker in workers if not worker.done()]:  # still connecting to a dead server
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers, timeout=CLOSING)
        await closing


class Connections:
    """The server and, where there is one, its replica. Belongs to one event loop."""

    def __init__(self, access: Access, configure: Configure) -> None:
        self._access = access
        self.primary = Server(access.arguments(), access, configure)
        replica = access.replica_arguments()
        self.replica = Server(replica, access, configure) if replica else None
        self._written = 0.0  # how far the server's log went at the last change, in bytes; infinite: not known

    async def open(self) -> None:
        """Start the pools; connections are made when they are needed."""
        for server in self._servers():
            await server.pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(server.close() for server in self._servers()))

    def _servers(self) -> list[Server]:
        return [server for server in (self.primary, self.replica) if server is not None]

    async def rows(
        self,
        sql: str,
        values: Mapping[str, Any],
        *,
        user_id: str | None = None,
        everyone: bool = False,
        local: Mapping[str, str] | None = None,
        replica: bool = False,
    ) -> Rows:
        """Run one reading statement; local: settings it needs.

        everyone: it sees the rows of every user, where others see those of user_id alone. replica: it may run on the
        replica, as any may while the server is away.
        """
        seen = self._everyone() if everyone else self._visible([user_id] if user_id is not None else [])
        settings = {**(local or {}), **seen}

        async def read(session: Session) -> Rows:
            return await _rows(session, sql, values, settings)

        if self.replica is None:
            return await self.primary.read(read) or []
        asked = replica or self.primary.down
        if asked and (rows := await self._from_replica(self.replica, read)) is not None:
            return rows
        try:
            return await self.primary.read(read) or []
        except ProviderUnavailableError:
            if asked or (rows := await self._from_replica(self.replica, read)) is None:
                raise
            return rows

    async def _from_replica(self, replica: Server, read: Callable[[Session], Awaitable[Rows]]) -> Rows | None:
        """Read from the replica; None where it is away, gave way to what it replays, or lacks what was written here."""

        async def read_if_caught_up(session: Session) -> Rows | None:
            return await read(session) if await self._caught_up(session) else None

        if replica.down or math.isinf(self._written):
            return None
        with suppress(ProviderUnavailableError, ConflictError):
            return await replica.read(read_if_caught_up, REPLICA_PATIENCE)
        return None

    async def _caught_up(self, replica: Session) -> bool:
        """Tell whether the replica has what this process wrote last."""
        if not self._written:
            return True
        sql = "SELECT coalesce(pg_last_wal_replay_lsn() - '0/0' >= %s, true)"
        return (await (await replica.execute(sql, [int(self._written)])).fetchone()) == (True,)

    @asynccontextmanager
    async def transaction(self, users: Collection[str], patience: float | None = None) -> AsyncIterator[Session]:
        """Run a transaction that changes rows of these users.

        Raises NotWritten where another transaction came between, or the connection was lost before the commit was
        sent; after that a lost connection leaves it open whether the change was written.
        """
        session: Session | None = None
        committing = False
        try:
            async with self.primary.session(patience) as session:
                async with session.transaction():
                    try:
                        await _set_local(session, self._visible(users))
                        yield session
                    except asyncio.CancelledError:
                        session.hurry()
                        raise
                    committing = True
                await self._note(session)
        except RACES as error:
            raise NotWritten(translated(error)) from error
        except psycopg.Error as error:
            lost = session is not None and session.closed
            if lost and not committing:
                raise NotWritten(translated(error, lost=True)) from error
            raise translated(error, lost=lost, written="perhaps" if lost else "nothing") from error

    @asynccontextmanager
    async def reading(self, user_id: str) -> AsyncIterator[Session]:
        """Lend a connection in a transaction that reads one user's rows; errors of psycopg are told as ours."""
        session: Session | None = None
        try:
            async with self.primary.session() as session, session.transaction():
                try:
                    await _set_local(session, self._visible([user_id]))
                    yield session
                except asyncio.CancelledError:
                    session.hurry()
                    raise
        except psycopg.Error as error:
            raise translated(error, lost=session is not None and session.closed) from error

    async def _note(self, session: Session) -> None:
        """Note how far the server's log goes; the change is written, whatever becomes of this."""
        if self.replica is None:
            return
        try:
            found = await (await session.execute("SELECT pg_current_wal_lsn() - '0/0'")).fetchone()
        except psycopg.Error:
            self._written = math.inf
        else:
            reached = float(found[0]) if found else 0.0
            self._written = reached if math.isinf(self._written) else max(self._written, reached)

    def _everyone(self) -> dict[str, str]:
        return {MAINTENANCE: "on"} if self._access.rls else {}

    def _visible(self, users: Collection[str]) -> dict[str, str]:
        if not self._access.rls:
            return {}
        if not users:
            raise InvalidRequestError("with rls every call names its user.", remedy="Pass user_id, or use for_user.")
        return {"omp.users": json.dumps(list(users))}


async def _rows(session: Session, sql: str, values: Mapping[str, Any], local: Mapping[str, str]) -> Rows:
    if not local:
        return await (await session.execute(sql, values)).fetchall()
    async with session.pipeline(), session.transaction():
        await _set_local(session, local)
        cursor = await session.execute(sql, values)
    return await cursor.fetchall()


async def _set_local(session: Session, settings: Mapping[str, str]) -> None:
    if settings:
        calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
        await session.execute(f"SELECT {calls}", [text for pair in settings.items() for text in pair])
