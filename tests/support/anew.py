"""Stores embedded anew: with which models, and by a child that is killed at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any

from openmem import ConfigurationError, Memory, config, embedding
from openmem.embedding.testing import WordEmbedder

MANY = 1100
"""Memories that take two requests to the embedder."""
NOT_HELD = 7
"""The exit code that says that a store does not open with an embedder."""


class Model(WordEmbedder):
    """A model by whatever name: it has the axes in another order."""

    def __init__(self, name: str = "other", dimension: int = 32) -> None:
        super().__init__(dimension=dimension)
        self.model = name

    def axis(self, word: str) -> int:
        return self.dimension - 1 - super().axis(word)


def reembed(url: str, embedder: Any, embed: Any = None, **options: Any) -> int:
    """Embed a store anew; embed: what embedder does, or something that happens meanwhile too."""
    chosen = config.resolve(url, embedder=embedder, **options)
    adapter = chosen.adapter(chosen.settings, embedding=embedding.info(embedder))

    async def work() -> int:
        try:
            return await adapter.reembed(embed or embedder.embed)
        finally:
            await adapter.close()

    return asyncio.run(work())


def main(url: str, times: int, seed: int) -> None:
    """Kill that many children while they embed a store anew, and look at it after each; then let one end.

    Whenever the new embedding is in force, the former one becomes the wanted one.
    """
    chosen = random.Random(seed)
    held, wanted = Model("held", 64), Model("wanted", 48)
    contents = [f"fact {n} of w{n * n}" for n in range(MANY)]
    assert _in_child(partial(_fill, url, held, contents)) == 0
    began = perf_counter()
    assert _in_child(partial(reembed, url, wanted)) == 0
    whole = perf_counter() - began
    held, wanted, killed = wanted, held, 0
    while killed < times:
        ended = _in_child(partial(reembed, url, wanted), chosen.uniform(0.1, 1) * whole)
        assert ended in (0, -signal.SIGALRM)
        killed += ended != 0
        seen = _in_child(partial(_see, url, wanted, held, chosen.sample(contents, 3)))
        assert seen in (0, NOT_HELD)
        if seen == 0:
            held, wanted = wanted, held
        else:
            assert ended, "a run that ended well left the former embedding"
            assert _in_child(partial(_see, url, held, wanted, chosen.sample(contents, 3))) == 0
    assert _in_child(partial(reembed, url, wanted)) == 0
    assert _in_child(partial(_see, url, wanted, held, contents[:3])) == 0


def _fill(url: str, embedder: Any, contents: Sequence[str]) -> None:
    with Memory(url, embedder=embedder) as memory:
        results = memory.add_many([{"content": content} for content in contents], user_id="u")
        assert all(result.error is None for result in results)


def _see(url: str, embedder: Any, other: Any, contents: Sequence[str]) -> None:
    """End well where a store opens with an embedder, and not with another one, and finds each of the contents."""
    with Memory(url, embedder=embedder) as memory:
        try:
            memory.open()
        except ConfigurationError:
            sys.exit(NOT_HELD)
        for content in contents:
            best = memory.search(content, "u", mode="vector", limit=1)[0]
            assert (best.memory.embedding_model, round(best.score, 2)) == (embedder.model, 1)
        assert memory.stats("u").total == MANY
    with Memory(url, embedder=other) as memory, suppress(ConfigurationError):
        memory.open()
        raise AssertionError("the store opens with both")


def _in_child(work: Callable[[], Any], seconds: float = 0) -> int:
    """Run work in a child, which is killed after so many seconds; return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        signal.setitimer(signal.ITIMER_REAL, seconds)  # nothing handles it: it ends a process as SIGKILL does
        try:
            work()
            code = 0
        except SystemExit:
            code = NOT_HELD
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
