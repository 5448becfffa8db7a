"""Embedders: what turns texts into vectors; chosen by name, or your own."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .._generated.models import EmbeddingInfo
from ..errors import ConfigurationError, OMPError, ProviderError

__all__ = ["Embedder", "RefusedTextsError", "gated", "info", "resolve"]

NAMES = ("auto", "none", "local", "openai", "test")
MEMBERS = ("model", "dimension", "inline", "embed", "close")
OPTIONS = ("embedder_url", "embedder_api_key", "embedder_dimension", "embedder_batch")
INSTALL = "pip install 'openmem-sdk[local]'"
"""The command that installs an embedder."""
WITHOUT = (
    f"no embedder: search is by words alone. For search by meaning run {INSTALL}, or name an embedder; "
    "embedder='none' says that words are enough."
)
"""What is said once where no embedder is found and none was declined."""


class Embedder(Protocol):
    """Turns texts into vectors of one model and one dimension.

    inline says that embed never suspends when a sync caller steps it (see bridge.step and bridge.offload).
    """

    model: str
    dimension: int
    inline: bool

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, in order.

        A vector has unit length, or is all zeros where the text says nothing; together they may be one
        float32 numpy array of shape (len(texts), dimension). Raises OMPError where it fails for any text, and
        RefusedTextsError where some texts alone are at fault: then the others are stored.
        """
        ...

    async def close(self) -> None:
        """Release what the embedder holds; a second close does nothing."""
        ...


class RefusedTextsError(ProviderError):
    """Some of the texts cannot be embedded, for reasons of their own; the others are.

    Attributes: model, vectors (one for each text that is not refused, in order), errors (position of a refused text ->
    why).
    """

    def __init__(self, model: str, vectors: Sequence[Sequence[float]], errors: Mapping[int, OMPError]) -> None:
        first = next(iter(errors.values()), None)
        taken = f"{model} embedded {len(vectors)} of {len(vectors) + len(errors)} texts; "
        message, remedy = (first.message, first.remedy) if first else ("none is refused.", "")
        super().__init__(message if len(errors) == 1 and not len(vectors) else taken + message, remedy=remedy)
        self.model, self.vectors, self.errors = model, vectors, dict(errors)
        self.written = "nothing"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model, self.vectors, self.errors), self.__dict__


def resolve(spec: str | Embedder | None, *, timeout: float = 30.0, **options: Any) -> Embedder | None:
    """Make the embedder that a spec names; None where there is to be none.

    Specs: "auto" (local where its wheel is installed, else none), "none", "local", "openai:MODEL", "test" or
    "test:DIMENSION", or an Embedder, returned as it is. Options, for openai alone; None means not given:
    embedder_url (base URL), embedder_api_key (SecretStr), embedder_dimension (int), embedder_batch (int, texts in one
    request). timeout: seconds for one attempt of an embedder behind HTTP. Does no network I/O. Raises
    ConfigurationError for an unknown spec or option, and for an option the embedder does not take.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in OPTIONS:
            raise _unknown("embedder option", name, OPTIONS)
    if not isinstance(spec, str):
        _refuse_options(given, "none" if spec is None else "an embedder object")
        return None if spec is None else _checked(spec)
    name, colon, argument = spec.partition(":")
    if name == "openai":
        return _openai(argument, timeout, given)
    if name not in NAMES:
        raise _unknown("embedder", name, NAMES)
    _refuse_options(given, name)
    if name == "test":
        return _words(argument, given=bool(colon))
    if colon:
        raise ConfigurationError(f"embedder '{name}' takes no argument.", remedy=f"Write embedder='{name}'.")
    if name == "none" or (name == "auto" and not installed("wordllama")):
        return None
    from .local import LocalEmbedder

    return LocalEmbedder()


def takes_options(spec: Any) -> bool:
    """Tell whether an embedder of this spec takes OPTIONS; of a name that is unknown that is not known."""
    name = spec.partition(":")[0] if isinstance(spec, str) else "none"
    return name == "openai" or name not in NAMES


def installed(module: str) -> bool:
    """Tell whether a module can be imported; a mere folder of its name, which has no origin, is none."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


def info(embedder: Embedder | None) -> EmbeddingInfo | None:
    """Describe an embedder as capabilities and stores do; None for none."""
    return EmbeddingInfo(model=embedder.model, dimension=embedder.dimension) if embedder else None


def gated(embedder: Embedder | None) -> Embedder | None:
    """Return the embedder behind the gate that every vector passes; None for none."""
    if embedder is None:
        return None
    from .gate import Gated

    return Gated(embedder)


def _openai(model: str, timeout: float, given: Mapping[str, Any]) -> Embedder:
    from .openai import OpenAIEmbedder

    return OpenAIEmbedder(
        model, timeout=timeout, **{name.removeprefix("embedder_"): value for name, value in given.items()}
    )


def _words(argument: str, *, given: bool) -> Embedder:
    from .testing import WordEmbedder

    if not given:
        return WordEmbedder()
    if not (argument.isascii() and argument.isdigit() and len(argument) < 6):
        raise ConfigurationError("embedder 'test' takes a dimension.", remedy="Write, say, 'test:64'.")
    return WordEmbedder(dimension=int(argument))


def _checked(embedder: Embedder) -> Embedder:
    missing = [name for name in MEMBERS if not hasattr(embedder, name)]
    if missing or isinstance(embedder, type):
        kind = embedder.__name__ if isinstance(embedder, type) else type(embedder).__name__
        fault = f"it lacks {', '.join(missing)}" if missing else "it is a class"
        raise ConfigurationError(
            f"{kind} is no embedder: {fault}.", remedy=f"Give an Embedder object, or one of: {', '.join(NAMES)}."
        )
    dimension = embedder.dimension
    if not isinstance(dimension, int) or isinstance(dimension, bool) or dimension < 1 or not embedder.model:
        raise ConfigurationError(
            f"{type(embedder).__name__} does not say its model and dimension.",
            remedy="Give it a model (text) and a dimension (a whole number of 1 or more).",
        )
    return embedder


def _refuse_options(given: Mapping[str, Any], chosen: str) -> None:
    if given:
        raise ConfigurationError(
            f"{', '.join(given)}: not an option of embedder {chosen}.",
            remedy="Leave it out, or choose embedder='openai:MODEL', which takes it.",
        )


def _unknown(what: str, name: str, known: Sequence[str]) -> ConfigurationError:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return ConfigurationError(f"unknown {what} '{name}'.", remedy=f"{hint}Known: {', '.join(known)}.")
