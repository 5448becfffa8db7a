"""The file of sqlite://: locked, full, only to be read, deleted or replaced while it is open; whose it is; closing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openmem import ClosedError, ConfigurationError, Memory, OMPError, ProviderError, ProviderUnavailableError
from support.processes import python

NOBODY = 65534


def open_store(path: Path, **options: Any) -> Memory:
    return Memory(f"sqlite:///{path}", **{"embedder": "test:16", "synchronous": "normal", **options})


def actions(memory: Memory, **options: Any) -> list[str]:
    return [entry.action for entry in memory.audit("u", **{"limit": 1000, **options})]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of writers."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


# --- reads do not depend on writing -----------------------------------------------------------------------------


def test_reads_go_on_and_are_logged_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_store(path) as memory:
        memory.add("drinks tea", "u")
        with locked(path):
            for _ in range(600):
                assert len(memory.search("tea", "u")) == 1
            assert actions(memory) == ["search"] * 600 + ["add"]
            assert memory.stats("u").audit_dropped is None
        memory.add("drinks coffee", "u")
        assert actions(memory) == ["add", "stats"] + ["search"] * 600 + ["add"]
    with open_store(path) as memory:
        assert actions(memory) == ["add", "stats"] + ["search"] * 600 + ["add"]


def test_entries_that_cannot_be_stored_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from openmem.adapters.kit import audit as reads

    monkeypatch.setattr(reads, "MOST", 300)
    path = tmp_path / "a.db"
    with open_store(path, embedder="none") as memory:
        memory.add("drinks tea", "u")
        with locked(path):
            for _ in range(400):
                memory.list("u")
            assert memory.stats("u").audit_dropped == 101
            assert memory.stats("v").audit_dropped is None
        assert len([each for each in caplog.records if "dropped" in each.message]) == 1
        assert actions(memory).count("list") == 298  # of 300 kept, the last two are the stats


def test_a_write_that_had_to_wait_too_long_has_written_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_store(path, busy_timeout=0.02) as memory:
        memory.list("u")
        with locked(path), pytest.raises(ProviderUnavailableError) as caught:
            memory.add("fact", "u")
        assert caught.value.written == "nothing"
        assert memory.list("u").items == []


FULL = """
import resource, sys
from openmem import Memory, ProviderError
path = sys.argv[1]
memory = Memory(f"sqlite:///{path}", embedder="none")
record = memory.add("tea", "u")
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
stored = 1
try:
    while True:
        memory.add("tea " * 1000, "u")
        stored += 1
except ProviderError as error:
    print(error.written, stored)
for _ in range(400):
    assert len(memory.search("tea", "u", limit=1)) == 1
    assert memory.get(record.id).content == "tea"
assert len(memory.audit("u", limit=1000)) == 800 + stored, len(memory.audit("u", limit=1000))
for number in (1, 2):
    try:
        memory.close()
        print("closed")
    except ProviderError:
        print("reported")
import os
print([name for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
       for name in [os.readlink(f"/proc/self/fd/{fd}")] if path in name])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with Memory(f"sqlite:///{path}", embedder="none") as memory:
    print(memory.stats("u").total == stored)
"""


def test_a_full_disk_stops_writes_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    answer = python(FULL, str(path))
    assert answer.returncode == 0, answer.stderr
    written, closed, again, still_open, kept = answer.stdout.splitlines()
    assert written.startswith("nothing")
    assert (closed, again, still_open, kept) == ("reported", "closed", "[]", "True")


# --- a store that may only be read ------------------------------------------------------------------------------


READER = """
import os, sys, tempfile
from openmem import ConfigurationError, Memory

def read(path):
    with Memory(f"sqlite:///{path}", embedder="test:16") as memory:
        for _ in range(300):
            assert [hit.memory.content for hit in memory.search("tea", "u")] == ["drinks tea"]
        (item,) = memory.list("u").items
        assert memory.stats("u").total == 1
        actions = [entry.action for entry in memory.audit("u", limit=1000)]
        assert actions[:302] == ["stats", "list"] + ["search"] * 300 and actions[-1] == "add", actions
        for change in (lambda: memory.add("more", "u"), lambda: memory.delete(item.id)):
            try:
                change()
            except ConfigurationError as error:
                print(error.written, "only be read" in str(error))

with tempfile.TemporaryDirectory() as folder:  # all that has to be imported is, while this is still allowed
    with Memory(f"sqlite:///{folder}/a.db", embedder="test:16") as memory:
        memory.add("drinks tea", "u")
    os.chmod(folder + "/a.db", 0o400)
    read(folder + "/a.db")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
