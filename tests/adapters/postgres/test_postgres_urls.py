"""URLs of Postgres over a real server: several hosts, and libpq's options beside ours."""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from openmem import ConfigurationError, Memory, OMPError, ProviderUnavailableError
from openmem.runtime import bridge
from support.servers import PostgresCluster


def test_a_server_that_is_away_is_passed_over(postgres: PostgresCluster, database: str, tmp_path: Path) -> None:
    hosts = f"{tmp_path},{postgres.folder}"
    url = f"postgresql+psycopg://postgres@/{database}?host={hosts}&target_session_attrs=read-write&keepalives_idle=9"
    with Memory(url, embedder="none", retries=0) as memory:
        added = memory.add("green tea", "u")
        assert memory.list("u").items == [added]
    with (
        Memory(f"postgres://postgres@/{database}?host={tmp_path},{tmp_path}", embedder="none", retries=0) as memory,
        pytest.raises(ProviderUnavailableError),
    ):
        memory.list("u")


def test_options_of_the_session_are_kept_and_ours_hold(postgres_url: str) -> None:
    url = f"{postgres_url}&options=-c%20datestyle%3DGerman%20-c%20work_mem%3D5MB&application_name=web"
    with Memory(url, embedder="test:32") as memory:
        added = memory.add("green tea", "u")
        assert memory.search("tea", "u")[0].memory == added
        sql = "SELECT current_setting('work_mem'), current_setting('datestyle'), current_setting('application_name')"
        pool = memory.adapter.connections.primary  # type: ignore[attr-defined]

        async def settings() -> object:
            async with pool.session() as session:
                return await (await session.execute(sql)).fetchone()

        assert bridge.run(settings(), inline=False) == ("5MB", "ISO, DMY", "web")


def _setting(memory: Memory, name: str) -> Any:
    """Ask a connection of the pool for a setting of its session."""
    pool = memory.adapter.connections.primary  # type: ignore[attr-defined]

    async def asked() -> Any:
        async with pool.session() as session:
            return (await (await session.execute("SELECT current_setting(%s)", [name])).fetchone())[0]

    return bridge.run(asked(), inline=False)


def test_what_libpq_reads_of_the_environment_counts(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=7MB -c statement_timeout=9s -c datestyle=German")
    monkeypatch.setenv("PGAPPNAME", "web")
    with Memory(postgres_url, embedder="none") as memory:
        memory.open()
        names = ("work_mem", "statement_timeout", "jit", "datestyle", "application_name")
        assert [_setting(memory, name) for name in names] == ["7MB", "9s", "off", "ISO, DMY", "web"]
    with Memory(postgres_url, embedder="none", statement_timeout=5, application_name="ours") as memory:
        memory.open()
        names = ("work_mem", "statement_timeout", "application_name")
        assert [_setting(memory, name) for name in names] == ["7MB", "5s", "ours"]
    with Memory(postgres_url, embedder="none", options="-c work_mem=6MB") as memory:
        memory.open()
        assert [_setting(memory, name) for name in ("work_mem", "statement_timeout")] == ["6MB", "30s"]


def _refusal(url: str, **options: Any) -> OMPError:
    with Memory(url, embedder="none", retries=0, **options) as memory, pytest.raises(OMPError) as caught:
        memory.list("u")
    return caught.value


def test_a_database_that_is_not_there_is_made_as_the_remedy_says(postgres: PostgresCluster) -> None:
    name = "my db;it's"
    for url, missing in (
        (f"postgres://postgres@/my%20db;it's?host={postgres.folder}", name),
        (f"postgres://nobody_at_all@/?host={postgres.folder}", "nobody_at_all"),
    ):
        postgres.run("CREATE ROLE nobody_at_all LOGIN CREATEDB")
        try:
            refusal = _refusal(url)
            assert isinstance(refusal, ConfigurationError)
            assert f"there is no database {missing} at {postgres.folder}:5432." in refusal.message
            words = shlex.split(refusal.remedy.partition(": ")[2])
            made = dict(zip(words[1::2], words[2::2], strict=False))
            assert words[0] == "createdb" and words[-1] == missing
            with psycopg.connect(
                host=made["-h"], port=made["-p"], user=made["-U"], dbname="postgres", autocommit=True
            ) as c:
                c.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(words[-1])))
            postgres.run(f'DROP DATABASE "{missing}"')
        finally:
            postgres.run("DROP ROLE nobody_at_all")


@pytest.mark.parametrize(
    ("query", "kind", "said"),
    [
        ("options=-c%20nosuch%3D1", ConfigurationError, 'unrecognized configuration parameter "nosuch"'),
        ("options=-c%20work_mem%3Dmuch", ConfigurationError, 'invalid value for parameter "work_mem"'),
        ("require_auth=scram-sha-256", ConfigurationError, "did not complete authentication"),
        ("target_session_attrs=standby", ProviderUnavailableError, "server is not in hot standby mode"),
    ],
)
def test_a_server_that_answers_is_not_said_to_be_away(
    postgres_url: str, postgres: PostgresCluster, query: str, kind: type[OMPError], said: str
) -> None:
    refusal = _refusal(f"{postgres_url}&{query}")
    assert type(refusal) is kind
    assert said in refusal.message
    assert f"{postgres.folder}:5432" in refusal.message
    assert (refusal.written, "no server answers" in refusal.message) == ("nothing", False)


def test_a_service_that_is_not_defined_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = _refusal("postgres:///?service=nosuch")
    assert type(refusal) is ConfigurationError
    assert "service" in refusal.message


def test_the_place_told_is_the_one_that_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", str(tmp_path))
    monkeypatch.setenv("PGPORT", "5433")
    assert f"no server answers at {tmp_path}:5433." in _refusal("postgres:///d").message


@pytest.fixture
def without_tls() -> Iterator[int]:
    """The port of a server that answers to the question for TLS that it has none."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection = server.accept()[0]
            except OSError:  # the test is over
                return
            with connection:
                connection.recv(8)
                connection.sendall(b"N")

    thread = threading.Thread(target=answer)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_server_without_tls_is_not_away(without_tls: int) -> None:
    refusal = _refusal(f"postgres://u:p@127.0.0.1:{without_tls}/d?sslmode=require")
    assert type(refusal) is ConfigurationError
    assert f"127.0.0.1:{without_tls}" in refusal.message
    assert "SSL" in refusal.message


def test_a_host_whose_name_has_a_word_of_an_error_is_only_away() -> None:
    assert type(_refusal("postgres://u:p@host.invalid/d")) is ProviderUnavailableError
