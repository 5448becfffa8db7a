"""What every command shares: the options that say which backend, and the client they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .values import pairs

if TYPE_CHECKING:
    from openmem.client import Memory

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The backend, SCHEME://…; else OPENMEM_URL or openmem.toml says."),
]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="A profile of openmem.toml.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the backend, e.g. embedder=none; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; always so when the output is not a terminal.")]

SHARED: dict[str, tuple[Any, Any]] = {
    "url": (Url, None),
    "profile": (Profile, None),
    "option": (Options, None),
    "json": (Json, False),
}
"""The annotation and the default of each option that every verb takes."""


def arguments(url: str | None, profile: str | None, option: Sequence[str] | None) -> dict[str, Any]:
    """Make the keywords that configure a client; --url and --profile win over --option."""
    named = {"url": url, "profile": profile}
    return {**pairs("--option", option or ()), **{name: value for name, value in named.items() if value is not None}}


def connect(url: str | None, profile: str | None, option: Sequence[str] | None) -> Memory:
    """Make the client; nothing is opened. Raises ConfigurationError."""
    from openmem import config
    from openmem.client import Memory

    keywords = arguments(url, profile, option)
    config.resolve(**keywords)  # refuses what is no option but is a parameter of Memory, such as clock
    return Memory(**keywords)
