"""Secrets: they are in no message, no log, no cause, and no frame of ours that a report prints the variables of."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from openmem import AsyncMemory, ConfigurationError, Memory, OMPError
from openmem.adapters.mem0.settings import HostedMem0Settings
from openmem.adapters.postgres import PostgresSettings
from openmem.adapters.qdrant import QdrantSettings
from openmem.cli import main
from openmem.config import resolve
from openmem.embedding.openai import OpenAIEmbedder
from support import llm_server
from support.telling import raised

HIDDEN = "hu" + "sh-Zq7"
"""Put together, so that no source line of a traceback has it."""
MEM0: dict[str, Any] = {"retries": 0, "timeout": 5}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no OPENMEM_* variable of whoever runs this."""
    for name in [name for name in os.environ if name.startswith("OPENMEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _variables(error: BaseException) -> list[str]:
    """Return what a report prints of the variables of our frames, and of all that is told as a cause."""
    shown: list[str] = []
    reports: list[Any] = [traceback.TracebackException.from_exception(error, capture_locals=True)]
    while reports:
        report = reports.pop()
        for frame in report.stack:
            if frame.filename != __file__:
                shown += [f"{frame.name}: {name} = {value}" for name, value in (frame.locals or {}).items()]
        reports += [each for each in (report.__cause__, report.__context__) if each is not None]
    return shown


# --- hosts, URLs and options that are wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["u:{}@127.0.0.1", "u:{}@h:x", "u:{}", "postgres://u:{}@h/d", "h/{}", "h#{}"])
@pytest.mark.parametrize("provider", ["postgres", "qdrant", "mem0"])
def test_a_host_that_is_none_is_refused_unquoted(provider: str, host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Memory(provider, host=host.format(HIDDEN), embedder="none")
    assert HIDDEN not in raised(caught.value)


@pytest.mark.parametrize("host", ["[::1]", "::1", "localhost", "127.0.0.1", "h-1.example_2"])
@pytest.mark.parametrize("provider", ["postgres", "qdrant", "mem0"])
def test_a_host_is_a_name_or_an_address(provider: str, host: str) -> None:
    settings: Any = resolve(provider, host=host).settings
    assert settings.host == host.strip("[]")


def test_a_host_of_postgres_may_be_several_or_a_socket() -> None:
    for host in ("h1,h2", "/tmp/a:b@c", "@name", "h,,/tmp"):
        assert resolve("postgres", host=host).settings.host == host  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "make",
    [
        lambda: QdrantSettings(api_key=f"{HIDDEN}\n"),
        lambda: HostedMem0Settings(host=f"u:{HIDDEN}"),
        lambda: PostgresSettings(password=[HIDDEN]),
        lambda: PostgresSettings(passwrd=HIDDEN),
    ],
)
def test_settings_made_by_hand_do_not_quote_what_is_wrong(make: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        make()
    assert HIDDEN not in raised(caught.value)


@pytest.mark.parametrize("url", ["http://u:{}@127.0.0.1/v1", "http://127.0.0.1/v1?key={}", "https://{}@127.0.0.1/v1"])
def test_an_endpoint_has_its_key_in_no_url_that_would_be_logged(url: str) -> None:
    url = url.format(HIDDEN)
    config = {"embedder": {"provider": "openai", "config": {"openai_base_url": url}}}
    for make in (
        lambda: Memory("memory://", embedder="openai:m", embedder_dimension=4, embedder_url=url),
        lambda: Memory("mem0:///f", embedder="test", llm_url=url, llm_model="m"),
        lambda: Memory("mem0:///f", config=config),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert "key" in str(caught.value)
        assert HIDDEN not in raised(caught.value)


def test_an_endpoint_that_refuses_a_model_shows_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with llm_server.serving() as endpoint:
        endpoint.answer = 400
        options: dict[str, Any] = {"llm_url": f"{endpoint.url}?api-version=2", "llm_model": "m", "llm_api_key": HIDDEN}
        with Memory("mem0:///f", embedder="test", **options) as memory, pytest.raises(OMPError) as caught:
            memory.remember([{"role": "user", "content": "tea"}], "u")
    assert endpoint.asked
    assert HIDDEN not in raised(caught.value) + caplog.text


@pytest.mark.parametrize("text", ["postgresql://u:%zz{}@h/d", "postgresql://u:{}@[::1]x/d", "host=h password {}"])
def test_a_wrong_connection_string_of_mem0_is_refused_unquoted(text: str) -> None:
    store = {"provider": "pgvector", "config": {"connection_string": text.format(HIDDEN)}}
    memory = Memory("mem0:///f", embedder="test", config={"vector_store": store})
    with memory, pytest.raises(ConfigurationError, match="connection_string") as caught:
        memory.list("u")
    assert HIDDEN not in raised(caught.value) + "\n".join(_variables(caught.value))


@pytest.mark.parametrize("part", ["vector_store", "llm"])
def test_a_wrong_configuration_of_mem0_is_refused_unquoted(part: str) -> None:
    config = {part: {"provider": "nowhere", "config": {"api_key": HIDDEN}}}
    memory = Memory("mem0:///f", embedder="test", config=config)
    with memory, pytest.raises(ConfigurationError, match="does not take this config") as caught:
        memory.list("u")
    assert HIDDEN not in raised(caught.value) + "\n".join(_variables(caught.value))


# --- variables of frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: Memory(f"postgres://u:{HIDDEN}@127.0.0.1:1/d", embedder="none", **MEM0).list("u"),
        lambda: Memory(f"postgres://u:{HIDDEN}@127.0.0.1:1,127.0.0.1:2/d", embedder="none", **MEM0).list("u"),
        lambda: Memory(f"postgres://u:{HIDDEN}@127.0.0.1:1/d?keepalives=x", embedder="none", **MEM0).list("u"),
        lambda: Memory(f"qdrant://:{HIDDEN}@127.0.0.1:1/c?https=false", embedder="none", **MEM0).list("u"),
        lambda: Memory(f"mem0://:{HIDDEN}@127.0.0.1:1?https=false", **MEM0).list("u"),
        lambda: Memory(f"postgres://u:{HIDDEN}@h/d?nosuch=1"),
        lambda: Memory(f"nosuch://u:{HIDDEN}@h/d"),
        lambda: Memory(url=f"postgres://u:{HIDDEN}@h/d?pool_size=x"),
        lambda: AsyncMemory("postgres://h/d", password=HIDDEN, timeout="x"),  # type: ignore[arg-type]
        lambda: Memory("memory://", embedder="openai:m", embedder_api_key=HIDDEN),
        lambda: Memory.from_config(embedder_api_key=HIDDEN, password=HIDDEN),
        lambda: resolve(f"postgres://u:{HIDDEN}@h/d", timeout=HIDDEN),
    ],
)
def test_no_frame_shows_a_secret(call: Callable[[], Any]) -> None:
    with pytest.raises(OMPError) as caught:
        call()
    assert not [each for each in _variables(caught.value) if HIDDEN in each]
    assert HIDDEN not in raised(caught.value)


def test_a_profile_that_is_wrong_shows_no_secret_in_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", HIDDEN)
    Path("openmem.toml").write_text('[profiles.p]\nurl = "postgres://h/d"\npassword = "${DB_PASSWORD}"\ntimeout = "x"')
    with pytest.raises(ConfigurationError) as caught:
        Memory(profile="p")
    assert not [each for each in _variables(caught.value) if HIDDEN in each]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Memory("memory://?nosuch=1"),
        lambda: AsyncMemory("memory://?nosuch=1"),
        lambda: OpenAIEmbedder("m"),
        lambda: OpenAIEmbedder("m", dimension=4, url="none"),
        lambda: Memory("memory://", embedder="none").for_user(" "),
        lambda: AsyncMemory("memory://", embedder="none").for_user(3),  # type: ignore[arg-type]
    ],
)
def test_what_could_not_be_made_can_be_shown(make: Callable[[], Any]) -> None:
    with pytest.raises(OMPError) as caught:
        make()
    assert _variables(caught.value)


# --- the command line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor", "memory://", f"api_key={HIDDEN}"),
        ("doctor", "memory://", f"postgres://u:p {HIDDEN}@h/d"),
        ("list", "-u", "u", f"postgres://u:p {HIDDEN}@h/d"),
        (f"postgres://u:p {HIDDEN}@h/d",),
        (f"api_key='{HIDDEN}'",),
        ("list", "-u", "u", "--json", HIDDEN),
    ],
)
def test_an_argument_in_a_wrong_place_is_not_quoted(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err
    assert HIDDEN not in shown.out + shown.err


def test_a_misspelt_command_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lst"]) == 2
    assert "No such command 'lst'" in capsys.readouterr().err
