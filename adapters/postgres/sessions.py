"""One connection to Postgres, given up where the server no longer answers, and how such connections are made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, IsolationLevel, errors, waiting
from psycopg.pq import TransactionStatus

from .failures import refused

GRACE = 0.2
"""Seconds that the server has, once a call was cancelled, to stop and roll back; then its connection is closed."""
INTERVAL = 0.1
"""Seconds between two looks at whether a wait goes on, as psycopg has it."""


class Session(AsyncConnection[tuple[Any, ...]]):
    """A connection that a cancelled call waits for no longer than GRACE.

    psycopg waits ten seconds for a server that may be gone, and as long again for what it rolls back.
    """

    _until: float | None = None
    ended_here = False
    """It was ended by us, and says nothing about the server."""

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:
        """Connect; a call that is cancelled leaves no connection half made."""
        try:
            return await super().connect(*arguments, **options)
        except asyncio.CancelledError as error:
            raise error.with_traceback(None) from None  # whose frames would hold it while anybody holds the task

    def hurry(self) -> None:
        """Have what is still to be done, now that the call was cancelled, end within GRACE."""
        self._until = self._until or monotonic() + GRACE

    def begin(self) -> None:
        """Take as long as it takes: a new call."""
        self._until = None

    async def wait(self, gen: Any, interval: float = INTERVAL, **how: Any) -> Any:  # type: ignore[override]
        """Run a generator of psycopg's on this connection."""
        try:
            if self._until is None:
                return await waiting.wait_async(gen, self.pgconn.socket, interval, **how)
            async with asyncio.timeout(self._until - monotonic()):
                return await waiting.wait_async(gen, self.pgconn.socket, interval, **how)
        except TimeoutError:
            self.pgconn.finish()
            raise errors.ConnectionTimeout("the server no longer answers") from None
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.hurry()
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self._stop(gen)
            raise

    async def _stop(self, gen: Any) -> None:
        """Have the server stop; where it does not say that it did, the connection ends."""
        try:
            with suppress(errors.QueryCanceled):
                async with asyncio.timeout(GRACE):
                    await self.cancel_safe(timeout=GRACE)
                    await waiting.wait_async(gen, self.pgconn.socket, INTERVAL)
        except Exception:  # whatever it was, the call ends as cancelled
            self.pgconn.finish()
        except BaseException:
            self.pgconn.finish()
            raise
        if self.pgconn.transaction_status == TransactionStatus.ACTIVE and not self.pgconn.pipeline_status:
            self.ended_here = True  # in the midst of a COPY
            self.pgconn.finish()


async def connect(arguments: Mapping[str, Any]) -> Session:
    """Connect outside the pools, whose errors would not say why; raises what `refused` makes of the failure."""
    try:
        session = await Session.connect(**arguments)
    except psycopg.Error as error:
        cause = _bare(error)
        raise refused(cause, arguments) from cause
    with closed_unless_done(session):
        await session.set_isolation_level(IsolationLevel.READ_COMMITTED)  # a step that waited sees what others did
    return session


def _bare(error: psycopg.Error) -> psycopg.Error:
    """Return an error without psycopg's frames and its other errors, which hold the password."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


@contextmanager
def closed_unless_done(session: Session) -> Iterator[None]:
    """Prepare a new connection, which nobody has yet who would close it; where that fails, it ends."""
    try:
        yield
    except BaseException:
        session.pgconn.finish()
        raise
