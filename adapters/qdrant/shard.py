"""The engine of qdrant-edge: shards in this process, each in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import qdrant_edge as edge

from openmem.errors import OMPError, ProviderError
from openmem.runtime.bridge import offload

from ..kit.folders import Folder, FolderEngine, Folders, in_use
from .edge_models import INDEXES, Updates, config_of, filter_of, request_of, row_of, update_of
from .engine import (
    SERVER,
    Held,
    Layout,
    Nearest,
    Operation,
    Row,
    size_of,
)
from .filters import Native
from .making import alone_making

T = TypeVar("T")
Shards = dict[str, edge.EdgeShard]

ROOM = 64 << 20
"""Bytes of the disk that no write takes: files of the engine grow by as much, and closing writes too."""
GROWTH = 4
"""Bytes that a byte stored takes at most: in the log, the payload, the indexes."""
CONFIG = "edge_config.json"
"""The file of a shard that says how it was made."""


class EdgeEngine(FolderEngine[Shards]):
    """A shard for each collection; the engine itself is safe in several threads and locks its folder."""

    engine = "qdrant+edge"

    def __init__(self, path: Path, *, private: bool) -> None:
        super().__init__(path, _FOLDERS, private=private)

    async def held(self, collection: str) -> Held | None:
        """Say how a shard was made."""
        return await offload(_held, self.path / collection / CONFIG)

    async def create(self, collection: str, layout: Layout) -> None:
        """Open a shard, or make it."""
        await offload(self.guarded, self._create, self.taken(), collection, layout)

    async def add_vectors(self, collection: str, name: str, dimension: int | None) -> None:
        """Take vectors of a name from now on."""
        if dimension is None:
            update = Updates.create_sparse_vector(name, edge.Modifier.Idf)
        else:
            update = Updates.create_dense_vector(name, dimension, edge.Distance.Cosine)
        await self._work(collection, lambda shard: shard.update(update))

    async def drop_vectors(self, collection: str, name: str) -> None:
        """Drop all vectors of a name."""
        await self._work(collection, lambda shard: shard.update(Updates.delete_vector_name(name)))

    async def write(self, collection: str, operations: Sequence[Operation]) -> None:
        """Do operations in order."""

        def work(shard: edge.EdgeShard) -> None:
            self._check_room(sum(map(size_of, operations)))
            for each in operations:
                shard.update(update_of(each))

        await self._work(collection, work)

    def _check_room(self, needed: int) -> None:
        """Refuse to write to a full disk: the engine writes to mapped files, and the process would end by a signal."""
        free = shutil.disk_usage(self.path).free
        if free < GROWTH * needed + ROOM:
            raise ProviderError(
                f"the disk of {self.path} is full: {free >> 20} MiB are free.",
                remedy=f"Free {(GROWTH * needed + ROOM) >> 20} MiB or more.",
                written="nothing",
            )

    async def secure(self, collection: str) -> None:
        """Flush a shard."""
        await self._work(collection, lambda shard: shard.flush())

    async def scrub(self) -> Sequence[str]:
        """Leave it to the engine, which rewrites its files by itself, and not at once."""
        return ()

    async def retrieve(self, collection: str, ids: Sequence[str], fields: Sequence[str]) -> list[Row]:
        """Read points by id."""
        return await self._work(
            collection, lambda shard: [row_of(record) for record in shard.retrieve([*ids], [*fields], False)]
        )

    async def vectors(self, collection: str, name: str, ids: Sequence[str]) -> dict[str, list[float]]:
        """Read dense vectors."""

        def work(shard: edge.EdgeShard) -> dict[str, list[float]]:
            records: list[Any] = shard.retrieve([*ids], False, [name])
            return {str(record.id): record.vector[name] for record in records if name in (record.vector or {})}

        return await self._work(collection, work)

    async def search(self, collection: str, searches: Sequence[Nearest], fields: Sequence[str]) -> list[list[Row]]:
        """Answer searches together."""
        batch = edge.QueryBatchRequest([request_of(each, fields) for each in searches])

        def work(shard: edge.EdgeShard) -> list[list[Row]]:
            return [[row_of(point, point.score) for point in points] for points in shard.query_batch(batch)]

        return await self._work(collection, work)

    async def count(self, collection: str, condition: Native) -> int:
        """Count points."""
        request = edge.CountRequest(exact=True, filter=filter_of(condition))
        return await self._work(collection, lambda shard: shard.count(request))

    async def facet(self, collection: str, key: str) -> list[tuple[str, int]]:
        """Count by an index, whose values are no more than the points."""

        def work(shard: edge.EdgeShard) -> list[tuple[str, int]]:
            most = max(1, shard.count(edge.CountRequest(exact=True)))
            return [(str(hit.value), hit.count) for hit in shard.facet(edge.FacetRequest(key, most, exact=True)).hits]

        return await self._work(collection, work)

    async def about(self) -> str:
        """Name the engine."""
        return f"qdrant-edge {version('qdrant-edge-py')}"

    async def ordered(
        self, collection: str, condition: Native, key: str, limit: int, fields: Sequence[str], *, ascending: bool
    ) -> list[Row]:
        """Read by an index."""
        order = edge.OrderBy(key, edge.Direction.Asc if ascending else edge.Direction.Desc)
        request = edge.ScrollRequest(
            limit=limit, filter=filter_of(condition), order_by=order, with_payload=[*fields], with_vector=False
        )
        return await self._work(collection, lambda shard: [row_of(record) for record in shard.scroll(request)[0]])

    async def scroll(
        self, collection: str, condition: Native | None, limit: int, after: str | None, fields: Sequence[str]
    ) -> tuple[list[Row], str | None]:
        """Read a page in the order of ids."""
        where = filter_of(condition) if condition is not None else None
        request = edge.ScrollRequest(offset=after, limit=limit, filter=where, with_payload=[*fields], with_vector=False)

        def work(shard: edge.EdgeShard) -> tuple[list[Row], str | None]:
            records, following = shard.scroll(request)
            return [row_of(record) for record in records], None if following is None else str(following)

        return await self._work(collection, work)

    async def _work(self, collection: str, work: Callable[[edge.EdgeShard], T]) -> T:
        return await offload(self.guarded, work, self.taken().opened[collection])

    def explained(self, error: Exception) -> OMPError:
        """Say what an error of a shard means."""
        if "WouldBlock" in str(error):
            return in_use(self.path, SERVER)
        return ProviderError("the Qdrant shard failed.", remedy=f"Check the disk and {self.path}; see the cause.")

    def _create(self, folder: Folder[Shards], collection: str, layout: Layout) -> None:
        with folder.lock:
            shard = folder.opened.get(collection)
            if shard is None:
                self._check_room(0)
                with alone_making(self.path):
                    shard = folder.opened[collection] = _shard(self.path / collection, layout)
            held = shard.info().payload_schema
            for field, kind in layout.indexes.items():
                if field not in held:
                    shard.update(Updates.create_field_index(field, INDEXES[kind]))


def _held(config: Path) -> Held | None:
    if not config.exists():
        return None
    made = json.loads(config.read_text())
    dense = {name: each["size"] for name, each in (made.get("vectors") or {}).items()}
    return Held(dense, tuple(made.get("sparse_vectors") or ()))


def _shard(folder: Path, layout: Layout) -> edge.EdgeShard:
    """Open a shard; a new one gets its name when it is whole, so that one half made is made anew."""
    if not (folder / CONFIG).exists():
        for left in folder.parent.glob(f".{folder.name}.*new"):
            shutil.rmtree(left, ignore_errors=True)
        making = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.new")
        making.mkdir()
        edge.EdgeShard.create(str(making), config_of(layout)).close()
        making.rename(folder)
    return edge.EdgeShard.load(str(folder))


def _close(shards: Shards) -> None:
    """Close all shards, and then say what one of them could not store."""
    with ExitStack() as stack:
        for shard in shards.values():
            stack.callback(shard.close)
            stack.callback(shard.flush)


_FOLDERS = Folders[Shards](lambda path: {}, _close)
