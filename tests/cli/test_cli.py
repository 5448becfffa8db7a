"""The command line through its entry point: what it prints, where, and with which exit code."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openmem import Adapter, Memory, ProviderUnavailableError, __version__, registry
from openmem._generated.models import MemoryRecord
from openmem._generated.verbs import VERBS
from openmem.cli import main, verbs

SPELLED = {"user_id": "--user", "tags": "--tag"}
SHARED = ("--url", "--profile", "--option", "--json")


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Screen(io.TextIOWrapper):
    def isatty(self):
        return True


def run(*arguments, stdin=b"", terminal=False):
    """Run one command line in this process, standard streams replaced."""
    out = (Screen if terminal else io.TextIOWrapper)(io.BytesIO(), encoding="utf-8", write_through=True)
    err, entered = io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin)) if isinstance(stdin, bytes) else stdin
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(list(arguments))
    finally:
        sys.stdin = entered
    return Result(code, out.buffer.getvalue().decode(), err.getvalue())


def spawn(*arguments, **options):
    """Run one command line in a process of its own."""
    command = [sys.executable, "-c", "import sys; from openmem.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, **options)


def assert_one_line(result):
    assert "Traceback" not in result.err
    assert re.fullmatch(r"openmem: [^\n]+\n", result.err), result.err


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Work in an empty folder, with no configuration but a store without an embedder."""
    for name in [name for name in os.environ if name.startswith("OPENMEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("OPENMEM_EMBEDDER", "none")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store on disk, named by the environment."""
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    monkeypatch.setenv("OPENMEM_URL", url)
    return url


@pytest.fixture
def adapter(monkeypatch):
    """Serve a scheme by a class for the length of one test."""

    def serve(scheme, cls):
        monkeypatch.setitem(registry.registered, scheme, cls)

    return serve


# --- parameters come from the request models ---------------------------------------------------------------------


@pytest.mark.parametrize("verb", verbs.POSITIONAL)
def test_every_field_of_a_request_is_an_argument_or_an_option_with_its_description(verb):
    result = run(verb, "--help")
    words = " ".join(result.out.split())
    assert result.code == 0
    for name, field in VERBS[verb].request.model_fields.items():
        spelling = SPELLED.get(name, f"--{name.replace('_', '-')}")
        assert (name.upper() if verbs.POSITIONAL[verb] == name else spelling) in words
        assert field.description.split()[0] in words
    assert all(option in words for option in SHARED)
    assert VERBS[verb].summary.rstrip(".") in words


def test_every_kind_of_field_reaches_the_record(store):
    result = run(
        *("add", "Prefers dark mode", "-u", "alice", "--scope", "ui/theme", "--tag", "ui", "--tag", "look"),
        *("--source", '{"app": "shell", "type": "explicit"}', "--confidence", "0.5", "--importance", "1"),
        *("--valid-from", "2026-01-01T00:00:00+01:00", "--metadata", '{"deep": {"n": [1, null]}}', "--kind", "fact"),
        *("--external-id", "k1", "--pinned", "--no-archived", "--extension", 'x-app={"a": null}'),
    )
    assert result.code == 0, result.err
    record = result.json
    assert record["content"] == "Prefers dark mode"
    assert record["tags"] == ["ui", "look"]
    assert record["source"] == {"app": "shell", "type": "explicit"}
    assert (record["confidence"], record["importance"], record["kind"]) == (0.5, 1.0, "fact")
    assert record["valid_from"] == "2025-12-31T23:00:00Z"
    assert record["metadata"] == {"deep": {"n": [1, None]}}
    assert (record["pinned"], record["archived"]) == (True, False)
    assert record["x-app"] == {"a": None}
    MemoryRecord.model_validate(record)


def test_a_vector_is_a_json_array():
    result = run("add", "x", "-u", "a", "--url", "memory://", "--option", "embedder=test:3", "--vector", "[1, 0, 0]")
    assert result.code == 0, result.err


def test_defaults_are_those_of_the_models():
    assert "[default: 50]" in run("list", "--help").out
    assert "[default: 500]" in " ".join(run("context", "--help").out.split())


# --- verbs, over processes' worth of commands on one store --------------------------------------------------------


def test_what_is_added_is_found_read_changed_and_gone(store):
    added = run("add", "Prefers dark mode", "-u", "alice", "--scope", "ui", "--tag", "a", "--kind", "fact").json["id"]
    run("add", "Lives in Lisbon", "-u", "alice")
    found = run("search", "dark mode", "-u", "alice", "--mode", "keyword").json
    assert [each["memory"]["id"] for each in found] == [added]
    assert run("get", added).json["content"] == "Prefers dark mode"
    assert run("get", added, "-u", "bob").code == 1
    assert [each["content"] for each in run("list", "-u", "alice").json["items"]] == [
        "Lives in Lisbon",
        "Prefers dark mode",
    ]
    changed = run("update", added, "--content", "Prefers light mode", "--clear", "scope", "--clear", "tags").json
    assert changed["version"] == 2
    assert not {"scope", "tags"} & changed.keys()
    assert changed["kind"] == "fact"
    assert added in run("context", "light", "-u", "alice").json["text"]
    assert run("stats", "-u", "alice").json["total"] == 2
    assert [each["id"] for each in run("history", added).json] == [added]
    assert run("related", added, "-u", "alice").code == 0
    assert "add" in {each["action"] for each in run("audit", "-u", "alice").json}
    assert "search" in run("capabilities").json["verbs"]
    keyed = run("add", "Likes jazz", "-u", "alice", "--external-id", "a/music").json["id"]
    key = ("--external-id", "a/music", "-u", "alice")
    assert run("get", *key).json["id"] == keyed
    assert run("update", *key, "--source", '{"app": "mail"}').json["source"] == {"app": "mail"}
    assert [each["id"] for each in run("history", *key).json] == [keyed]
    assert run("related", *key).code == 0
    assert run("delete", *key).json == {"external_id": "a/music"}
    assert run("get", *key).code == 1
    assert run("get", keyed, *key).code == run("get", "--external-id", "a/music").code == run("get").code == 2
    assert run("delete", added).json == {"id": added}
    assert run("delete", added).code == 1


def test_list_all_follows_the_cursor_in_one_document(store):
    with Memory(store) as memory:
        memory.add_many([{"content": f"note {n}", "user_id": "alice"} for n in range(23)])
    page = run("list", "-u", "alice", "--limit", "10").json
    assert len(page["items"]) == 10
    second = run("list", "-u", "alice", "--limit", "10", "--cursor", page["next_cursor"]).json
    every = run("list", "-u", "alice", "--limit", "10", "--all").json
    assert "next_cursor" not in every
    assert every["items"][:20] == page["items"] + second["items"]
    assert len({each["id"] for each in every["items"]}) == 23


def test_clear_takes_dashes_extensions_and_refuses_the_rest(store):
    added = run("add", "x", "-u", "a", "--valid-to", "2030-01-01T00:00:00Z", "--extension", "x-a=1").json["id"]
    changed = run("update", added, "--clear", "valid-to", "--clear", "x-a").json
    assert not {"valid_to", "x-a"} & changed.keys()
    for wrong in ("id", "user_id", "vector", "contnt"):
        result = run("update", added, "--clear", wrong)
        assert result.code == 2
        assert_one_line(result)
    assert "'content'" in run("update", added, "--clear", "contnt").err
    both = run("update", added, "--kind", "fact", "--clear", "kind")
    assert (both.code, both.err) == (2, "openmem: kind is both given and cleared. Do one of the two.\n")


def test_content_comes_verbatim_from_standard_input(store):
    text = "  zwei\nZeilen, 日本語 🎉\n"
    added = run("add", "-", "-u", "alice", stdin=text.encode()).json
    assert added["content"] == text
    assert run("update", added["id"], "--content", "-", stdin=b"new").json["content"] == "new"


def test_an_erase_only_counts_unless_it_is_told_otherwise(store):
    for number in range(3):
        run("add", f"fact {number}", "-u", "alice", "--tag", "odd" if number % 2 else "even")
    nothing = run("erase", "-u", "alice")
    assert (nothing.code, "all=True" in nothing.err) == (2, True)
    tried = run("erase", "-u", "alice", "--all")
    assert (tried.code, tried.json["count"], tried.json["dry_run"]) == (0, 3, True)
    assert tried.err == "openmem: a dry run: nothing is erased. --no-dry-run erases.\n"
    erased = run("erase", "-u", "alice", "--tag", "even", "--no-dry-run")
    assert (erased.json["count"], erased.json["dry_run"], erased.err) == (2, False, "")
    assert [each["content"] for each in run("list", "-u", "alice", "--all").json["items"]] == ["fact 1"]
    assert "dry_run" in run("erase", "-u", "alice", "--all", terminal=True).out


def test_a_chain_is_deleted_by_a_flag(store):
    old = run("add", "old", "-u", "alice").json["id"]
    new = run("add", "new", "-u", "alice", "--supersedes", old).json["id"]
    assert run("delete", new, "--chain").code == 0
    assert run("get", old).code == 1


# --- where the backend comes from --------------------------------------------------------------------------------


def test_the_backend_comes_from_a_profile_the_environment_or_an_option(tmp_path, monkeypatch):
    (tmp_path / "openmem.toml").write_text(
        'default = "dev"\n[profiles.dev]\nurl = "memory://"\n[profiles.disk]\nurl = "sqlite:///disk.db"\n'
    )
    assert run("capabilities").json["provider"] == "memory"
    assert run("capabilities", "--profile", "disk").json["provider"] == "sqlite"
    assert run("capabilities", "--profile", "disk", "--url", "memory://").code in (0, 2)
    missed = run("capabilities", "--profile", "dsk")
    assert missed.code == 2
    assert "Did you mean 'disk'?" in missed.err
    monkeypatch.setenv("OPENMEM_URL", "sqlite:///env.db")
    assert run("capabilities").json["provider"] == "sqlite"
    assert run("capabilities", "--url", "memory://").json["provider"] == "memory"
    assert run("capabilities", "--option", "provider=memory").json["provider"] == "memory"


def test_options_configure_the_client():
    url = ("--url", "memory://")
    told = run("capabilities", *url, "--option", "embedder=test:8").json
    assert told["features"]["embedding"]["dimension"] == 8
    assert run("capabilities", *url, "--option", "embedder=nonsense").code == 2
    for name in ("clock", "self", "retris", ""):
        assert_one_line(run("capabilities", *url, "--option", f"{name}=1"))
    assert "Did you mean 'retries'?" in run("capabilities", *url, "--option", "retris=1").err


def test_the_user_comes_from_the_environment(store, monkeypatch):
    monkeypatch.setenv("OPENMEM_USER", "alice")
    assert run("add", "x").json["user_id"] == "alice"
    assert run("add", "x", "-u", "bob").json["user_id"] == "bob"


# --- tables and JSON ---------------------------------------------------------------------------------------------


def test_a_terminal_gets_tables_and_everything_else_json(store):
    added = run("add", "Prefers [bold]dark[/bold] mode", "-u", "alice", "--scope", "ui", "--tag", "a", "--tag", "b")
    identifier = added.json["id"]
    for arguments, expected in [
        (("list", "-u", "alice"), ("ID", "SCOPE", identifier, "a, b", "[bold]dark[/bold]")),
        (("search", "dark", "-u", "alice"), ("SCORE", "ID", identifier)),
        (("get", identifier), ("content", "user_id", "version", "alice")),
        (("context", "dark", "-u", "alice"), (identifier, "1 memories cited")),
        (("stats", "-u", "alice"), ("total", '{"ui": 1}')),
        (("audit", "-u", "alice"), ("ACTION", "search", identifier)),
        (("capabilities",), ("features.keyword_search", "yes")),
        (("history", identifier), ("ID", identifier)),
        (("related", identifier), ("Nothing found.",)),
        (("providers",), ("SCHEME", "memory", "sqlite", "search keyword, vector, hybrid")),
        (("doctor",), ("ok", "configuration", "backend")),
    ]:
        shown = run(*arguments, terminal=True)
        assert shown.code == 0, shown
        assert all(part in shown.out for part in expected), shown.out
        with pytest.raises(ValueError, match=r"JSON|Expecting|Extra data"):
            json.loads(shown.out)
        assert json.loads(run(*arguments, "--json", terminal=True).out) is not None
        assert json.loads(run(*arguments).out) is not None


def test_a_page_that_is_not_the_last_says_how_to_go_on(store):
    run("add", "one", "-u", "alice"), run("add", "two", "-u", "alice")
    shown = run("list", "-u", "alice", "--limit", "1", terminal=True).out
    cursor = re.search(r"--cursor (\S+)", shown)[1]
    assert "one" in run("list", "-u", "alice", "--limit", "1", "--cursor", cursor, terminal=True).out


def test_a_record_cannot_command_the_terminal(store):
    run(
        "add", "\x1b]0;owned\x07\x1b[31mred\u202e", "-u", "alice", "--scope", "a\x1b[2J", "--metadata", '{"\\u001b": 1}'
    )
    identifier = run("list", "-u", "alice").json["items"][0]["id"]
    for arguments in (("list", "-u", "alice"), ("get", identifier), ("context", "red", "-u", "alice")):
        shown = run(*arguments, terminal=True).out.replace("\x1b[1m", "").replace("\x1b[0m", "")  # our own bold
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_a_real_terminal_gets_a_table(store):
    run("add", "Prefers dark mode", "-u", "alice")
    leader, follower = pty.openpty()
    command = [
        sys.executable,
        "-c",
        "import sys; from openmem.cli import main; sys.exit(main())",
        "list",
        "-u",
        "alice",
    ]
    done = subprocess.run(command, stdout=follower, stderr=subprocess.PIPE, timeout=60)
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "CONTENT" in shown


# --- bad input ---------------------------------------------------------------------------------------------------

BAD = [
    ("add", "x"),
    ("add",),
    ("add", "", "-u", "a"),
    ("add", "x", "-u", ""),
    ("add", "x", "-u", "a", "--metadata", "{broken"),
    ("add", "x", "-u", "a", "--metadata", "[1]"),
    ("add", "x", "-u", "a", "--metadata", "[" * 100_000),
    ("add", "x", "-u", "a", "--metadata", '{"a":' * 40 + "1" + "}" * 40),
    ("add", "x", "-u", "a", "--metadata", "9" * 5000),
    ("add", "x", "-u", "a", "--metadata", '{"a": NaN}'),
    ("add", "x", "-u", "a", "--source", '{"type": "guessed"}'),
    ("add", "x", "-u", "a", "--extension", "x-a"),
    ("add", "x", "-u", "a", "--extension", "x-a=text"),
    ("add", "x", "-u", "a", "--extension", "content=1"),
    ("add", "x", "-u", "a", "--valid-from", "yesterday"),
    ("add", "x", "-u", "a", "--valid-from", "2026-01-01T00:00:00"),
    ("add", "x", "-u", "a", "--valid-to", "0001-01-01T00:00:00+10:00"),
    ("add", "x", "-u", "a", "--importance", "2"),
    ("add", "x", "-u", "a", "--importance", "much"),
    ("add", "x", "-u", "a", "--scope", "a//b"),
    ("add", "x", "-u", "a", "--vector", '["a"]'),
    ("add", "\udcff\udcfe", "-u", "a"),
    ("add", "x", "-u", "\udcff"),
    ("add", "x", "-u", "a", "--metadata", '{"a": "\udcff"}'),
    ("add", "x", "y", "-u", "a"),
    ("add", "x", "-u"),
    ("add", "x", "-u", "a", "--\udcff"),
    ("search", "-u", "a"),
    ("search", "x", "-u", "a", "--mode", "psychic"),
    ("search", "x", "-u", "a", "--limit", "0"),
    ("search", "x", "-u", "a", "--limit", "ten"),
    ("search", "x", "-u", "a", "--filter", '{"importance": {"above": 1}}'),
    ("list", "-u", "a", "--cursor", "nonsense"),
    ("list", "-u", "a", "--include", "lost"),
    ("get",),
    ("update", "x", "--if-version", "0"),
    ("capabilities", "--option", "nonsense"),
    ("capabilities", "extra"),
    ("conformance",),
    ("conformance", "run"),
    ("conformance", "walk"),
    ("frobnicate",),
    ("--frobnicate",),
]


@pytest.mark.parametrize("arguments", BAD, ids=lambda arguments: ascii(" ".join(arguments))[:60])
def test_bad_input_is_one_line_and_exit_code_2(arguments, monkeypatch):
    monkeypatch.setenv("OPENMEM_URL", "memory://")
    result = run(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert_one_line(result)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "memry://", "http://[", "memory://?nonsense=1", "://", "sqlite://host:port/x", "\udcff://"]
)
def test_a_bad_url_is_one_line_and_exit_code_2(url):
    result = run("list", "-u", "a", "--url", url)
    assert result.code == 2
    assert_one_line(result)


def test_no_configuration_at_all_is_exit_code_2():
    result = run("list", "-u", "a")
    assert result.code == 2
    assert "openmem.toml" in result.err
    assert_one_line(result)


@pytest.mark.parametrize("verb", ["get", "delete", "history", "related", "update"])
def test_what_does_not_exist_is_exit_code_1(verb, store):
    result = run(verb, "nothing", *(("--kind", "fact") if verb == "update" else ()))
    assert (result.code, result.out) == (1, "")
    assert_one_line(result)


def test_an_error_in_json_is_the_envelope_on_standard_error(store):
    failed = run("get", "nothing", "--json")
    assert failed.code == 1
    assert json.loads(failed.err)["error"]["code"] == "not_found"
    for misused in (("get", "--json"), ("list", "-u", "a", "--limit", "0", "--json"), ("ad", "--json")):
        result = run(*misused)
        assert (result.code, json.loads(result.err)["error"]["code"]) == (2, "invalid_request")
    assert run("add", "-u", "a", "--", "--json").json["content"] == "--json"


def test_a_near_miss_is_named():
    assert "Did you mean 'search'" in run("serach", "x").err
    assert "--importance" in run("add", "x", "--importnce", "1").err
    assert "Did you mean 'memory'" in run("list", "-u", "a", "--url", "memry://").err


def test_an_error_stays_on_its_line_and_commands_no_terminal():
    for text in ("a\nb\r\nc", "\x1b[31m", "\u202e", "\u2028x"):
        assert_one_line(run(f"x{text}"))
        result = run("capabilities", "--url", "memory://", "--option", f"a{text}=1")
        assert_one_line(result)
        assert not {"\x1b", "\u202e", "\u2028", "\r"} & set(result.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "-u", "a", "postgres://me:hunter2@host/db"),
        ("list", "-u", "a", "--url", "memry://me:hunter2@host"),
        ("list", "-u", "a", "--url", "memory://host?token=hunter2&nonsense=1"),
        ("list", "-u", "a", "--url", "http://me:hunter2@["),
        ("doctor", "memry://me:hunter2@host?api_key=hunter2"),
        ("capabilities", "--url", "memory://", "--option", "hunter2"),
        ("capabilities", "--url", "memory://", "--option", "embedder_api_key=hunter2"),
        ("postgres://me:hunter2@host",),
        ("list", "postgres://me:a/hunter2?@host"),
    ],
)
def test_no_secret_is_printed(arguments):
    result = run(*arguments)
    assert result.code != 0
    assert "hunter2" not in result.out + result.err


