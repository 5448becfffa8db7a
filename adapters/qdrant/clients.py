"""A Qdrant server over HTTP, by qdrant-client, and what its local mode has in common with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from openmem.errors import (
    ClosedError,
    ConfigurationError,
    OMPError,
    PayloadTooLargeError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UnauthorizedError,
)
from openmem.runtime.calls import services
from openmem.runtime.repeat import repeat

from .engine import Held, Layout, Nearest, Operation, Row, Words
from .filters import Native
from .models import INDEXES, filter_of, operation_of, request_of, shape, vectors_of

OLDEST = (1, 19)
"""The first server that counts the rarity of a term among one user's points."""
VALUES = 10_000
"""Values of a field that are counted at first."""
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Failures of requests that never reached the server."""


class ClientEngine:
    """What both clients share: they have the same methods with the same arguments."""

    @abstractmethod
    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client; its failures become OMPErrors."""

    async def scrub(self) -> Sequence[str]:
        """Leave it to the server."""
        return ()

    async def held(self, collection: str) -> Held | None:
        """Say how a collection was made; a vector without a name is named by an empty text."""
        if not await self.call("collection_exists", collection):
            return None
        params = (await self.call("get_collection", collection)).config.params
        vectors = params.vectors or {}
        dense = vectors if isinstance(vectors, dict) else {"": vectors}
        return Held({name: each.size for name, each in dense.items()}, tuple(params.sparse_vectors or ()))

    async def create(self, collection: str, layout: Layout) -> None:
        """Make a collection unless it exists; another process may be making it too."""
        if not await self.call("collection_exists", collection):
            try:
                await self.call("create_collection", collection, **self.shape(layout))
            except ProviderError:
                if not await self.call("collection_exists", collection):
                    raise
        await self.index(collection, layout)

    async def index(self, collection: str, layout: Layout) -> None:
        """Make the indexes of the payload that are missing."""

    def shape(self, layout: Layout) -> dict[str, Any]:
        """Say how a new collection is made."""
        return shape(layout)

    async def add_vectors(self, collection: str, name: str, dimension: int | None) -> None:
        """Take vectors of a name from now on."""

        def added(held: Held) -> bool:
            return name in held.sparse if dimension is None else held.dense.get(name) == dimension

        await self._unless(added, "create_vector_name", collection, name, vectors_of(dimension))

    async def drop_vectors(self, collection: str, name: str) -> None:
        """Drop all vectors of a name."""

        def dropped(held: Held) -> bool:
            return name not in held.dense and name not in held.sparse

        await self._unless(dropped, "delete_vector_name", collection, name)

    async def _unless(self, so: Callable[[Held], bool], method: str, collection: str, *arguments: Any) -> None:
        """Change a collection; where that fails since it is so already, by another try or process, it is well."""
        try:
            await self.call(method, collection, *arguments)
        except ProviderError:
            held = await self.held(collection)
            if held is None or not so(held):
                raise

    async def write(self, collection: str, operations: Sequence[Operation]) -> None:
        """Do operations in order, in one request."""
        await self.call("batch_update_points", collection, [operation_of(each) for each in operations])

    async def secure(self, collection: str) -> None:
        """What is acknowledged is stored."""

    async def retrieve(self, collection: str, ids: Sequence[str], fields: Sequence[str]) -> list[Row]:
        """Read points by id."""
        records = await self.call("retrieve", collection, list(ids), with_payload=list(fields))
        return [Row(str(record.id), record.payload or {}) for record in records]

    async def vectors(self, collection: str, name: str, ids: Sequence[str]) -> dict[str, list[float]]:
        """Read dense vectors."""
        options = {"with_payload": False, "with_vectors": [name]}
        records = await self.call("retrieve", collection, list(ids), **options)
        return {str(record.id): record.vector[name] for record in records if name in (record.vector or {})}

    async def search(self, collection: str, searches: Sequence[Nearest], fields: Sequence[str]) -> list[list[Row]]:
        """Answer searches in one request."""
        return await self.ask(collection, searches, fields, exact=None)

    async def ask(
        self, collection: str, searches: Sequence[Nearest], fields: Sequence[str], *, exact: bool | None
    ) -> list[list[Row]]:
        """Send searches; exact: as request_of has it."""
        requests = [request_of(each, fields, exact=exact) for each in searches]
        responses = await self.call("query_batch_points", collection, requests)
        return [[Row(str(p.id), p.payload or {}, p.score) for p in response.points] for response in responses]

    async def count(self, collection: str, condition: Native) -> int:
        """Count points."""
        counted = await self.call("count", collection, filter_of(condition), exact=True)
        return int(counted.count)

    async def facet(self, collection: str, key: str) -> list[tuple[str, int]]:
        """Count by an index; where there are as many values as were asked for there may be more."""
        limit = VALUES
        while True:
            hits = (await self.call("facet", collection, key, limit=limit, exact=True)).hits
            if len(hits) < limit:
                return [(str(hit.value), hit.count) for hit in hits]
            limit *= 10

    async def ordered(
        self, collection: str, condition: Native, key: str, limit: int, fields: Sequence[str], *, ascending: bool
    ) -> list[Row]:
        """Read by an index."""
        order = models.OrderBy(key=key, direction=models.Direction.ASC if ascending else models.Direction.DESC)
        options = {"scroll_filter": filter_of(condition), "order_by": order, "with_payload": list(fields)}
        records, _ = await self.call("scroll", collection, limit=limit, **options)
        return [Row(str(record.id), record.payload or {}) for record in records]

    async def scroll(
        self, collection: str, condition: Native | None, limit: int, after: str | None, fields: Sequence[str]
    ) -> tuple[list[Row], str | None]:
        """Read a page in the order of ids."""
        where = filter_of(condition) if condition is not None else None
        options = {"scroll_filter": where, "offset": after, "with_payload": list(fields)}
        records, following = await self.call("scroll", collection, limit=limit, **options)
        return [Row(str(record.id), record.payload or {}) for record in records], following


