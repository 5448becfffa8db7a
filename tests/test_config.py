"""Configuration: where it comes from, what is refused, and that secrets stay secret."""

from __future__ import annotations

import logging
import re
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from openmem import (
    Adapter,
    AsyncMemory,
    ConfigurationError,
    InvalidRequestError,
    Memory,
    OMPError,
    Settings,
    UnsupportedProviderError,
    registry,
)
from openmem._generated import models
from openmem.config import Configuration, read_profile, redact, resolve
from openmem.embedding.testing import WordEmbedder


class StoreSettings(Settings):
    host: str = ""
    path: str | None = None
    api_key: SecretStr | None = None
    password: SecretStr | None = None
    pool_size: int = 5


class Store(Adapter):
    """A remote store as configuration sees one; it is never reached."""

    name = "store"
    settings_type = StoreSettings

    @classmethod
    def options_from_url(cls, url: Any) -> dict[str, Any]:
        found = {"host": url.hostname, "password": url.password}
        return {name: value for name, value in found.items() if value}

    async def get(self, request: models.GetRequest) -> models.Memory:
        raise RuntimeError("the store is not there")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, no OPENMEM_* variable of whoever runs this, and the scheme store://."""
    import os

    for name in [name for name in os.environ if name.startswith("OPENMEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register_adapter("store", Store)


def _write(text: str, folder: Path | None = None) -> Path:
    file = (folder or Path()) / "openmem.toml"
    file.write_text(text, "utf-8")
    return file


PROFILES = """
default = "local"
[profiles.local]
url = "store://local.example"
pool_size = 1
[profiles.prod]
provider = "store"
host = "prod.example"
timeout = 3.5
"""


def _settings(configuration: Configuration) -> StoreSettings:
    assert isinstance(configuration.settings, StoreSettings)
    return configuration.settings


# --- sources ----------------------------------------------------------------------------------------------------


def test_an_argument_beats_the_environment_beats_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PROFILES)
    assert _settings(resolve()).pool_size == 1
    monkeypatch.setenv("OPENMEM_POOL_SIZE", "2")
    assert _settings(resolve()).pool_size == 2
    assert _settings(resolve(pool_size=3)).pool_size == 3


def test_client_options_have_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PROFILES)
    assert resolve().options.timeout == 30
    assert resolve(profile="prod").options.timeout == 3.5
    monkeypatch.setenv("OPENMEM_TIMEOUT", "4")
    assert resolve(profile="prod").options.timeout == 4
    assert resolve(profile="prod", timeout=5).options.timeout == 5


def test_a_backend_named_nearer_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PROFILES)
    assert _settings(resolve()).host == "local.example"
    monkeypatch.setenv("OPENMEM_URL", "store://environment.example")
    assert _settings(resolve()).host == "environment.example"
    assert _settings(resolve("store://argument.example")).host == "argument.example"
    assert resolve(provider="memory").adapter.name == "memory"


def test_a_backend_named_in_code_takes_nothing_from_the_default_profile() -> None:
    _write(PROFILES)
    assert _settings(resolve("store://other.example")).pool_size == 5


def test_a_backend_named_in_the_environment_takes_nothing_from_the_default_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _write(PROFILES)
    monkeypatch.setenv("OPENMEM_URL", "store://environment.example")
    assert _settings(resolve()).pool_size == 5


def test_the_default_profile_is_the_one_the_file_names(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PROFILES)
    assert repr(Memory()) == repr(Memory.from_config()) == "Memory('store://local.example')"
    assert _settings(resolve(profile="prod")).host == "prod.example"
    monkeypatch.setenv("OPENMEM_PROFILE", "prod")
    assert _settings(resolve()).host == "prod.example"
    assert _settings(resolve(profile="local")).host == "local.example"


def test_a_profile_named_in_code_beats_the_default_of_the_environment() -> None:
    _write(PROFILES)
    assert repr(Memory.from_config(profile="prod")) == repr(Memory(profile="prod")) == "Memory('store://')"
    assert repr(AsyncMemory.from_config("local")) == "AsyncMemory('store://local.example')"


def test_the_file_is_looked_for_in_the_folders_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PROFILES, tmp_path)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert _settings(resolve()).host == "local.example"
    _write('[profiles.near]\nurl = "memory://"', tmp_path / "a")
    assert resolve(profile="near").adapter.name == "memory"