def test_standard_input_that_is_not_text_is_exit_code_2(monkeypatch):
    monkeypatch.setenv("OPENMEM_URL", "memory://")
    for stdin in (b"abc\xff", None):
        result = run("add", "-", "-u", "a", stdin=stdin)
        assert result.code == 2
        assert_one_line(result)
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    assert run("add", "-", "-u", "a", stdin=closed).code == 2


def test_ctrl_c_is_exit_code_130():
    class Interrupted:
        closed = False
        buffer = property(lambda self: self)

        def read(self):
            raise KeyboardInterrupt

    result = run("add", "-", "-u", "a", "--url", "memory://", stdin=Interrupted())
    assert (result.code, result.err) == (130, "")


COMMANDS = [*verbs.POSITIONAL, "providers", "doctor"]
FLAGS = sorted({flag for verb in verbs.POSITIONAL for flag in re.findall(r"-[-\w]+", run(verb, "--help").out)} - {"-h"})
JUNK = st.text(st.characters(exclude_characters="\x00", categories=None), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
).map(json.dumps)
WORDS = JUNK | VALUES | st.sampled_from(["-", "--", "", "x-a=1", "alice", "2026-01-01T00:00:00Z", "memory://"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(COMMANDS), st.lists(st.sampled_from(FLAGS) | WORDS, max_size=6), st.binary(max_size=5))
@example("add", ["--filter", "--", "--json"], b"")
def test_no_command_line_ever_ends_in_a_traceback(monkeypatch, command, words, stdin):
    monkeypatch.setenv("OPENMEM_URL", "memory://")
    result = run(command, *words, stdin=stdin)
    assert result.code in (0, 1, 2)
    assert "Traceback" not in result.err
    assert result.err.count("\n") == (0 if result.code == 0 or (command, result.code) == ("doctor", 1) else 1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["add", "search", "list", "context", "update"]),
    st.dictionaries(st.sampled_from([flag for flag in FLAGS if flag not in SHARED]), WORDS, max_size=4),
)
def test_no_value_of_an_option_ever_ends_in_a_traceback(monkeypatch, verb, options):
    monkeypatch.setenv("OPENMEM_URL", "memory://")
    positional = [] if verb == "list" else ["x"]
    result = run(verb, *positional, "--user=alice", *(f"{name}={value}" for name, value in options.items()))
    assert result.code in (0, 1, 2)
    assert result.err.count("\n") == (0 if result.code == 0 else 1)


