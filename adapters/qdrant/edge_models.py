"""Our conditions and operations in the models of qdrant-edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qdrant_edge as edge

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
    Row,
    SetVectors,
    Vectors,
    Words,
    words_name,
)
from .filters import All, Has, Ids, Lacks, Match, Native, Not, Range, Some

Updates = edge.UpdateOperation

INDEXES: dict[Index, Any] = {
    "tenant": edge.KeywordIndexParams(is_tenant=True),
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
}
"""How each kind of index is asked for."""


def config_of(layout: Layout) -> edge.EdgeConfig:
    """Write down how a shard is made."""
    dense = {}
    if layout.dimension is not None:
        dense[DENSE] = edge.EdgeVectorParams(size=layout.dimension, distance=edge.Distance.Cosine)
    return edge.EdgeConfig(
        vectors=dense, sparse_vectors={words_name(): edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)}
    )


def row_of(record: Any, score: float = 0.0) -> Row:
    """Read a point that was found."""
    return Row(str(record.id), record.payload or {}, score)


def request_of(search: Nearest, fields: Sequence[str]) -> edge.QueryRequest:
    """Write a search."""
    params = None
    if isinstance(search.vector, Words):
        query = edge.Query.Nearest(edge.SparseVector(*search.vector), using=search.name)
        if search.corpus is not None:
            params = edge.SearchParams(idf=edge.IdfParams(filter_of(search.corpus)))
    else:
        query = edge.Query.Nearest(search.vector, using=search.name)
        params = edge.SearchParams(exact=True)  # a shard is optimised only by hand: this costs nothing
    return edge.QueryRequest(
        limit=search.limit,
        query=query,
        filter=filter_of(search.condition),
        params=params,
        with_payload=[*fields],
        with_vector=False,
    )


def filter_of(native: Native) -> edge.Filter:
    """Write a condition."""
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


def update_of(operation: Operation) -> edge.UpdateOperation:
    """Write an operation."""
    match operation:
        case Insert(points, only_new, condition):
            structs = [edge.Point(each.id, _vectors(each.vectors), each.payload) for each in points]
            if condition is not None:
                return Updates.upsert_points(structs, filter_of(condition), edge.UpdateMode.UpdateOnly)
            return Updates.upsert_points(structs, update_mode=edge.UpdateMode.InsertOnly if only_new else None)
        case Overwrite(point, payload, condition):
            if condition is not None:
                return Updates.overwrite_payload_by_filter(_among([point], condition), payload)
            return Updates.overwrite_payload([point], payload)
        case Mark(point, payload, condition):
            return Updates.set_payload_by_filter(_among([point], condition), payload)
        case SetVectors(point, vectors, condition):
            return Updates.update_vectors([edge.PointVectors(point, _vectors(vectors))], filter_of(condition))
        case Delete(ids, condition):
            if condition is not None:
                return Updates.delete_points_by_filter(_among(ids, condition))
            return Updates.delete_points([*ids])


def _among(ids: Sequence[str], condition: Native) -> edge.Filter:
    return filter_of(All((Ids(tuple(ids)), condition)))


def _vectors(vectors: Vectors) -> dict[str, Any]:
    return {name: edge.SparseVector(*each) if isinstance(each, Words) else each for name, each in vectors.items()}
