"""What a child of fork renews, and systems that do not fork."""

from __future__ import annotations

import ast
import os
import threading
from pathlib import Path

import pytest

from openmem.runtime.fork import Lock, in_child
from support.processes import python

ROOT = Path(__file__).parents[2]


def in_a_child(work: str) -> str:
    """Run a script that forks while other threads hold what they can, and return what its child printed."""
    done = python(work)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_lock_that_another_thread_holds_is_free_in_the_child() -> None:
    lock = Lock()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert not lock.acquire(blocking=False)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"free" if lock.acquire(blocking=False) else b"held")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 4) == b"free"
    assert not lock.acquire(blocking=False)  # the parent's is its own
    over.set()
    thread.join()
    os.close(reading)
    os.close(writing)


def test_what_is_gone_is_not_renewed_and_what_fails_is_no_hindrance() -> None:
    class Thing:
        def __init__(self, name: str) -> None:
            self.name = name

    told: list[str] = []

    def fail(thing: Thing) -> None:
        raise ValueError(thing.name)

    gone, broken, kept = Thing("gone"), Thing("broken"), Thing("kept")
    in_child(gone, lambda thing: told.append(thing.name))
    in_child(broken, fail)
    in_child(kept, lambda thing: told.append(thing.name))
    del gone
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ",".join(told).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"kept"
    assert told == []
    os.close(reading)
    os.close(writing)


FORKING = """
import asyncio, os, sys, threading
from openmem import AsyncMemory, Memory

url, colour = sys.argv[1:]
memory = Memory(url, embedder="test:64", timeout=20)
known = memory.add("green tea", "u")
over = threading.Event()

def work(number):
    while not over.is_set():
        memory.add(f"note number{number} on words never seen before{os.urandom(4).hex()}", f"w{number}")
        memory.search("green", "u")

threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for each in threads:
    each.start()
for attempt in range(4):
    child = os.fork()
    if child == 0:
        assert memory.get(known.id).content == "green tea"
        assert memory.search("tea", "u")[0].memory.id == known.id
        memory.add("from the child", f"c{attempt}")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
over.set()
for each in threads:
    each.join()
memory.close()
print("done")
"""


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_child_answers_while_threads_of_the_parent_work(kind: str, tmp_path: Path) -> None:
    url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/a.db"
    done = python(FORKING, url, "sync")
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr


ASYNC = """
import asyncio, os
from openmem import AsyncMemory

memory = AsyncMemory("memory://", embedder="test:64")

async def use():
    return await memory.add("tea", "u")

asyncio.run(use())
child = os.fork()
if child == 0:
    asyncio.run(use())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""


def test_an_async_client_belongs_to_the_childs_own_loop() -> None:
    done = python(ASYNC)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr


HTTP = """
import os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pydantic import SecretStr
from openmem import Memory
from openmem.embedding.openai import OpenAIEmbedder

class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"data": [{"index": 0, "embedding": [1.0, 0.0]}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
embedder = OpenAIEmbedder("m", url=f"http://127.0.0.1:{server.server_port}/v1", dimension=2, api_key=SecretStr("k"))
memory = Memory("memory://", embedder=embedder)
memory.add("tea", "u")
child = os.fork()
if child == 0:
    assert memory.search("tea", "u")[0].memory.content == "tea"
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
memory.add("tea", "u")
print("done", flush=True)
os._exit(0)
"""


def test_a_child_reaches_its_embedder_over_connections_of_its_own() -> None:
    done = python(HTTP)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr


WITHOUT = """
import os
del os.register_at_fork
del os.fork
from openmem import Memory
memory = Memory("memory://", embedder="test")
memory.add("tea", "u")
print(memory.search("tea", "u")[0].memory.content)
"""


def test_a_system_that_does_not_fork_is_as_good() -> None:
    done = python(WITHOUT)
    assert (done.stdout.strip(), done.returncode) == ("tea", 0), done.stderr


FIRST = """
import os, threading
from openmem import Memory
memory = Memory("memory://", embedder="local")
threads = [threading.Thread(target=lambda: memory.add("first words", "u")) for _ in range(3)]
for each in threads:
    each.start()
child = os.fork()
if child == 0:
    memory.search("first", "u")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
for each in threads:
    each.join()
print("done")
"""


def test_a_child_imports_what_its_parent_was_in_the_midst_of_importing() -> None:
    done = python(FIRST)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr


LOST = """
import asyncio, atexit, pydantic.main
del atexit.register
from openmem import Memory
"""


def test_the_cause_of_a_failing_import_is_not_lost() -> None:
    done = python(LOST)
    assert done.returncode == 1
    assert "ImportError: openmem.client cannot be imported" in done.stderr
    assert "AttributeError: module 'atexit' has no attribute 'register'" in done.stderr


def test_no_lock_of_the_package_is_outside_the_registry() -> None:
    sources = [path for folder in ("openmem", "adapters") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 50
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources
        if path.name != "fork.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("Lock", "RLock", "Condition", "register_at_fork", "getpid")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("threading", "os")
    ]
    assert bare == []