# --- processes ---------------------------------------------------------------------------------------------------


def test_one_process_finds_what_another_added(store):
    added = spawn("add", "Prefers dark mode 🎉", "-u", "alice")
    assert (added.returncode, added.stderr) == (0, b"")
    found = json.loads(spawn("search", "dark", "-u", "alice").stdout)
    assert [each["memory"]["content"] for each in found] == ["Prefers dark mode 🎉"]


def test_arguments_that_are_not_utf8_are_refused():
    result = spawn("add", b"\xff\xfe", "-u", "a", "--url", "memory://")
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr


def test_a_reader_that_leaves_ends_the_command_quietly(store):
    run("add", "-", "-u", "alice", stdin=b"a" * 90_000)
    command = [sys.executable, "-c", "import sys; from openmem.cli import main; sys.exit(main())"]
    for arguments in (("list", "-u", "alice"), ("--help",)):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([*command, *arguments], stdout=writer, stderr=subprocess.PIPE, timeout=60)
        os.close(writer)
        assert (done.returncode, done.stderr) == (1, b"")


def test_output_that_cannot_hold_a_character_escapes_it():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = spawn("add", "🎉", "-u", "a", "--url", "memory://", env=environment)
    assert (result.returncode, json.loads(result.stdout)["content"]) == (0, "🎉")
    assert spawn("add", "--help", env=environment).returncode == 0


