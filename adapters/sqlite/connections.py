"""The connections of one adapter: to one file, which must stay where it was, and none of them inherited by a fork."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection

from openmem.errors import ConfigurationError, OMPError, ProviderError
from openmem.fork import Lock, Undivided, leave_to_parent

from .errors import code_of, no_database, translated

RIGHTS = 0o600
"""Of a new file: its owner alone reads it. SQLite gives its log and index the same."""
_making = Lock()
"""Held while a file is made, since closing any handle of a file releases all locks that this process has on it."""
BESIDE = (
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM),
)
"""What SQLite says where it cannot make or change the files beside a database."""

logger = logging.getLogger("openmem")


class Connections:
    """Connections to a file, lent one by one.

    Before a fork all are closed: SQLite takes what a child inherits of its parent's locks for the child's own, so that
    the parent, when it closes, would delete the log that the child writes to.
    """

    def __init__(self, path: Path, *, private: bool, synchronous: str, patience: float) -> None:
        self.path = path.absolute()
        self.writable = True
        self._private, self._synchronous, self._patience = private, synchronous, patience
        self._how = ""
        self._file: tuple[int, ...] | None = None
        self._idle: list[Connection] = []
        self._closed = False
        self._undivided = Undivided(self._close_idle)

    def open(self) -> None:
        """Make the file where there is none, and find out whether it can be written or only read."""
        with self._undivided:
            self._make()
            self._refuse_kinds()
            try:
                self.writable = self._may_write() and self._works("mode=rw")
                if self.writable:
                    return
                if not self._works("mode=ro"):
                    self._open_still()
            except sqlite3.Error as error:
                raise translated(error, self.path) from error
            logger.warning("%s can only be read here; reads leave no audit entries in it", self.path)

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lend a connection; a fork waits until it is given back, and an error of SQLite's is told as ours."""
        with self._undivided:
            self.check()
            connection = self._idle_or_new()
            sound = False
            try:
                yield connection
                sound = True
            except sqlite3.Error as error:
                raise translated(error, self.path) from error
            except Exception:
                sound = True
                raise
            finally:
                if sound and not connection.in_transaction:
                    self._idle.append(connection)
                else:  # an interrupt may have ended anything half-way
                    connection.close()
                if self._closed:
                    self._close_idle()

    def check(self) -> None:
        """Refuse to go on with a file that is no longer the one at the path: nobody would see what is written."""
        if self._file is None:
            return
        try:
            found = self._identity()
        except OSError as error:
            raise self._gone("was deleted or moved away") from error
        if found[:2] != self._file[:2]:
            raise self._gone("was replaced by another file")
        if found[2] > 1:
            raise self._shared(found[2])
        if found[3:] != self._file[3:]:  # only what cannot be locked is looked at so closely
            self._close_idle()
            self._file = found

    def forked(self) -> None:
        """Begin anew in a child of fork."""
        leave_to_parent(self._idle)
        self._idle, self._file, self._closed = [], None, False

    def close(self) -> None:
        """Close every connection, those in use when they are given back."""
        self._closed = True
        with self._undivided:
            self._close_idle()

    def _make(self) -> None:
        with _making:
            place = self._place()
            if place.exists():
                return
            try:
                os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_RDWR, RIGHTS if self._private else 0o666))
            except FileExistsError:
                pass  # another process was quicker
            except OSError as error:
                raise ConfigurationError(
                    f"{self.path} cannot be made: {error.strerror}.", remedy="Check the path and its rights."
                ) from error

    def _place(self) -> Path:
        return Path(os.path.realpath(self.path))

    def _refuse_kinds(self) -> None:
        """Refuse what is no file, at which SQLite might wait for ever, and a file under several names."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise no_database(self.path) from error
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{self.path} is no file.", remedy="Name a file, or a new one.")
        if found.st_nlink > 1:
            raise self._shared(found.st_nlink)

    def _shared(self, names: int) -> OMPError:
        return ConfigurationError(
            f"{self.path} is one of {names} names of its file: each would have a log of its own, and changes be lost.",
            remedy="Remove the other hard links; symbolic links, or copies, do no harm.",
        )

    def _may_write(self) -> bool:
        return all(os.access(each, os.W_OK) for each in (self.path, self._place().parent))

    def _works(self, how: str) -> bool:
        """Try to read the file; False where SQLite cannot have the log and the index that it needs beside it."""
        self._how, self._file = how, None
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            if code_of(error) in BESIDE:
                return False
            raise
        self._file = self._identity()
        self._idle.append(connection)
        return True

    def _open_still(self) -> None:
        """Read a file that nobody can be writing, unlocked, unless its log holds what the file has not."""
        place = self._place()
        log = place.with_name(place.name + "-wal")
        if not log.exists() or not log.stat().st_size:
            if not self._works("mode=ro&immutable=1"):
                raise no_database(self.path)
        else:
            raise ConfigurationError(
                f"{self.path} and its log can only be read together where they can be written.",
                remedy="Open it once as somebody who may write, and close it.",
            )

    def _idle_or_new(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _connect(self) -> Connection:
        if self._undivided.divided:
            raise ProviderError(
                f"this process was forked in the midst of work on {self.path}.",
                remedy="Fork before the store is used, or start processes with spawn.",
                written="nothing",
            )
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?{self._how}",
            uri=True,
            timeout=self._patience,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the log and its index
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[int, ...]:
        found = self.path.stat()
        if self._how.endswith("immutable=1"):
            return found.st_dev, found.st_ino, found.st_nlink, found.st_mtime_ns, found.st_size
        return found.st_dev, found.st_ino, found.st_nlink

    def _gone(self, what: str) -> OMPError:
        remedy = "Put it back, or open a new client."
        return ProviderError(f"{self.path} {what} while it was open.", remedy=remedy, written="nothing")

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
