"""The options of postgres://."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, SecretStr, create_model, field_validator, model_validator
from pydantic_core import PydanticCustomError

from openmem import urls
from openmem.adapter import Settings
from openmem.errors import ConfigurationError

from . import conninfo
from .vectors import Precision

OPTIONS = ("jit=off", "plan_cache_mode=force_generic_plan")
"""Compiling and planning each statement anew would take longer than these statements do."""
NEEDED = ("datestyle=ISO",)
KEEPALIVES = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
"""Seconds and attempts after which a silent connection counts as lost."""
LONGEST = 2_000_000
"""Seconds that the server and the system count in milliseconds of 32 bits."""

if TYPE_CHECKING:
    Libpq = Settings
else:
    Libpq = create_model(
        "Libpq",
        __base__=Settings,
        **{
            name: (SecretStr | None if secret else Path | None if name in conninfo.PATHS else str | int | None, None)
            for name, secret in conninfo.PARAMETERS.items()
        },
    )


class PostgresSettings(Libpq):
    """Options of postgres://: our own, and every parameter of libpq."""

    host: str | None = None
    port: int | str | None = None
    """Of several hosts, several with commas between."""
    user: str | None = None
    password: SecretStr | None = None
    dbname: str | None = None
    options: str | None = None
    """Settings of the session, -c NAME=VALUE; what openmem needs is set after them."""
    passfile: Path | None = None
    sslrootcert: Literal["system"] | Path | None = None
    sslcert: Path | None = None
    sslkey: Path | None = None
    sslcrl: Path | None = None
    sslcrldir: Path | None = None
    ssl: bool | None = None
    """true: sslmode=require, as libpq has it; false: sslmode=disable."""
    application_name: str = "openmem"
    replica_url: SecretStr | None = None
    """A replica of the server, which list and search may read from once it has what this process wrote."""
    db_schema: str = Field(default="openmem", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)
    """The schema that holds the store."""
    pool_size: int = Field(default=10, ge=1)
    connect_timeout: float = Field(default=10.0, gt=0, le=LONGEST)
    """Seconds to wait for a connection; libpq gets it too, rounded up."""
    statement_timeout: float = Field(default=30.0, gt=0, le=LONGEST)
    """Seconds that one statement may take on the server."""
    pgbouncer: bool = False
    """The server is behind PgBouncer with transaction pooling: no prepared statements, no settings of a session."""
    index: Literal["auto", "hnsw", "none"] = "auto"
    """auto: an index of vectors is made when a user has too many to be searched exactly; hnsw: when the store is
    opened; none: never."""
    precision: Precision = "single"
    """half: vectors of 16-bit numbers, half the size."""
    partitions: int = Field(default=0, ge=0, le=1024)
    """Divide a new store by hash of user_id into this many tables."""
    rls: bool = False
    """Row-level security: the server itself refuses rows of another user than the request's."""

    @field_validator(*conninfo.PATHS, mode="before", check_fields=False)
    @classmethod
    def _is_default(cls, path: Any) -> Any:
        return None if path == "" else path

    @field_validator("host")
    @classmethod
    def _has_hosts(cls, host: str | None) -> str | None:
        parts = host.split(",") if host else []
        # the folder of a socket, and the name of one, may hold anything
        return ",".join(urls.checked_host(each) if each and each[0] not in "/@" else each for each in parts) or host

    @field_validator("db_schema")
    @classmethod
    def _is_ours(cls, schema: str) -> str:
        if schema.startswith("pg_"):
            raise PydanticCustomError("schema", "names that begin with pg_ are the server's own")
        return schema

    @field_validator("port")
    @classmethod
    def _has_numbers(cls, port: int | str | None) -> int | str | None:
        for each in [] if port is None else str(port).split(","):
            if each and not (re.fullmatch("[0-9]{1,5}", each) and 0 < int(each) < 65536):
                raise PydanticCustomError("port", "a port is a number from 1 to 65535; of several hosts 5432,5433")
        return int(port) if isinstance(port, str) and port.isdigit() else port

    @field_validator("ssl", mode="before")
    @classmethod
    def _is_no_mode(cls, ssl: Any) -> Any:
        if isinstance(ssl, str) and ssl.lower() not in ("true", "false"):
            raise PydanticCustomError("ssl", "it is true or false; a mode is sslmode=require")
        return ssl

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.ssl is not None and self._sslmode() is not None:
            raise ConfigurationError("ssl and sslmode are given.", remedy="Give sslmode alone.")
        if "statement_timeout" in self.model_fields_set and "statement_timeout" in (self.options or ""):
            raise ConfigurationError("statement_timeout is given, and again in options.", remedy="Give it once.")
        if "statement_timeout" in self.model_fields_set and self.pgbouncer:
            remedy = "Leave it out, and set it for the role: ALTER ROLE … SET statement_timeout = …."
            raise ConfigurationError("statement_timeout is not sent behind PgBouncer.", remedy=remedy)
        self.replica_arguments()
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out what is not given: libpq takes fifty parameters."""
        return ((name, value) for name, value in super().__repr_args__() if value is not None)

    def moved(self, name: str, move: Callable[[Path], Path]) -> Any:
        """Return the value of an option with its paths moved."""
        if name == "replica_url" and self.replica_url is not None:
            return SecretStr(conninfo.replica_moved(self.replica_url.get_secret_value(), move))
        return super().moved(name, move)

    def arguments(self, **session: str) -> dict[str, Any]:
        """Return what psycopg connects with; session: settings that differ from those of the pools."""
        given = {name: _plain(value) for name in conninfo.PARAMETERS if (value := getattr(self, name)) is not None}
        if "application_name" not in self.model_fields_set and os.environ.get("PGAPPNAME"):
            del given["application_name"]  # libpq reads the variable where it is not told
        if self.ssl is not None:
            given["sslmode"] = "require" if self.ssl else "disable"
        return self._session(given, session)

    def replica_arguments(self) -> dict[str, Any] | None:
        """Return the same for the replica; None without one."""
        if self.replica_url is None:
            return None
        return self._session(conninfo.of_replica(self.replica_url.get_secret_value()), {})

    def _sslmode(self) -> Any:
        return getattr(self, "sslmode", None)

    def _session(self, given: dict[str, Any], session: dict[str, str]) -> dict[str, Any]:
        seconds = math.ceil(self.connect_timeout)
        always = {"autocommit": True, "client_encoding": "utf8", "connect_timeout": seconds}
        lively = {**KEEPALIVES, "tcp_user_timeout": seconds * 1000}
        if self.pgbouncer:
            return {**lively, **given, **always, "prepare_threshold": None}
        ours = f"statement_timeout={self.statement_timeout * 1000:.0f}"
        chosen = [ours] if "statement_timeout" in self.model_fields_set else []
        before = (f"-c {each}" for each in (*OPTIONS, ours))
        after = (f"-c {each}" for each in (*NEEDED, *(f"{name}={value}" for name, value in session.items())))
        # libpq reads the variable only where it is told no options at all
        theirs = [given["options"]] if given.get("options") else [os.environ.get("PGOPTIONS")]
        parts = [*before, *theirs, *(f"-c {each}" for each in chosen), *after]
        return {**lively, **given, **always, "options": " ".join(filter(None, parts))}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return conninfo.Hidden(value.get_secret_value())
    return str(value) if isinstance(value, Path) else value