def test_the_file_is_the_one_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PROFILES)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("OPENMEM_CONFIG", str(_write('default="x"\n[profiles.x]\nurl = "memory://"', elsewhere)))
    assert resolve().adapter.name == "memory"


def test_values_name_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    _write('[profiles.p]\nurl = "store://${HOST}.example"\napi_key = "${KEY}-${KEY}"\npool_size = 7')
    monkeypatch.setenv("HOST", "there")
    with pytest.raises(ConfigurationError, match=r"\$\{KEY\}, which is not set"):
        resolve(profile="p")
    monkeypatch.setenv("KEY", "k${HOST}")  # what a variable holds is not looked into again
    settings = _settings(resolve(profile="p"))
    assert settings.api_key
    assert (settings.host, settings.api_key.get_secret_value()) == ("there.example", "k${HOST}-k${HOST}")
    assert settings.pool_size == 7


def test_provider_and_options_say_the_same_as_a_url(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with Memory(provider="sqlite", path=str(path), embedder="none") as memory:
        memory.add("kept", "u")
    with Memory(f"sqlite:///{path}", embedder="none") as memory:
        assert [each.content for each in memory.list("u").items] == ["kept"]


def test_a_backend_is_not_mixed_of_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    _write('default = "p"\n[profiles.p]\nurl = "store://there.example"')
    monkeypatch.setenv("OPENMEM_PROVIDER", "memory")
    found = resolve(profile="p")
    assert (found.adapter.name, found.safe_url) == ("memory", "memory://")
    monkeypatch.setenv("OPENMEM_URL", "store://environment.example")
    assert resolve(provider="memory").safe_url == "memory://"
    assert resolve("memory://").adapter.name == "memory"


def test_a_provider_may_come_with_a_url() -> None:
    configuration = resolve("https://store.example/x", provider="store")
    assert (configuration.adapter, _settings(configuration).host) == (Store, "store.example")


def test_options_come_in_the_url_too() -> None:
    configuration = resolve("store://h?pool_size=9&timeout=2.5&embedder=test:8")
    assert (_settings(configuration).pool_size, configuration.options.timeout) == (9, 2.5)
    assert configuration.options.embedder == "test:8"


def test_variables_configure_a_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMEM_URL", f"sqlite:///{tmp_path}/e.db")
    monkeypatch.setenv("OPENMEM_EMBEDDER", "test:32")
    with Memory() as memory:
        capabilities = memory.capabilities()
    assert capabilities.provider == "sqlite"
    assert capabilities.features.embedding
    assert capabilities.features.embedding.dimension == 32


def test_variables_that_choose_are_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENMEM_USER", "OPENMEM_PROFILE", "OPENMEM_CONFIG"):
        monkeypatch.setenv(name, "x")
    assert resolve("memory://").adapter.name == "memory"


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configure", "wrong", "near"),
    [
        (lambda: Memory("memory://", time_out=3), "time_out", "timeout"),
        (lambda: Memory("memory://", embeder="none"), "embeder", "embedder"),
        (lambda: Memory("memory://?retrys=1"), "retrys", "retries"),
        (lambda: Memory("store://h", pool_sise=3), "pool_sise", "pool_size"),
        (lambda: Memory(provider="store", apikey="x"), "apikey", "api_key"),
        (lambda: Memory(Store(), timout=3), "timout", "timeout"),
        (lambda: Memory("sqlit:///x.db"), "sqlit", "sqlite"),
        (lambda: Memory(provider="memry"), "memry", "memory"),
        (lambda: Memory("memory://", embedder="locl"), "locl", "local"),
        (lambda: Memory("memory://", embedder="tset:16"), "tset", "test"),
    ],
)
def test_a_near_miss_is_named(configure: Callable[[], Any], wrong: str, near: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure()
    assert wrong in caught.value.message
    assert f"Did you mean '{near}'?" in caught.value.remedy


def test_a_near_miss_of_a_profile_is_named() -> None:
    _write(PROFILES)
    with pytest.raises(ConfigurationError, match="Did you mean 'prod'") as caught:
        Memory.from_config(profile="prd")
    assert "local, prod" in str(caught.value)


def test_a_near_miss_in_a_profile_or_a_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _write('[profiles.p]\nurl = "store://h"\npool_sizes = 3')
    with pytest.raises(ConfigurationError, match="Did you mean 'pool_size'"):
        Memory.from_config(profile="p")
    monkeypatch.setenv("OPENMEM_EMBEDER", "none")
    with pytest.raises(ConfigurationError, match="Did you mean 'embedder'"):
        Memory("memory://")


def test_an_unknown_variable_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMEM_QUITE_UNKNOWN", "1")
    with pytest.raises(ConfigurationError, match="quite_unknown"):
        Memory("memory://")


def test_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(UnsupportedProviderError) as caught:
        Memory("qqq://x")
    assert {"memory", "sqlite", "store"} <= set(re.findall(r"\w+", caught.value.remedy))


@pytest.mark.parametrize(
    "configure",
    [
        lambda: Memory("memory://", timeout=0),
        lambda: Memory("memory://", timeout="soon"),
        lambda: Memory("memory://", retries=-1),
        lambda: Memory("memory://", retries=11),
        lambda: Memory("memory://", embedder=3),
        lambda: Memory("memory://", embedder=WordEmbedder),
        lambda: Memory("memory://", embedder="test:0"),
        lambda: Memory("memory://", embedder="test", embedder_url="http://x"),
        lambda: Memory("store://h", pool_size="many"),
        lambda: Memory("sqlite://x.db"),
        lambda: Memory("sqlite:///"),
        lambda: Memory("no scheme"),
        lambda: Memory("sqlite:///notes#1.db"),
        lambda: Memory(provider=3),
        lambda: Memory(""),
        lambda: Memory("store://h:port"),
        lambda: Memory("store://[::1"),
        lambda: Memory("store://h?pool_size=1", pool_size=2),
        lambda: Memory(profile="nowhere"),
        Memory,
    ],
)
def test_what_is_wrong_is_a_configuration_error_with_a_remedy(configure: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure()
    assert caught.value.remedy
    assert isinstance(caught.value, InvalidRequestError | OMPError)


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "default = 3\n[profiles.x]",
        'default = "x"',
        'profiles = "x"\ndefault = "x"',
        'default = "x"\n[profiles]\nx = 3',
        'default = ["x"]\n[profiles.x]\nurl = "memory://"',
        'default = "x"\n[profiles.x]\nurl = 3',
        'default = "x"\n[profiles.x]\nprovider = ["memory"]',
    ],
)
def test_a_file_that_makes_no_sense_is_a_configuration_error(text: str) -> None:
    _write(text)
    with pytest.raises(ConfigurationError):
        resolve()


