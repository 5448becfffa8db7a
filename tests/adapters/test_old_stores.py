"""A store of every earlier state of the schema opens, is brought up to date and loses nothing; a later one is refused.

The stores are kept in tests/fixtures, whose README says what each is and how it was made.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fixtures.make_store import STATES, USERS, found, make

from openmem import ConfigurationError, NotFoundError
from support.kept import STORES, Kept, hold, on_a_server, words
from support.servers import PostgresCluster
from support.stores import open_store

UNFINISHED = ("postgres-2-reembedding", "qdrant-local-4-reembedding", "sqlite-1-reembedding", "sqlite-4-reembedding")
"""Stores whose vectors are gone, since an earlier reembed dropped them first."""
OPENED = [name for name in STORES if name not in UNFINISHED]
FIRST = ("postgres-1", "qdrant-edge-1", "qdrant-local-1", "sqlite-1-audit-json")

PIECES = {
    "postgres": ("postgres.store.BATCH",),
    "qdrant": ("qdrant.store.BATCH",),
    "sqlite": ("sqlite.opening.PIECE", "sqlite.schema.PIECE"),
}
"""How many memories are brought up to date at a time."""

OPENS = """
import importlib, os, signal, sys, threading
from openmem import ConfigurationError, Memory
url, left, *pieces = sys.argv[1:]
left = int(left)
for piece in pieces:
    module, name = piece.rsplit(".", 1)
    setattr(importlib.import_module(f"openmem.adapters.{module}"), name, 3)

def count(frame, event, argument):
    global left
    if event == "call" and f"{os.sep}adapters{os.sep}" in frame.f_code.co_filename:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

threading.setprofile(count)
sys.setprofile(count)
try:
    with Memory(url, embedder="test:32") as memory:
        memory.list("nobody")
except ConfigurationError as error:
    sys.exit(str(error))
"""
"""Opens a store in small pieces, and is killed when it calls a function of the adapters for the so-manieth time."""


@pytest.fixture
def kept(request: pytest.FixtureRequest) -> Kept:
    return Kept(request)


@pytest.fixture(scope="session")
def reference() -> Iterator[dict[str, Any]]:
    """What a new store of the same memories finds by words."""
    with open_store("memory://") as memory:
        make(memory)
        yield words(memory)


def opens(url: str, name: str, left: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OPENS, url, str(left), *PIECES[name.partition("-")[0]]]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, error = process.communicate(timeout=60)
    return process.returncode, error


@pytest.mark.parametrize("name", OPENED)
def test_it_tells_what_it_told(name: str, kept: Kept, reference: dict[str, Any]) -> None:
    hold(kept.url(name), name, reference)


@pytest.mark.parametrize("name", [name for name in OPENED if name.startswith("qdrant-local")])
def test_on_a_server_it_tells_what_it_told(name: str, kept: Kept, reference: dict[str, Any]) -> None:
    kept.url(name)
    with on_a_server(kept.folder / name) as (url, _):
        hold(url, name, reference)


@pytest.mark.parametrize("name", UNFINISHED)
def test_embedded_anew_it_tells_what_it_told(name: str, kept: Kept, reference: dict[str, Any]) -> None:
    url = kept.url(name)
    with open_store(url) as memory, pytest.raises(ConfigurationError, match="openmem reembed"):
        memory.list("ada")
    command = [sys.executable, "-m", "openmem", "reembed", url, "--option", "embedder=test:32"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    hold(url, name, reference)


@pytest.mark.parametrize("name", OPENED)
def test_it_is_written_to_and_opened_again(name: str, kept: Kept) -> None:
    url = kept.url(name)
    with open_store(url) as memory:
        ada = memory.for_user("ada")
        before = {each.id: each for each in ada.list(include=STATES).items}
        [home] = [each for each in ada.list(scope="home").items if each.scope == "home"]
        tea = ada.add("Drinks white tea with lemons", external_id="tea")
        moved = ada.add("Lives in Łódź", scope="home", supersedes=[home.id])
        [heard] = [each for each in before.values() if each.content.startswith("Hears")]
        ada.delete(heard.id)
        assert before[tea.id].version + 1 == tea.version
        assert [each.id for each in ada.history(moved.id)][-2:] == [home.id, moved.id]
        assert ada.search("white tea with lemons", mode="vector")[0].memory.id == tea.id
        now = {user: [memory.list(user, include=STATES).items, memory.stats(user)] for user in USERS}
    with open_store(url) as memory:
        assert now == {user: [memory.list(user, include=STATES).items, memory.stats(user)] for user in USERS}
        with pytest.raises(NotFoundError):
            memory.get(heard.id, user_id="ada")
        if memory.capabilities().features.keyword_search:
            for word, texts in (
                ("early", []),
                ("kobavinomuba", []),
                ("lemons", [tea.content]),
                ("Łódź", [moved.content]),
            ):
                assert [text for text, _ in found(memory, word, "ada", "keyword")] == texts


@pytest.mark.parametrize("name", FIRST)
def test_an_upgrade_that_is_killed_again_and_again_is_gone_on_with(
    name: str, kept: Kept, reference: dict[str, Any]
) -> None:
    url, killed, left = kept.url(name), 0, 80
    while (end := ended(opens(url, name, left)))[0] == -signal.SIGKILL:
        killed, left = killed + 1, left * 2
    assert end == (0, "")
    assert killed > 2
    hold(url, name, reference)


@pytest.mark.parametrize("name", FIRST)
def test_processes_open_it_at_once(name: str, kept: Kept, reference: dict[str, Any]) -> None:
    """One of several gets a folder; the others are told so."""
    url = kept.url(name)
    ends = [ended(each) for each in [opens(url, name) for _ in range(2)]]
    failed = [error for code, error in ends if code]
    assert len(failed) < (2 if name.startswith("qdrant") else 1), failed
    assert all("is open in another process" in error for error in failed)
    hold(url, name, reference)


def test_clients_of_a_server_open_it_at_once(kept: Kept, reference: dict[str, Any]) -> None:
    kept.url("qdrant-local-1")
    with on_a_server(kept.folder / "qdrant-local-1") as (url, _):
        with open_store(url) as one, open_store(url) as other, ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda each: each.list("nobody"), (one, other)))
        hold(url, "qdrant-local-1", reference)


def test_a_store_divided_before_its_parts_were_secured_has_them_secured(
    kept: Kept, database: str, postgres: PostgresCluster
) -> None:
    with open_store(kept.url("postgres-1-divided")) as memory:
        memory.list("ada")
    sql = """SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'user_id'
        WHERE relnamespace = 'openmem'::regnamespace AND relkind IN ('r', 'p')
        AND NOT (relforcerowsecurity AND relrowsecurity)"""
    assert postgres.run(sql, database=database) == []
