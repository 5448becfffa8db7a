"""What errors of psycopg and the server become: ours, which say whether anything was written."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout

from openmem.errors import (
    ClosedError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    UnauthorizedError,
    Written,
)

RACES = (errors.UniqueViolation, errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
"""Another transaction came between; this one did nothing."""

_AWAY = ("08", "53", "57", "58")
"""Classes of SQLSTATE for a server that cannot answer now: connection, resources, operator, system."""
_SOCKET = re.compile(r'on socket "(.*)/\.s\.PGSQL\.(\d+)"')
_ADDRESS = re.compile(r'server at "([^"]*)"(?: \([^)]*\))?, port (\d+)')
_UNFIT = re.compile(
    r"does not support|was required|unrecognized configuration parameter|for parameter|certificate|requirement"
    r"|channel binding|unsupported startup parameter|unsupported frontend protocol"
)
"""What a server says, or libpq of it, that will not make a connection with these options."""
_OF_ANOTHER_KIND = re.compile(r"session is (not )?read-only|server is (not )?in hot standby mode")
_UNLIKE = (errors.DataException, errors.DatatypeMismatch, errors.InvalidBinaryRepresentation, errors.UndefinedFunction)
"""What a vector of another width or precision than the column's comes to, as pgvector and COPY have it."""
_EXPLAINED: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[OMPError], str, str], ...] = (
    (RACES, ConflictError, "other writers kept changing what this change reads.", "Try again."),
    (PoolClosed, ClosedError, "this adapter is closed.", ""),
    (
        PoolTimeout,
        ProviderUnavailableError,
        "no connection came free.",
        "Check the server, or raise pool_size or connect_timeout.",
    ),
    (
        errors.QueryCanceled,
        ProviderUnavailableError,
        "the statement took longer than statement_timeout.",
        "Raise statement_timeout, or check the load.",
    ),
    (
        errors.ReadOnlySqlTransaction,
        ConfigurationError,
        "the server only reads.",
        "Name one that writes; a replica is replica_url.",
    ),
    (
        errors.InsufficientPrivilege,
        ConfigurationError,
        "the role lacks a right: {words}.",
        "Grant it, or connect as the schema's owner.",
    ),
    (
        errors.DuplicateTable,
        ConfigurationError,
        "the schema is another program's: {words}.",
        "Name another one with db_schema=….",
    ),
    (
        (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName),
        ConfigurationError,
        "the schema is not as expected: {words}.",
        "Open the store anew.",
    ),
    (
        (errors.InvalidAuthorizationSpecification, errors.InvalidPassword),
        UnauthorizedError,
        "the server refuses the user or the password.",
        "Check the URL.",
    ),
    (errors.DiskFull, ProviderUnavailableError, "the server's disk is full.", "Make room there."),
)


def translated(error: Exception, *, lost: bool = False, written: Written = "nothing") -> OMPError:
    """Explain an error of the driver or the server; lost: the connection ended with it."""
    failure = _explained(error, lost)
    failure.written = written
    return failure


def _explained(error: Exception, lost: bool) -> OMPError:
    words, state = _first_line(error), getattr(error, "sqlstate", None) or ""
    gone = isinstance(error, errors.UndefinedColumn) and '"embedding"' in words
    if gone or isinstance(error, _UNLIKE) or words.startswith("insufficient data"):
        return embedded_anew()
    for kinds, failure, message, remedy in _EXPLAINED:
        if isinstance(error, kinds):
            return failure(message.format(words=words), remedy=remedy)
    if state.startswith("54") or "number of parameters" in words:
        return InvalidRequestError(f"the request is more than the server takes: {words}.", remedy="Ask in parts.")
    if lost or state.startswith(_AWAY):
        return ProviderUnavailableError(f"the connection failed: {words}.")
    return ProviderError(f"the server failed: {type(error).__name__}, {state or None}.")


def embedded_anew() -> ConfigurationError:
    """Say that the store holds vectors of another embedding than when the client opened it."""
    return ConfigurationError(
        "the store was embedded anew meanwhile.", remedy="Open a new client, with the embedder that the store has now."
    )


def refused(error: psycopg.Error, arguments: Mapping[str, Any]) -> OMPError:
    """Explain a connection that was not made. libpq gives no code for it, only the server's words."""
    failure = _refused(str(error), arguments, isinstance(error, psycopg.ProgrammingError))
    failure.written = "nothing"
    return failure


def _refused(words: str, arguments: Mapping[str, Any], malformed: bool) -> OMPError:
    host, port = _place(words, arguments)
    where = f"{host}:{port}"
    if "authentication failed" in words or "no password supplied" in words or "role " in words:
        return UnauthorizedError(
            f"the server at {where} refuses the user or the password.", remedy="Check user and password of the URL."
        )
    if "no pg_hba.conf entry" in words:
        return UnauthorizedError(f"the server at {where} admits no such connection.", remedy="See its pg_hba.conf.")
    if missing := re.search(r'database "(.*)" does not exist', words):
        return _no_database(missing[1], host, port, arguments.get("user"))
    if "definition of service" in words:
        return ConfigurationError("the service is not defined.", remedy="Define it in pg_service.conf.")
    if _UNFIT.search(words):
        return ConfigurationError(
            f"the server at {where} makes no such connection: {_reason(words)}.",
            remedy="Change the option that this is about, or the server.",
        )
    if malformed or re.search(r"\binvalid \w", words):
        return ConfigurationError("the URL's parameters do not make a connection.", remedy="See the cause.")
    if "FATAL:" in words or _OF_ANOTHER_KIND.search(words):
        return ProviderUnavailableError(f"the server at {where} takes no connection now: {_reason(words)}.")
    return ProviderUnavailableError(f"no server answers at {where}.", remedy="Check that it runs and is reachable.")


def _place(words: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Tell which host and port were tried, as libpq says where it says it: variables and files of its own count too."""
    if found := _SOCKET.search(words):
        return found[1], found[2]
    if found := _ADDRESS.search(words):
        return found[1], found[2]
    host = arguments.get("host") or os.environ.get("PGHOST") or "localhost"
    return str(host), str(arguments.get("port") or os.environ.get("PGPORT") or 5432)


def _no_database(name: str, host: str, port: str, user: Any) -> ConfigurationError:
    role = ["-U", str(user)] if user else []
    command = shlex.join(["createdb", "-h", host, "-p", port, *role, name])
    return ConfigurationError(
        f"there is no database {name} at {host}:{port}.",
        remedy=f"Name one in the URL, or make it, by a role that may: {command}",
    )


def _reason(words: str) -> str:
    """Return what the server or libpq gives as its reason, in one line."""
    lines = words.splitlines() or [words]
    line = next((line for line in lines if " failed: " in line or "FATAL:" in line), lines[0])
    return line.rpartition(" failed: ")[2].replace("FATAL:", "").strip().rstrip(".")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
