"""Options of several places: what goes together, what is not mixed, and which of them are of no effect."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import respx

from openmem import ConfigurationError, Memory, OMPError, ProviderUnavailableError
from openmem.adapters.memory import MemoryAdapter
from openmem.adapters.qdrant import QdrantEdgeAdapter, QdrantLocalAdapter
from openmem.adapters.qdrant.settings import FolderSettings
from openmem.adapters.sqlite import SqliteAdapter
from openmem.config import environment, resolve
from openmem.embedding import RefusedTextsError, info
from openmem.embedding.openai import OpenAIEmbedder
from openmem.embedding.testing import WordEmbedder
from support.processes import python


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no OPENMEM_* variable of whoever runs this."""
    for name in [name for name in os.environ if name.startswith("OPENMEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    environment.warn_once.cache_clear()


def _write(text: str) -> None:
    Path("openmem.toml").write_text(text, "utf-8")


def _arguments(*target: str, **options: Any) -> dict[str, Any]:
    """Read where Postgres is reached, and with what right."""
    told = resolve(*target, **options).settings.arguments()  # type: ignore[attr-defined]
    return {name: told[name] for name in ("host", "port", "user", "password", "dbname") if name in told}


# --- where, and with what right ---------------------------------------------------------------------------------

PROD = (
    '[profiles.prod]\nprovider = "postgres"\nhost = "prod.db"\nport = 6432\nuser = "app"\npassword = "hush"\n'
    "pool_size = 3"
)


def test_a_url_in_code_takes_nothing_of_a_profile_but_what_belongs_to_no_server() -> None:
    _write(f'{PROD}\nreplica_url = "postgres://r/app"\ndbname = "app"')
    assert _arguments(profile="prod") == {
        "host": "prod.db", "port": 6432, "user": "app", "password": "hush", "dbname": "app"
    }  # fmt: skip
    assert _arguments("postgres:///scratch", profile="prod") == {"dbname": "scratch"}
    settings: Any = resolve(provider="postgres", profile="prod").settings
    assert (settings.host, settings.replica_url, settings.pool_size) == (None, None, 3)


def test_a_url_of_the_environment_takes_no_server_of_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PROD)
    monkeypatch.setenv("OPENMEM_URL", "postgres:///scratch")
    assert _arguments(profile="prod") == {"dbname": "scratch"}


@pytest.mark.parametrize(("url", "port"), [("postgres://h/d", None), ("qdrant://h/c", 6333), ("mem0://h", None)])
def test_a_url_takes_no_host_and_port_of_the_environment(
    url: str, port: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENMEM_HOST", "variable.example")
    monkeypatch.setenv("OPENMEM_PORT", "8080")
    settings: Any = resolve(url).settings
    assert (settings.host, settings.port) == ("h", port)
    assert _arguments("postgres:///x") == {"dbname": "x"}


def test_a_profile_takes_no_host_of_the_environment_which_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _write(PROD)
    monkeypatch.setenv("OPENMEM_HOST", "variable.example")
    monkeypatch.setenv("OPENMEM_PASSWORD", "nearer")
    told = _arguments(profile="prod")
    assert (told["host"], told["password"]) == ("prod.db", "nearer")
    assert caplog.messages == ["OPENMEM_HOST is not used: the backend is named elsewhere."]
    assert _arguments(profile="prod", host="argument.example")["host"] == "argument.example"


def test_a_password_of_the_environment_is_not_of_a_user_whom_the_url_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENMEM_PASSWORD", "variable")
    assert _arguments("postgres://h/d") == {"host": "h", "dbname": "d", "password": "variable"}
    assert "password" not in _arguments("postgres://app@h/d")
    assert caplog.messages == ["OPENMEM_PASSWORD is not used: the backend is named elsewhere."]
    monkeypatch.setenv("OPENMEM_URL", "postgres://app@h/d")
    assert _arguments()["password"] == "variable"


def test_a_key_of_the_environment_does_not_make_the_platform_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMEM_API_KEY", "k")
    assert resolve("mem0://").adapter.__name__ == "Mem0Adapter"
    settings: Any = resolve("mem0://api.mem0.ai").settings
    assert settings.api_key.get_secret_value() == "k"
    monkeypatch.setenv("OPENMEM_URL", "mem0://")
    assert resolve().adapter.__name__ == "HostedMem0Adapter"


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("qdrant://h/c", "postgres"),
        ("memory:///x.db", "sqlite"),
        ("qdrant+local:///f", "qdrant"),
        ("https://h/x.db", "sqlite"),
        ("https://h/d", "postgres"),
        ("http://h/d", "mem0x"),
    ],
)
def test_a_provider_and_a_url_that_differ_are_refused(url: str, provider: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(url, provider=provider)
    assert caught.value.remedy


def test_a_provider_and_a_url_of_it_go_together() -> None:
    for url, provider in (
        ("postgresql+psycopg://h/d", "postgres"),
        ("qdrants://h", "qdrant"),
        ("SQLITE:///x", "sqlite"),
    ):
        assert resolve(url, provider=provider) == resolve(url)


@pytest.mark.parametrize("provider", ["qdrant", "mem0"])
def test_an_address_in_brackets_is_reached(provider: str) -> None:
    memory = Memory(f"{provider}://:k@[::1]:1?https=false", embedder="none", retries=0)
    with memory, pytest.raises(ProviderUnavailableError) as caught:
        memory.list("u")
    assert "::1" in caught.value.message


@pytest.mark.parametrize(("scheme", "https"), [("http", False), ("https", True)])
@pytest.mark.parametrize("provider", ["mem0", "qdrant"])
def test_the_scheme_of_a_url_says_whether_there_is_tls(provider: str, scheme: str, https: bool) -> None:
    settings: Any = resolve(f"{scheme}://127.0.0.1:1", provider=provider, api_key="k").settings
    assert (settings.https, settings.port) == (https, 1)


# --- embedders --------------------------------------------------------------------------------------------------

README = (
    '[profiles.prod]\nurl = "memory://"\nembedder = "openai:text-embedding-3-small"\nembedder_api_key = "k"\n'
    "embedder_dimension = 8"
)


@pytest.mark.parametrize("embedder", ["none", "test", WordEmbedder(dimension=8)])
def test_an_embedder_in_code_drops_the_options_of_the_one_in_the_profile(embedder: Any) -> None:
    _write(README)
    assert Memory.from_config("prod", embedder=embedder).options.embedder_api_key is None
    made = Memory.from_config("prod").capabilities().features.embedding
    assert made is not None and made.dimension == 8


def test_a_key_of_the_environment_waits_for_an_embedder_that_takes_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENMEM_EMBEDDER_API_KEY", "hush")
    for url in ("memory://", "mem0://api.mem0.ai?api_key=k"):
        assert resolve(url).make_embedder() is None or url == "memory://"
    assert caplog.messages == ["OPENMEM_EMBEDDER_API_KEY is not used: the embedder does not take it."]
    key = resolve("memory://", embedder="openai:text-embedding-3-small").options.embedder_api_key
    assert key and key.get_secret_value() == "hush"
    monkeypatch.setenv("OPENMEM_EMBEDDER", "none")
    with pytest.raises(ConfigurationError, match="Correct the variable OPENMEM_EMBEDDER_API_KEY"):
        resolve("memory://")


def test_an_option_that_the_embedder_of_the_profile_does_not_take_names_the_file() -> None:
    _write('[profiles.p]\nurl = "memory://"\nembedder_dimension = 3')
    with pytest.raises(ConfigurationError, match=r"'embedder_dimension' is not .*openmem\.toml"):
        resolve(profile="p")


@pytest.mark.parametrize("option", ["embedder_url", "embedder_api_key", "embedder_dimension", "embedder_batch"])
@pytest.mark.parametrize("backend", [{"api_key": "k"}, {"config": {"embedder": {"provider": "openai"}}}])
def test_a_backend_that_embeds_itself_takes_no_option_of_an_embedder(option: str, backend: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"'{option}' is not an option of mem0"):
        Memory("mem0", **backend, **{option: "http://h" if option == "embedder_url" else 4})


def test_use_openai_reads_the_key_of_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**options: Any) -> Any:
        return resolve("memory", use_openai=True, **options).options.embedder_api_key

    assert key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    assert key().get_secret_value() == "theirs"
    assert key(embedder_api_key="given").get_secret_value() == "given"
    assert key(embedder_url="http://h/v1") is None, "it is for OpenAI's own endpoint"
    monkeypatch.setenv("OPENMEM_EMBEDDER_API_KEY", "ours")
    assert key().get_secret_value() == "ours"
    assert resolve("memory", use_openai=False).options.embedder_api_key is None


