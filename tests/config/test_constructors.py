"""How clients are made: by the keywords of OMP 0.1 too, over an adapter of one's own, and never by copying."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from openmem import (
    AsyncMemory,
    ConfigurationError,
    CopyError,
    InvalidRequestError,
    Memory,
    UnsupportedProviderError,
    registry,
)
from openmem.adapters.postgres import PostgresSettings
from openmem.config import ClientOptions
from support.configured import Store

CLIENTS: list[type[Memory] | type[AsyncMemory]] = [Memory, AsyncMemory]
URL = "postgres://u:p@db.example/app"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, no OPENMEM_* variable of whoever runs this, and the scheme store://."""
    import os

    for name in [name for name in os.environ if name.startswith("OPENMEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "registered", dict(registry.registered))
    registry.register_adapter("store", Store)


# --- the constructors of OMP 0.1 --------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("postgres",), {"url": URL}),
        (("postgres",), {"dsn": URL, "use_openai": False}),
        ((), {"provider": "postgres", "dsn": URL, "executor_max_workers": 4}),
        ((), {"provider": "postgres", "url": URL, "embedder": "test"}),
        ((URL,), {}),
        ((), {"url": URL}),
    ],
)
def test_postgres_is_named_by_url_or_dsn(client: Any, arguments: tuple[str, ...], options: dict[str, Any]) -> None:
    settings = client(*arguments, **options).adapter.settings
    assert isinstance(settings, PostgresSettings)
    assert (settings.host, settings.user, settings.dbname) == ("db.example", "u", "app")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("options", "host", "https"),
    [
        ({}, "api.mem0.ai", True),
        ({"host": "https://api.mem0.ai"}, "api.mem0.ai", True),
        ({"host": "https://mem0.example:8443/"}, "mem0.example", True),
        ({"host": "http://localhost:8000"}, "localhost", False),
        ({"host": "mem0.example", "executor_max_workers": 1}, "mem0.example", True),
    ],
)
def test_mem0_is_named_by_its_key_and_host(client: Any, options: dict[str, Any], host: str, https: bool) -> None:
    settings = client("mem0", api_key="k", **options).adapter.settings
    assert (settings.host, settings.https, settings.api_key) == (host, https, SecretStr("k"))


@pytest.mark.parametrize("client", CLIENTS)
def test_use_openai_chooses_its_embedder(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    embedding = client(provider="memory", use_openai=True).adapter.embedding
    assert (embedding.model, embedding.dimension) == ("text-embedding-3-small", 1536)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", ["supermemory", "letta", "passthrough", "nobody", "mem0x"])
def test_a_provider_without_an_adapter_is_refused(client: Any, provider: str) -> None:
    for make in (lambda: client(provider, api_key="k"), lambda: client(provider=provider, api_key="k")):
        with pytest.raises(UnsupportedProviderError, match="Known: mem0, memory"):
            make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Memory(URL, dsn=URL),
        lambda: Memory(URL, url=URL),
        lambda: Memory("postgres", provider="postgres", url=URL),
        lambda: Memory("memory", use_openai=True, embedder="none"),
        lambda: Memory("memory", use_openai="yes"),
        lambda: Memory("memory", executor_max_workers=0),
        lambda: Memory("memory", executor_max_workers="2"),
        lambda: Memory("memory", executor_max_workers=True),
        lambda: Memory("memory", base_url="https://h"),
        lambda: Memory("memory", dsn=3),
    ],
)
def test_what_says_two_things_or_nothing_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.remedy


# --- keywords ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
def test_the_options_common_to_all_are_keywords_of_both_constructors(client: Any) -> None:
    common = {"embedder", "embedder_url", "embedder_api_key", "embedder_dimension", "timeout", "retries"}
    assert common <= ClientOptions.model_fields.keys()
    for made in (client, client.from_config):
        keywords = inspect.signature(made).parameters
        assert common <= keywords.keys()
        assert all(keywords[name].default is None for name in common)


@pytest.mark.parametrize("client", CLIENTS)
def test_keywords_reach_the_options(client: Any) -> None:
    Path("openmem.toml").write_text('default = "p"\n[profiles.p]\nurl = "store://h"\ntimeout = 9\nretries = 9')
    given = {"embedder": "openai:m", "embedder_url": "http://h/v1", "embedder_api_key": "k", "embedder_dimension": 4}
    memory = client.from_config(**given, timeout=3.5, pool_size=7)
    options = memory.options
    assert (options.embedder, options.embedder_url, options.embedder_dimension) == ("openai:m", "http://h/v1", 4)
    assert (options.embedder_api_key, options.timeout, options.retries) == (SecretStr("k"), 3.5, 9)
    assert memory.adapter.settings.pool_size == 7
    assert client.from_config("p", embedder_api_key=None).options.timeout == 9


# --- over an adapter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clock": lambda: datetime(2000, 1, 1, tzinfo=UTC)}, "Give the adapter its clock"),
        ({"provider": "memory"}, "'provider' is given beside an adapter"),
        ({"profile": "nowhere"}, "'profile' is given beside an adapter"),
        ({"url": "memory://"}, "'url' is given beside an adapter"),
        ({"pool_size": 3}, "'pool_size' is an option of the adapter.*Give it to StoreSettings"),
        ({"audit_limit": 3}, "unknown option 'audit_limit'"),
        ({"embedder_dimension": 3}, "not an option of embedder none"),
    ],
)
def test_a_client_of_an_adapter_refuses_what_it_cannot_use(client: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        client(Store(), **options)


# --- copies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_is_neither_copied_nor_pickled(client: Any, copied: Callable[[Any], Any]) -> None:
    memory = client("store://u:hush@h", embedder="none")
    held = [memory, {"state": [memory]}]
    held = held[:1] if copied is copy.copy else [*held, memory.for_user("u")]
    for each in held:
        with pytest.raises(
            CopyError, match=r"neither copied nor pickled.*store://.*make a client where it is needed"
        ) as e:
            copied(each)
        assert isinstance(e.value, InvalidRequestError)
        assert isinstance(e.value, TypeError)
        assert "hush" not in str(e.value)


def test_a_view_of_one_user_may_be_copied_since_it_shares_the_client() -> None:
    view = Memory("memory://", embedder="none").for_user("u")
    added = view.add("green tea")
    assert copy.copy(view).get(added.id) == added
