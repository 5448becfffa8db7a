"""Folders that one process has open: its clients share what only one process may have."""

from __future__ import annotations

import asyncio
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

from openmem.bridge import offload
from openmem.errors import ClosedError, ConfigurationError, OMPError
from openmem.fork import leave_to_parent

from .native import check_place

T = TypeVar("T")
R = TypeVar("R")


class Turns:
    """A lock for the tasks of any event loop, first come, first served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
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

    def __init__(self, opened: T) -> None:
        self.opened = opened
        self.lock = threading.Lock()
        self.turns = Turns()
        self.clients = 0


class Folders(Generic[T]):
    """The folders that this process has open by one engine."""

    def __init__(self, open_: Callable[..., T], close: Callable[[T], None]) -> None:
        self._open, self._close = open_, close
        self._lock = threading.Lock()
        self._folders: dict[Path, Folder[T]] = {}
        self._process = os.getpid()

    def take(self, path: Path, *how: Any) -> Folder[T]:
        """Open a folder, unless another client did; raises ConfigurationError where there is no place for it."""
        check_place(path)
        place = path.resolve()
        with self._lock:
            if self._process != os.getpid():
                leave_to_parent(self._folders)
                self._folders, self._process = {}, os.getpid()
            folder = self._folders.get(place)
            if folder is None:
                folder = self._folders[place] = Folder(self._open(path, *how))
            folder.clients += 1
            return folder

    def give_back(self, folder: Folder[T]) -> None:
        """Close a folder when the last client has given it back."""
        with self._lock:
            folder.clients -= 1
            if not folder.clients:
                self._folders = {place: each for place, each in self._folders.items() if each is not folder}
                with folder.lock:
                    self._close(folder.opened)


class FolderEngine(ABC, Generic[T]):
    """What the engines of a folder have in common: how it is taken and given back, and what their errors become."""

    def __init__(self, path: Path, folders: Folders[T]) -> None:
        self._path, self._folders = path, folders
        self._folder: Folder[T] | None = None

    @property
    def turns(self) -> Turns:
        """The turns of those who write."""
        return self._held().turns

    async def open(self) -> None:
        """Take the folder."""
        self._folder = self._folder or await offload(self._folders.take, self._path)

    async def close(self) -> None:
        """Let go of the folder."""
        folder, self._folder = self._folder, None
        if folder is not None:
            await offload(self._give_back, folder)

    def _give_back(self, folder: Folder[T]) -> None:
        self._guarded(self._folders.give_back, folder)

    def _alone(self, work: Callable[..., R], *arguments: Any) -> R:
        """Call work(opened, …), one call at a time."""
        folder = self._held()
        with folder.lock:
            return self._guarded(work, folder.opened, *arguments)

    def _guarded(self, work: Callable[..., R], *arguments: Any) -> R:
        try:
            return work(*arguments)
        except OMPError:
            raise
        except Exception as error:  # these engines raise whatever their parts raise
            raise self._explained(error) from error

    @abstractmethod
    def _explained(self, error: Exception) -> OMPError:
        """Say what an error of the engine means."""

    def _held(self) -> Folder[T]:
        if self._folder is None:
            raise ClosedError("this adapter is closed.")
        return self._folder


def in_use(path: Path, instead: str) -> ConfigurationError:
    """Say that a folder belongs to another process; instead: what two processes can use."""
    return ConfigurationError(f"{path} is open in another process.", remedy=f"Close it there, or {instead}.")