def test_the_package_is_a_command_too():
    command = [sys.executable, "-W", "error", "-m", "openmem"]
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout) == (0, f"openmem {__version__}\n")
    assert subprocess.run([*command, "list", "--url", "nonsense://"], capture_output=True, timeout=60).returncode == 2


def test_help_and_version_are_quick_and_need_no_backend():
    code = (
        "import sys; from openmem.cli import main; main(['--help']); main(['--version']);"
        "bad = {'rich', 'numpy', 'openmem.client', 'openmem.adapters', 'openmem.embedding'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert b"conformance" in result.stdout
    assert re.search(rb"openmem \d+\.\d+", result.stdout)
    assert run() == run("--help") == run("-h")


# --- providers, doctor, conformance ------------------------------------------------------------------------------


def test_providers_says_what_each_scheme_needs(tmp_path):
    folder = tmp_path / "ghost-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: ghost\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[openmem.adapters]\nghost = not_installed:Adapter [vendor]\n")
    rows = json.loads(spawn("providers", env={**os.environ, "PYTHONPATH": str(tmp_path)}).stdout)
    told = {row["scheme"]: row for row in rows}
    problem = "the adapter for 'ghost' needs a package that is not installed: not_installed."
    remedy = "Run: pip install 'ghost[vendor]'"
    assert told["ghost"] == {"scheme": "ghost", "installed": False, "problem": problem, "remedy": remedy}
    assert told["memory"]["installed"]
    assert "hybrid" in told["memory"]["capabilities"]


