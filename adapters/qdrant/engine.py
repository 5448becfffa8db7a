"""What an engine of Qdrant is asked: a server, the client's local mode, or a shard in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from openmem.protocol import ranking

from ..kit.folders import Turns
from .filters import Native

DENSE, TERMS = "dense", "terms"
"""How the names of the two vectors of a point begin; the dense one has no other name until a store is embedded anew."""

SERVER = "run a Qdrant server for both: qdrant://host:6333/collection"
"""What two processes can use in place of a folder."""


def words_name() -> str:
    """Name the sparse vector of words by the analysis: who knows another one can neither read nor write it."""
    return f"{TERMS}-{ranking.ANALYSIS}"


Index = Literal["tenant", "keyword", "integer", "float"]
Payload = dict[str, Any]


class Words(NamedTuple):
    """A sparse vector: numbers of terms and their weights."""

    indices: list[int]
    values: list[float]


Vectors = Mapping[str, list[float] | Words]
"""Vectors of a point by name."""


class Point(NamedTuple):
    """A point to be stored."""

    id: str
    payload: Payload
    vectors: Vectors = MappingProxyType({})


class Row(NamedTuple):
    """A point as it is read: the fields of its payload that were asked for."""

    id: str
    payload: Payload
    score: float = 0.0


class Layout(NamedTuple):
    """How a collection is made; dimension: of the dense vectors, None for none."""

    dimension: int | None
    indexes: Mapping[str, Index]


class Held(NamedTuple):
    """How a collection was made: the widths of its dense vectors by name, and the names of sparse ones."""

    dense: Mapping[str, int]
    sparse: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """Store points whole; only_new: what is there stays as it is; condition: only what is there and meets it changes.

    Either way doing it twice is doing it once, as long as what is stored no longer meets the condition.
    """

    points: Sequence[Point]
    only_new: bool = False
    condition: Native | None = None


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Replace the payload of one point, if the condition holds of it; its vectors stay."""

    id: str
    payload: Payload
    condition: Native | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Set fields of the payload of one point, if the condition holds of it; all else stays."""

    id: str
    payload: Payload
    condition: Native


@dataclass(frozen=True, slots=True)
class SetVectors:
    """Give a point that is there vectors, if the condition holds of it; all else stays."""

    id: str
    vectors: Vectors
    condition: Native


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete points, of those with the ids only what the condition holds of."""

    ids: Sequence[str]
    condition: Native | None = None


Operation = Insert | Overwrite | Mark | SetVectors | Delete
Op = TypeVar("Op", bound=Operation)

PORTION = 2 << 20
"""Bytes by size_of that one request of many operations stores: as JSON a number is five times as long, and servers take
32 MiB."""


def size_of(operation: Operation) -> int:
    """Estimate the bytes that an operation stores: the record is written whole and in fields."""
    match operation:
        case Insert(points):
            return sum(map(_size_of, points))
        case Overwrite(_, payload) | Mark(_, payload):
            return _size_of(Point("", payload))
        case SetVectors(vectors=vectors):
            return _size_of(Point("", {}, vectors))
        case Delete(ids):
            return 64 * len(ids)


def portions(operations: Iterable[Op]) -> Iterator[list[Op]]:
    """Divide operations, in order, into as many as one request may hold."""
    portion, size = list[Op](), 0
    for operation in operations:
        if portion and size + size_of(operation) > PORTION:
            yield portion
            portion, size = [], 0
        portion.append(operation)
        size += size_of(operation)
    if portion:
        yield portion


def _size_of(point: Point) -> int:
    text = sum(len(value) for value in point.payload.values() if isinstance(value, str))
    numbers = sum(2 * len(each.indices) if isinstance(each, Words) else len(each) for each in point.vectors.values())
    return 512 + 4 * text + 4 * numbers


@dataclass(frozen=True, slots=True)
class Nearest:
    """A search by one vector, of the name; corpus: the points among which the rarity of a term is counted."""

    name: str
    vector: list[float] | Words
    condition: Native
    limit: int
    corpus: Native | None = None


class Engine(Protocol):
    """The operations the adapter needs; none blocks the event loop, and every failure is an OMPError."""

    @property
    def turns(self) -> Turns | None:
        """The turns of those who write, where nobody outside this process does; None where others may."""

    @property
    def notes(self) -> dict[str, Any] | None:
        """What those who write tell each other, where all are of this process; else None."""

    async def open(self) -> None:
        """Connect; raises ConfigurationError where the engine is not fit, ProviderUnavailableError where it is away."""

    async def close(self) -> None:
        """Release everything."""

    async def held(self, collection: str) -> Held | None:
        """Say how a collection was made; None where there is none."""

    async def create(self, collection: str, layout: Layout) -> None:
        """Make a collection unless it exists."""

    async def add_vectors(self, collection: str, name: str, dimension: int | None) -> None:
        """Take vectors of a name from now on: dense ones of a dimension; None: sparse ones. Done twice it is once."""

    async def drop_vectors(self, collection: str, name: str) -> None:
        """Drop all vectors of a name, and take none any more, whether there are any or not."""

    async def write(self, collection: str, operations: Sequence[Operation]) -> None:
        """Do operations in order; what returns is stored and is seen by the next read."""

    async def secure(self, collection: str) -> None:
        """Have what was written outlive a loss of power, where the engine leaves that to be asked for."""

    async def scrub(self) -> Sequence[str]:
        """Rewrite files without what was deleted, where the engine can; say, one sentence each, what could not be."""

    async def retrieve(self, collection: str, ids: Sequence[str], fields: Sequence[str]) -> list[Row]:
        """Read points by id; those that do not exist are left out."""

    async def vectors(self, collection: str, name: str, ids: Sequence[str]) -> dict[str, list[float]]:
        """Read the dense vectors of a name of points that have one, scaled to length 1."""

    async def search(self, collection: str, searches: Sequence[Nearest], fields: Sequence[str]) -> list[list[Row]]:
        """Answer searches, each best first."""

    async def count(self, collection: str, condition: Native) -> int:
        """Count points."""

    async def facet(self, collection: str, key: str) -> list[tuple[str, int]]:
        """Count the points of each value of an indexed field, all values at once and in any order."""

    async def about(self) -> str:
        """Say what the engine is, and its version."""

    async def ordered(
        self, collection: str, condition: Native, key: str, limit: int, fields: Sequence[str], *, ascending: bool
    ) -> list[Row]:
        """Read the points with the least values of an indexed field, ascending, or with the greatest, descending."""

    async def scroll(
        self, collection: str, condition: Native | None, limit: int, after: str | None, fields: Sequence[str]
    ) -> tuple[list[Row], str | None]:
        """Read a page of points in the order of their ids, and where the next one begins."""
