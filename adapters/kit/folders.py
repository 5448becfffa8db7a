"""Folders that one process has open: its clients share what only one process may have."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from weakref import finalize

from openmem.errors import ClosedError, ConfigurationError, OMPError
from openmem.runtime.bridge import at_exit, finished, offload
from openmem.runtime.fork import Lock, in_child, leave_to_parent

from .base import check_place
from .marker import MARKER, engine_of, mark

T = TypeVar("T")
R = TypeVar("R")
FolderOf = Literal["qdrant+local", "qdrant+edge", "mem0"]
"""Engines that have a folder, by the scheme of their URLs."""

SIGNS: dict[str, tuple[str, ...]] = {
    "mem0": ("history.db", "migrations_qdrant", "qdrant/meta.json"),
    "qdrant+local": ("meta.json", "collection"),
    "qdrant+edge": ("*/edge_config.json",),
}
"""What each engine leaves in a folder; mem0's may lie beside those of what it keeps vectors in."""


class Claim:
    """A folder that an engine has claimed; its marker stays open, so that no other can come to be the same file."""

    def __init__(self, path: Path) -> None:
        self._marker = path.absolute() / MARKER
        opened = os.open(self._marker, os.O_RDONLY)
        self.close = finalize(self, os.close, opened)
        """Look after the folder no longer."""
        self.engine = os.read(opened, 64).decode(errors="replace").strip()
        self.place = _identity(os.fstat(opened))

    def holds(self) -> bool:
        """Tell whether the folder is still the same."""
        try:
            return _identity(self._marker.stat()) == self.place
        except OSError:
            return False

    def check(self) -> None:
        """Raise ConfigurationError where the folder was deleted or replaced since."""
        if not self.holds():
            raise replaced(self._marker.parent)


def claim(path: Path, engine: FolderOf, *, private: bool) -> Claim:
    """Make a folder or take it, and mark it; private: a new one is for nobody else, else as the umask says.

    What engines put in it has rights of their choice: those of the folder are what keeps others out. Raises
    ConfigurationError where the folder belongs to another engine or another program.
    """
    check_place(path)
    try:
        path.mkdir(mode=0o700 if private else 0o777, exist_ok=True)
        if engine_of(path) is None:
            _check_free(path, engine)
            mark(path, engine, 0o600 if private else 0o666)
        claimed = Claim(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be used as a folder.", remedy="Check the path and its rights."
        ) from error
    if claimed.engine != engine:
        claimed.close()
        raise _belongs(path, claimed.engine)
    return claimed


def _check_free(path: Path, engine: FolderOf) -> None:
    """Refuse an unmarked folder that holds anything, unless it is what the engine left there."""
    holder = next((name for name, signs in SIGNS.items() if any(any(path.glob(sign)) for sign in signs)), None)
    if holder is not None and holder != engine:
        raise _belongs(path, holder)
    held = sorted(each.name for each in path.iterdir())
    names = [] if holder else [name for name in held if name[0] != "." and name != "lost+found"]
    if names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise ConfigurationError(
            f"{path} holds files of another program ({shown}).", remedy="Name a folder of its own."
        )


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _belongs(path: Path, engine: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} holds a store of {engine}.", remedy=f"Open it as {engine}:///{path}, or name another folder."
    )


def replaced(path: Path) -> ConfigurationError:
    """Say that a folder is no longer the one that was opened."""
    return ConfigurationError(
        f"{path} was deleted or replaced while it was open.", remedy="Close all its clients and open it anew."
    )


