"""URLs: those that providers print are read, and what is wrong with others is said without their secrets."""

from __future__ import annotations

import logging
import os
import random
import re
from itertools import product
from typing import Any
from urllib.parse import quote, unquote

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from openmem import ConfigurationError, Memory, OMPError, UnsupportedProviderError
from openmem.adapters.mem0.settings import HostedMem0Settings
from openmem.adapters.postgres import PostgresSettings
from openmem.adapters.qdrant import QdrantSettings
from openmem.config import Configuration, resolve
from openmem.urls import redact
from support.telling import raised


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No OPENMEM_* variable of whoever runs this."""
    for name in [name for name in os.environ if name.startswith("OPENMEM_")]:
        monkeypatch.delenv(name)


def _postgres(configuration: Configuration) -> PostgresSettings:
    assert isinstance(configuration.settings, PostgresSettings)
    return configuration.settings


# --- as providers print them ------------------------------------------------------------------------------------

SCHEMES = ("postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg")
PASSWORDS = ("npg_a1B2c3D4", "AVNS_-x.Y~z", "p%40ss%2Fw%23rd%3F%25", "a:b$c!d*e'f")
PLACES: dict[str, tuple[str, ...]] = {
    "Neon": (
        "owner:{}@ep-cool-1234-pooler.us-east-2.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
        "owner:{}@ep-cool-1234.us-east-2.aws.neon.tech/neondb?sslmode=require&options=endpoint%3Dep-cool-1234",
    ),
    "Supabase": (
        "postgres.abcdefghijklmnopqrst:{}@aws-0-eu-west-1.pooler.supabase.com:6543/postgres?pgbouncer=true",
        "postgres:{}@db.abcdefghijklmnopqrst.supabase.co:5432/postgres",
    ),
    "Heroku": ("uabc:{}@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1e2f3?sslmode=require",),
    "RDS": (
        "app:{}@db.abc.eu-central-1.rds.amazonaws.com:5432/app?sslmode=verify-full&sslrootcert=/etc/global-bundle.pem",
        "app:{}@a.cluster-x.rds.amazonaws.com:5432,b.cluster-x.rds.amazonaws.com/app?target_session_attrs=read-write",
    ),
    "Cloud SQL": (
        "app:{}@/app?host=/cloudsql/project:region:instance",
        "app:{}@localhost/app?host=/cloudsql/project:region:instance",
        "app:{}@%2Fcloudsql%2FProject%3Aregion%3Ainstance/app",
    ),
    "Azure": (
        "app%40server:{}@server.postgres.database.azure.com:5432/app?sslmode=require",
        "app@server:{}@server.postgres.database.azure.com/postgres?sslmode=require&application_name=web",
    ),
    "Railway": ("postgres:{}@postgres.railway.internal:5432/railway", "postgres:{}@x.proxy.rlwy.net:12345/railway"),
    "Render": ("app:{}@dpg-abc-a.frankfurt-postgres.render.com/app_db", "app:{}@dpg-abc-a/app_db?ssl=true"),
    "Aiven": ("avnadmin:{}@pg-1-project.k.aivencloud.com:12691/defaultdb?sslmode=require&keepalives_idle=30",),
    "Timescale": (
        "tsdbadmin:{}@x.y.tsdb.cloud.timescale.com:30001/tsdb?sslmode=require&connect_timeout=15",
        "tsdbadmin:{}@[2001:db8::1]:30001/tsdb?load_balance_hosts=random&gssencmode=disable",
    ),
}
URLS = [
    (f"{scheme}://{place.format(password)}", f"postgresql://{place.format(password)}")
    for scheme, places, password in product(SCHEMES, PLACES.values(), PASSWORDS)
    for place in places
]


def test_there_are_enough_urls() -> None:
    assert len(PLACES) == 10
    assert len(URLS) >= 200


def test_what_a_provider_prints_is_read_as_libpq_reads_it() -> None:
    for url, plain in URLS:
        read = _told_by_libpq(plain)
        told = _postgres(resolve(url, embedder="none")).arguments()
        options = read.pop("options", "")
        assert options in told.pop("options", "")
        assert read.items() <= {name: str(value) for name, value in told.items()}.items(), url


def _told_by_libpq(url: str) -> dict[str, str]:
    """Ask libpq, which ends the user at the first '@', does not know pgbouncer and takes the last of two."""
    account, _, place = url.removeprefix("postgresql://").rpartition("@")
    account = account.replace("app@server", "app%40server")
    place = place.replace("?pgbouncer=true", "")
    return {name: str(value) for name, value in conninfo_to_dict(f"postgresql://{account}@{place}").items()}


REMEDIES = {
    "postgres://u:p@h/d?connection_limit=1&pgbouncer=1": ("connection_lim", "leave it out", "connection_limit=1&", ""),
    "postgres://u:p@h/db?sslmode=require&supa=base-pooler.x": ("supa", "leave it out", "&supa=base-pooler.x", ""),
    "jdbc:postgresql://h:5432/db?user=u&password=p&ssl=true": ("JDBC", "leave 'jdbc:' out", "jdbc:", ""),
    "jdbc:postgresql://h/db?user=u%40h&password=p&sslmode=require": ("JDBC", "leave 'jdbc:' out", "jdbc:", ""),
    "postgresql://h/db?user=u@s&password=p": ("'@' after its host", "'@' %40", "u@s", "u%40s"),
    "postgresql+asyncpg://u:p@h/db?ssl=require": ("true or false", "sslmode=require", "ssl=", "sslmode="),
    "postgresql://u:p#w@h/db": ("'#'", "%23", "#", "%23"),
    "postgresql://u:5/w@h/db": ("'@' after its host", "%2F", "5/w", "5%2Fw"),
    "postgresql://u:p?w@h/db": ("cannot be read", "%3F", "?", "%3F"),
    "postgresql://u:5%w@h/db": ("'%'", "%25", "%", "%25"),
    "postgresql://u:5%ffw@h/db": ("not UTF-8", "%25", "%", "%25"),
    "postgresql://u:p[w@h/db": ("cannot be read", "%5B", "[", "%5B"),
    "postgresql://u:p\nw@h/db": ("control character", "leave it out", "\n", ""),
    "postgresql:///u:p@h/db": ("three slashes", "two slashes", "///", "//"),
    "postgres+psycopg3://u:p@h/db": ("no adapter", "postgres", "+psycopg3", ""),
    "postgresql://u:p@h:99999/db": ("port cannot be read", "", "99999", "5432"),
    "postgresql://u:p@h/db?replication=database": ("replication", "leave it out", "?replication=database", ""),
    "postgresql://u:p@h/db?ssl=true&sslmode=require": ("ssl and sslmode", "sslmode alone", "ssl=true&", ""),
    "postgresql://u:p@h/db?sslmode=require&sslmode=prefer": ("twice", "once", "&sslmode=prefer", ""),
    "sqlite:memory.db": ("SCHEME://", "sqlite:///memory.db", "sqlite:", "sqlite:///"),
    "sqlite:///:memory:": ("name a file", "memory://", "sqlite:///:memory:", "memory://"),
    "sqlite://?path=:memory:": ("name a file", "memory://", "sqlite://?path=:memory:", "memory://"),
    "sqlite+aiosqlite://": ("path", "", "//", "///m.db"),
    "sqlite:///a:b@c.db": ("three slashes", "%40", "@", "%40"),
    "qdrant://app:key@h/c": ("user name", "//:KEY@", "app:", ":"),
    "qdrant://h1:6333,h2:6333/c": ("one host", "name one", ",h2:6333", ""),
    "qdrant+lcal:///folder": ("no adapter", "qdrant+local", "lcal", "local"),
    "mem0://key@api.mem0.ai": ("user name", "//:KEY@", "key", ":key"),
    "https://h:6333/c": ("no adapter", "provider=", "https", "qdrants"),
}  # fmt: skip


@pytest.mark.parametrize("url", sorted(REMEDIES))
def test_what_is_refused_is_accepted_once_the_remedy_is_followed(url: str) -> None:
    said, remedy, wrong, right = REMEDIES[url]
    with pytest.raises(ConfigurationError, match=said) as caught:
        resolve(url)
    assert remedy.lower() in str(caught.value).lower()
    assert resolve(url.replace(wrong, right, 1)).options.retries == 2


def test_a_libpq_option_may_be_a_keyword_and_a_number() -> None:
    settings = _postgres(resolve("postgres://h/d", keepalives_idle=30, keepalives=1, sslpassword="hush", port="1,2"))
    told = settings.arguments()
    assert (told["keepalives_idle"], told["sslpassword"], told["port"]) == (30, "hush", "1,2")
    assert told["keepalives_interval"] == 5
    assert "hush" not in repr(settings)
    with pytest.raises(ConfigurationError, match="Did you mean 'keepalives_idle'"):
        resolve("postgres://h/d?keepalive_idle=3")
    with pytest.raises(ConfigurationError, match="a port is a number"):
        resolve("postgres://h/d?port=many")


def test_our_options_and_those_of_libpq_go_together() -> None:
    url = "postgres://h/d?connect_timeout=2.5&options=-c%20search_path%3Dx%20-c%20datestyle%3DGerman&service=prod"
    settings = _postgres(resolve(url))
    told = settings.arguments(statement_timeout="0")
    assert (settings.connect_timeout, told["connect_timeout"], told["service"]) == (2.5, 3, "prod")
    order = ["jit=off", "statement_timeout=30000", "search_path=x", "datestyle=German", "datestyle=ISO", "_timeout=0"]
    assert [told["options"].index(each) for each in order] == sorted(told["options"].index(each) for each in order)
    with pytest.raises(ConfigurationError, match="statement_timeout is given, and again in options"):
        resolve("postgres://h/d?options=-c%20statement_timeout%3D5s", statement_timeout=3)
    pooled = _postgres(resolve("postgres://h/d?pgbouncer=true&options=project%3Dx")).arguments()
    assert (pooled["options"], pooled["prepare_threshold"]) == ("project=x", None)


@pytest.mark.parametrize("value", ["0", "inf", "nan", "1e9"])
@pytest.mark.parametrize("option", ["connect_timeout", "statement_timeout"])
def test_seconds_are_such_that_the_server_can_count_them(option: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        resolve(f"postgres://h/d?{option}={value}")


def test_a_replica_is_read_like_the_server() -> None:
    replica = "postgresql+psycopg://u:p%23w@h1,h2:6432/db?sslmode=require"
    told = _postgres(resolve("postgres://h/d", replica_url=replica)).replica_arguments()
    assert told
    assert (told["password"], told["host"], told["port"], told["sslmode"]) == ("p#w", "h1,h2", ",6432", "require")
    for wrong in ("postgres://u:hush#2@h/d", "postgres://u:hu%sh@h/d", "mysql://u:hush@h/d", "postgres://h/d?x=hush"):
        with pytest.raises(ConfigurationError) as caught:
            resolve("postgres://h/d", replica_url=wrong)
        assert "hush" not in raised(caught.value)
    shown = redact(f"postgres://h/d?replica_url={quote('postgres://u:hush@h/d', safe='')}")
    assert shown == "postgres://h/d?replica_url=postgres://u:***@h/d"


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("qdrant://localhost", {}, ("localhost", 6333, None, None)),
        ("qdrants://:k%2Fey@x.cloud.qdrant.io:6333/mem", {}, ("x.cloud.qdrant.io", 6333, True, "k/ey")),
        ("qdrant://h?api_key=a+b==", {}, ("h", 6333, None, "a+b==")),
        ("https://x.qdrant.io:443", {"provider": "qdrant", "api_key": "k"}, ("x.qdrant.io", 443, True, "k")),
        ("http://h", {"provider": "qdrant", "api_key": "k"}, ("h", 6333, False, "k")),
        (None, {"provider": "qdrant", "host": "https://h:1", "api_key": "k"}, ("h", 1, True, "k")),
    ],
)  # fmt: skip
def test_a_qdrant_server_is_named_in_any_of_the_usual_ways(
    url: str | None, options: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    settings = resolve(url, **options).settings
    assert isinstance(settings, QdrantSettings)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    assert (settings.host, settings.port, settings.https, key) == expected


@pytest.mark.parametrize(
    "host", ["https://u:hush@h", "ftp://hush", "https://h/hush", "https://h:hush", "https://h#hush"]
)
@pytest.mark.parametrize("provider", ["qdrant", "mem0"])
def test_a_host_is_no_other_url(provider: str, host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(provider=provider, host=host)
    assert "hush" not in raised(caught.value)


def test_the_platform_of_mem0_is_named_by_host_or_key() -> None:
    for url in ("mem0://:k@api.mem0.ai", "mem0://api.mem0.ai?api_key=k", "mem0://?api_key=k"):
        settings = resolve(url).settings
        assert isinstance(settings, HostedMem0Settings)
        assert (settings.host, settings.api_key) == ("api.mem0.ai", SecretStr("k"))


def test_blanks_around_a_url_are_dropped_and_a_blank_within_is_kept() -> None:
    settings = _postgres(resolve(" postgres://u:p w@h/my%20db\n"))
    assert settings.arguments().items() >= {"password": "p w", "dbname": "my db"}.items()
    assert repr(Memory(" memory://\n")) == "Memory('memory://')"


def test_a_driver_is_passed_over_where_the_adapter_knows_it() -> None:
    assert resolve("sqlite+aiosqlite:///a.db").settings == resolve("sqlite:///a.db").settings
    assert resolve("POSTGRES+psycopg_async://h/d").settings == resolve("postgres://h/d").settings
    with pytest.raises(UnsupportedProviderError, match="no adapter for 'memory\\+asyncpg'"):
        resolve("memory+asyncpg://")


# --- malformed ones ---------------------------------------------------------------------------------------------

MARK = "hush"
"""In every piece of every secret."""
SPECIAL = ["#", "/", "?", "@", "%", ":", "[", "]", " ", "\n", "\t", "é", "℀", "\\", "&", "=", "+", ";", "'", '"', "%2",
           "%ff", "%00", "://", "\x00", "?password=", "&x=", ",", "//", "\ud800", "`", "<", "^", "{", "|"]  # fmt: skip
FORMS = (
    "{scheme}://app:{secret}@h/db",
    "{scheme}://app:{secret}@h:5432/db?pool_size=3",
    "{scheme}://:{secret}@h",
    "{scheme}://app:{secret}",
    "{scheme}://app:{secret}@h:port/db",
    "{scheme}://app:{secret}@[::1/db",
    "{scheme}:///app:{secret}@h/db",
    "{scheme}:/app:{secret}@h/db",
    "{scheme}//app:{secret}@h/db",
    "app:{secret}@h/db",
    "//app:{secret}@h",
    "{scheme}://h/db?password={secret}",
    "{scheme}://h/db?sslmode=require&sslpassword={secret}&connect_timeout=3",
    "{scheme}://h?api_key={secret}",
    "{scheme}://h?api_kee={secret}",
    "{scheme}://h/db?replica_url=postgres%3A%2F%2Fu%3A{secret}%40h%2Fdb",
    "{scheme}://h?embedder=openai:m&embedder_api_key={secret}",
    "jdbc:{scheme}://h/db?user=u&password={secret}",
    "{scheme}x://app:{secret}@h/db",
)


def _malformed(count: int) -> list[tuple[str, str]]:
    """Make URLs and the secret that each was meant to have."""
    chance = random.Random(7)
    found = []
    for number in range(count):
        pieces = [f"{MARK}{chance.randrange(99)}" for _ in range(chance.randint(2, 4))]
        secret = pieces[0] + "".join(chance.choice(SPECIAL) + piece for piece in pieces[1:])
        form = FORMS[number % len(FORMS)]
        if form.endswith("{secret}") and "//app:" in form:
            secret = secret.replace("@", "#")  # what follows it would be a host
        scheme = chance.choice(["postgres", "postgresql+psycopg", "qdrant", "qdrants", "mem0", "sqlite", "memory"])
        found.append((form.format(scheme=scheme, secret=secret), secret))
    return found


def test_nothing_tells_a_secret_of_a_malformed_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refused = 0
    for url, secret in _malformed(570):
        for options in ({}, {"password": secret}, {"api_key": [secret]}):
            told = [redact(url)]
            try:
                memory = Memory(url, **{"embedder_dimension": 4, **options} if "openai" in url else options)
            except OMPError as error:
                assert error.remedy
                refused += 1
                told += [raised(error), str(error.envelope())]
            else:
                chosen = resolve(url, **{"embedder_dimension": 4, **options} if "openai" in url else options)
                told += [repr(memory), repr(memory.for_user("u")), repr(memory.adapter.settings), repr(chosen)]
                assert any(unquote(secret) in each for each in _secrets(chosen.settings, chosen.options)), url
                memory.close()
            assert MARK not in "\n".join(told).lower(), url
    assert refused > 500
    assert MARK not in caplog.text.lower()


def _secrets(*models: Any) -> list[str]:
    values = [value for model in models for _, value in model]
    return [each.get_secret_value() for each in values if isinstance(each, SecretStr)]


@pytest.mark.parametrize("scheme", ["postgres", "qdrant", "mem0"])
@pytest.mark.parametrize("secret", ["hush%231", "hush@1", "hush:1", "h%C3%A9hush"])
def test_a_failing_connection_tells_no_secret(scheme: str, secret: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    user = "app" if scheme == "postgres" else ""
    with pytest.raises(OMPError) as caught:
        Memory(f"{scheme}://{user}:{secret}@127.0.0.1:1", retries=0, timeout=5).list("u")
    assert MARK not in raised(caught.value) + caplog.text


def test_a_secret_that_was_not_encoded_is_not_an_option_of_the_query() -> None:
    for query in ("password=a&hush=1", "password=a&hush", "password=a&b=1&hush=2&hush=3"):
        with pytest.raises(ConfigurationError, match="URL") as caught:
            resolve(f"postgres://h/d?{query}")
        assert "hush" not in raised(caught.value)
    with pytest.raises(ConfigurationError, match=re.escape("unknown option 'hush' for postgres")):
        resolve("postgres://h/d?hush=1")
