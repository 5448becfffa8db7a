"""Our conditions and operations in the models of qdrant-client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qdrant_client import models

from .engine import (
    DENSE,
    Delete,
    Index,
    Insert,
    Layout,
    Mark,
    Nearest,
    Operation,
    Overwrite,
    SetVectors,
    Vectors,
    Words,
    words_name,
)
from .filters import All, Has, Ids, Lacks, Match, Native, Not, Range, Some

INDEXES: dict[Index, Any] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
}
"""How each kind of index is asked for."""


def vectors_of(dimension: int | None) -> models.DenseVectorNameConfig | models.SparseVectorNameConfig:
    """Say how new vectors are made; None: sparse ones."""
    if dimension is None:
        return models.SparseVectorNameConfig(sparse=models.SparseVectorConfig(modifier=models.Modifier.IDF))
    dense = models.DenseVectorConfig(size=dimension, distance=models.Distance.COSINE)
    return models.DenseVectorNameConfig(dense=dense)


def shape(layout: Layout) -> dict[str, Any]:
    """Say how a new collection is made."""
    dense = models.VectorParams(size=layout.dimension, distance=models.Distance.COSINE) if layout.dimension else None
    return {
        "vectors_config": {DENSE: dense} if dense is not None else {},
        "sparse_vectors_config": {words_name(): models.SparseVectorParams(modifier=models.Modifier.IDF)},
    }


def request_of(search: Nearest, fields: Sequence[str], *, exact: bool | None) -> models.QueryRequest:
    """Write a search; exact: without the graph of dense vectors, None where there is none."""
    params = None
    if isinstance(search.vector, Words):
        query: Any = models.SparseVector(indices=search.vector.indices, values=search.vector.values)
        if search.corpus is not None:
            params = models.SearchParams(idf=models.IdfCorpusParams(corpus=filter_of(search.corpus)))
    else:
        query = search.vector
        params = models.SearchParams(exact=exact) if exact is not None else None
    return models.QueryRequest(
        query=query,
        using=search.name,
        filter=filter_of(search.condition),
        limit=search.limit,
        params=params,
        with_payload=list(fields),
    )


def filter_of(native: Native) -> models.Filter:
    """Write a condition as a filter."""
    condition = _condition(native)
    return condition if isinstance(condition, models.Filter) else models.Filter(must=[condition])


def _condition(native: Native) -> Any:
    match native:
        case Match(key, values):
            if len(values) == 1:
                return models.FieldCondition(key=key, match=models.MatchValue(value=values[0]))
            return models.FieldCondition(key=key, match=models.MatchAny(any=[*values]))
        case Range(key, low, high):
            return models.FieldCondition(key=key, range=models.Range(gte=low, lte=high))
        case Ids(ids):
            return models.HasIdCondition(has_id=list(ids))
        case Lacks(key):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        case Has(vector):
            return models.HasVectorCondition(has_vector=vector)
        case All(parts):
            must = [_condition(part) for part in parts if not isinstance(part, Not)]
            must_not = [_condition(part.part) for part in parts if isinstance(part, Not)]
            return models.Filter(must=must or None, must_not=must_not or None)
        case Some(parts):
            return models.Filter(should=[_condition(part) for part in parts])
        case Not(part):
            return models.Filter(must_not=[_condition(part)])


def operation_of(operation: Operation) -> Any:
    """Write an operation of a batch."""
    match operation:
        case Insert():
            return models.UpsertOperation(upsert=models.PointsList(points=structs_of(operation), **mode_of(operation)))
        case Overwrite(point, payload, condition):
            chosen = models.SetPayload(payload=payload, **_chosen(point, condition))
            return models.OverwritePayloadOperation(overwrite_payload=chosen)
        case Mark(point, payload, condition):
            return models.SetPayloadOperation(
                set_payload=models.SetPayload(payload=payload, **_chosen(point, condition))
            )
        case SetVectors(point, vectors, condition):
            given = [models.PointVectors(id=point, vector=_vectors(vectors))]
            update = models.UpdateVectors(points=given, update_filter=filter_of(condition))
            return models.UpdateVectorsOperation(update_vectors=update)
        case Delete(ids, condition):
            if condition is None:
                return models.DeleteOperation(delete=models.PointIdsList(points=list(ids)))
            return models.DeleteOperation(delete=models.FilterSelector(filter=_among(ids, condition)))


def structs_of(insert: Insert) -> list[models.PointStruct]:
    """Write points."""
    return [
        models.PointStruct(id=point.id, payload=point.payload, vector=_vectors(point.vectors))
        for point in insert.points
    ]


def mode_of(insert: Insert) -> dict[str, Any]:
    """Say what is inserted and what is replaced."""
    if insert.condition is not None:
        return {"update_mode": models.UpdateMode.UPDATE_ONLY, "update_filter": filter_of(insert.condition)}
    return {"update_mode": models.UpdateMode.INSERT_ONLY} if insert.only_new else {}


def _chosen(point: str, condition: Native | None) -> dict[str, Any]:
    return {"points": [point]} if condition is None else {"filter": _among([point], condition)}


def _among(ids: Sequence[str], condition: Native) -> models.Filter:
    return filter_of(All((Ids(tuple(ids)), condition)))


def _vectors(vectors: Vectors) -> dict[str, Any]:
    return {
        name: models.SparseVector(indices=each.indices, values=each.values) if isinstance(each, Words) else each
        for name, each in vectors.items()
    }
