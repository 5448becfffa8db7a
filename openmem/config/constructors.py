"""The constructors of OMP 0.1, such as dsn= and use_openai=, in terms of our keywords."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from .. import registry
from ..errors import ConfigurationError, UnsupportedProviderError

_NAME = re.compile(r"[\w+.-]*")
OPENAI = "openai:text-embedding-3-small"
"""The embedder that use_openai means."""


def translated(target: str | None, url: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make our keywords of what a client is given: a URL or a provider's name first, dsn for url, use_openai.

    executor_max_workers is checked and of no effect: each backend has as many threads as it needs. Raises
    ConfigurationError.
    """
    options = {name: value for name, value in given.items() if value is not None}
    if isinstance(target, str) and _NAME.fullmatch(target):
        _put(options, "provider", _provider(target, options), "first")
    elif target is not None:
        _put(options, "url", target, "first")
    if url is not None:
        _put(options, "url", url, "url")
    if "dsn" in options:
        _put(options, "url", options.pop("dsn"), "dsn")
    if _popped(options, "use_openai", bool, False):
        _put(options, "embedder", OPENAI, "use_openai")
    if _popped(options, "executor_max_workers", int, 1) < 1:
        raise ConfigurationError("executor_max_workers is less than 1.", remedy="Leave it out.")
    return options


def openai_key(*layers: Mapping[str, Any]) -> dict[str, str]:
    """Return for use_openai the key of OpenAI's own library, unless a layer has one or asks another endpoint."""
    key = os.environ.get("OPENAI_API_KEY")
    named = any({"embedder_url", "embedder_api_key"} & layer.keys() for layer in layers)
    return {"embedder_api_key": key} if key and not named else {}


def _provider(name: str, options: Mapping[str, Any]) -> str:
    """Check the name of a provider, which may be anything and so is not quoted."""
    if name not in registry.schemes():
        remedy = f"Write SCHEME://…, as in 'memory://'. Known: {', '.join(registry.schemes())}."
        raise UnsupportedProviderError("this is neither a URL nor a provider that is known here.", remedy=remedy)
    return name


def _put(options: dict[str, Any], name: str, value: Any, origin: str) -> None:
    if name in options:
        raise ConfigurationError(f"'{name}' is given, and again as {origin}.", remedy="Give it once.")
    options[name] = value


def _popped(options: dict[str, Any], name: str, kind: type[Any], default: Any) -> Any:
    value = options.pop(name, default)
    if type(value) is not kind:
        raise ConfigurationError(f"{name} is {type(value).__name__}.", remedy=f"Give a {kind.__name__}.")
    return value