ADAPTERS: list[Callable[..., Any]] = [
    MemoryAdapter,
    lambda **options: SqliteAdapter(SqliteAdapter.settings_type.model_validate({"path": "m.db"}), **options),
    lambda **options: QdrantLocalAdapter(FolderSettings(path=Path("local")), **options),
    lambda **options: QdrantEdgeAdapter(FolderSettings(path=Path("edge")), **options),
]


@pytest.mark.parametrize("make", ADAPTERS)
def test_an_adapter_without_an_embedding_refuses_an_embedder_and_takes_it_as_the_remedy_says(
    make: Callable[..., Any],
) -> None:
    with pytest.raises(ConfigurationError, match=r"was made without an embedder.*embedding=openmem.embedding.info"):
        Memory(make(), embedder="test")
    embedder = WordEmbedder(dimension=16)
    with Memory(make(embedding=info(embedder)), embedder=embedder) as memory:
        added = memory.add("green tea", "u")
        assert [hit.memory.id for hit in memory.search("tea", "u", mode="vector")] == [added.id]


def test_the_escapes_of_the_path_of_an_endpoint_stay() -> None:
    embedder = OpenAIEmbedder("m", url="https://h/a%2Fb/v1/?api-version=2", dimension=4)
    with respx.mock() as endpoint:
        endpoint.route().respond(json={"data": [{"index": 0, "embedding": [1, 0, 0, 0]}]})
        asyncio.run(embed("tea", embedder))
        assert str(endpoint.calls.last.request.url) == "https://h/a%2Fb/v1/embeddings?api-version=2"


