"""A Qdrant server as its client sees it: the routes the adapter uses, answered by the client's local mode."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.parse import unquote

import httpx
from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

from support.twins import Twin

UPDATES = TypeAdapter(models.UpdateOperations)


class Server(Twin):
    """A server over a client of local mode."""

    def __init__(self, version: str = "1.20.1") -> None:
        super().__init__()
        self.version = version
        self.client = QdrantClient(":memory:")
        self.created: dict[str, dict[str, Any]] = {}
        """How collections were asked to be made."""
        self.indexes: dict[str, dict[str, Any]] = {}
        self.searches: list[dict[str, Any]] = []

    def reply(self, request: httpx.Request) -> httpx.Response:
        path = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].split("/")[1:]]
        body = json.loads(request.content) if request.content else {}
        if path == [""]:
            return httpx.Response(200, json={"title": "qdrant", "version": self.version})
        _, collection, *rest = path
        vector = rest[1:] if rest[:1] == ["vectors"] else []
        name = "_".join([request.method.lower(), *rest[: len(rest) - len(vector)]])
        self.asked[name] += 1
        try:
            response: httpx.Response = getattr(self, name)(collection, body, *vector)
        except ValueError as error:
            return httpx.Response(400, json={"status": {"error": str(error)}})
        return response

    def get(self, collection: str, body: Any) -> httpx.Response:
        if not self.client.collection_exists(collection):
            return httpx.Response(404, json={"status": {"error": "no such collection"}})
        info = self.client.get_collection(collection).model_dump(mode="json", exclude_none=True)
        held = {
            field: {"data_type": schema if isinstance(schema, str) else schema["type"], "points": 0}
            for field, schema in self.indexes[collection].items()
        }
        return _ok({**info, "payload_schema": held})

    def get_exists(self, collection: str, body: Any) -> httpx.Response:
        return _ok({"exists": self.client.collection_exists(collection)})

    def put(self, collection: str, body: Any) -> httpx.Response:
        if self.client.collection_exists(collection):
            return httpx.Response(409, json={"status": {"error": "it exists"}})
        asked = models.CreateCollection.model_validate(body)
        self.client.create_collection(
            collection, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors
        )
        self.created[collection], self.indexes[collection] = body, {}
        return _ok(True)

    def put_index(self, collection: str, body: Any) -> httpx.Response:
        self.indexes[collection][body["field_name"]] = body["field_schema"]
        return _done()

    def put_vectors(self, collection: str, body: Any, name: str) -> httpx.Response:
        kind = models.DenseVectorNameConfig if "dense" in body else models.SparseVectorNameConfig
        self.client.create_vector_name(collection, name, kind.model_validate(body))
        return _done()

    def delete_vectors(self, collection: str, body: Any, name: str) -> httpx.Response:
        self.client.delete_vector_name(collection, name)
        return _done()

    def post_points_batch(self, collection: str, body: Any) -> httpx.Response:
        operations = UPDATES.validate_python(body).operations
        try:
            self.client.batch_update_points(collection, operations)
        except KeyError as error:  # of a point that is not there; what was before it is done
            return httpx.Response(404, json={"status": {"error": f"no point with id {error}"}})
        return _ok([{"status": "completed", "operation_id": 0} for _ in operations])

    def post_points(self, collection: str, body: Any) -> httpx.Response:
        asked = models.PointRequest.model_validate(body)
        found = self.client.retrieve(
            collection, asked.ids, with_payload=asked.with_payload, with_vectors=asked.with_vector or False
        )
        return _ok([_json(record) for record in found])

    def post_points_query_batch(self, collection: str, body: Any) -> httpx.Response:
        self.searches += body["searches"]
        asked = models.QueryRequestBatch.model_validate(body).searches
        for each in asked:
            if each.params is not None and each.params.idf is None:
                each.params = None  # local mode searches exactly and warns of being told to
        answers = self.client.query_batch_points(collection, asked)
        return _ok([_json(answer) for answer in answers])

    def post_points_count(self, collection: str, body: Any) -> httpx.Response:
        asked = models.CountRequest.model_validate(body)
        return _ok(_json(self.client.count(collection, asked.filter)))

    def post_facet(self, collection: str, body: Any) -> httpx.Response:
        """Count as a server does, by its index of texts: local mode takes texts that spell one UUID for the same."""
        asked = models.FacetRequest.model_validate(body)
        records, _ = self.client.scroll(collection, limit=10**6, with_payload=[asked.key])
        counted = Counter(record.payload[asked.key] for record in records if record.payload)
        hits = sorted(counted.items(), key=lambda hit: (-hit[1], hit[0]))[: asked.limit]
        return _ok({"hits": [{"value": value, "count": count} for value, count in hits]})

    def post_points_scroll(self, collection: str, body: Any) -> httpx.Response:
        asked = models.ScrollRequest.model_validate(body)
        records, following = self.client.scroll(
            collection,
            scroll_filter=asked.filter,
            limit=asked.limit,
            order_by=asked.order_by,
            offset=asked.offset,
            with_payload=asked.with_payload,
        )
        return _ok({"points": [_json(record) for record in records], "next_page_offset": following})


def _json(model: BaseModel) -> Any:
    return model.model_dump(mode="json", exclude_none=True)


def _ok(result: Any) -> httpx.Response:
    return httpx.Response(200, json={"result": result, "status": "ok", "time": 0.0})


def _done() -> httpx.Response:
    return _ok({"status": "completed", "operation_id": 0})