class Turns:
    """A lock for the tasks of any event loop, first come, first served."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._taken = False
        self._waiting: deque[Future[None]] = deque()

    async def __aenter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            turn: Future[None] = Future()
            self._waiting.append(turn)
        try:
            await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came at the same moment
                self._pass_on()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._taken = False


class Folder(Generic[T]):
    """What is open of a folder, a lock round each call of it, and the turns of those who write."""

    def __init__(self, opened: T, claimed: Claim | None) -> None:
        self.opened = opened
        self.place = claimed and claimed.place
        self.lock = Lock()
        self.turns = Turns()
        self.notes: dict[str, Any] = {}
        self.clients = 0


class Folders(Generic[T]):
    """The folders that this process has open by one engine."""

    def __init__(self, open_: Callable[..., T], close: Callable[[T], None]) -> None:
        self._open, self._close = open_, close
        self._lock = Lock()
        self.by_place: dict[Path, Folder[T]] = {}
        """Those that are open, by where they really are."""
        in_child(self, Folders._forked)
        at_exit.append(self._exit)

    def take(self, path: Path, *how: Any, claimed: Claim | None = None) -> Folder[T]:
        """Open a folder, unless another client did; raises ConfigurationError where there is no place for it."""
        check_place(path)
        place = path.resolve()
        with self._lock:
            folder = self.by_place.get(place)
            if folder is None:
                folder = self.by_place[place] = Folder(self._open(path, *how), claimed)
            if claimed is not None and folder.place != claimed.place:
                raise replaced(path)
            folder.clients += 1
            return folder

    def give_back(self, folder: Folder[T]) -> None:
        """Close a folder when the last client has given it back."""
        with self._lock:
            folder.clients -= 1
            if not folder.clients and folder in self.by_place.values():  # else it was closed at exit
                self.by_place = {place: each for place, each in self.by_place.items() if each is not folder}
                with folder.lock:
                    self._close(folder.opened)

    def _exit(self) -> None:
        """Close what was left open while Python can still do so; what is in the midst of a call is left to the disk."""
        folders, self.by_place = self.by_place, {}
        for folder in folders.values():
            if folder.lock.acquire(timeout=1.0):
                with suppress(Exception):  # there is nobody to tell
                    self._close(folder.opened)

    def _forked(self) -> None:
        leave_to_parent(self.by_place)
        self.by_place = {}


class FolderEngine(ABC, Generic[T]):
    """What the engines of a folder have in common: how it is taken and given back, and what their errors become."""

    engine: FolderOf

    def __init__(self, path: Path, folders: Folders[T], *, private: bool = True) -> None:
        self.path, self.folders, self.private = path.absolute(), folders, private
        self._folder: Folder[T] | None = None
        self.claim: Claim | None = None

    @property
    def turns(self) -> Turns:
        """The turns of those who write."""
        return self.taken().turns

    @property
    def notes(self) -> dict[str, Any]:
        """What the clients of a folder tell each other."""
        return self.taken().notes

    async def open(self) -> None:
        """Take the folder, to the end even where the caller is cancelled: what is half taken nobody gives back."""
        if self._folder is None:
            await finished(offload(self._open))

    async def close(self) -> None:
        """Let go of the folder."""
        await finished(offload(self._close))

    def _open(self) -> None:
        try:
            self._folder = self.guarded(self.take)
        except BaseException:
            self._close()
            raise

    def take(self) -> Folder[T]:
        """Claim the folder and open it, in the thread of open."""
        self.claim = claim(self.path, self.engine, private=self.private)
        return self.folders.take(self.path, claimed=self.claim)

    def _close(self) -> None:
        folder, self._folder = self._folder, None
        claimed, self.claim = self.claim, None
        gone = claimed is not None and not claimed.holds()
        if claimed is not None:
            claimed.close()
        try:
            if folder is not None:
                self.guarded(self.folders.give_back, folder)
        except OMPError:
            if not gone:  # what the engine would still have stored has no place
                raise

    def alone(self, work: Callable[..., R], *arguments: Any) -> R:
        """Call work(opened, …), one call at a time."""
        folder = self.taken()
        with folder.lock:
            return self.guarded(work, folder.opened, *arguments)

    def guarded(self, work: Callable[..., R], *arguments: Any) -> R:
        """Call work(…); its errors become ours."""
        try:
            return work(*arguments)
        except OMPError:
            raise
        except Exception as error:  # these engines raise whatever their parts raise
            raise self.explained(error) from error

    @abstractmethod
    def explained(self, error: Exception) -> OMPError:
        """Say what an error of the engine means."""

    def taken(self) -> Folder[T]:
        """Return the folder; ClosedError where it is not open, ConfigurationError where it is another one now."""
        if self._folder is None:
            raise ClosedError("this adapter is closed.")
        if self.claim is not None:
            self.claim.check()
        return self._folder


def in_use(path: Path, instead: str) -> ConfigurationError:
    """Say that a folder belongs to another process; instead: what two processes can use."""
    return ConfigurationError(f"{path} is open in another process.", remedy=f"Close it there, or {instead}.")
