"""mem0://HOST where any request is refused, fails or loses its answer: what is done is told, and done once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, get_args

import pytest

from openmem import Memory, OMPError, RateLimitedError
from openmem.client import UserMemory
from openmem.types import BatchResult
from support.mem0_platform import KEY, URL, Platform
from support.twins import Failure

FAILURES: Sequence[Failure] = get_args(Failure)
SAID = [{"role": "user", "content": "I like tea. I live in Oslo."}]
Ids = dict[str, str]

CHANGES: dict[str, Callable[[UserMemory, Ids], Any]] = {
    "add": lambda m, ids: m.add("a fact", tags=["t"]),
    "update": lambda m, ids: m.update(ids["tea"], content="green tea", metadata={"n": 2}),
    "delete": lambda m, ids: m.delete(ids["tea"]),
    "remember": lambda m, ids: m.remember(SAID, scope="life"),
}
READS: dict[str, Callable[[UserMemory, Ids], Any]] = {
    "get": lambda m, ids: m.get(ids["tea"]).content,
    "list": lambda m, ids: [each.content for each in m.list().items],
    "search": lambda m, ids: [each.memory.content for each in m.search("tea")],
    "related": lambda m, ids: [each.memory.content for each in m.related(ids["tea"])],
    "context": lambda m, ids: len(m.context("tea").citations),
    "stats": lambda m, ids: m.stats().total,
}
BATCHES: dict[str, Callable[[UserMemory, Ids], list[BatchResult]]] = {
    "add_many": lambda m, ids: m.add_many([{"content": f"fact {n}"} for n in range(4)]),
    "delete_many": lambda m, ids: m.delete_many([ids["tea"], ids["milk"], "mem_unknown", ids["water"]]),
}
numbers = count()


@pytest.fixture
def users(platform: Platform, naps: list[float]) -> Iterator[Iterator[UserMemory]]:
    with Memory(URL, api_key=KEY) as mem:
        mem.open()
        yield (mem.for_user(f"user-{number}") for number in numbers)


def prepared(user: UserMemory) -> Ids:
    for text in ("tea", "milk", "water"):
        user.add(text, metadata={"n": 1})
    return {each.content: each.id for each in user.list().items}


def state(user: UserMemory) -> list[Any]:
    held = user.list(limit=500, include=["superseded", "expired", "upcoming", "archived"]).items
    return sorted([[each.content, each.version, each.tags, each.metadata, each.scope] for each in held], key=str)


def attempts(platform: Platform, failure: Failure, times: int) -> Iterator[Sequence[Failure | None]]:
    """Let each request fail in turn, so often, until there is none left that could."""
    for place in count():
        yield [*[None] * place, *[failure] * times]
        if not platform.failed:
            return


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_is_done_once_or_not_at_all_and_said_to_be(
    verb: str, failure: Failure, times: int, platform: Platform, users: Iterator[UserMemory]
) -> None:
    user = next(users)
    ids, before = prepared(user), state(user)
    CHANGES[verb](user, ids)
    after = state(user)
    assert before != after
    told = []
    for failures in attempts(platform, failure, times):
        user = next(users)
        ids, error, answer = prepared(user), None, None
        with platform.failing(failures):
            try:
                answer = CHANGES[verb](user, ids)
            except OMPError as raised:
                error = raised
        allowed = {None: [after], "nothing": [before], "perhaps": [before, after]}[error and error.written]
        if verb == "remember" and answer:  # what is said to be queued comes
            user.wait_for_ingest([each.id for each in answer if each.status == "queued"])
        assert state(user) in allowed, (failures, error)
        told.append(error and error.written)
    if times == 1 and failure == "429":
        assert set(told) == {None}, "a refusal is repeated"
    if verb != "remember" and times == 1 and failure in ("500 after all", "cut"):
        assert set(told) == {None}, "what was done is looked for, or done again"


@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("verb", READS)
def test_a_read_is_repeated_or_fails_and_has_written_nothing(
    verb: str, failure: Failure, times: int, platform: Platform, users: Iterator[UserMemory]
) -> None:
    user = next(users)
    ids, read = prepared(user), READS[verb]
    expected = read(user, ids)
    for failures in attempts(platform, failure, times):
        with platform.failing(failures):
            try:
                assert read(user, ids) == expected
            except OMPError as error:
                assert times > 1
                assert error.written == "nothing"


@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("verb", BATCHES)
def test_a_batch_tells_of_each_item_what_became_of_it(
    verb: str, failure: Failure, times: int, platform: Platform, users: Iterator[UserMemory]
) -> None:
    for failures in attempts(platform, failure, times):
        user = next(users)
        ids = prepared(user)
        with platform.failing(failures):
            try:
                results = BATCHES[verb](user, ids)
            except OMPError as error:
                assert error.written == "nothing"
                results = []
        contents = [each[0] for each in state(user)]
        assert len(contents) == len(set(contents)), "stored twice"
        names = [f"fact {n}" for n in range(4)] if verb == "add_many" else ["tea", "milk", None, "water"]
        if not results:
            assert set(contents) == {"tea", "milk", "water"}
        for name, result in zip(names, results, strict=bool(results)):
            if name is None:
                assert result.error is not None
                assert result.error.code in ("not_found", "provider_unavailable", "rate_limited")
            elif result.error is None:
                assert (name in contents) == (verb == "add_many")
            elif result.error.written == "nothing":
                assert (name in contents) == (verb == "delete_many"), (name, result, failures)
            else:
                assert result.error.written == "perhaps"
                assert (failure, times) != ("429", 1)


def test_a_refusal_after_an_answer_that_was_lost_does_not_say_that_nothing_was_written(
    platform: Platform, users: Iterator[UserMemory]
) -> None:
    user = next(users)
    ids = prepared(user)
    with platform.failing([None, "cut", *["429"] * 9]), pytest.raises(RateLimitedError) as caught:
        user.delete(ids["tea"])
    assert caught.value.written == "perhaps"
    with platform.failing([None, "cut", *["429"] * 9]):
        [result] = user.delete_many([ids["milk"]])
    assert result.error is not None
    assert result.error.written == "perhaps"
    assert [each[0] for each in state(user)] == ["water"]
