"""Local mode of qdrant-client: a folder of this process alone, and every search reads every point."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import portalocker
from qdrant_client import QdrantClient

from openmem.errors import ConfigurationError, OMPError, ProviderError
from openmem.runtime.bridge import offload

from ..kit.folders import FolderEngine, Folders, in_use
from .clients import ClientEngine
from .engine import SERVER, Insert, Operation
from .models import mode_of, operation_of, structs_of

PAGE = 1000
"""Points read at a time."""


class LocalEngine(FolderEngine[QdrantClient], ClientEngine):
    """A folder, with one lock round every call: local mode is not safe in several threads."""

    engine = "qdrant+local"

    def __init__(self, path: Path, *, private: bool) -> None:
        super().__init__(path, _FOLDERS, private=private)

    async def scrub(self) -> Sequence[str]:
        """Rewrite the files, which are SQLite's."""
        return await offload(self.alone, lambda _: rewritten(self.path))

    async def write(self, collection: str, operations: Sequence[Operation]) -> None:
        """Do operations in order."""
        await offload(self.alone, _do, collection, operations)

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call the client in a thread."""
        return await offload(self.alone, lambda client: getattr(client, method)(*arguments, **options))

    async def facet(self, collection: str, key: str) -> list[tuple[str, int]]:
        """Count by reading every point: the client's own facet takes texts that spell one UUID for the same."""
        counted, after = Counter[str](), None
        while True:
            rows, after = await self.scroll(collection, None, PAGE, after, (key,))
            counted.update(row.payload[key] for row in rows)
            if after is None:
                return [*counted.items()]

    async def about(self) -> str:
        """Name the client."""
        return f"local mode of qdrant-client {version('qdrant-client')}"

    def explained(self, error: Exception) -> OMPError:
        """Say what an error of local mode means."""
        remedy = f"Check the disk and {self.path}; see the cause."
        return ProviderError(f"Qdrant's local mode failed: {type(error).__name__}.", remedy=remedy)


def _do(client: QdrantClient, collection: str, operations: Sequence[Operation]) -> None:
    """Do operations; points are stored by a call of their own, since a batch would check them twice."""
    for operation in operations:
        if isinstance(operation, Insert):
            client.upsert(collection, structs_of(operation), **mode_of(operation))
        else:
            client.batch_update_points(collection, [operation_of(operation)])


def rewritten(folder: Path) -> Sequence[str]:
    """Rewrite the files of a folder without what was deleted; say, one sentence each, what could not be."""
    left = []
    for file in sorted(folder.glob("collection/*/storage.sqlite")):
        try:
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("VACUUM")
        except sqlite3.Error as error:
            left.append(f"{file} holds what was deleted, for it could not be rewritten: {error}.")
    return left


def _open(path: Path) -> QdrantClient:
    try:
        look_over(path, SERVER)
        return QdrantClient(path=str(path), force_disable_check_same_thread=True)
    except RuntimeError as error:
        raise in_use(path, SERVER) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be opened.", remedy="Check the path and its rights.") from error


def look_over(path: Path, instead: str) -> None:
    """Find beforehand what a client finds too late, or never; ConfigurationError where another process has the folder.

    A client that does not get the lock leaves its files open; and in a child of fork it may wait for ever for a lock
    of SQLite's, since it reads everything first.
    """
    lock, meta = path / ".lock", path / "meta.json"
    if lock.exists():
        with lock.open("r+") as file:
            try:
                portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            except portalocker.LockException as error:
                raise in_use(path, instead) from error
            portalocker.unlock(file)
    if meta.exists() and not meta.stat().st_size:  # a process ended when it had just made it
        meta.unlink()


_FOLDERS = Folders(_open, QdrantClient.close)