def test_a_file_that_is_no_text_or_not_there_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("openmem.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=re.escape("openmem.toml")):
        resolve()
    monkeypatch.setenv("OPENMEM_CONFIG", "nowhere.toml")
    with pytest.raises(ConfigurationError, match=re.escape("nowhere.toml")):
        resolve()


def test_a_file_without_a_default_says_nothing() -> None:
    _write('[profiles.x]\nurl = "memory://"')
    assert read_profile(None) == {}
    with pytest.raises(ConfigurationError, match="no backend is named"):
        Memory()


class _Entry:
    """An entry point whose adapter needs a package that is not there."""

    extras = ("postgres",)

    class dist:
        name = "openmem-sdk"

    @staticmethod
    def load() -> Any:
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")


def test_a_missing_package_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_entry_points", lambda: {"postgres": _Entry})
    with pytest.raises(UnsupportedProviderError) as caught:
        Memory("postgres://u:p@h/db")
    assert "psycopg" in caught.value.message
    assert "pip install 'openmem-sdk[postgres]'" in caught.value.remedy
    assert isinstance(caught.value.__cause__, ImportError)


# --- secrets ----------------------------------------------------------------------------------------------------

HIDDEN = "hush-Zq7"
SECRETIVE: dict[str, Callable[[], Memory]] = {
    "password": lambda: Memory(f"store://user:{HIDDEN}@h/db"),
    "password with @ and :": lambda: Memory(f"store://user:a@{HIDDEN}:b@h/db"),
    "password with /": lambda: Memory(f"store://user:a%2F{HIDDEN}@h/db"),
    "password alone": lambda: Memory(f"store://:{HIDDEN}@h"),
    "password with /, raw": lambda: Memory(f"store://user:1/{HIDDEN}@h/db"),
    "password of a proxy's user": lambda: Memory(f"store://user:%40%3A{HIDDEN}@h:80/db?pool_size=1"),
    "password in the query": lambda: Memory(f"store://h?password={HIDDEN}"),
    "key in the query": lambda: Memory(f"store://h?api_key={HIDDEN}"),
    "key argument": lambda: Memory("store://h", api_key=HIDDEN),
    "embedder's key": lambda: Memory("store://h", embedder="openai:m", embedder_api_key=HIDDEN, embedder_dimension=4),
    "embedder's key in the query": lambda: Memory(
        f"store://h?embedder=openai:m&embedder_dimension=4&embedder_api_key={HIDDEN}"
    ),
}


@pytest.mark.parametrize("name", sorted(SECRETIVE))
def test_a_secret_is_never_shown(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    memory = SECRETIVE[name]()
    with pytest.raises(OMPError) as caught:
        memory.get("m1")
    shown = [repr(memory), str(memory), repr(memory.for_user("u")), repr(memory._core.adapter.settings)]
    shown += [repr(memory._core.options), "".join(traceback.format_exception(caught.value)), caplog.text]
    assert not [text for text in shown if HIDDEN in text]


@pytest.mark.parametrize(
    "configure",
    [
        lambda: Memory(f"stor://user:{HIDDEN}@h"),
        lambda: Memory(f"store://user:{HIDDEN}@h:port/db"),
        lambda: Memory(f"store://user:{HIDDEN}@[::1/db"),
        lambda: Memory(f"user:{HIDDEN}@h"),
        lambda: Memory(f"//user:{HIDDEN}@h"),
        lambda: Memory(f"store://user:{HIDDEN}@h", password=HIDDEN),
        lambda: Memory(f"store://h?api_key={HIDDEN}", api_key=HIDDEN),
        lambda: Memory(f"store://h?api_kee={HIDDEN}"),
        lambda: Memory("store://h", api_kee=HIDDEN),
        lambda: Memory("store://h", api_key=[HIDDEN]),
        lambda: Memory("store://h", embedder="openai:m", embedder_api_key={"a": HIDDEN}),
        lambda: Memory("store://h", embedder="test", embedder_api_key=HIDDEN),
        lambda: Memory(Store(), api_key=HIDDEN),
        lambda: Memory("store://h", timeout=HIDDEN),
    ],
)
def test_a_wrong_configuration_does_not_show_its_secret(configure: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure()
    assert HIDDEN not in f"{caught.value} {caught.value!r} {caught.value.envelope()}"
    assert HIDDEN not in _raised(caught.value)


def _raised(error: BaseException) -> str:
    """The messages of an error and all it came from, as a log would show them."""
    found = [f"{type(error).__name__}: {error}"]
    following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(found + ([_raised(following)] if following else []))


@given(
    password=st.text(min_size=1).filter(lambda text: "\x00" not in text),
    user=st.from_regex(r"[a-z]*", fullmatch=True),
)
def test_no_password_survives_redaction(password: str, user: str) -> None:
    url = f"scheme://{user}:<<{password}>>@host/db"
    assert "<<" not in redact(url)
    assert redact(url).startswith(f"scheme://{user}:***@")


@pytest.mark.parametrize(
    "url", ["memory://", "sqlite:///a/b.db", "https://h.example:8080/path", "store://user@h/db", "store://h/a:b"]
)
def test_a_url_without_secrets_is_shown_as_it_is(url: str) -> None:
    assert redact(url) == url


# --- nothing is opened ------------------------------------------------------------------------------------------


def test_nothing_is_opened_at_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("something was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for url in (f"sqlite:///{tmp_path}/new.db", f"sqlite:///{tmp_path}/no/folder/x.db", "store://host", "memory://"):
        for client in (Memory, AsyncMemory):
            client(url, embedder="openai:m", embedder_api_key="k", embedder_dimension=4)
    assert list(tmp_path.iterdir()) == []


def test_one_line_swaps_the_backend(tmp_path: Path) -> None:
    seen = []
    for url in ("memory://", f"sqlite:///{tmp_path}/s.db"):
        _write(f'default = "x"\n[profiles.x]\nurl = "{url}"\nembedder = "test"')
        with Memory.from_config() as memory:
            memory.add("blue sky", "u")
            seen.append([(hit.memory.content, hit.score) for hit in memory.search("blue", "u")])
    assert seen[0] == seen[1] != []