def test_doctor_takes_every_step(tmp_path):
    report = run("doctor", f"sqlite:///{tmp_path}/d.db", "--option", "embedder=test:8").json
    assert report["ok"]
    steps = {finding["step"]: finding["detail"] for finding in report["findings"]}
    assert list(steps) == ["configuration", "embedder", "embedding", "backend", "capabilities"]
    assert "8 dimensions" in steps["embedder"]
    assert run("doctor", "--url", "memory://").code == 0
    assert run("doctor", "memory://", "--url", "memory://").code == 2


@pytest.mark.parametrize(
    ("arguments", "step", "remedy"),
    [
        (("memry://",), "configuration", "memory"),
        ((), "configuration", "openmem.toml"),
        (("memory://", "--option", "embedder=nonsense"), "embedder", "Known"),
        (("sqlite:////nonexistent/folder/x.db",), "backend", "folder"),
    ],
)
def test_doctor_stops_at_what_fails_and_says_the_remedy(arguments, step, remedy):
    result = run("doctor", *arguments)
    assert (result.code, result.err) == (1, "")
    last = result.json["findings"][-1]
    assert (last["step"], last["ok"]) == (step, False)
    assert remedy in last["remedy"]
    assert "FAIL" in run("doctor", *arguments, terminal=True).out


