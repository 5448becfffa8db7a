"""The options of postgres://."""

from __future__ import annotations

import math
from typing import Any, Literal

from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr

from openmem.adapter import Settings

from .vectors import Precision

LIBPQ = ("host", "port", "user", "dbname", "application_name", "sslmode", "sslrootcert", "sslcert", "sslkey")
OPTIONS = ("jit=off", "plan_cache_mode=force_generic_plan", "datestyle=ISO")
"""Compiling and planning each statement anew would take longer than these statements do."""
KEEPALIVES = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
"""Seconds and attempts after which a silent connection counts as lost."""


class PostgresSettings(Settings):
    """Options of postgres://: those of libpq that say where the server is, and our own."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: SecretStr | None = None
    dbname: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    application_name: str = "openmem"
    replica_url: SecretStr | None = None
    """A replica of the server, which list and search may read from once it has what this process wrote."""
    db_schema: str = Field(default="openmem", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)
    """The schema that holds the store."""
    pool_size: int = Field(default=10, ge=1)
    connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds to wait for a connection."""
    statement_timeout: float = Field(default=30.0, gt=0)
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

    def arguments(self, **session: str) -> dict[str, Any]:
        """Return what psycopg connects with; session: settings that differ from those of the pools."""
        given = {name: value for name in LIBPQ if (value := getattr(self, name)) is not None}
        if self.password is not None:
            given["password"] = self.password.get_secret_value()
        return self._session(given, session)

    def replica_arguments(self) -> dict[str, Any] | None:
        """Return the same for the replica; None without one."""
        if self.replica_url is None:
            return None
        return self._session(conninfo_to_dict(self.replica_url.get_secret_value()), {})

    def _session(self, given: dict[str, Any], session: dict[str, str]) -> dict[str, Any]:
        seconds = math.ceil(self.connect_timeout)
        always = {"autocommit": True, "client_encoding": "utf8", "connect_timeout": seconds}
        lively = {**KEEPALIVES, "tcp_user_timeout": seconds * 1000}
        if self.pgbouncer:
            return {**lively, **always, **given, "prepare_threshold": None}
        settings = {"statement_timeout": f"{self.statement_timeout * 1000:.0f}", **session}
        options = [*OPTIONS, *(f"{name}={value}" for name, value in settings.items())]
        return {**lively, **always, **given, "options": " ".join(f"-c {option}" for option in options)}
