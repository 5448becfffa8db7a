"""Local mode of qdrant-client: a folder of this process alone, and every search reads every point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import portalocker
from qdrant_client import QdrantClient, models

from openmem.bridge import offload
from openmem.errors import ClosedError, ConfigurationError, ProviderError

from .clients import ClientEngine
from .engine import Insert, Operation
from .folders import Folder, Folders, Turns, in_use
from .models import operation_of, structs_of


class LocalEngine(ClientEngine):
    """A folder, with one lock round every call: local mode is not safe in several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: Folder[QdrantClient] | None = None

    @property
    def turns(self) -> Turns:
        """The turns of those who write."""
        return self._held().turns

    async def open(self) -> None:
        """Load the folder."""
        self._folder = self._folder or await offload(_FOLDERS.take, self._path)

    async def close(self) -> None:
        """Let go of the folder."""
        folder, self._folder = self._folder, None
        if folder is not None:
            await offload(_FOLDERS.give_back, folder)

    async def write(self, collection: str, operations: Sequence[Operation]) -> None:
        """Do operations in order; points are stored by a call of their own, since a batch would check them twice."""
        for operation in operations:
            if isinstance(operation, Insert):
                mode = models.UpdateMode.INSERT_ONLY if operation.only_new else None
                await self.call("upsert", collection, structs_of(operation), update_mode=mode)
            else:
                await self.call("batch_update_points", collection, [operation_of(operation)])

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call the client in a thread."""
        return await offload(self._call, self._held(), method, arguments, options)

    def _held(self) -> Folder[QdrantClient]:
        if self._folder is None:
            raise ClosedError("this adapter is closed.")
        return self._folder

    def _call(
        self, folder: Folder[QdrantClient], method: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        with folder.lock:
            try:
                return getattr(folder.opened, method)(*arguments, **options)
            except Exception as error:  # it raises whatever its parts raise
                raise ProviderError(
                    f"Qdrant's local mode failed: {type(error).__name__}.",
                    remedy=f"Check the disk and {self._path}; see the cause.",
                ) from error


def _open(path: Path) -> QdrantClient:
    try:
        _check_unlocked(path)
        return QdrantClient(path=str(path), force_disable_check_same_thread=True)
    except (portalocker.LockException, RuntimeError) as error:
        raise in_use(path) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be opened.", remedy="Check the path and its rights.") from error


def _check_unlocked(path: Path) -> None:
    """Try the lock of the folder beforehand: a client that does not get it leaves its files open."""
    lock = path / ".lock"
    if lock.exists():
        with lock.open("r+") as file:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            portalocker.unlock(file)


_FOLDERS = Folders(_open, QdrantClient.close)