def test_doctor_asks_an_adapter_what_it_knows_of_itself(adapter):
    class Sick(Adapter):
        name = "sick"

        async def list(self, request):
            raise ProviderUnavailableError("nobody answers at tcp://me:hunter2@host.") from OSError()

        async def diagnose(self):
            return [("extension", True, "pgvector 0.8"), ("index", False, "the index is missing.", "Create it.")]

    adapter("sick", Sick)
    result = run("doctor", "sick://")
    assert result.code == 1
    assert "hunter2" not in result.out
    found = {finding["step"]: finding for finding in result.json["findings"]}
    assert not found["backend"]["ok"]
    assert "OSError" in found["backend"]["detail"]
    assert found["extension"]["ok"]
    assert found["index"]["remedy"] == "Create it."


def test_doctor_reports_a_defect_of_an_adapter_as_a_finding(adapter):
    class Broken(Adapter):
        name = "broken"

        async def diagnose(self):
            raise ZeroDivisionError

        async def close(self):
            raise RuntimeError

    adapter("broken", Broken)
    result = run("doctor", "broken://")
    assert result.code == 1
    failed = [finding["step"] for finding in result.json["findings"] if not finding["ok"]]
    assert {"diagnose", "close"} <= set(failed)


class StubReport:
    def __init__(self, target, code):
        self.target, self.exit_code = target, code

    def summary(self):
        return f"{self.target}: {'pass' if self.exit_code == 0 else 'fail'}"

    def as_json(self):
        return {"target": self.target, "exit_code": self.exit_code}

    def write(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "report.json").write_text("{}")


