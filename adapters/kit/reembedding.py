"""Vectors made anew beside those in use, which go when the last new one is there; for openmem reembed.

Until then the store is what it was: others read and write it, and whoever interrupts this leaves it so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from openmem.adapter import Embed
from openmem.embedding import RefusedTextsError
from openmem.errors import ConfigurationError, OMPError, ProviderError

logger = logging.getLogger("openmem")

NAMED = 10
"""Memories that an error names."""
LAST, LONGEST = 1000, 5.0
"""Texts embedded while writers wait, and seconds that it may take."""


class Text(NamedTuple):
    """The content of a memory that has no new vector yet."""

    place: Any
    """Where the memory stands in the order in which the store reads."""
    id: str
    user_id: str
    content: str
    version: Any = None
    """What the store knows the content by: it may be another one when the vector is there."""


class Reembedding(Protocol):
    """A store while its vectors are made anew. Every method takes effect whole or not at all."""

    async def begin(self) -> None:
        """Make room for the new vectors; those that an interrupted run of the same embedding left are kept."""

    async def lacking(self, after: Any) -> Sequence[Text]:
        """Read some memories that have no new vector of their present content, from a place on; None: the first."""

    async def put(self, texts: Sequence[Text], vectors: Sequence[Sequence[float]]) -> None:
        """Keep new vectors; those of a content that changed, or of a memory that is gone, need not be."""

    async def swap(self) -> int | None:
        """Have the new vectors replace the others and count the memories; None where some are lacking by now.

        Where others write all the time some always are: the last few may be embedded by last_vectors while they wait.
        """


async def reembed(store: Reembedding, embed: Embed) -> int:
    """Make every vector anew; return how many memories there are.

    Raises ProviderError naming the memories whose texts the embedder refuses; the new vectors of all others are kept.
    """
    await store.begin()
    while True:
        refused: dict[str, OMPError] = {}
        done, last = 0, None
        while texts := await store.lacking(last):
            last = texts[-1].place
            taken, vectors = await _embedded(texts, embed, refused)
            await store.put(taken, vectors)
            done += len(taken)
            logger.info("%d memories more are embedded anew", done)
        if refused:
            raise _refused(refused)
        if (count := await store.swap()) is not None:
            return count


def overtaken() -> ConfigurationError:
    """Say that the vectors being made are no longer those that the store is to have."""
    return ConfigurationError(
        "another reembed of the store began meanwhile.", remedy="Let it finish; repeat this one if it is yours."
    )


async def last_vectors(texts: Sequence[Text], embed: Embed) -> Sequence[Sequence[float]] | None:
    """Embed the last few texts for a swap that keeps writers out meanwhile.

    None where writers had better go on: there are too many, it takes too long, or some are refused, which the next
    round tells.
    """
    if len(texts) > LAST:
        return None
    try:
        async with asyncio.timeout(LONGEST):
            return await embed([text.content for text in texts])
    except (RefusedTextsError, TimeoutError):
        return None


async def _embedded(
    texts: Sequence[Text], embed: Embed, refused: dict[str, OMPError]
) -> tuple[Sequence[Text], Sequence[Sequence[float]]]:
    """Embed texts; note which memories' texts are refused."""
    try:
        return texts, await embed([text.content for text in texts])
    except RefusedTextsError as refusal:
        refused.update((texts[position].id, error) for position, error in refusal.errors.items())
        return [text for position, text in enumerate(texts) if position not in refusal.errors], refusal.vectors


def _refused(errors: dict[str, OMPError]) -> OMPError:
    first = next(iter(errors.values()))
    some = ", ".join([*errors][:NAMED]) + (", …" if len(errors) > NAMED else "")
    return ProviderError(
        f"the embedder refuses the texts of {len(errors)} memories ({some}): {first.message}",
        remedy="Shorten or delete them and run this again; the store keeps its vectors, and the new ones so far.",
        written="nothing",
    )
