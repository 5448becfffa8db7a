"""Embedding endpoints as people meet them: how many texts they take, what they refuse, and what they answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from openmem import (
    AsyncMemory,
    ConfigurationError,
    Memory,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UnauthorizedError,
)
from openmem.embedding import RefusedTextsError, resolve
from openmem.embedding.openai import OpenAIEmbedder
from openmem.errors import PayloadTooLargeError, ScopeDeniedError
from support.embedding_server import DIMENSION, SHAPES, Answer, Endpoint, answer, endpoint, refusal, vector
from support.stores import everything

KEY = "sk-very-secret-0123456789"
OPTIONS = {"embedder": "openai:some-model", "embedder_dimension": DIMENSION, "embedder_api_key": KEY}


@pytest.fixture
def there() -> Iterator[Endpoint]:
    with endpoint() as served:
        yield served


def client(there: Endpoint, **options: Any) -> Memory:
    return Memory("memory://", embedder_url=there.url, **{**OPTIONS, **options})


def made(there: Endpoint, **options: Any) -> OpenAIEmbedder:
    given = {"url": there.url, "dimension": DIMENSION, "api_key": SecretStr(KEY), **options}
    return OpenAIEmbedder("some-model", **given)


def embed(there: Endpoint, *calls: list[str], **options: Any) -> list[Any]:
    """Embed with one embedder, call after call."""

    async def main() -> list[Any]:
        embedder = made(there, **options)
        try:
            return [np.asarray(await embedder.embed(texts)) for texts in calls]
        finally:
            await embedder.close()

    return asyncio.run(main())


def expected(texts: list[str]) -> Any:
    rows = np.array([vector(text) for text in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def numbered(count: int) -> list[str]:
    return [f"note {number}" for number in range(count)]


def batch(texts: list[str]) -> list[dict[str, Any]]:
    return [{"content": text, "user_id": "u"} for text in texts]


def sizes(there: Endpoint) -> list[int]:
    return [len(texts) for texts in there.requests]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


# --- how many texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("most", [1, 10, 100])
def test_every_text_gets_its_vector_however_few_are_taken_at_once(there: Endpoint, most: int, shape: str) -> None:
    there.most, there.shape = most, shape
    texts = numbered(150)
    (found,) = embed(there, texts)
    assert np.allclose(found, expected(texts), atol=1e-6)


FAILURES: dict[str, tuple[int, Callable[[int], Answer]]] = {
    "a pause": (7, lambda number: refusal(429, "slow down", Retry_After="0")),
    "a fault": (3, lambda number: refusal(503, "restarting", Retry_After="0")),
    "a refusal": (5, lambda number: refusal(400, "content policy")),
    "an error inside 200": (
        4,
        lambda number: answer(200, {"error": {"message": "busy", "code": 429}}, Retry_After="0"),
    ),
    "an error inside 200 without a pause": (6, lambda number: answer(200, {"error": {"message": "no", "code": 422}})),
}


@pytest.mark.parametrize(
    ("most", "failing"), [(1, None), (1, "a fault"), (10, None), *((10, each) for each in FAILURES), (100, "a refusal")]
)
def test_each_item_of_a_large_batch_is_stored_or_refused_alone(there: Endpoint, most: int, failing: str | None) -> None:
    there.most, there.longest = most, 500
    there.every = FAILURES[failing] if failing else None
    there.shape = [*SHAPES][most % len(SHAPES)]
    texts = [text + " long" * 100 * (number in (3, 640)) for number, text in enumerate(numbered(1000))]
    with client(there) as memory:
        results = memory.add_many(batch(texts))
        assert len(results) == 1000
        for text, result in zip(texts, results, strict=True):
            if result.error is None:
                assert result.id
                assert memory.get(result.id, user_id="u").content == text
            else:
                assert len(text) > 500 or failing in ("a refusal", "an error inside 200 without a pause")
                assert (result.id, result.error.written) == (None, "nothing")
        refused = {number for number, result in enumerate(results) if result.error}
        assert {3, 640} <= refused
        assert failing is not None or refused == {3, 640}
        stored = [each.content for each in everything(memory, "u")]
        assert len(stored) == len(set(stored)) == 1000 - len(refused)
        there.every = None
        for text in (texts[0], texts[999]):
            if text in stored:
                (hit,) = memory.search(text, "u", mode="vector", limit=1)
                assert (hit.memory.content, hit.score) == (text, pytest.approx(1))


def test_what_is_refused_together_and_taken_apart_teaches_how_many_are_taken(there: Endpoint) -> None:
    there.most = 10
    embed(there, numbered(40), numbered(40))
    assert sizes(there) == [40, 20, 10, 10, 10, 10, *[10] * 4]


def test_one_text_that_is_refused_teaches_nothing(there: Endpoint) -> None:
    there.longest = 100

    async def main() -> None:
        embedder = made(there)
        with pytest.raises(RefusedTextsError) as caught:
            await embedder.embed(["x" * 200, *numbered(63)])
        assert [*caught.value.errors] == [0]
        assert np.allclose(caught.value.vectors, expected(numbered(63)), atol=1e-6)
        await embedder.embed(numbered(64))
        await embedder.close()

    asyncio.run(main())
    assert sizes(there)[-1] == 64


def test_after_many_full_requests_more_is_tried_again(there: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmem.embedding.portions.RECOVERY", 3)
    there.most = 8
    first = numbered(16)
    there.every = (1, lambda number: refusal(413) if number == 1 else answer(200, SHAPES["openai"](there.requests[-1])))
    embed(there, first, numbered(8), first, first)
    assert sizes(there) == [16, *[8] * 5, 16]


def test_the_batch_size_is_an_option(there: Endpoint) -> None:
    with client(there, embedder_batch=3) as memory:
        assert all(result.memory for result in memory.add_many(batch(numbered(7))))
    assert sorted(sizes(there)) == [1, 3, 3]
    with pytest.raises(ConfigurationError, match="embedder_batch"):
        client(there, embedder_batch=0)
    with pytest.raises(ConfigurationError, match="embedder_batch"):
        Memory("memory://", embedder="test", embedder_batch=3)


# --- texts that are refused -------------------------------------------------------------------------------------


def test_a_text_too_long_is_that_items_failure_alone(there: Endpoint) -> None:
    there.longest = 100
    secret = SECRET * 5
    with client(there) as memory:
        known = memory.add("short", "u")
        good, bad, also = memory.add_many(batch(["a", secret, "b"]))
        assert good.memory
        assert also.memory
        assert bad.error
        assert (bad.error.code, bad.error.written) == ("payload_too_large", "nothing")
        one = memory.add_many(batch([secret]))
        assert one[0].error
        assert one[0].error.code == "payload_too_large"
        for call in (
            lambda: memory.add(secret, "u"),
            lambda: memory.update(known.id, content=secret),
            lambda: memory.search(secret, "u"),
        ):
            with pytest.raises(PayloadTooLargeError, match=r"some-model.*context length") as caught:
                call()
            assert (caught.value.written, "Shorten" in caught.value.remedy) == ("nothing", True)
            shown = "".join(traceback.format_exception(caught.value))
            assert KEY not in shown
            assert SECRET not in shown
        assert memory.get(known.id, user_id="u").content == "short"
        assert memory.stats("u").total == 3


SECRET = "my passphrase is swordfish"
QUOTING: list[Any] = [
    {"error": {"message": "cannot embed 'My passphrase  is swordfish'"}},
    {"error": "input: MY PASSPHRASE IS"},
    {"detail": [{"msg": "value is not valid", "input": "my passphrase is swordfish"}]},
    {"message": "my passphrase is swordfish", "code": 422},
    {"error": {"message": f"{KEY} may not embed passphrase is swordfish"}},
    {"error": {"message": "\\u006dy \\u0070assphrase"}},
    "my passphrase is swordfish",
]


@pytest.mark.parametrize("document", QUOTING, ids=str)
@pytest.mark.parametrize("status", [200, 400, 403, 404, 422, 500])
def test_neither_text_nor_key_is_in_what_is_told(
    there: Endpoint, document: Any, status: int, naps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    there.instead = lambda texts: answer(status, document)
    with client(there) as memory:
        with pytest.raises(OMPError, match="some-model") as caught:
            memory.add(SECRET, "u")
        results = []
        if status in (400, 422):
            there.instead = lambda texts: answer(status, document) if SECRET in texts else None
            results = memory.add_many(batch(["other", SECRET]))
            assert results[1].error
    shown = "".join(traceback.format_exception(caught.value)) + str(results[1:]) + caplog.text
    assert KEY not in shown
    assert "swordfish" not in shown.casefold()
    assert "passphrase" not in shown.casefold()


@pytest.mark.parametrize(
    ("told", "error", "says"),
    [
        (refusal(401), UnauthorizedError, "embedder_api_key"),
        (refusal(403, "no access"), ScopeDeniedError, "no access"),
        (refusal(404, "no such model"), ProviderError, "no such model.*embedder_url"),
        (refusal(400, "no such model"), ProviderError, "no such model.*embedder_url"),
        (refusal(422), ProviderError, "embedder_url"),
        (refusal(503, "down", Retry_After="0"), ProviderUnavailableError, "503"),
        (refusal(429, "slow", Retry_After="3600"), RateLimitedError, "slow"),
        (answer(200, {"error": {"message": "quota", "code": "401"}}), UnauthorizedError, "embedder_api_key"),
        (
            answer(200, {"error": {"message": "quota", "code": "insufficient_quota"}}, Retry_After="0"),
            RateLimitedError,
            "",
        ),
        (
            answer(200, {"error": "overloaded", "error_type": "Overloaded"}, Retry_After="0"),
            ProviderUnavailableError,
            "",
        ),
        (answer(200, {"error": "it is broken", "data": []}), ProviderError, "it is broken"),
        (answer(200, {"message": "not found", "status": 404}), ProviderError, "not found"),
        (answer(200, {"code": 500}, Retry_After="0"), ProviderUnavailableError, "500"),
        (answer(200, {"data": None}), ProviderError, "OpenAI-compatible"),
        (answer(200, [[1.0] * 7] * 5), ProviderError, "dimension 7, where 8 is expected"),
        (answer(200, [[0.5] * 8] * 4 + [[1.0] * 9]), ProviderError, "dimension 9, where 8 is expected"),
        (answer(200, [[0.5] * 7 + [True]] * 5), ProviderError, "other than numbers"),
        (answer(200, [[True] * 8] * 5), ProviderError, "other than numbers"),
        ((200, {}, b"[" * 50_000), ProviderError, "other than JSON"),
        ((200, {}, b'{"data":' * 5_000), ProviderError, "other than JSON"),
        ((200, {"Content-Encoding": "gzip"}, b"not gzip"), ProviderError, "packed"),
        ((200, {"Content-Encoding": "gzip"}, gzip.compress(b"[]")[:-4]), ProviderError, "packed"),
        ((200, {"Content-Encoding": "gzip"}, gzip.compress(b"[]") + b"more"), ProviderError, "packed"),
        ((200, {"Content-Encoding": "br"}, b"[]"), ProviderError, "packed"),
        ((500, {"Retry-After": "0"}, b"[" * 100_000), ProviderUnavailableError, "500"),
        ((500, {"Retry-After": "0", "Content-Encoding": "gzip"}, b"not gzip"), ProviderUnavailableError, "500"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_concerns_all_fails_whole_and_stores_nothing(
    there: Endpoint, told: Answer, error: type[OMPError], says: str
) -> None:
    there.instead = lambda texts: told
    with client(there) as memory:
        with pytest.raises(error, match=f"(?s)some-model.*{says}") as caught:
            memory.add_many(batch(numbered(5)))
        assert caught.value.written == "nothing"
        assert caught.value.remedy
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert memory.stats("u").total == 0
    assert len(there.requests) < 10


OTHERWISE = [
    KEY.upper(),
    KEY.replace("-", "\\/"),
    "".join(f"&#x{ord(each):x};" for each in KEY),
    "".join(f"%{ord(each):02x}" for each in KEY),
    "".join(f"\\u{ord(each):04x}" for each in KEY),
    base64.b64encode(KEY.encode()).decode(),
    base64.urlsafe_b64encode(f"Bearer {KEY}".encode()).decode(),
    KEY.encode().hex(),
    f"{KEY[:12]}\n{KEY[12:]}",
    KEY[:-4],
    KEY[5:14],
    "my%20passphrase%20is%20swordfish",
    "my+passphrase+is+swordfish",
    "my&nbsp;passphrase&nbsp;is&nbsp;swordfish",
    "['my', ' pass', 'phrase', ' is', ' sword', 'fish']",
    "My-Passphrase_is\u00a0sw\u00f6rdfish",
    base64.b64encode(SECRET.encode()).decode(),
]


@pytest.mark.parametrize("said", OTHERWISE)
@pytest.mark.parametrize("plain", [True, False])
def test_in_no_spelling_are_text_or_key_told(there: Endpoint, said: str, plain: bool) -> None:
    body = f"refused {said}, as it is".encode()
    there.instead = lambda texts: (400, {}, body) if plain else refusal(400, body.decode())
    with client(there) as memory, pytest.raises(ProviderError, match=r"its words quote the (text|key)") as caught:
        memory.add(SECRET, "u")
    assert said not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("x", "I like maximum volume", "the maximum is 8 texts"),
        ("none", "colours of trees", "model nonexistent is not here"),
        (KEY, "text about embedding models", "the model text-embedding-3-small takes 8192 tokens, not 9000"),
        (KEY, "a note", "Incorrect key sk-very****6789, another is needed"),
    ],
)
def test_what_quotes_nothing_is_told(there: Endpoint, key: str, text: str, said: str) -> None:
    there.instead = lambda texts: refusal(400, said)
    with client(there, embedder_api_key=key) as memory, pytest.raises(OMPError, match=re.escape(said)):
        memory.add(text, "u")


def test_a_short_key_is_not_told_whole(there: Endpoint) -> None:
    there.instead = lambda texts: refusal(400, "not for Ollama!")
    with client(there, embedder_api_key="ollama") as memory, pytest.raises(ProviderError, match="quote the key"):
        memory.add("one", "u")


def test_what_cannot_be_printed_is_not_told(there: Endpoint) -> None:
    there.instead = lambda texts: (
        (400, {}, rb'{"error": "denied \ud800 here \u0000\u001b[31m\u202e red"}') if "bad" in texts else None
    )
    with client(there) as memory:
        _, refused, _ = memory.add_many(batch(["a", "bad", "b"]))
        assert "denied here [31m red." in json.loads(refused.model_dump_json())["error"]["message"]
        with pytest.raises(ProviderError) as caught:
            memory.add("bad", "u")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "head",
    [
        f"garbage {KEY} {SECRET}\r\n\r\n",
        f"HTTP/1.1 400 x\r\nbad {KEY} {SECRET}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY} {SECRET}\r\n",
        f"HTTP/1.1 401 no {KEY} {SECRET}\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 400 no\r\nx-request-id: {KEY}\r\nx-said: {SECRET}\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 400 no\r\nx-request-id: {SECRET.replace(' ', '.')}\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 400 no\r\nx-request-id: {'1' * 129}\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_repeated_outside_the_body_is_neither_told_nor_logged(
    there: Endpoint, head: str, naps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    there.pieces = lambda: iter([(0, head.encode())])
    with client(there) as memory, pytest.raises(OMPError, match="some-model") as caught:
        memory.add(SECRET, "u")
    error: BaseException | None = caught.value
    shown = caplog.text
    while error is not None:
        shown += repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__
    assert KEY not in shown
    assert "swordfish" not in shown
    assert "1" * 129 not in shown


def test_the_request_id_of_the_endpoint_is_told(there: Endpoint) -> None:
    there.instead = lambda texts: refusal(400, "no", x_request_id="req_0a1b-2c.3:4")
    with client(there) as memory, pytest.raises(ProviderError) as caught:
        memory.add("one", "u")
    assert caught.value.request_id == "req_0a1b-2c.3:4"


def test_an_endpoint_that_is_away_fails_whole(naps: list[float]) -> None:
    with endpoint() as gone:
        pass
    with client(gone) as memory:
        with pytest.raises(ProviderUnavailableError, match="some-model") as caught:
            memory.add_many(batch(numbered(3)))
        assert caught.value.written == "nothing"
        assert memory.stats("u").total == 0


def test_a_text_without_a_vector_is_refused_alone(there: Endpoint) -> None:
    for nothing in (None, [], [None] * 8, [float("nan")] * 8, [1e300] * 8, [1.0] * 7 + [None]):
        there.instead = lambda texts, nothing=nothing: answer(  # type: ignore[misc]
            200, [nothing if text == "bad" else vector(text) for text in texts]
        )
        with client(there) as memory:
            results = memory.add_many(batch(["a", "bad", "b"]))
            assert [result.error is None for result in results] == [True, False, True]
            with pytest.raises(ProviderError, match=r"some-model.*no vector of finite numbers"):
                memory.search("bad", "u")


@pytest.mark.parametrize("most", [1, 2, 3, 10, 256])
def test_texts_in_a_row_without_a_vector_are_refused_alone(there: Endpoint, most: int) -> None:
    there.instead = lambda texts: answer(200, [[None] * 8 if "bad" in text else vector(text) for text in texts])
    texts = [*numbered(40), *(f"bad {number}" for number in range(20)), *numbered(40)]
    with client(there, embedder_batch=most) as memory:
        results = memory.add_many(batch(texts))
        assert [result.error is not None for result in results] == ["bad" in text for text in texts]
        assert all("no vector of finite numbers" in result.error.message for result in results if result.error)
        assert all(result.error for result in memory.add_many(batch(["bad 1", "bad 2"])))
        assert memory.stats("u").total == 80


def test_an_endpoint_that_has_no_vector_for_any_text_fails_whole(there: Endpoint) -> None:
    there.instead = lambda texts: answer(200, [[None] * 8] * len(texts))
    with client(there) as memory:
        with pytest.raises(ProviderError, match=r"some-model.*no vector that has finite numbers") as caught:
            memory.add_many(batch(numbered(500)))
        assert caught.value.written == "nothing"
        assert memory.stats("u").total == 0
    assert len(there.requests) < 20


# --- bounds -----------------------------------------------------------------------------------------------------


def test_an_endless_answer_ends_at_a_bound_of_bytes(there: Endpoint) -> None:
    def endless() -> Iterator[tuple[float, bytes]]:
        yield 0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(10_000):
            yield 0, b"8000\r\n" + b" " * 0x8000 + b"\r\n"

    there.pieces = endless
    with client(there) as memory, pytest.raises(ProviderError, match=r"some-model.*more than \d+ bytes"):
        memory.add("x", "u")
    assert there.sent < 100_000_000
    assert len(there.requests) == 1


def test_what_is_packed_is_unpacked_within_the_same_bound(there: Endpoint) -> None:
    _, _, body = answer(200, SHAPES["openai"](["x"]))
    there.instead = lambda texts: (200, {"Content-Encoding": "gzip"}, gzip.compress(body))
    with client(there) as memory:
        assert memory.add("x", "u")
        members = b"".join(gzip.compress(body[start : start + 50]) for start in range(0, len(body), 50))
        there.instead = lambda texts: (200, {"Content-Encoding": "gzip"}, members + gzip.compress(b"") + b"\0" * 9)
        assert memory.add("x", "u")
        there.instead = lambda texts: (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 50_000_000))
        with pytest.raises(ProviderError, match="more than"):
            memory.add("x", "u")


def test_an_answer_of_very_many_packed_parts_is_refused(there: Endpoint) -> None:
    there.instead = lambda texts: (200, {"Content-Encoding": "gzip"}, gzip.compress(b"") * 10_001)
    with client(there) as memory, pytest.raises(ProviderError, match="packed"):
        memory.add_many(batch(numbered(200)))


def test_a_dripping_answer_ends_at_the_clients_timeout(there: Endpoint) -> None:
    def dripping() -> Iterator[tuple[float, bytes]]:
        yield 0, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        while True:
            yield 0.01, b" "

    there.pieces = dripping
    with client(there, timeout=0.5) as memory:
        for call in (lambda: memory.add("x", "u"), lambda: memory.add_many(batch(["x", "y"]))):
            with pytest.raises(ProviderUnavailableError, match=r"within 0\.\d+ s") as caught:
                call()
            assert (caught.value.written, "timeout" in caught.value.remedy) == ("nothing", True)
        assert memory.stats("u").total == 0


def test_the_clients_timeout_is_that_of_its_embedder(there: Endpoint, naps: list[float]) -> None:
    embedder = resolve("openai:m", timeout=0.1, embedder_url=there.url, embedder_dimension=DIMENSION)
    assert embedder
    there.pieces = lambda: iter([(30.0, b"")])

    async def main() -> None:
        with pytest.raises(ProviderUnavailableError, match=r"within 0\.1 s"):
            await embedder.embed(["x"])
        await embedder.close()

    asyncio.run(main())


def test_a_pause_is_told_in_milliseconds_too(there: Endpoint, naps: list[float]) -> None:
    answers = iter([refusal(429, retry_after_ms="1500")])
    there.instead = lambda texts: next(answers, None)
    embed(there, ["x"])
    assert [nap for nap in naps if nap] == [1.5]


def test_a_large_answer_is_read_beside_the_event_loop(there: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[tuple[int, int]] = []
    loads = json.loads

    def noted(text: Any, **options: Any) -> Any:
        if isinstance(text, bytes) and b"embedding" in text:
            readers.append((len(text), threading.get_ident()))
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", noted)
    embed(there, ["x"], numbered(1000), batch=1000)
    small, large = readers
    assert small[1] == threading.get_ident() != large[1]
    assert large[0] > 100_000


@pytest.mark.parametrize("when", ["asking", "reading"])
def test_a_call_that_is_cancelled_leaves_nothing_behind(there: Endpoint, when: str) -> None:
    def held() -> Iterator[tuple[float, bytes]]:
        if when == "reading":
            yield 0, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 100
        yield 60, b""

    async def main() -> None:
        async with AsyncMemory("memory://", embedder_url=there.url, **OPTIONS) as memory:
            await memory.add("first", "u")
            there.pieces = held
            tasks = [asyncio.ensure_future(memory.add_many(batch(numbered(600)))) for _ in range(3)]
            await until(lambda: len(there.requests) >= 4)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all(task.cancelled() for task in tasks)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            there.pieces = None
            await memory.add("second", "u")
            assert (await memory.stats("u")).total == 2

    asyncio.run(main())


def test_no_more_than_four_requests_of_a_call_are_under_way(there: Endpoint) -> None:
    there.most_characters, there.delay = 300, 0.005
    texts = [*map(str, range(50)), *(f"note number {number} with more words" for number in range(450))]
    with client(there, embedder_batch=50) as memory:
        assert all(result.memory for result in memory.add_many(batch(texts)))
    assert there.busiest == 4


def test_many_clients_calls_at_once_are_answered(there: Endpoint) -> None:
    there.most = 4

    async def main() -> None:
        async with AsyncMemory("memory://", embedder_url=there.url, **OPTIONS) as memory:
            await asyncio.gather(*(memory.add_many(batch(numbered(20))) for _ in range(20)))
            assert (await memory.stats("u")).total == 400

    asyncio.run(main())
    assert all(size <= 4 for size in sizes(there)[-50:])
