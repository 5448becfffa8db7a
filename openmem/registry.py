"""Which adapter serves which URL scheme: entry points of the group openmem.adapters, loaded when named."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from .adapter import Adapter
from .errors import UnsupportedProviderError
from .urls import redact

GROUP = "openmem.adapters"
registered: dict[str, type[Adapter]] = {}
"""Scheme -> adapter, as register_adapter was told."""


def register_adapter(scheme: str, adapter: type[Adapter]) -> None:
    """Serve a URL scheme by a class within this process, in place of an installed entry point."""
    registered[scheme] = adapter


def schemes() -> list[str]:
    """Name every scheme known."""
    return sorted({*installed(), *registered})


def adapter_class(scheme: str) -> type[Adapter]:
    """Load the adapter of a scheme, or of what stands before a '+' and the name of a driver that it passes over.

    Raises UnsupportedProviderError for an unknown scheme, naming the known ones, and for one whose packages are not
    installed, naming the extra.
    """
    if scheme in registered:
        return registered[scheme]
    entry = installed().get(scheme)
    if entry is not None:
        return _loaded(scheme, entry)
    base, _, driver = scheme.partition("+")
    if driver and base in schemes() and driver in (adapter := adapter_class(base)).drivers:
        return adapter
    raise _unknown(scheme)


def _unknown(scheme: str) -> UnsupportedProviderError:
    known = schemes()
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    if scheme in ("http", "https"):
        hint = "Say with provider=… which backend is there. "
    return UnsupportedProviderError(
        f"no adapter for '{redact(scheme)}'.",
        remedy=f"{hint}Known: {', '.join(known)}. Others come with packages that provide {GROUP}.",
    )


def _loaded(scheme: str, entry: EntryPoint) -> type[Adapter]:
    try:
        loaded: type[Adapter] = entry.load()
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) or (error.name or "").partition(".")[0] == "openmem":
            raise UnsupportedProviderError(
                f"the adapter for '{scheme}' cannot be imported: {error}.",
                remedy="See the cause; reinstall openmem-sdk.",
            ) from error
        raise UnsupportedProviderError(
            f"the adapter for '{scheme}' needs a package that is not installed: {error.name or error}.",
            remedy=f"Run: pip install 'openmem-sdk[{scheme}]'" if entry.dist is None else _install_hint(entry),
        ) from error
    return loaded


def _install_hint(entry: EntryPoint) -> str:
    assert entry.dist is not None  # noqa: S101  checked by the caller
    extra = f"[{','.join(entry.extras)}]" if entry.extras else ""
    return f"Run: pip install '{entry.dist.name}{extra}'"


@cache
def installed() -> dict[str, EntryPoint]:
    """Return the entry points of adapters by scheme, looked up once."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}