class RemoteEngine(ClientEngine):
    """A server, or a cluster of them."""

    turns = None
    notes = None

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool,
        api_key: SecretStr | None,
        timeout: int,
        exact: bool,
        creation: Mapping[str, int],
    ) -> None:
        host = f"[{host}]" if ":" in host else host
        self._host, self._port, self._tls, self._key, self._timeout = host, port, tls, api_key, timeout
        self._exact, self._creation = exact, creation
        self._place = f"{host}:{port}"
        self._client: AsyncQdrantClient | None = None
        self._version = ""

    async def open(self) -> None:
        """Ask the server for its version."""
        self._client = self._client or AsyncQdrantClient(
            host=self._host,
            port=self._port,
            https=self._tls,
            timeout=self._timeout,
            headers=self._headers(),
            check_compatibility=False,
        )
        self._version = str((await self.call("info")).version)
        if tuple(int(part) for part in self._version.split(".")[:2] if part.isdigit()) < OLDEST:
            raise ConfigurationError(
                f"Qdrant at {self._place} is {self._version}.",
                remedy=f"Upgrade it to {'.'.join(map(str, OLDEST))} or newer.",
            )

    async def about(self) -> str:
        """Name the server by the version that it gave when it was opened."""
        return f"Qdrant {self._version}"

    def _headers(self) -> dict[str, str] | None:
        # as an argument the client would warn of a key without TLS, which the settings allow where it is said
        return {"api-key": self._key.get_secret_value()} if self._key is not None else None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Send a request, again where it was refused or lost: none does anything when it is done twice."""
        lost = False

        async def send() -> Any:
            nonlocal lost
            if self._client is None:
                raise ClosedError("this adapter is closed.")
            try:
                return await getattr(self._client, method)(*arguments, **options)
            except (ApiException, QdrantException, ValueError) as error:  # what is no JSON is a ValueError
                failure = _translated(error, self._place)
                lost = lost or failure.written != "nothing"
                failure.written = "perhaps" if lost else "nothing"
                lost = lost or isinstance(failure, RateLimitedError)  # of several operations it may refuse the second
                raise failure from error

        return await repeat(send, services().retries, harmless=True)

    def shape(self, layout: Layout) -> dict[str, Any]:
        """Add what spreads a collection over a cluster, and one graph for each user in place of one for all."""
        graph = models.HnswConfigDiff(m=0, payload_m=16)
        return {**super().shape(layout), "hnsw_config": graph, **self._creation}

    async def index(self, collection: str, layout: Layout) -> None:
        """Make the indexes of the payload; making one that is there changes nothing."""
        held = (await self.call("get_collection", collection)).payload_schema
        for field, kind in layout.indexes.items():
            if field not in held:
                await self.call("create_payload_index", collection, field, INDEXES[kind])

    async def search(self, collection: str, searches: Sequence[Nearest], fields: Sequence[str]) -> list[list[Row]]:
        """Answer searches; where the graph found less than was asked for, look again without it."""
        found = await self.ask(collection, searches, fields, exact=self._exact)
        if not self._exact:
            short = [n for n, rows in enumerate(found) if len(rows) < searches[n].limit]
            short = [n for n in short if not isinstance(searches[n].vector, Words)]
            if short:
                again = await self.ask(collection, [searches[n] for n in short], fields, exact=True)
                for n, rows in zip(short, again, strict=True):
                    found[n] = rows
        return found


def _translated(error: Exception, place: str) -> OMPError:
    """Turn a failure of a request into an error that says what to do; what the server said is its cause."""
    if isinstance(error, ResponseHandlingException) and isinstance(error.source, (httpx.HTTPError, OSError)):
        message = f"Qdrant at {place} does not answer ({type(error.source).__name__})."
        return ProviderUnavailableError(message, written="nothing" if isinstance(error.source, UNSENT) else "perhaps")
    if isinstance(error, ResourceExhaustedResponse):
        return RateLimitedError(f"Qdrant at {place} asks for a pause.", retry_after=float(error.retry_after_s))
    if not isinstance(error, UnexpectedResponse):  # a pause of no stated length, or an answer that is none
        known = isinstance(error, QdrantException)
        return RateLimitedError(f"Qdrant at {place} asks for a pause.") if known else _failed(place, "oddly")
    match error.status_code:
        case 401 | 403:
            return UnauthorizedError(f"Qdrant at {place} refuses the API key.", remedy="Check api_key.")
        case 413:
            return PayloadTooLargeError(f"Qdrant at {place} takes no request of this size.")
        case 429:
            return RateLimitedError(f"Qdrant at {place} asks for a pause.")
        case 502 | 503 | 504:
            return ProviderUnavailableError(f"Qdrant at {place} is not available.", retry_after=_pause(error))
    return _failed(place, f"with status {error.status_code}")


def _failed(place: str, how: str) -> ProviderError:
    return ProviderError(f"Qdrant at {place} answered {how}.")


def _pause(error: UnexpectedResponse) -> float | None:
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    return float(asked) if asked.isdigit() else None
