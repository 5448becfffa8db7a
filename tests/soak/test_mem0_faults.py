"""mem0's platform where any of its answers may be a refusal, a failure or none at all: what is told is true."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from openmem import Memory, OMPError
from openmem.types import BatchResult
from support.mem0_platform import KEY, URL, Platform, platform  # noqa: F401  a fixture
from support.stores import everything
from support.twins import Failure

CALLS = 200
KINDS: tuple[Failure, ...] = ("429", "500", "500 after all", "cut")


def failures(chance: random.Random, share: float) -> Iterator[Failure | None]:
    while True:
        yield chance.choice(KINDS) if chance.random() < share else None


def hold(results: list[BatchResult], names: list[str], there: set[str], *, added: bool) -> None:
    for name, result in zip(names, results, strict=True):
        if result.error is None:
            assert (name in there) == added
        elif result.error.written == "nothing":
            assert (name in there) != added, result.error


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_told_is_true(platform: Platform, naps: list[float], seed: int, share: float) -> None:  # noqa: F811
    chance = random.Random(seed)
    with Memory(URL, api_key=KEY, timeout=1000) as memory:
        for number in range(CALLS):
            before = {each.content: each for each in everything(memory, "u")}
            some = chance.sample(sorted(before), min(len(before), 5))
            verb = chance.choice(["add", "add_many", "update", "delete", "delete_many"] if some else ["add"])
            new, expected = [f"{number}.{item}" for item in range(5)], set(before)
            written = None
            with platform.failing(failures(chance, share)):
                try:
                    if verb == "add":
                        memory.add(new[0], "u")
                        expected |= {new[0]}
                    elif verb == "add_many":
                        results = memory.add_many([{"content": each} for each in new], user_id="u")
                    elif verb == "update":
                        memory.update(before[some[0]].id, user_id="u", content=new[0])
                        expected = expected - {some[0]} | {new[0]}
                    elif verb == "delete":
                        memory.delete(before[some[0]].id, user_id="u")
                        expected -= {some[0]}
                    else:
                        results = memory.delete_many([before[each].id for each in some], user_id="u")
                except OMPError as error:
                    written = error.written
            contents = [each.content for each in everything(memory, "u")]
            there = set(contents)
            assert len(contents) == len(there), "stored twice"
            if written == "nothing":
                assert there == set(before)
            elif written is None and verb.endswith("_many"):
                hold(results, new if verb == "add_many" else some, there, added=verb == "add_many")
            elif written is None:
                assert there == expected