@pytest.fixture
def asked(monkeypatch):
    calls = []

    async def fake(url, *, only=(), options=None, directory=None, **_):
        calls.append((url, list(only), dict(options or {})))
        report = StubReport(url, 1 if "bad" in url else 0)
        if directory is not None:
            report.write(directory)
        return report

    monkeypatch.setattr("openmem.conformance.run", fake, raising=False)
    monkeypatch.setattr("openmem.conformance.matrix", lambda reports: f"matrix of {len(reports)}", raising=False)
    return calls


def test_conformance_runs_each_url_and_shows_a_matrix(asked, tmp_path):
    one = run("conformance", "run", "a://", "--only", "C1", "--only", "core", "--option", "k=v", terminal=True)
    assert (one.code, one.out) == (0, "a://: pass\n")
    assert asked == [("a://", ["C1", "core"], {"k": "v"})]
    two = run("conformance", "run", "a://", "bad://", "--report", str(tmp_path / "out"), terminal=True)
    place = f"The whole report: {tmp_path / 'out'}"
    assert (two.code, two.out) == (1, f"matrix of 2\na://: pass\nbad://: fail\n{place}\n")
    assert len(list((tmp_path / "out").glob("*/report.json"))) == 2
    assert run("conformance", "run", "a://", "--report", str(tmp_path / "one")).code == 0
    assert (tmp_path / "one" / "report.json").is_file()
    assert [each["exit_code"] for each in run("conformance", "run", "a://", "bad://", "--json").json] == [0, 1]
    for terminal in (True, False):
        assert "hunter2" not in run("conformance", "run", "a://me:hunter2@host", terminal=terminal).out


def test_a_report_that_cannot_be_written_is_one_line(asked, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("conformance", "run", "a://", "--report", str(tmp_path / "file" / "out"))
    assert (result.code, asked) == (2, [])
    assert_one_line(result)


def test_a_report_is_written_as_soon_as_its_run_has_ended(asked, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(StubReport, "write", lambda self, directory: written.append((self.target, len(asked))))
    run("conformance", "run", "a://", "bad://", "--report", str(tmp_path))
    assert written == [("a://", 1), ("bad://", 2)]