read(sys.argv[1])
"""


def public(folder: Path) -> None:
    """Let everybody reach a folder of pytest's."""
    for each in (folder, *folder.parents):
        if each.owner() == "root" and stat.S_IMODE(each.stat().st_mode) & 0o5 != 0o5 and each != Path("/"):
            each.chmod(0o755)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store that others may see."""
    if os.getuid() != 0:
        pytest.fail("this test gives up rights that only root has")
    public(tmp_path)
    folder = tmp_path / "store"
    folder.mkdir()
    with open_store(folder / "a.db", private=False) as memory:
        memory.add("drinks tea", "u")
    return folder / "a.db"


def read_as_nobody(path: Path) -> list[str]:
    answer = python(READER, str(path))
    assert answer.returncode == 0, answer.stderr
    assert "can only be read here" in answer.stderr
    return answer.stdout.splitlines()


def test_a_store_in_anothers_folder_can_be_read(store: Path) -> None:
    before = store.read_bytes()
    assert read_as_nobody(store) == ["nothing True"] * 2
    assert store.read_bytes() == before
    assert [each.name for each in store.parent.iterdir()] == ["a.db"]


def test_a_file_without_write_permission_can_be_read(store: Path) -> None:
    store.chmod(0o444)
    store.parent.chmod(0o777)
    assert read_as_nobody(store) == ["nothing True"] * 2


def test_a_file_of_ones_own_in_anothers_folder_can_be_read(store: Path) -> None:
    os.chown(store, NOBODY, NOBODY)
    assert read_as_nobody(store) == ["nothing True"] * 2


def test_a_store_can_be_read_beside_its_writer(store: Path) -> None:
    with open_store(store) as memory:
        memory.update(memory.list("u").items[0].id, kind="fact")  # is in the log, which the reader has to see
        answer = python(READER, str(store))
        assert answer.returncode == 0, answer.stderr


BESIDE = """
import os, sys, tempfile
from openmem import Memory
from openmem.protocol import ranking

bm25, waiting = ranking.bm25, []

def halted(*arguments, **options):
    while waiting:
        waiting.pop()
        print("amid", flush=True)
        sys.stdin.readline()
    return bm25(*arguments, **options)

ranking.bm25 = halted

with tempfile.TemporaryDirectory() as folder:  # all that has to be imported is, while this is still allowed
    with Memory(f"sqlite:///{folder}/a.db", embedder="test:16") as memory:
        memory.add("tea", "u")
        memory.search("tea", "u")
        memory.list("u")
        memory.audit("u")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with Memory(f"sqlite:///{sys.argv[1]}", embedder="test:16") as memory:
    while True:
        print([item.content for item in memory.list("u").items], flush=True)
        asked = sys.stdin.readline()
        if not asked:
            break
        if asked == "search\\n":
            waiting.append(True)
            found = [hit.memory.content for hit in memory.search("tea", "u", mode="hybrid")]
            searches = [entry.action for entry in memory.audit("u")].count("search")
            print(found, searches, flush=True)
