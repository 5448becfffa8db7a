"""The engine of qdrant-edge: shards in this process, each in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import qdrant_edge as edge

from openmem.errors import OMPError, ProviderError
from openmem.runtime.bridge import offload

from ..kit.folders import Folder, FolderEngine, Folders, in_use
from .engine import (
    DENSE,
    SERVER,
    Delete,
    Embed,
    Held,
    Index,
    Insert,
    Layout,
    Mark,
    Nearest,
    Operation,
    Overwrite,
    Row,
    Vectors,
    Words,
    size_of,
    words_name,
)
from .filters import All, Has, Ids, Lacks, Match, Native, Not, Range, Some
from .making import alone_making

T = TypeVar("T")
Shards = dict[str, edge.EdgeShard]
Updates = edge.UpdateOperation

ROOM = 64 << 20
"""Bytes of the disk that no write takes: files of the engine grow by as much, and closing writes too."""
GROWTH = 4
"""Bytes that a byte stored takes at most: in the log, the payload, the indexes."""
CONFIG = "edge_config.json"
"""The file of a shard that says how it was made."""

_INDEXES: dict[Index, Any] = {
    "tenant": edge.KeywordIndexParams(is_tenant=True),
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
}


class EdgeEngine(FolderEngine[Shards]):
    """A shard for each collection; the engine itself is safe in several threads and locks its folder."""

    engine = "qdrant+edge"

    def __init__(self, path: Path, *, private: bool) -> None:
        super().__init__(path, _FOLDERS, private=private)

    async def held(self, collection: str) -> Held | None:
        """Say how a shard was made."""
        return await offload(_held, self._path / collection / CONFIG)

    async def create(self, collection: str, layout: Layout) -> None:
        """Open a shard, or make it."""
        await offload(self._guarded, self._create, self._held(), collection, layout)

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
                shard.update(_update(each))

        await self._work(collection, work)

    def _check_room(self, needed: int) -> None:
        """Refuse to write to a full disk: the engine writes to mapped files, and the process would end by a signal."""
        free = shutil.disk_usage(self._path).free
        if free < GROWTH * needed + ROOM:
            raise ProviderError(
                f"the disk of {self._path} is full: {free >> 20} MiB are free.",
                remedy=f"Free {(GROWTH * needed + ROOM) >> 20} MiB or more.",
                written="nothing",
            )

    async def secure(self, collection: str) -> None:
        """Flush a shard."""
        await self._work(collection, lambda shard: shard.flush())

    async def retrieve(self, collection: str, ids: Sequence[str], fields: Sequence[str]) -> list[Row]:
        """Read points by id."""
        return await self._work(
            collection, lambda shard: [_row(record) for record in shard.retrieve([*ids], [*fields], False)]
        )

    async def vectors(self, collection: str, name: str, ids: Sequence[str]) -> dict[str, list[float]]:
        """Read dense vectors."""

        def work(shard: edge.EdgeShard) -> dict[str, list[float]]:
            records: list[Any] = shard.retrieve([*ids], False, [name])
            return {str(record.id): record.vector[name] for record in records if name in (record.vector or {})}

        return await self._work(collection, work)

    async def search(self, collection: str, searches: Sequence[Nearest], fields: Sequence[str]) -> list[list[Row]]:
        """Answer searches together."""
        batch = edge.QueryBatchRequest([_request(each, fields) for each in searches])

        def work(shard: edge.EdgeShard) -> list[list[Row]]:
            return [[_row(point, point.score) for point in points] for points in shard.query_batch(batch)]

        return await self._work(collection, work)

    async def count(self, collection: str, condition: Native) -> int:
        """Count points."""
        request = edge.CountRequest(exact=True, filter=_filter(condition))
        return await self._work(collection, lambda shard: shard.count(request))

    async def newest(
        self, collection: str, condition: Native, key: str, limit: int, fields: Sequence[str]
    ) -> list[Row]:
        """Read by an index, descending."""
        order = edge.OrderBy(key, edge.Direction.Desc)
        request = edge.ScrollRequest(
            limit=limit, filter=_filter(condition), order_by=order, with_payload=[*fields], with_vector=False
        )
        return await self._work(collection, lambda shard: [_row(record) for record in shard.scroll(request)[0]])

    async def scroll(
        self, collection: str, condition: Native | None, limit: int, after: str | None, fields: Sequence[str]
    ) -> tuple[list[Row], str | None]:
        """Read a page in the order of ids."""
        where = _filter(condition) if condition is not None else None
        request = edge.ScrollRequest(offset=after, limit=limit, filter=where, with_payload=[*fields], with_vector=False)

        def work(shard: edge.EdgeShard) -> tuple[list[Row], str | None]:
            records, following = shard.scroll(request)
            return [_row(record) for record in records], None if following is None else str(following)

        return await self._work(collection, work)

    async def _work(self, collection: str, work: Callable[[edge.EdgeShard], T]) -> T:
        return await offload(self._guarded, work, self._held().opened[collection])

    def _explained(self, error: Exception) -> OMPError:
        if "WouldBlock" in str(error):
            return in_use(self._path, SERVER)
        return ProviderError("the Qdrant shard failed.", remedy=f"Check the disk and {self._path}; see the cause.")

    def _create(self, folder: Folder[Shards], collection: str, layout: Layout) -> None:
        with folder.lock:
            shard = folder.opened.get(collection)
            if shard is None:
                self._check_room(0)
                with alone_making(self._path):
                    shard = folder.opened[collection] = _shard(self._path / collection, layout)
            held = shard.info().payload_schema
            for field, kind in layout.indexes.items():
                if field not in held:
                    shard.update(Updates.create_field_index(field, _INDEXES[kind]))


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
        edge.EdgeShard.create(str(making), _config(layout)).close()
        making.rename(folder)
    return edge.EdgeShard.load(str(folder))


def _close(shards: Shards) -> None:
    """Close all shards, and then say what one of them could not store."""
    with ExitStack() as stack:
        for shard in shards.values():
            stack.callback(shard.close)
            stack.callback(shard.flush)


_FOLDERS = Folders[Shards](lambda path: {}, _close)


def _config(layout: Layout) -> edge.EdgeConfig:
    dense = {}
    if layout.dimension is not None:
        dense[DENSE] = edge.EdgeVectorParams(size=layout.dimension, distance=edge.Distance.Cosine)
    return edge.EdgeConfig(
        vectors=dense, sparse_vectors={words_name(): edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)}
    )


def _row(record: Any, score: float = 0.0) -> Row:
    return Row(str(record.id), record.payload or {}, score)


def _request(search: Nearest, fields: Sequence[str]) -> edge.QueryRequest:
    params = None
    if isinstance(search.vector, Words):
        query = edge.Query.Nearest(edge.SparseVector(*search.vector), using=search.name)
        if search.corpus is not None:
            params = edge.SearchParams(idf=edge.IdfParams(_filter(search.corpus)))
    else:
        query = edge.Query.Nearest(search.vector, using=search.name)
        params = edge.SearchParams(exact=True)  # a shard is optimised only by hand: this costs nothing
    return edge.QueryRequest(
        limit=search.limit,
        query=query,
        filter=_filter(search.condition),
        params=params,
        with_payload=[*fields],
        with_vector=False,
    )


def _filter(native: Native) -> edge.Filter:
    condition = _condition(native)
    return condition if isinstance(condition, edge.Filter) else edge.Filter(must=[condition])


def _condition(native: Native) -> Any:
    match native:
        case Match(key, values):
            match = edge.MatchValue(values[0]) if len(values) == 1 else edge.MatchAny([*values])
            return edge.FieldCondition(key, match=match)
        case Range(key, low, high):
            return edge.FieldCondition(key, range=edge.RangeFloat(gte=low, lte=high))
        case Ids(ids):
            return edge.HasIdCondition({*ids})
        case Lacks(key):
            return edge.IsEmptyCondition(key)
        case Has(vector):
            return edge.HasVectorCondition(vector)
        case All(parts):
            must = [_condition(part) for part in parts if not isinstance(part, Not)]
            must_not = [_condition(part.part) for part in parts if isinstance(part, Not)]
            return edge.Filter(must=must or None, must_not=must_not or None)
        case Some(parts):
            return edge.Filter(should=[_condition(part) for part in parts])
        case Not(part):
            return edge.Filter(must_not=[_condition(part)])


def _update(operation: Operation) -> edge.UpdateOperation:
    """Write an operation."""
    match operation:
        case Insert(points, only_new, condition):
            structs = [edge.Point(each.id, _vectors(each.vectors), each.payload) for each in points]
            if condition is not None:
                return Updates.upsert_points(structs, _filter(condition), edge.UpdateMode.UpdateOnly)
            return Updates.upsert_points(structs, update_mode=edge.UpdateMode.InsertOnly if only_new else None)
        case Overwrite(point, payload, condition):
            if condition is not None:
                return Updates.overwrite_payload_by_filter(_among([point], condition), payload)
            return Updates.overwrite_payload([point], payload)
        case Mark(point, payload, condition):
            return Updates.set_payload_by_filter(_among([point], condition), payload)
        case Embed(point, vectors, condition):
            return Updates.update_vectors([edge.PointVectors(point, _vectors(vectors))], _filter(condition))
        case Delete(ids, condition):
            if condition is not None:
                return Updates.delete_points_by_filter(_among(ids, condition))
            return Updates.delete_points([*ids])


def _among(ids: Sequence[str], condition: Native) -> edge.Filter:
    return _filter(All((Ids(tuple(ids)), condition)))


def _vectors(vectors: Vectors) -> dict[str, Any]:
    return {name: edge.SparseVector(*each) if isinstance(each, Words) else each for name, each in vectors.items()}
