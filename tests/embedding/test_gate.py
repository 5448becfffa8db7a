"""The gate that every vector passes: an embedder's, an endpoint's, a caller's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import AsyncMemory, ConfigurationError, InvalidRequestError, Memory, ProviderError
from openmem.embedding import RefusedTextsError
from openmem.errors import PayloadTooLargeError
from support.stores import everything

GOOD = [1.0, 0.0, 0.0, 0.0]
WRONG: dict[str, Callable[[int], Any]] = {
    "none": lambda n: None,
    "no list": lambda n: 7,
    "too few": lambda n: [GOOD] * (n - 1),
    "too many": lambda n: [GOOD] * (n + 1),
    "too narrow": lambda n: [GOOD[:3]] * n,
    "too wide": lambda n: [[*GOOD, 0.0]] * n,
    "one is ragged": lambda n: [GOOD] * (n - 1) + [GOOD[:2]],
    "one is none": lambda n: [GOOD] * (n - 1) + [None],
    "a number is none": lambda n: [[1.0, None, 0.0, 0.0]] * n,
    "a number is text": lambda n: [["one", 0.0, 0.0, 0.0]] * n,
    "a number is complex": lambda n: [[1j, 0.0, 0.0, 0.0]] * n,
    "nan": lambda n: [[float("nan"), 0.0, 0.0, 0.0]] * n,
    "inf": lambda n: [[float("inf"), 0.0, 0.0, 0.0]] * n,
    "over float32": lambda n: [[1e39, 0.0, 0.0, 0.0]] * n,
    "over float32 in numpy": lambda n: np.full((n, 4), 1e300),
    "a single row": lambda n: np.zeros(4),
    "a cube": lambda n: np.zeros((n, 4, 1)),
    "text": lambda n: [["1", "0", "0", "0"]] * n,
    "truth": lambda n: [[True, False, False, False]] * n,
    "truth among numbers": lambda n: [[True, 0.5, 0.5, 0.5]] * n,
    "truth in rows": lambda n: [np.array([True, False, False, False])] * n,
    "truth of numpy among numbers": lambda n: [(np.True_, 0.5, 0.5, 0.5)] * n,
    "complex in numpy": lambda n: np.zeros((n, 4), dtype=complex),
    "days": lambda n: np.zeros((n, 4), dtype="datetime64[D]"),
    "masked": lambda n: np.ma.masked_less(np.zeros((n, 4)), 1),
    "masked rows": lambda n: [np.ma.masked_less(np.zeros(4), 1)] * n,
    "400 digits": lambda n: [[10**400, 0.0, 0.0, 0.0]] * n,
    "a generator": lambda n: (GOOD for _ in range(n)),
    "a failure": lambda n: 1 // 0,
    "a cancellation of its own": lambda n: cancelled(),
    "no length": lambda n: Unmeasured(),
}


def cancelled() -> None:
    raise asyncio.CancelledError


class Unmeasured:
    def __len__(self) -> int:
        raise RuntimeError("it still needs its gradient")


class Lying:
    """An embedder that answers as told."""

    model, dimension, inline = "lying-4", 4, True

    def __init__(self) -> None:
        self.answer: Callable[[int], Any] = lambda n: [GOOD] * n
        self.closed = 0

    async def embed(self, texts: Sequence[str]) -> Any:
        return self.answer(len(texts))

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture(params=["memory", "sqlite", "edge"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kinds = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/a.db", "edge": f"qdrant+edge:///{tmp_path}/edge"}
    return kinds[request.param]


def test_a_wrong_vector_is_refused_and_nothing_changes(store: str) -> None:
    embedder = Lying()
    with Memory(store, embedder=embedder) as memory:
        known = memory.add("one", "u")
        calls: list[Callable[[], Any]] = [
            lambda: memory.add("two", "u"),
            lambda: memory.add("two", "u", external_id="e"),
            lambda: memory.update(known.id, content="changed"),
            lambda: memory.add_many([{"content": "two"}, {"content": "three"}], user_id="u"),
            lambda: memory.search("one", "u"),
        ]
        for name, answer in WRONG.items():
            embedder.answer = answer
            for call in calls:
                with pytest.raises(ProviderError, match="lying-4") as caught:
                    call()
                assert caught.value.written == "nothing", name
        embedder.answer = lambda n: [GOOD] * n
        assert everything(memory, "u") == [known]
        assert [hit.memory for hit in memory.search("one", "u", mode="vector")] == [known]


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), -float("inf"), 1e39, -1e39, 3.4028235677973366e38, None, "one", True]
)
def test_a_callers_vector_passes_the_same_gate(number: Any) -> None:
    memory = Memory("memory://", embedder=Lying())
    known = memory.add("one", "u", vector=[3.4028234e38, 0.0, 0.0, -3.4028234e38])
    vector = [number, 0.0, 0.0, 0.0]
    if number is True:  # which is 1 everywhere
        assert memory.search(None, "u", vector=vector)
        return
    for call in (
        lambda: memory.add("two", "u", vector=vector),
        lambda: memory.update(known.id, content="two", vector=vector),
        lambda: memory.search(None, "u", vector=vector),
    ):
        with pytest.raises(InvalidRequestError, match="vector"):
            call()
    (item,) = memory.add_many([{"content": "two", "vector": vector}], user_id="u")
    assert item.error
    assert item.error.code == "invalid_request"
    assert everything(memory, "u") == [known]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_whatever_is_finite_is_stored_and_searched(vector: list[float]) -> None:
    memory = Memory("memory://", embedder=Lying())
    memory.add("one", "u", vector=vector)
    (hit,) = memory.search(None, "u", vector=vector)
    assert hit.score == pytest.approx(1.0 if any(vector) else 0.0, abs=1e-5)


def test_who_lends_an_embedder_closes_it() -> None:
    embedder = Lying()
    first, second = Memory("memory://", embedder=embedder), Memory("memory://", embedder=embedder)
    first.add("one", "u")
    first.close()
    assert second.add("two", "u")
    second.close()
    assert embedder.closed == 0


@pytest.mark.parametrize("dimension", [0, -1, 4.0, "4", None, True])
def test_an_embedder_says_its_dimension(dimension: Any) -> None:
    embedder = Lying()
    embedder.dimension = dimension
    with pytest.raises(ConfigurationError, match="dimension"):
        Memory("memory://", embedder=embedder)


def test_an_embedder_is_within_the_timeout() -> None:
    class Stuck(Lying):
        inline = False

        async def embed(self, texts: Sequence[str]) -> Any:
            await asyncio.Event().wait()

    with Memory("memory://", embedder=Stuck(), timeout=0.05) as memory:
        with pytest.raises(ProviderError, match=r"within 0\.05 s"):
            memory.add("one", "u")
        assert memory.stats("u").total == 0


@pytest.mark.parametrize("inline", [True, False])
def test_a_cancellation_within_an_embedder_is_its_failure(inline: bool) -> None:
    class Cancelled(Lying):
        async def embed(self, texts: Sequence[str]) -> Any:
            cancelled()

    async def main() -> None:
        embedder = Cancelled()
        embedder.inline = inline
        async with AsyncMemory("memory://", embedder=embedder) as memory:
            with pytest.raises(ProviderError, match="lying-4 answered with CancelledError") as caught:
                await memory.add("one", "u")
            assert caught.value.written == "nothing"

    asyncio.run(main())


def test_a_callers_cancellation_is_one() -> None:
    async def main() -> None:
        asking = asyncio.Event()

        class Stuck(Lying):
            inline = False

            async def embed(self, texts: Sequence[str]) -> Any:
                asking.set()
                await asyncio.Event().wait()

        async with AsyncMemory("memory://", embedder=Stuck()) as memory:
            task = asyncio.ensure_future(memory.add("one", "u"))
            await asking.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_a_masked_array_of_which_nothing_is_masked_is_taken() -> None:
    embedder = Lying()
    embedder.answer = lambda n: np.ma.masked_less(np.array([GOOD] * n), -1)
    with Memory("memory://", embedder=embedder) as memory:
        memory.add("one", "u")
        assert memory.search("one", "u", mode="vector")[0].score == pytest.approx(1)


def test_an_embedder_may_use_its_array_again(tmp_path: Path) -> None:
    class Reusing(Lying):
        def __init__(self) -> None:
            super().__init__()
            self.rows = np.zeros((1, 4), dtype=np.float32)

        async def embed(self, texts: Sequence[str]) -> Any:
            self.rows[0] = [int(digit) for digit in f"{int(texts[0]):04b}"]
            return self.rows

    async def work() -> None:
        for url in ("memory://", f"sqlite:///{tmp_path}/a.db"):
            async with AsyncMemory(url, embedder=Reusing()) as memory:
                await asyncio.gather(*(memory.add(str(number), "u") for number in range(1, 16)))
                for number in range(1, 16):
                    (hit, *_) = await memory.search(str(number), "u", mode="vector")
                    assert hit.score == pytest.approx(1.0)

    asyncio.run(work())


# --- an embedder that refuses some of the texts -----------------------------------------------------------------


class Choosy(Lying):
    """An embedder that takes no text of more than ten characters."""

    async def embed(self, texts: Sequence[str]) -> Any:
        errors = {n: PayloadTooLargeError("too long.") for n, text in enumerate(texts) if len(text) > 10}
        good = [GOOD] * (len(texts) - len(errors))
        if errors:
            raise RefusedTextsError(self.model, good, errors)
        return good


class Waiting(Choosy):
    inline = False


@pytest.mark.parametrize("kind", [Choosy, Waiting])
def test_what_an_embedder_refuses_fails_alone(store: str, kind: type[Lying]) -> None:
    with Memory(store, embedder=kind()) as memory:
        given = [{"content": text, "user_id": "u"} for text in ("one", "two, which is long", "three", "four, as long")]
        given.insert(2, {"content": "with a vector of its own", "vector": [0.0, 1.0, 0.0, 0.0], "user_id": "u"})
        results = memory.add_many(given)
        assert [result.memory and result.memory.content for result in results] == [
            "one",
            None,
            "with a vector of its own",
            "three",
            None,
        ]
        assert {result.error.code for result in results if result.error} == {"payload_too_large"}
        assert {result.error.written for result in results if result.error} == {"nothing"}
        hits = memory.search("x", "u", mode="vector", limit=3)
        assert {hit.memory.content for hit in hits if hit.score > 0.9} == {"one", "three"}
        (alone,) = memory.add_many(given[1:2])
        assert alone.error
        known = results[0].memory
        assert known
        for call in (
            lambda: memory.add("two, which is long", "u"),
            lambda: memory.update(known.id, content="two, which is long"),
            lambda: memory.search("two, which is long", "u"),
        ):
            with pytest.raises(PayloadTooLargeError, match="too long") as caught:
                call()
            assert caught.value.written == "nothing"
        assert memory.stats("u").total == 3
        patches: list[dict[str, Any]] = [{"kind": "fact"}, {"content": "two, which is long"}, {"content": "six"}]
        first, refused, last = memory.update_many([{"id": known.id, **patch} for patch in patches], user_id="u")
        assert refused.error
        assert (first.error, refused.error.code, last.error) == (None, "payload_too_large", None)
        assert (memory.get(known.id).content, memory.get(known.id).version) == ("six", 3)


ERROR = PayloadTooLargeError("too long.")
MISTAKEN: list[tuple[Any, dict[Any, Any]]] = [
    ([GOOD, GOOD, GOOD], {}),
    ([GOOD], {0: ERROR}),
    ([GOOD, GOOD, GOOD], {0: ERROR}),
    ([GOOD, GOOD[:3]], {0: ERROR}),
    ([GOOD, [float("nan")] * 4], {0: ERROR}),
    ([GOOD, GOOD], {3: ERROR}),
    ([GOOD, GOOD], {-1: ERROR}),
    ([GOOD, GOOD], {"0": ERROR}),
    ([GOOD, GOOD], {False: ERROR}),
    ([GOOD, GOOD], {0: ValueError("not ours")}),
    ([GOOD, GOOD], {0: None}),
    ([], {0: ERROR, 1: ERROR, 2: ERROR, 3: ERROR}),
]


@pytest.mark.parametrize(("vectors", "errors"), MISTAKEN, ids=str)
def test_a_refusal_passes_the_same_gate(vectors: Any, errors: dict[Any, Any]) -> None:
    class Mistaken(Lying):
        async def embed(self, texts: Sequence[str]) -> Any:
            refusal = RefusedTextsError(self.model, [GOOD], {0: ERROR})
            refusal.vectors, refusal.errors = vectors, errors
            raise refusal

    with Memory("memory://", embedder=Mistaken()) as memory:
        with pytest.raises(ProviderError, match="lying-4 answered") as caught:
            memory.add_many([{"content": text, "user_id": "u"} for text in ("a", "b", "c")])
        assert caught.value.written == "nothing"
        assert memory.stats("u").total == 0
