"""`openmem reembed`: give a store the vectors of another embedder."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from openmem.errors import ConfigurationError

from . import output
from .common import Json, Options, Profile, arguments

if TYPE_CHECKING:
    from openmem.config import Configuration


def reembed(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="The store; else as for every command.")] = None,
    profile: Profile = None,
    option: Options = None,
    json: Json = False,
) -> None:
    """Make every vector of a store anew with the configured embedder (--option embedder=NAME).

    Interrupted, run it again: it goes on where it ended.
    """
    from openmem import config

    count = asyncio.run(_reembed(config.resolve(**arguments(url, profile, option))))
    if json or not output.terminal():
        output.write_json({"memories": count})
    else:
        output.write(f"{count} memories embedded anew")


async def _reembed(chosen: Configuration) -> int:
    from openmem import embedding

    embedder = embedding.gated(chosen.make_embedder())
    if embedder is None:
        raise ConfigurationError("no embedder is configured.", remedy="Name one: --option embedder=local.")
    adapter = chosen.adapter(chosen.settings, embedding=embedding.info(embedder))
    try:
        return await adapter.reembed(embedder.embed)
    finally:
        await adapter.close()
        await embedder.close()
