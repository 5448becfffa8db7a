"""Qdrant by hand, as qdrant-client's local mode and qdrant-edge are used without openmem.

The points are those that openmem stores, worked out beforehand: record, fields to select by, dense vector and terms; a
search by hand selects a user's current ones.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from data import NOTHING, TOP, Data, Row, median_ms, rate
from qdrant_client import QdrantClient, models

from openmem.adapters.qdrant.engine import Point, Words, words_name
from openmem.adapters.qdrant.points import MEMORY_INDEXES, point_of
from openmem.adapters.qdrant.words import Numbers, words_of
from openmem.protocol.clock import micros
from openmem.types import MemoryRecord

PAST = ("superseded_at", "valid_to")


def local(data: Data, folder: Path) -> Row:
    """Measure the client's local mode."""
    client = QdrantClient(path=str(folder))
    client.create_collection(
        "raw",
        vectors_config={"dense": models.VectorParams(size=data.vectors.shape[1], distance=models.Distance.COSINE)},
        sparse_vectors_config={words_name(): models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )

    def struct(point: Point) -> models.PointStruct:
        vectors: dict[str, Any] = {
            name: models.SparseVector(indices=each.indices, values=each.values) if isinstance(each, Words) else each
            for name, each in point.vectors.items()
        }
        return models.PointStruct(id=point.id, payload=point.payload, vector=vectors)

    def search(n: int) -> Any:
        now = micros(datetime.now(UTC))
        gone: list[Any] = [models.FieldCondition(key=key, range=models.Range(lte=now)) for key in PAST]
        gone.append(models.FieldCondition(key="valid_from", range=models.Range(gte=now + 1)))
        gone.append(models.FieldCondition(key="archived", match=models.MatchValue(value=1)))
        mine = models.FieldCondition(key="user_id", match=models.MatchValue(value=data.users[n]))
        where = models.Filter(must=[mine], must_not=gone)
        vector = data.vectors[n].tolist()
        return client.query_points("raw", query=vector, using="dense", query_filter=where, limit=TOP)

    points = list(map(struct, _points(data)))
    row = _row("raw local", data, lambda batch: client.upsert("raw", points[batch.start : batch.stop]), search)
    client.close()
    return row


def shard(data: Data, folder: Path) -> Row:
    """Measure a shard of qdrant-edge."""
    folder.mkdir()
    dense = edge.EdgeVectorParams(size=data.vectors.shape[1], distance=edge.Distance.Cosine)
    words = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
    engine = edge.EdgeShard.create(
        str(folder), edge.EdgeConfig(vectors={"dense": dense}, sparse_vectors={words_name(): words})
    )
    for field, kind in MEMORY_INDEXES.items():
        schema: Any = {"keyword": edge.PayloadSchemaType.Keyword, "integer": edge.PayloadSchemaType.Integer}.get(kind)
        schema = schema or (
            edge.KeywordIndexParams(is_tenant=True) if kind == "tenant" else edge.PayloadSchemaType.Float
        )
        engine.update(edge.UpdateOperation.create_field_index(field, schema))

    def struct(point: Point) -> edge.Point:
        vectors: dict[str, Any] = {
            name: edge.SparseVector(*each) if isinstance(each, Words) else each for name, each in point.vectors.items()
        }
        return edge.Point(point.id, vectors, point.payload)

    def search(n: int) -> Any:
        now = micros(datetime.now(UTC))
        gone: list[Any] = [edge.FieldCondition(key, range=edge.RangeFloat(lte=now)) for key in PAST]
        gone.append(edge.FieldCondition("valid_from", range=edge.RangeFloat(gte=now + 1)))
        gone.append(edge.FieldCondition("archived", match=edge.MatchValue(1)))
        mine = edge.FieldCondition("user_id", match=edge.MatchValue(data.users[n]))
        request = edge.QueryRequest(
            limit=TOP,
            query=edge.Query.Nearest(data.vectors[n].tolist(), using="dense"),
            filter=edge.Filter(must=[mine], must_not=gone),
            with_payload=True,
            with_vector=False,
        )
        return engine.query(request)

    points = list(map(struct, _points(data)))

    def add(batch: range) -> None:
        engine.update(edge.UpdateOperation.upsert_points(points[batch.start : batch.stop]))

    row = _row("raw edge", data, add, search)
    engine.close()
    return row


def _points(data: Data) -> list[Point]:
    now = datetime.now(UTC)
    moments = {"created_at": now, "updated_at": now}
    known = {"embedding_model": "precomputed", "status": "done", "version": 1}
    numbers = Numbers()
    return [
        point_of(
            MemoryRecord.model_validate(
                {"id": f"mem_{n:026x}", "content": data.texts[n], "user_id": data.users[n], **moments, **known}
            ),
            words_of(data.texts[n], numbers),
            {"dense": data.vectors[n].tolist()},
            {"revision": "raw"},
        )
        for n in range(len(data.texts))
    ]


def _row(name: str, data: Data, add: Callable[[range], object], search: Callable[[int], object]) -> Row:
    speed = rate(data, add)
    return (name, speed, NOTHING, median_ms(search, data.asked), NOTHING, NOTHING, NOTHING)
