"""The end of a program: as Python 3.12 has it, no thread can be started any more."""

from __future__ import annotations

import pytest

from support.processes import python

PROGRAM = """
import atexit, asyncio, threading
from openmem import Adapter, Memory, MemoryRecord

class Threaded(Adapter):
    name = "threaded"
    inline = False
    async def get(self, request):
        return await asyncio.to_thread(
            MemoryRecord, id=request.id, content="c", user_id="u", created_at="2026-01-01T00:00:00Z"
        )

memory = Memory(Threaded())
print(memory.get("m").id)

@atexit.register  # handlers run last registered first: before openmem's own
def forbid():
    def start(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    threading.Thread.start = start
"""


@pytest.mark.parametrize("closed", ["", "memory.close()"])
def test_the_end_starts_no_thread(closed: str) -> None:
    result = python(PROGRAM + closed)
    assert (result.returncode, result.stdout, result.stderr) == (0, "m\n", "")