async def embed(text: str, embedder: OpenAIEmbedder) -> None:
    await embedder.embed([text])
    await embedder.close()


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_refused_texts_can_be_copied_and_pickled(again: Callable[[Any], Any]) -> None:
    error = RefusedTextsError("m", [[1.0]], {1: OMPError("too long", remedy="Shorten it.")})
    error.request_id = "r"
    other = again(error)
    assert (str(other), other.vectors, other.written, other.request_id) == (str(error), [[1.0]], "nothing", "r")
    assert str(other.errors[1]) == "too long Shorten it."


# --- nothing is of no effect ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Memory("mem0:///x", llm_model="m"), "without llm_url"),
        (lambda: Memory("mem0:///x", llm_api_key="k"), "without llm_url"),
        (lambda: Memory("postgres://h/d", pgbouncer=True, statement_timeout=5), "not sent behind PgBouncer"),
        (lambda: Memory("postgres://h/d", replica_url="postgres://h/d?connect_timeout=60"), "none of its own"),
        (lambda: Memory("postgres://h/d", replica_url="postgres://u:p@h/d?password=q"), "says twice"),
        (lambda: Memory("qdrant", host="h", port=99999), "option 'port'"),
        (lambda: Memory("qdrant", host="h:6334"), "option 'host'"),
        (lambda: Memory("postgres://h/d", db_schema="pg_x"), "option 'db_schema'"),
        (lambda: Memory("postgres://h/d", password="a\0b"), "option 'password'.*NUL"),
        (lambda: Memory("postgres://h/d", application_name="a\0b"), "option 'application_name'.*NUL"),
        (lambda: Memory("mem0:///x", config={"llm": {"keys": ["a\0b"]}}), "option 'config'.*NUL"),
        (lambda: Memory("memory://", embedder="openai:m", embedder_api_key="\udcff"), "option 'embedder_api_key'"),
        (lambda: Memory("memory://", profile=3), "name of the profile"),
        (lambda: Memory(profile=""), "name of the profile"),
    ],
)
def test_what_would_be_dropped_or_fail_later_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        make()
    assert caught.value.remedy


