"""Connections to Postgres: two pools, transactions, and what becomes of a connection that is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from openmem.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    UnauthorizedError,
)

from ..staged import NotWritten

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]
Rows = list[tuple[Any, ...]]
Configure = Callable[[Connection], Awaitable[None]]

RACES = (errors.UniqueViolation, errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
"""Another transaction came between; this one did nothing."""
REPLICA_PATIENCE = 1.0
"""Seconds to wait for a connection to the replica, in whose place the server answers."""


class Access(Protocol):
    """How a server is reached, and how much of it is used."""

    pool_size: int
    connect_timeout: float
    rls: bool

    def arguments(self) -> dict[str, Any]:
        """Return what psycopg connects with."""

    def replica_arguments(self) -> dict[str, Any] | None:
        """Return the same for the replica that reads may use; None without one."""


class Connections:
    """The pool of the server and, where there is one, that of its replica. Belongs to one event loop."""

    def __init__(self, access: Access, configure: Configure) -> None:
        self._access = access
        self._primary = self._pool(access.arguments(), configure)
        replica = access.replica_arguments()
        self._replica = self._pool(replica, configure) if replica else None
        self._written = 0  # how far the server's log went at the last change, in bytes

    def _pool(self, arguments: dict[str, Any], configure: Configure) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool(
            kwargs=arguments,
            configure=configure,
            min_size=1,
            max_size=self._access.pool_size,
            timeout=self._access.connect_timeout,
            reconnect_timeout=self._access.connect_timeout / 2,  # attempts wait ever longer: begun anew when needed
            name="openmem",
            open=False,
        )

    async def open(self) -> None:
        """Start the pools; connections are made when they are needed."""
        for pool in self._pools():
            await pool.open()

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools():
            await pool.close()

    def _pools(self) -> list[AsyncConnectionPool[Connection]]:
        return [pool for pool in (self._primary, self._replica) if pool is not None]

    async def rows(
        self,
        sql: str,
        values: Mapping[str, Any],
        *,
        user_id: str | None,
        local: Mapping[str, str] | None = None,
        replica: bool = False,
    ) -> Rows:
        """Run one reading statement; local: settings it needs; replica: it may run on the replica."""
        settings = {**(local or {}), **self._visible([user_id] if user_id is not None else [])}

        async def read(connection: Connection) -> Rows:
            return await _rows(connection, sql, values, settings)

        async def read_if_caught_up(connection: Connection) -> Rows | None:
            return await read(connection) if await self._caught_up(connection) else None

        if replica and self._replica is not None:
            with suppress(ProviderUnavailableError, ConflictError):  # it is down, or gave way to what it replays
                rows = await on_loan(self._replica, read_if_caught_up, REPLICA_PATIENCE)
                if rows is not None:
                    return rows
        return await on_loan(self._primary, read)

    async def _caught_up(self, replica: Connection) -> bool:
        """Tell whether the replica has what this process wrote last."""
        if not self._written:
            return True
        sql = "SELECT coalesce(pg_last_wal_replay_lsn() - '0/0' >= %s, true)"
        return (await (await replica.execute(sql, [self._written])).fetchone()) == (True,)

    @asynccontextmanager
    async def transaction(self, users: Collection[str]) -> AsyncIterator[Connection]:
        """Run a transaction that changes rows of these users.

        Raises NotWritten where another transaction came between, or the connection was lost before the commit was
        sent; after that a lost connection leaves it open whether the change was written.
        """
        connection: Connection | None = None
        committing = False
        try:
            async with self._primary.connection() as connection:
                async with connection.transaction():
                    await _set_local(connection, self._visible(users))
                    yield connection
                    committing = True
                if self._replica is not None:
                    found = await (await connection.execute("SELECT pg_current_wal_lsn() - '0/0'")).fetchone()
                    self._written = max(self._written, int(found[0]) if found else 0)
        except RACES as error:
            raise NotWritten(translated(error)) from error
        except psycopg.Error as error:
            lost = connection is not None and connection.closed
            if lost:
                await self._primary.check()
            if lost and not committing:
                raise NotWritten(translated(error)) from error
            raise translated(error) from error

    def _visible(self, users: Collection[str]) -> dict[str, str]:
        if not self._access.rls:
            return {}
        if not users:
            raise InvalidRequestError("with rls every call names its user.", remedy="Pass user_id, or use for_user.")
        return {"omp.users": json.dumps(list(users))}


async def on_loan(
    pool: AsyncConnectionPool[Connection], work: Callable[[Connection], Awaitable[T]], patience: float | None = None
) -> T:
    """Do work with a connection of a pool; when it turns out dead, all that are idle are looked at before the error."""
    connection: Connection | None = None
    try:
        connection = await pool.getconn(patience)
        return await work(connection)
    except psycopg.Error as error:
        if connection is not None and connection.closed:
            await pool.check()
        raise translated(error) from error
    finally:
        if connection is not None:
            await pool.putconn(connection)


async def connect(arguments: Mapping[str, Any]) -> Connection:
    """Connect outside the pools, whose errors would not say why; raises what `translated` makes of the failure."""
    try:
        return await AsyncConnection.connect(**arguments)
    except psycopg.Error as error:
        raise _refused(error, arguments) from error


async def _rows(connection: Connection, sql: str, values: Mapping[str, Any], local: Mapping[str, str]) -> Rows:
    if not local:
        return await (await connection.execute(sql, values)).fetchall()
    async with connection.pipeline(), connection.transaction():
        await _set_local(connection, local)
        cursor = await connection.execute(sql, values)
    return await cursor.fetchall()


async def _set_local(connection: Connection, settings: Mapping[str, str]) -> None:
    if settings:
        calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
        await connection.execute(f"SELECT {calls}", [text for pair in settings.items() for text in pair])


def _refused(error: psycopg.Error, arguments: Mapping[str, Any]) -> OMPError:
    """Explain a connection that was not made. libpq gives no code for it, only the server's words."""
    words = str(error)
    where = f"{arguments.get('host') or 'localhost'}:{arguments.get('port') or 5432}"
    if "authentication failed" in words or "no password supplied" in words or "role " in words:
        return UnauthorizedError(
            f"the server at {where} refuses the user or the password.", remedy="Check user and password of the URL."
        )
    if "no pg_hba.conf entry" in words:
        return UnauthorizedError(f"the server at {where} admits no such connection.", remedy="See its pg_hba.conf.")
    if "database " in words and "does not exist" in words:
        name = arguments.get("dbname")
        return ConfigurationError(f"there is no database {name} at {where}.", remedy=f"Run: createdb {name}")
    if isinstance(error, psycopg.ProgrammingError) or "invalid" in words:
        return ConfigurationError("the URL's parameters do not make a connection.", remedy="See the cause.")
    return ProviderUnavailableError(f"no server answers at {where}.", remedy="Check that it runs and is reachable.")