"""
"""Reads a store as nobody; halts in the midst of a search."""


@contextmanager
def reader_beside(path: Path) -> Iterator[Callable[..., str]]:
    """Have another user read a store; yields what asks that one."""
    command = [sys.executable, "-W", "error", "-c", BESIDE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask(question: str = "") -> str:
            if question:
                print(question, file=reader.stdin, flush=True)
            return reader.stdout.readline().strip() if reader.stdout else ""

        yield ask
        reader.stdin.close()
        assert reader.wait() == 0


def test_who_read_unlocked_sees_what_a_writer_does(store: Path) -> None:
    with reader_beside(store) as ask:
        assert ask() == "['drinks tea']"
        with open_store(store) as memory:
            memory.delete(memory.list("u").items[0].id)
            memory.add("drinks coffee", "u")
            assert ask("list") == "['drinks coffee']"
        assert ask("list") == "['drinks coffee']"
        with open_store(store) as memory:
            memory.add("drinks wine", "u")
        assert ask("list") == "['drinks wine', 'drinks coffee']"


def test_what_was_read_unlocked_is_read_again_where_the_file_was_written_meanwhile(store: Path) -> None:
    with reader_beside(store) as ask:
        assert ask() == "['drinks tea']"
        assert ask("search") == "amid"
        with open_store(store) as memory:
            memory.delete(memory.list("u").items[0].id)
            memory.add("has no more tea", "u")
        assert ask("go on") == "['has no more tea'] 1"
        assert ask() == "['has no more tea']"


def test_a_store_that_needs_work_is_not_read_where_it_cannot_be_written(store: Path) -> None:
    connection = sqlite3.connect(store)
    with connection:
        connection.execute("UPDATE meta SET value = 'older' WHERE name = 'analysis'")
    connection.close()
    answer = python(READER, str(store))
    assert "brought up to date" in answer.stderr


def test_a_read_only_file_system_can_be_read(store: Path, tmp_path: Path) -> None:
    """The image of a container, a DVD: here a bind mount, where this process may mount."""
    place = tmp_path / "mounted"
    place.mkdir()
    script = (
        'mount --bind "$0" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -W error -c "$3" "$1/a.db"'
        if shutil.which("unshare")
        else "exit 32"
    )
    reader = READER.replace("os.setgroups([]); os.setgid(65534); os.setuid(65534)", "")
    command = ["unshare", "--mount", "sh", "-c", script, str(store.parent), str(place), sys.executable, reader]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if answer.returncode == 32 or "Operation not permitted" in answer.stderr:
        return  # nobody may mount here
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["nothing True"] * 2


# --- the file itself --------------------------------------------------------------------------------------------


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "moved": lambda path: path.rename(path.with_suffix(".old")),
    "replaced": lambda path: (path.unlink(), open_store(path).list("u")),
    "exchanged": lambda path: shutil.copy(path, path.with_suffix(".new")) and path.with_suffix(".new").replace(path),
}


@pytest.mark.parametrize("what", REPLACEMENTS)
def test_a_file_that_is_gone_is_noticed(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.db"
    memory = open_store(path)
    memory.add("fact", "u")
    REPLACEMENTS[what](path)
    calls: list[Callable[[], object]] = [
        lambda: memory.add("lost", "u"),
        lambda: memory.list("u"),
        lambda: memory.search("fact", "u"),
        lambda: memory.audit("u"),
    ]
    for call in calls:
        with pytest.raises(ProviderError, match=r"deleted|replaced") as caught:
            call()
        assert caught.value.written == "nothing"
    memory.close()


def test_a_file_that_comes_back_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_store(path) as memory:
        memory.add("fact", "u")
        path.rename(tmp_path / "b.db")
        with pytest.raises(ProviderError, match="moved away"):
            memory.list("u")
        (tmp_path / "b.db").rename(path)
        assert len(memory.list("u").items) == 1


def test_what_is_not_stored_of_reads_in_a_file_that_is_gone_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    memory = open_store(path)
    memory.list("u")
    path.unlink()
    with pytest.raises(ProviderError, match="deleted"):
        memory.close()
    memory.close()
    assert not path.exists()


@pytest.mark.parametrize("private", [True, False])
def test_new_files_are_their_owners_alone_unless_asked(tmp_path: Path, private: bool) -> None:
    umask = os.umask(0o022)
    try:
        with open_store(tmp_path / "a.db", private=private) as memory:
            memory.add("fact", "u")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(umask)
    assert modes == dict.fromkeys(["a.db", "a.db-wal", "a.db-shm"], 0o600 if private else 0o644)


def test_the_rights_of_a_file_that_is_there_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch(0o640)
    with open_store(path) as memory:
        memory.add("fact", "u")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_store_stays_where_it_was_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    with Memory("sqlite:///a.db", embedder="none") as memory:
        memory.add("fact", "u")
        monkeypatch.chdir(tmp_path / "sub")
        barrier = threading.Barrier(3)
        threads = [threading.Thread(target=lambda: (barrier.wait(), memory.list("u"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert list((tmp_path / "sub").iterdir()) == []


@pytest.mark.parametrize("path", [":memory:", "", ".", "file:a.db", "file::memory:?cache=shared"])
def test_paths_that_name_no_file_are_refused(path: str) -> None:
    with pytest.raises(ConfigurationError):
        Memory(provider="sqlite", path=path)


@pytest.mark.parametrize("name", ["per%cent.db", "que?ry.db", "ha#sh.db", "blank  é.db", "semi;colon.db"])
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with Memory(provider="sqlite", path=tmp_path / name, embedder="none") as memory:
            memory.add("fact", "u")
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_folder_is_refused_typed(tmp_path: Path) -> None:
    with open_store(tmp_path) as memory, pytest.raises(ConfigurationError):
        memory.list("u")


def test_a_file_of_two_names_is_refused(tmp_path: Path) -> None:
    """Each name would have a write-ahead log of its own, and one would overwrite what is kept by the other."""
    path, other = tmp_path / "a.db", tmp_path / "b.db"
    with open_store(path) as memory:
        memory.add("fact", "u")
        other.hardlink_to(path)
        calls: list[Callable[[], object]] = [lambda: memory.add("lost", "u"), lambda: memory.list("u")]
        for call in calls:
            with pytest.raises(ConfigurationError, match="hard links") as caught:
                call()
            assert caught.value.written == "nothing"
        for each in (path, other):
            with open_store(each) as second, pytest.raises(ConfigurationError, match="hard links"):
                second.list("u")
        other.unlink()
        other.symlink_to(path)
        with open_store(other) as second:
            second.add("another fact", "u")
        assert len(memory.list("u").items) == 2


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.db")
    with open_store(tmp_path / "a.db") as memory, pytest.raises(ConfigurationError, match="is no file"):
        memory.list("u")


def test_a_link_to_itself_is_refused_typed(tmp_path: Path) -> None:
    (tmp_path / "a.db").symlink_to(tmp_path / "a.db")
    with open_store(tmp_path / "a.db") as memory, pytest.raises(ConfigurationError, match="cannot be opened"):
        memory.list("u")


# --- closing ----------------------------------------------------------------------------------------------------


def test_closing_while_others_read_and_write_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(5):
        memory = open_store(tmp_path / "a.db")
        memory.add("fact", "u")
        started = threading.Barrier(5)
        answers: list[object] = []

        def work(memory: Memory = memory, started: threading.Barrier = started, answers: Any = answers) -> None:
            started.wait()
            try:
                while True:
                    memory.add("fact", "u")
                    memory.search("fact", "u")
            except OMPError as error:
                answers.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        memory.close()
        for thread in threads:
            thread.join()
        assert {type(each) for each in answers} == {ClosedError}
        assert [file.name for file in tmp_path.iterdir()] == ["a.db"]
