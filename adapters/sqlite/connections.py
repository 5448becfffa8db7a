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
from openmem.runtime.fork import Lock, Undivided, leave_to_parent

from .errors import code_of, no_database, translated

RIGHTS = 0o600
"""Of a new file: its owner alone reads it. SQLite gives its log and index the same."""
_making = Lock()
"""Held while a file is made, since closing any handle of a file releases all locks that this process has on it."""
CACHE = 8_000
"""KiB of pages that a connection that writes keeps: with fewer, a batch writes pages to the log again and again."""
BESIDE = (
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM),
)
"""What SQLite says where it cannot make or change the files beside a database."""

Lent = tuple[int, Connection]
"""A connection and the epoch it is of."""

logger = logging.getLogger("openmem")


class _Idle:
    """Connections that nobody uses: those that wait within SQLite for others, and those that do not."""

    def __init__(self) -> None:
        self.patient: list[Lent] = []
        self.writing: list[Lent] = []


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
        self._name = str(self.path)
        self._idle = _Idle()
        self._looking = Lock()
        self.epoch = 0
        """Counts how often it had to be found out anew how the file can be read."""
        self._closed = False
        self._undivided = Undivided(self._close_idle)

    def open(self) -> None:
        """Make the file where there is none, and find out whether it can be written or only read."""
        with self._undivided:
            self._file = None
            self._make()
            self._refuse_kinds()
            try:
                self.writable = self._may_write() and self._works("mode=rw")
                if self.writable:
                    return
                self._open_to_read()
            except sqlite3.Error as error:
                raise translated(error, self.path) from error
            logger.warning("%s can only be read here; reads leave no audit entries in it", self.path)

    @contextmanager
    def lend(self, *, writes: bool = False) -> Iterator[Connection]:
        """Lend a connection; a fork waits until it is given back, and an error of SQLite's is told as ours.

        writes: one that never waits within SQLite, where a fork would have to wait along, and whose borrower checks
        before it commits.
        """
        with self._undivided:
            if not writes:
                self.check()
            idle = self._idle.writing if writes else self._idle.patient
            epoch, connection = self._idle_or_new(idle, writes)
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
                    idle.append((epoch, connection))
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
        if self._still and (found != self._file or self._log_size()):
            self._look_again()

    def is_unchanged(self, since: int) -> bool:
        """Tell whether what was read since an epoch is of one state of the file, which nothing may have locked."""
        if not self.writable:
            self.check()
        return self.epoch == since

    def forked(self) -> None:
        """Begin anew in a child of fork."""
        leave_to_parent(self._idle)
        self._idle, self._file, self._closed = _Idle(), None, False

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
        self._how = how
        found = self._identity()
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            if code_of(error) in BESIDE:
                return False
            raise
        self._file = found
        self._idle.patient.append((self.epoch, connection))
        return True

    def _open_to_read(self) -> None:
        """Read beside who writes, or unlocked where nobody does, unless a log holds what the file has not."""
        if self._works("mode=ro"):
            return
        if self._log_size():
            raise ConfigurationError(
                f"{self.path} and its log can only be read together where they can be written.",
                remedy="Open it once as somebody who may write, and close it.",
            )
        if not self._works("mode=ro&immutable=1"):
            raise no_database(self.path)

    def _look_again(self) -> None:
        """Find out anew how a file can be read, and forget what nothing locked, since somebody writes or wrote it."""
        with self._looking:
            self.epoch += 1
            self._close_idle()
            try:
                self._open_to_read()
            except sqlite3.Error as error:
                raise translated(error, self.path) from error
            finally:
                self.epoch += 1  # what was opened meanwhile may be of either way

    @property
    def _still(self) -> bool:
        return self._how.endswith("immutable=1")

    def _log_size(self) -> int:
        place = self._place()
        try:
            return place.with_name(place.name + "-wal").stat().st_size
        except OSError:
            return 0

    def _idle_or_new(self, idle: list[Lent], writes: bool) -> Lent:
        with suppress(IndexError):
            while True:
                epoch, connection = idle.pop()
                if epoch == self.epoch:
                    return epoch, connection
                connection.close()
        self.check()
        epoch = self.epoch
        try:
            return epoch, self._connect(writes)
        except sqlite3.Error as error:
            if self.writable or code_of(error) not in BESIDE:
                raise translated(error, self.path) from error
        self._look_again()  # who wrote has gone, or come
        epoch = self.epoch
        try:
            return epoch, self._connect(writes)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _connect(self, writes: bool = False) -> Connection:
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
            if writes:
                connection.execute("PRAGMA busy_timeout=0")
                connection.execute(f"PRAGMA cache_size=-{CACHE}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[int, ...]:
        found = os.stat(self._name)  # noqa: PTH116  asked before every read, where a Path adds a fifth to it
        if self._still:
            return found.st_dev, found.st_ino, found.st_nlink, found.st_mtime_ns, found.st_size
        return found.st_dev, found.st_ino, found.st_nlink

    def _gone(self, what: str) -> OMPError:
        remedy = "Put it back, or open a new client."
        return ProviderError(f"{self.path} {what} while it was open.", remedy=remedy, written="nothing")

    def _close_idle(self) -> None:
        for idle in (self._idle.patient, self._idle.writing):
            with suppress(IndexError):
                while True:
                    idle.pop()[1].close()