def translated(error: Exception) -> OMPError:
    """Explain an error of the driver or the server."""
    if isinstance(error, RACES):
        return ConflictError("other writers kept changing what this change reads.", remedy="Try again.")
    if isinstance(error, PoolTimeout):
        return ProviderUnavailableError(
            "no connection came free.", remedy="Check the server, or raise pool_size or connect_timeout."
        )
    if isinstance(error, errors.QueryCanceled):
        return ProviderUnavailableError(
            "the statement took longer than statement_timeout.", remedy="Raise statement_timeout, or check the load."
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return ConfigurationError(
            f"the role lacks a right: {_first_line(error)}.", remedy="Grant it, or connect as the schema's owner."
        )
    if isinstance(error, errors.DuplicateTable):
        return ConfigurationError(
            f"the schema is another program's: {_first_line(error)}.", remedy="Name another one with db_schema=…."
        )
    if isinstance(error, (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)):
        return ConfigurationError(
            f"the schema is not as expected: {_first_line(error)}.", remedy="Open the store anew."
        )
    if isinstance(error, (errors.InvalidAuthorizationSpecification, errors.InvalidPassword)):
        return UnauthorizedError("the server refuses the user or the password.", remedy="Check the URL.")
    if isinstance(error, psycopg.OperationalError):
        return ProviderUnavailableError(f"the connection failed: {_first_line(error)}.")
    return ProviderError(f"the server failed: {type(error).__name__}, {getattr(error, 'sqlstate', None)}.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
