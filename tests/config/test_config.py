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

from openmem import (
    AsyncMemory,
    ConfigurationError,
    InvalidRequestError,
    Memory,
    OMPError,
    UnsupportedProviderError,
    registry,
)
from openmem.config import Configuration, environment, resolve
from openmem.config.profiles import read_profile
from openmem.embedding.testing import WordEmbedder
from openmem.urls import redact
from support.configured import HIDDEN, Store, StoreSettings
from support.telling import raised


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, no OPENMEM_* variable of whoever runs this, and the scheme store://."""
    import os

    for name in [name for name in os.environ if name.startswith("OPENMEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    environment.warn_once.cache_clear()
    monkeypatch.setattr(registry, "registered", dict(registry.registered))
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


KUBERNETES = {
    "OPENMEM_SERVICE_HOST": "10.0.0.7",
    "OPENMEM_SERVICE_PORT": "8080",
    "OPENMEM_SERVICE_PORT_HTTP": "8080",
    "OPENMEM_PORT": "tcp://10.0.0.7:8080",
    "OPENMEM_PORT_8080_TCP": "tcp://10.0.0.7:8080",
    "OPENMEM_PORT_8080_TCP_PROTO": "tcp",
    "OPENMEM_PORT_8080_TCP_PORT": "8080",
    "OPENMEM_PORT_8080_TCP_ADDR": "10.0.0.7",
}
"""What a pod has in its environment where a service is called openmem."""


@pytest.mark.parametrize("url", ["memory://", "sqlite:///k.db", "store://h", "postgres://u:p@h:5432/d", "qdrant://h/c"])
def test_variables_of_others_are_passed_over_in_silence(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = {"HOME": "/opt", "VERSION": "0.2.0", "LOG_LEVEL": "debug", "QUITE_UNKNOWN": "1", "TIMEOUT": "", "URL": ""}
    for name, value in {**KUBERNETES, **{f"OPENMEM_{name}": value for name, value in theirs.items()}}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("openmem_url", "nonsense")
    assert resolve(url).options.timeout == 30
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("EMBEDER", "OPENMEM_EMBEDDER"),
        ("EMBEDDER_KEY", "OPENMEM_EMBEDDER_API_KEY"),
        ("POOLSIZE", "OPENMEM_POOL_SIZE"),
        ("URI", "OPENMEM_URL"),
        ("PROFLE", "OPENMEM_PROFILE"),
    ],
)
def test_a_variable_that_is_nearly_an_option_is_warned_of_once(
    name: str, near: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(f"OPENMEM_{name}", HIDDEN)
    assert resolve("store://h") == resolve("store://h")
    assert [f"OPENMEM_{name} is not read; did you mean {near}?"] == caplog.messages
    assert HIDDEN not in caplog.text


def test_a_near_miss_of_the_url_is_warned_of_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENMEM_ULR", "memory://")
    with pytest.raises(ConfigurationError, match="no backend is named"):
        resolve()
    assert caplog.messages == ["OPENMEM_ULR is not read; did you mean OPENMEM_URL?"]


def test_a_variable_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMEM_RETRIES", HIDDEN)
    with pytest.raises(ConfigurationError, match="Correct the variable OPENMEM_RETRIES") as caught:
        resolve("memory://")
    assert HIDDEN not in raised(caught.value)


def test_what_a_url_says_is_of_the_place_it_stands_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _write('[profiles.p]\nurl = "store://:url@file.example?pool_size=1"')
    monkeypatch.setenv("OPENMEM_POOL_SIZE", "2")
    assert _settings(resolve(profile="p")).pool_size == 2
    assert _settings(resolve("store://h?pool_size=3")).pool_size == 3
    assert _settings(resolve(profile="p", pool_size=4)).pool_size == 4
    monkeypatch.setenv("OPENMEM_HOST", "variable.example")  # may be another program's: a place is not mixed of two
    assert _settings(resolve("store://h")).host == "h"
    assert caplog.messages == []
    assert _settings(resolve(profile="p")).host == "file.example"
    assert caplog.messages == ["OPENMEM_HOST is not used: the URL says it."]
    with pytest.raises(ConfigurationError, match="'host' is given by the URL and again"):
        resolve(profile="p", host="argument.example")


# --- the file ---------------------------------------------------------------------------------------------------


def _path_of(configuration: Configuration) -> Path:
    path = configuration.settings.path  # type: ignore[attr-defined]
    assert isinstance(path, Path)
    return path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///kept/m.db", "kept/m.db"),
        ("qdrant+local:///kept", "kept"),
        ("qdrant+edge:///kept", "kept"),
        ("mem0:///kept", "kept"),
    ],
)
def test_relative_paths_of_a_profile_begin_where_its_file_is(
    url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = url.partition(":")[0]
    _write(f'default = "url"\n[profiles.url]\nurl = "{url}"\n[profiles.path]\nprovider = "{provider}"\npath = "{path}"')
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert _path_of(resolve()) == _path_of(resolve(profile="path")) == tmp_path / path
    assert _path_of(resolve(url)) == _path_of(resolve(profile="path", path=path)) == Path(path)
    monkeypatch.setenv("OPENMEM_CONFIG", "../openmem.toml")
    assert _path_of(resolve()).resolve() == tmp_path / path
    monkeypatch.setenv("OPENMEM_PATH", path)
    assert _path_of(resolve(profile="path")) == Path(path)


def test_certificates_of_a_profile_are_found_where_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write('[profiles.p]\nurl = "postgres://h/d?sslrootcert=ca.pem&sslmode=verify-full"\n'
           '[profiles.system]\nurl = "postgres://h/d?sslrootcert=system"')  # fmt: skip
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    found = [resolve(profile=name).settings.arguments()["sslrootcert"] for name in ("p", "system")]  # type: ignore[attr-defined]
    assert found == [str(tmp_path / "ca.pem"), "system"]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write('default = "p"\n[profiles.p]\nurl = "sqlite:///~/m.db"')
    Path("openmem.toml").rename("o.toml")
    monkeypatch.setenv("OPENMEM_CONFIG", "~/o.toml")
    assert _path_of(resolve()) == tmp_path / "m.db"
    assert _path_of(resolve("sqlite:///~/n.db")) == _path_of(resolve("sqlite://", path="~/n.db")) == tmp_path / "n.db"
    with pytest.raises(ConfigurationError, match="no home folder ~nobody-at-all"):
        resolve("sqlite:///~nobody-at-all/m.db")


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    Path("openmem.toml").write_bytes(b"\xef\xbb\xbf" + b'default = "p"\r\n[profiles.p]\r\nurl = "memory://"\r\n')
    assert resolve().adapter.name == "memory"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[profiles.p]\nurl = "memory://"\npassword = {HIDDEN}', "line 3"),
        (f'[profiles.p]\npassword = "{HIDDEN}\nurl = "memory://"', "line 2"),
        (f'[profiles.p]\n"{HIDDEN}" = 1\n"{HIDDEN}" = 2\n', "line 3"),
        (f'[profiles.p]\npassword = "\\{HIDDEN}"', "line 2"),
        (f'[profiles.p]\npassword = """{HIDDEN}', "end of document"),
        (f"[profiles.p]\npassword = {'[' * 5000}{HIDDEN}", "nested too deeply"),
    ],
    ids=["no quotes", "open", "twice", "escape", "unended", "deep"],
)
def test_a_file_that_is_no_toml_is_refused_by_its_line_and_not_quoted(text: str, said: str) -> None:
    _write(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        resolve(profile="p")
    assert HIDDEN not in raised(caught.value)


def test_variables_are_put_into_tables_and_lists_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", HIDDEN)
    _write('[profiles.p]\nurl = "mem0:///m"\n[profiles.p.config.llm]\nkeys = ["${KEY}", 1]')
    configuration = resolve(profile="p")
    assert configuration.settings.config == {"llm": {"keys": [HIDDEN, 1]}}  # type: ignore[attr-defined]
    assert HIDDEN not in repr(configuration)


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


def test_a_near_miss_in_a_profile_is_named() -> None:
    _write('[profiles.p]\nurl = "store://h"\npool_sizes = 3')
    with pytest.raises(ConfigurationError, match="Did you mean 'pool_size'"):
        Memory.from_config(profile="p")


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
    assert read_profile(None).options == {}
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
    monkeypatch.setattr(registry, "installed", lambda: {"postgres": _Entry})
    with pytest.raises(UnsupportedProviderError) as caught:
        Memory("postgres://u:p@h/db")
    assert "psycopg" in caught.value.message
    assert "pip install 'openmem-sdk[postgres]'" in caught.value.remedy
    assert isinstance(caught.value.__cause__, ImportError)


# --- secrets ----------------------------------------------------------------------------------------------------

SECRETIVE: dict[str, Callable[[], Memory]] = {
    "password": lambda: Memory(f"store://user:{HIDDEN}@h/db"),
    "password with @ and :": lambda: Memory(f"store://user:a@{HIDDEN}:b@h/db"),
    "password with /": lambda: Memory(f"store://user:a%2F{HIDDEN}@h/db"),
    "password alone": lambda: Memory(f"store://:{HIDDEN}@h"),
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
    shown = [repr(memory), str(memory), repr(memory.for_user("u")), repr(memory.adapter.settings)]
    shown += [repr(memory.options), "".join(traceback.format_exception(caught.value)), caplog.text]
    assert not [text for text in shown if HIDDEN in text]


@pytest.mark.parametrize(
    "configure",
    [
        lambda: Memory(f"stor://user:{HIDDEN}@h"),
        lambda: Memory(f"store://user:{HIDDEN}@h:port/db"),
        lambda: Memory(f"store://user:{HIDDEN}@[::1/db"),
        lambda: Memory(f"store://user:1/{HIDDEN}@h/db"),
        lambda: Memory(f"user:{HIDDEN}@h"),
        lambda: Memory(HIDDEN),
        lambda: Memory(provider=f"store://user:{HIDDEN}@h"),
        lambda: Memory(profile=f"store://user:{HIDDEN}@h"),
        lambda: Memory("store://h", dsn=f"store://user:{HIDDEN}@h"),
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
    assert HIDDEN not in f"{caught.value.envelope()}"
    assert HIDDEN not in raised(caught.value)


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