def test_an_empty_certificate_is_the_usual_one() -> None:
    replica = "postgres://h/d?sslrootcert="
    settings: Any = resolve("postgres://h?sslrootcert=&sslcert=", replica_url=replica).settings
    assert not {"sslrootcert", "sslcert"} & (settings.arguments().keys() | settings.replica_arguments().keys())


@pytest.mark.parametrize(
    "text",
    [
        "timeout = 3",
        'url = "memory://"',
        'defualt = "p"',
        '[profile.x]\nurl = "memory://"',
        'profile.x.url = "memory://"',
    ],
)
def test_what_stands_outside_of_the_profiles_is_refused(text: str) -> None:
    _write(f'{text}\n[profiles.p]\nurl = "memory://"')
    with pytest.raises(ConfigurationError, match=r"at its top.*\[profiles\.NAME\]"):
        resolve(profile="p")


@pytest.mark.parametrize("password", ["${DB_PASSWORD:-hush}", "$DB_PASSWORD", "a${}hush", "${A B}", "${hush"])
def test_what_a_shell_would_take_for_a_variable_is_refused(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(f'[profiles.p]\nurl = "postgres://h/d"\npassword = "{password}"')
    with pytest.raises(ConfigurationError, match=r"Write \$\{NAME\}") as caught:
        resolve(profile="p")
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("DB_PASSWORD", password)  # as the remedy says
    _write('[profiles.p]\nurl = "postgres://h/d"\npassword = "${DB_PASSWORD}"')
    assert _arguments(profile="p")["password"] == password


def test_a_dollar_within_a_password_is_one() -> None:
    _write('[profiles.p]\nurl = "postgres://h/d"\npassword = "pa$$w0rd$X"')
    assert _arguments(profile="p")["password"] == "pa$$w0rd$X"


# --- paths of a profile -----------------------------------------------------------------------------------------


def test_paths_within_the_options_of_a_profile_begin_where_its_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(
        '[profiles.m]\nurl = "mem0:///m"\n[profiles.m.config]\nhistory_db_path = "h.db"\n'
        '[profiles.m.config.vector_store]\nprovider = "qdrant"\n[profiles.m.config.vector_store.config]\npath = "~/q"\n'
        '[profiles.r]\nurl = "postgres://h/d"\nreplica_url = "postgres://u:p%25@r/d?sslrootcert=a%20b.pem&sslcert=~/c"\n'
        '[profiles.s]\nurl = "postgres://h/d"\nreplica_url = "postgres://r/d?sslrootcert=system"'
    )
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir("inner")
    monkeypatch.setenv("HOME", "/home/ann")
    config = resolve(profile="m").settings.config  # type: ignore[attr-defined]
    assert config["history_db_path"] == str(tmp_path / "h.db")
    assert config["vector_store"]["config"]["path"] == "/home/ann/q"
    told, system = (resolve(profile=name).settings.replica_arguments() for name in "rs")  # type: ignore[attr-defined]
    assert (told["sslrootcert"], told["sslcert"], told["password"]) == (str(tmp_path / "a b.pem"), "/home/ann/c", "p%")
    assert system["sslrootcert"] == "system"
    given: Any = resolve("mem0:///m", config={"history_db_path": ":memory:"}).settings
    assert given.config == {"history_db_path": ":memory:"}


def test_a_variable_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    script = (
        "from openmem import ConfigurationError, Memory\n"
        "try: Memory('postgres://h/d')\n"
        "except ConfigurationError as error: print(ascii((str(error), error.__cause__, error.__context__)))"
    )
    done = python(script, env={**os.environb, b"OPENMEM_PASSWORD": b"hush\xff"})
    assert "Correct the variable OPENMEM_PASSWORD" in done.stdout, done.stderr
    assert "hush" not in done.stdout
