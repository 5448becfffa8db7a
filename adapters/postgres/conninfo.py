"""Parameters of a connection: which there are, as libpq itself says, and what a URL says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from openmem import urls
from openmem.errors import ConfigurationError

DRIVERS = ("psycopg", "psycopg_async", "psycopg2", "psycopg2cffi", "asyncpg", "pg8000")
SCHEMES = ("postgres", "postgresql")
_NOT_OURS = {"replication", "client_encoding"}  # another kind of connection; texts are UTF-8

PARAMETERS = {
    each.keyword.decode(): each.dispchar == b"*" or each.keyword.startswith(b"scram_")
    for each in pq.Conninfo.get_defaults()
    if each.keyword.decode() not in _NOT_OURS
}
"""Each that this libpq takes, and whether it is a secret."""


PATHS = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslkeylogfile")
"""Those that name a file or a folder."""


class Hidden(str):
    """A secret as a text, which a report of a failure does not print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def from_url(url: SplitResult) -> dict[str, Any]:
    """Read what stands before the query. Host and port of the query count instead of those here, as for libpq."""
    if url.scheme in ("http", "https"):
        raise ConfigurationError("Postgres is not behind HTTP.", remedy="Write postgres://HOST:PORT/DATABASE.")
    hosts = url.netloc.rpartition("@")[2]
    try:
        place = conninfo_to_dict(f"postgresql://{hosts}{url.path}")
    except psycopg.ProgrammingError:  # which quotes it, and so is not passed on even as a context
        place = None
    if place is None:
        raise ConfigurationError("the URL's hosts cannot be read.", remedy="Write HOST:PORT,HOST:PORT.")
    instead = {"host", "port"} & urls.options(url).keys()
    found = {**urls.credentials(url), **place}
    return {name: value for name, value in found.items() if value and name not in instead}


def of_replica(text: str) -> dict[str, Any]:
    """Read a whole URL, in which nothing but parameters of libpq may stand."""
    url = urls.split(text)
    if url.scheme.partition("+")[0] not in SCHEMES:
        raise ConfigurationError("replica_url is not of Postgres.", remedy="Write postgres://….")
    query, told = urls.options(url), from_url(url)
    if not query.keys() <= PARAMETERS.keys() - {"connect_timeout"}:
        remedy = "Leave it out: replica_url takes what libpq takes, and its other options are those of the server."
        raise ConfigurationError("replica_url has an option that is none of its own.", remedy=remedy)
    if told.keys() & query.keys():
        raise ConfigurationError("replica_url says twice what it says in its query.", remedy="Say it once.")
    found = {**told, **{name: value for name, value in query.items() if value or name not in PATHS}}
    return {name: Hidden(value) if PARAMETERS[name] else value for name, value in found.items()}


def replica_moved(text: str, move: Callable[[Path], Path]) -> str:
    """Write the URL of a replica with its paths moved."""
    before, mark, query = text.strip().partition("?")
    parts = [part.partition("=") for part in query.split("&")]
    told = [(name, equals, _moved(unquote(name), value, move)) for name, equals, value in parts]
    return before + mark + "&".join("".join(part) for part in told)


def _moved(name: str, value: str, move: Callable[[Path], Path]) -> str:
    if name not in PATHS or not value or (name, value) == ("sslrootcert", "system"):
        return value
    return quote(str(move(Path(unquote(value)))), safe="/")
