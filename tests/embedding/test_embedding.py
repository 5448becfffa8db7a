"""The embedders, through their public face."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from importlib.machinery import ModuleSpec
from typing import Any

import httpx
import numpy as np
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from openmem.embedding import INSTALL, Embedder, RefusedTextsError, resolve
from openmem.embedding.local import LocalEmbedder
from openmem.embedding.openai import OpenAIEmbedder
from openmem.embedding.testing import WordEmbedder
from openmem.embedding.vectors import BATCH_CHARACTERS, BATCH_TEXTS, batches
from openmem.errors import (
    ClosedError,
    ConfigurationError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    ScopeDeniedError,
    UnauthorizedError,
)
from openmem.runtime import bridge
from openmem.runtime.repeat import LONGEST_PAUSE

KEY = "sk-very-secret-0123456789"
SMALL = "openai:text-embedding-3-small"
HERE = "http://embedder.test/v1"
ENDPOINT = f"{HERE}/embeddings"


def step(embedder: Embedder, texts: Sequence[str]) -> Any:
    return np.asarray(bridge.step(embedder.embed(texts)))


def made(spec: Any, **options: Any) -> Embedder:
    embedder = resolve(spec, **options)
    assert embedder is not None
    return embedder


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


def in_subprocess(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# resolve


@pytest.mark.parametrize("spec", [None, "none"])
def test_none_means_no_embedder(spec: Any) -> None:
    assert resolve(spec) is None


def test_auto_is_local_where_the_wheel_is_and_none_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(resolve("auto"), LocalEmbedder)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert resolve("auto") is None


def test_names_make_their_embedders() -> None:
    local, words, few = made("local"), made("test"), made("test:16")
    assert (local.model, local.dimension, local.inline) == ("wordllama-256", 256, True)
    assert (words.model, words.dimension, words.inline) == ("test-words-256", 256, True)
    assert (few.model, few.dimension) == ("test-words-16", 16)


def test_an_embedder_object_passes_through() -> None:
    embedder = WordEmbedder()
    assert resolve(embedder) is embedder


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("locl", "Did you mean 'local'?"),
        ("OpenAI:text-embedding-3-small", "Did you mean 'openai'?"),
        ("cohere", "auto, none, local, openai, test"),
        ("", "auto, none, local, openai, test"),
        ("local:256", "takes no argument"),
        ("none:", "takes no argument"),
        ("openai", "needs a model"),
        ("openai:", "needs a model"),
        ("test:", "a dimension"),
        ("test:many", "a dimension"),
        ("test:-3", "a dimension"),
        ("test:²", "a dimension"),
        ("test:0", "0 dimensions"),
        (7, "int is no embedder: it lacks model"),
        (WordEmbedder, "WordEmbedder is no embedder"),
        (LocalEmbedder, "it is"),
    ],
)
def test_a_wrong_spec_names_the_remedy(spec: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(spec)
    assert says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("spec", [None, "none", "auto", "local", "test", WordEmbedder()])
@pytest.mark.parametrize("option", ["embedder_url", "embedder_api_key", "embedder_dimension", "embedder_batch"])
def test_an_option_the_embedder_does_not_take_is_refused(spec: Any, option: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        resolve(spec, **{option: SecretStr(KEY)})
    resolve(spec, **{option: None})


def test_an_unknown_option_names_the_near_miss() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'embedder_url'"):
        resolve(SMALL, embedder_ur1=HERE)


def test_importing_the_package_is_light() -> None:
    heavy = "{'numpy', 'httpx', 'tenacity', 'wordllama', 'tokenizers', 'safetensors'}"
    loaded = f"print(sorted({heavy} & set(sys.modules)))"
    script = f"import sys; from openmem.embedding import resolve; {loaded}; resolve('test'); {loaded}; "
    script += f"resolve('local'); {loaded}; resolve('auto'); {loaded}"
    assert in_subprocess(script).split("\n")[:4] == ["[]", "[]", "['numpy']", "['numpy']"]


# batches


@given(st.lists(st.integers(0, BATCH_CHARACTERS + 1), max_size=600))
def test_batches_cover_all_in_order_and_stay_in_bounds(lengths: list[int]) -> None:
    texts = ["x" * min(length, 3) + "y" * max(0, length - 3) for length in lengths[:20]] + [""] * len(lengths[20:])
    runs = list(batches(texts))
    assert [text for run in runs for text in texts[run]] == texts
    for run in runs:
        batch = texts[run]
        assert 0 < len(batch) <= BATCH_TEXTS
        assert len(batch) == 1 or sum(map(len, batch)) <= BATCH_CHARACTERS


# words


def test_words_are_counted_whatever_their_case_and_order() -> None:
    dark, light, twice, nothing = step(made("test"), ["Dark mode!", "MODE light", "dark dark mode", "… !"])
    assert dark @ light == pytest.approx(1 / 2)
    assert dark @ twice == pytest.approx(3 / math.sqrt(2 * 5))
    assert not nothing.any()


def test_the_axis_of_a_word_is_the_same_everywhere() -> None:
    words = WordEmbedder(dimension=64)
    script = "from openmem.embedding.testing import WordEmbedder; print(WordEmbedder(dimension=64).axis('Paris'))"
    assert int(in_subprocess(script)) == words.axis("paris")
    assert list(np.flatnonzero(step(words, ["Paris"])[0])) == [words.axis("paris")]


@given(st.lists(st.text(), max_size=8))
def test_words_have_unit_length_or_none(texts: list[str]) -> None:
    for vector in bridge.step(WordEmbedder(dimension=32).embed(texts)):
        assert len(vector) == 32
        assert math.hypot(*vector) in (0.0, pytest.approx(1))


# local


EQUALITY = """
import asyncio, json, sys, warnings
from pathlib import Path
import numpy as np
from openmem.embedding import resolve
texts = json.load(sys.stdin)
ours = np.asarray(asyncio.run(resolve("local").embed(texts)))
assert "wordllama" not in sys.modules
warnings.simplefilter("ignore")
import wordllama
theirs = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
each = np.concatenate([theirs.embed([text], norm=True) for text in texts])
short = [number for number, text in enumerate(texts) if len(text) < 100]  # padded to the longest: 1 KB a token
together = theirs.embed([texts[number] for number in short], norm=True)
apart = float(abs(ours - each).max()), float(abs(ours[short] - together).max())
print(json.dumps([bool(np.array_equal(ours, each)), *apart]))
"""


def test_local_equals_wordllama() -> None:
    long = " ".join(f"word{number} and, then  a <s> tag </s> {chr(0x4E00 + number)}" for number in range(3_000))
    texts = [
        "Prefers dark mode",
        "a",
        " ",
        "  two  spaces  ",
        "line\nbreak\ttab",
        "<s>special</s> <unk>",
        "emoji ☃😀 and 日本語, Ελληνικά, عربي",
        "\u0007\u2581 control and ▁",
        "unbroken" * 2_000,
        long,
        long.replace("<s>", "").replace("</s>", " "),
        *(f"fact {number}: likes coffee at {number % 24} h" for number in range(300)),
    ]
    done = subprocess.run(
        [sys.executable, "-c", EQUALITY], input=json.dumps(texts), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    same, apart, apart_when_padded = json.loads(done.stdout)
    assert same, f"largest difference {apart}"
    assert apart_when_padded < 1e-6


@pytest.fixture(scope="module")
def local() -> Embedder:
    return made("local")


def test_local_knows_what_is_near(local: Embedder) -> None:
    query, near, far = step(local, ["which theme does she like", "prefers dark mode", "born in 1980 in Oslo"])
    assert query @ near > query @ far


def test_a_text_without_tokens_is_zeros(local: Embedder) -> None:
    empty, full = step(local, ["", "coffee"])
    assert not empty.any()
    assert np.linalg.norm(full) == pytest.approx(1, abs=1e-6)
    assert step(local, []).shape == (0, 256)


@given(st.lists(st.text(max_size=40), max_size=12))
def test_local_gives_the_same_alone_and_in_company(local: Embedder, texts: list[str]) -> None:
    together = step(local, texts)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(step(local, [text])[0], vector)


@given(st.lists(st.sampled_from([" ", "a", "coffee", "_", "<s>", "</s>", "<unk>", "▁", "日", "é", "\n", ">", "<"])))
def test_a_text_cut_into_pieces_is_embedded_as_if_whole(local: Embedder, parts: list[str]) -> None:
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("openmem.embedding.local.PIECE", 2)
        pieces = step(local, [text])
    assert np.array_equal(pieces, step(local, [text]))


def test_stepping_and_the_event_loop_agree(local: Embedder) -> None:
    texts = [f"note {number}" for number in range(1_000)]
    assert np.array_equal(step(local, texts), asyncio.run(local.embed(texts)))


def test_local_loads_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.numpy

    loads = []
    load_file = safetensors.numpy.load_file

    def noted(path: Any) -> Any:
        loads.append(path)
        return load_file(path)

    monkeypatch.setattr(safetensors.numpy, "load_file", noted)
    embedder = made("local")
    threads = [threading.Thread(target=step, args=(embedder, ["hi"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    asyncio.run(embedder.close())
    asyncio.run(embedder.close())
    assert step(embedder, ["hi"]).any()
    assert len(loads) == 2


def test_a_large_batch_leaves_the_event_loop_free(local: Embedder) -> None:
    async def main() -> int:
        task = asyncio.ensure_future(local.embed(["a few words of a note"] * 20_000))
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0.001)
        return turns

    assert asyncio.run(main()) > 20


def test_cancelling_a_large_batch_stops_it(local: Embedder) -> None:
    def embedding() -> bool:
        return any("fill" in {entry.name for entry in traceback.extract_stack(frame)} for frame in others())

    def others() -> Iterator[Any]:
        mine = threading.get_ident()
        return (frame for ident, frame in sys._current_frames().items() if ident != mine)

    async def main() -> None:
        task = asyncio.ensure_future(local.embed([f"note {number}" for number in range(400_000)]))
        await until(embedding)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not embedding())

    asyncio.run(main())


def test_local_works_after_a_fork_and_changes_no_settings() -> None:
    script = """
import asyncio, logging, os, sys
before = dict(os.environ), list(logging.root.handlers), logging.root.level
from openmem.embedding import resolve
embedder = resolve("local")
one = asyncio.run(embedder.embed(["hi there"] * 300))
child = os.fork()
if child == 0:
    two = asyncio.run(embedder.embed(["hi there"] * 300))
    os._exit(0 if (one == two).all() else 3)
assert os.waitpid(child, 0)[1] == 0
assert before == (dict(os.environ), list(logging.root.handlers), logging.root.level)
assert "wordllama" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    folder = ModuleSpec("wordllama", None, is_package=True)  # as an empty folder of that name is found
    folder.submodule_search_locations = [str(tmp_path)]
    broken = ModuleSpec("wordllama", None, origin=str(tmp_path / "__init__.py"), is_package=True)
    broken.submodule_search_locations = [str(tmp_path)]
    for found, remedy in ((None, INSTALL), (folder, INSTALL), (broken, "pip install --force-reinstall")):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=found: found)
        with pytest.raises(ConfigurationError) as caught:
            resolve("local")
        assert remedy in caught.value.remedy
        assert found is broken or resolve("auto") is None


# openai


def answer(request: httpx.Request, dimension: int = 4) -> httpx.Response:
    """Answer with vectors that tell the length of their text, in reverse order."""
    texts = json.loads(request.content)["input"]
    data = [
        {"index": index, "embedding": [float(len(text)), 1.0] + [0.0] * (dimension - 2)}
        for index, text in enumerate(texts)
    ]
    return httpx.Response(200, json={"object": "list", "data": data[::-1]})


@pytest.fixture
def route() -> Iterator[respx.Route]:
    with respx.mock(assert_all_called=False) as router:
        yield router.post(ENDPOINT).mock(side_effect=answer)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses asked for, and make none."""
    asked: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        asked.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    return asked


def remote(**options: Any) -> OpenAIEmbedder:
    return OpenAIEmbedder("some-model", **{"url": HERE, "dimension": 4, "api_key": SecretStr(KEY), **options})


def embed(texts: Sequence[str], embedder: Embedder | None = None) -> Any:
    async def main() -> Any:
        used = embedder or remote()
        try:
            return await used.embed(texts)
        finally:
            await used.close()

    return asyncio.run(main())


def test_vectors_come_in_the_order_of_the_texts(route: respx.Route) -> None:
    vectors = embed(["abc", "a", "ab"])
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 4))
    assert np.allclose(vectors[:, 0] / vectors[:, 1], [3, 1, 2])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    request = route.calls.last.request
    assert json.loads(request.content) == {"model": "some-model", "input": ["abc", "a", "ab"]}
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_no_key_sends_no_header(route: respx.Route) -> None:
    embed(["a"], made("openai:some-model", embedder_url=HERE + "/", embedder_dimension=4))
    assert "authorization" not in route.calls.last.request.headers


def test_blank_texts_are_not_sent(route: respx.Route) -> None:
    vectors = embed(["", "ab", " \n"])
    assert json.loads(route.calls.last.request.content)["input"] == ["ab"]
    assert [bool(vector.any()) for vector in vectors] == [False, True, False]
    assert embed([]).shape == (0, 4)
    assert embed([""]).shape == (1, 4)
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [(["x"] * 600, [256, 256, 88]), (["x" * 40_000] * 5, [2, 2, 1]), (["x" * 200_000, "y"], [1, 1])],
)
def test_large_calls_are_cut_into_requests(route: respx.Route, texts: list[str], sizes: list[int]) -> None:
    vectors = embed(texts)
    assert [len(json.loads(call.request.content)["input"]) for call in route.calls] == sizes
    assert np.allclose(vectors[:, 0] / vectors[:, 1], [len(text) for text in texts])


@pytest.mark.parametrize(
    ("model", "dimension", "sent"),
    [
        ("text-embedding-3-small", None, None),
        ("text-embedding-3-small", 1536, None),
        ("text-embedding-3-small", 256, 256),
        ("text-embedding-3-large", None, None),
        ("text-embedding-3-large", 1024, 1024),
        ("text-embedding-ada-002", None, None),
        ("some-model", 4, None),
    ],
)
def test_dimensions_are_sent_where_they_shorten(
    route: respx.Route, model: str, dimension: int | None, sent: int | None
) -> None:
    embedder = made(f"openai:{model}", embedder_url=HERE, embedder_dimension=dimension)
    route.mock(side_effect=lambda request: answer(request, embedder.dimension))
    embed(["a"], embedder)
    assert json.loads(route.calls.last.request.content).get("dimensions") == sent


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("some-model", {}, "Give embedder_dimension"),
        ("some-model", {"embedder_dimension": 0}, "1 or more"),
        ("some-model", {"embedder_dimension": True}, "1 or more"),
        ("some-model", {"embedder_dimension": "4"}, "1 or more"),
        ("text-embedding-3-small", {"embedder_batch": 0}, "embedder_batch"),
        ("text-embedding-ada-002", {"embedder_dimension": 512}, "has 1536 dimensions, which cannot become 512"),
        ("text-embedding-3-small", {"embedder_dimension": 3072}, "has 1536 dimensions, which cannot become 3072"),
        ("text-embedding-3-small", {"embedder_url": "embedder.test/v1"}, "not a base URL"),
        ("text-embedding-3-small", {"embedder_url": "ftp://embedder.test"}, "not a base URL"),
        ("text-embedding-3-small", {"embedder_url": f"https://me:{KEY}@embedder.test"}, "not a base URL"),
        ("text-embedding-3-small", {"embedder_url": "http://a:b:c"}, "not a base URL"),
        ("text-embedding-3-small", {"embedder_url": 5}, "not a base URL"),
        ("text-embedding-3-small", {"embedder_api_key": SecretStr("")}, "empty"),
        ("text-embedding-3-small", {"embedder_api_key": SecretStr(f"{KEY}\n")}, "line break"),
        ("text-embedding-3-small", {"embedder_api_key": SecretStr(f"{KEY}…")}, "non-ASCII"),
    ],
)
def test_a_wrong_configuration_fails_before_any_io(model: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(f"openai:{model}", **options)
    assert says in str(caught.value)
    assert caught.value.remedy
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("7", 7, 7), ("0.25", 0.25, 0.25), ("0", 0, 0), ("-3", 0, 0), (lambda: formatdate(time.time() + 30), 20, 30)],
)
def test_retry_after_is_honoured(
    route: respx.Route, pauses: list[float], status: int, header: str | Callable[[], str], low: float, high: float
) -> None:
    value = header if isinstance(header, str) else header()
    refusals = iter([httpx.Response(status, headers={"Retry-After": value})] * 2)
    route.mock(side_effect=lambda request: next(refusals, None) or answer(request))
    assert embed(["a"]).any()
    assert route.call_count == 3
    assert len(pauses) == 2
    assert all(low <= pause <= high for pause in pauses)


@pytest.mark.parametrize("header", [None, "soon", "nan", "inf"])
def test_without_a_usable_retry_after_the_pause_grows(
    route: respx.Route, pauses: list[float], header: str | None
) -> None:
    route.mock(return_value=httpx.Response(503, headers={"Retry-After": header} if header else {}))
    with pytest.raises(ProviderUnavailableError) as caught:
        embed(["a"])
    assert caught.value.retry_after is None
    assert len(pauses) == 3
    assert all(low <= pause <= low + 0.25 for pause, low in zip(pauses, (0.25, 0.5, 1), strict=True))


def test_a_pause_too_long_is_left_to_the_caller(route: respx.Route, pauses: list[float]) -> None:
    route.mock(return_value=httpx.Response(429, headers={"Retry-After": str(LONGEST_PAUSE + 1)}))
    with pytest.raises(RateLimitedError) as caught:
        embed(["a"])
    assert caught.value.retry_after == LONGEST_PAUSE + 1
    assert (route.call_count, pauses) == (1, [])


@pytest.mark.parametrize(
    ("outcome", "error", "calls"),
    [
        (httpx.Response(401), UnauthorizedError, 1),
        (httpx.Response(429, headers={"Retry-After": "2"}), RateLimitedError, 4),
        (httpx.Response(500), ProviderUnavailableError, 4),
        (httpx.Response(503), ProviderUnavailableError, 4),
        (httpx.ConnectError("refused"), ProviderUnavailableError, 4),
        (httpx.ReadTimeout("slow"), ProviderUnavailableError, 4),
        (httpx.Response(413), RefusedTextsError, 1),
        (httpx.Response(403), ScopeDeniedError, 1),
        (httpx.Response(404, json={"error": {"message": "no such model"}}), ProviderError, 1),
        (httpx.Response(307, headers={"Location": "/"}), ProviderError, 1),
        (httpx.DecodingError("bad gzip"), ProviderError, 1),
    ],
)
def test_failures_are_typed_and_bounded(
    route: respx.Route,
    outcome: Any,
    error: type[OMPError],
    calls: int,
    caplog: pytest.LogCaptureFixture,
    naps: list[float],
) -> None:
    caplog.set_level(logging.DEBUG)
    route.mock(**{"side_effect" if isinstance(outcome, Exception) else "return_value": outcome})
    with pytest.raises(OMPError) as caught:
        embed(["a"])
    assert type(caught.value) is error
    # Others quote what was received, and with it what the endpoint repeats of the key and the text.
    told = isinstance(outcome, (httpx.NetworkError, httpx.TimeoutException))
    assert isinstance(caught.value.__cause__, httpx.HTTPError) is told
    assert route.call_count == calls
    assert "embedder.test" in caught.value.message
    assert caught.value.remedy
    assert KEY not in caplog.text + str([vars(record) for record in caplog.records])


def test_what_the_endpoint_says_is_told_without_the_key(route: respx.Route) -> None:
    refusal = {"error": {"message": f"model gone; you sent {KEY}"}}
    route.mock(return_value=httpx.Response(400, json=refusal, headers={"x-request-id": "req-1"}))
    with pytest.raises(RefusedTextsError, match=r"model gone; you sent \*\*\*") as caught:
        embed(["a"])
    (error,) = caught.value.errors.values()
    assert (error.provider, error.request_id) == ("openai", "req-1")
    assert KEY not in "".join(traceback.format_exception(caught.value))
    route.mock(return_value=httpx.Response(400, text="plain words"))
    with pytest.raises(ProviderError, match="plain words"):
        embed(["b"])


def item(index: Any, *embedding: Any) -> dict[str, Any]:
    return {"index": index, "embedding": list(embedding)}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([item(0, 1, 2, 3), item(1, 1, 2, 3)], "dimension 3, where 4 is expected"),
        ([item(0, 1, 2, 3, 4)], "1 vectors"),
        ([item(0, 1, 2, 3, 4)] * 2, "2 vectors that are indexed otherwise than from 0 to 1"),
        ([item(0, 1, 2, 3, 4), item(1, 1, 2)], "dimension 2, where 4 is expected"),
        ([item(0, 1, 2, 3, 4), item(1, 1, 2, 3, "x")], "something other than numbers"),
        ([item(0, 1, 2, 3, 4), item(1, 1, 2, 3, 10**400)], "something other than numbers"),
        ([item(0, 1, 2, 3, 4), item(1, 1, 2, 3, [4])], "a vector that is none"),
        ([item(0, 1, 2, 3, 4), item(1, True, True, True, True)], "something other than numbers"),
        ([item(0, 1, 2, 3, 4), item(1, "1", "2", "3", "4")], "something other than numbers"),
        ([item(0, 1, 2, 3, 4), {"index": 1, "embedding": 7}], "int where a vector is expected"),
        ([item(0, 1, 2, 3, 4), item(None, 1, 2, 3, 4)], "indexed otherwise"),
        ([item(True, 1, 2, 3, 4), item(0, 1, 2, 3, 4)], "indexed otherwise"),
        ([item(1, 1, 2, 3, 4), item(2, 1, 2, 3, 4)], "indexed otherwise"),
        ([{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": "AAAA"}], "text where a vector is expected"),
        ([{"embedding": "AAAAAAAAAAA="}] * 2, "dimension 2"),
        ([{"embedding": "not base64"}] * 2, "text where a vector is expected"),
        ("text", "other than a list of embeddings"),
        (None, "other than a list of embeddings"),
    ],
)
def test_a_wrong_answer_is_no_vector(route: respx.Route, data: Any, says: str) -> None:
    route.mock(return_value=httpx.Response(200, json={"data": data}))
    with pytest.raises(ProviderError, match=says):
        embed(["a", "b"])
    assert route.call_count == 1


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"\xff", b""])
def test_an_answer_that_is_not_theirs_is_no_vector(route: respx.Route, content: bytes) -> None:
    route.mock(return_value=httpx.Response(200, content=content))
    with pytest.raises(ProviderError, match="OpenAI-compatible"):
        embed(["a"])


def test_the_key_is_nowhere_to_be_read(route: respx.Route) -> None:
    async def main() -> str:
        embedder = remote()
        await embedder.embed(["a"])
        shown = f"{embedder!r} {embedder} {vars(embedder)}"
        await embedder.close()
        return shown

    shown = asyncio.run(main())
    assert KEY not in shown
    assert "some-model" in shown


def test_one_client_serves_until_close(route: respx.Route, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = []
    make = httpx.AsyncClient

    def noted(**options: Any) -> httpx.AsyncClient:
        clients.append(make(**options))
        return clients[-1]

    monkeypatch.setattr(httpx, "AsyncClient", noted)

    async def main() -> None:
        embedder = remote()
        assert clients == []
        await asyncio.gather(*(embedder.embed(["a"]) for _ in range(5)))
        assert len(clients) == 1
        await embedder.close()
        await embedder.close()
        assert clients[0].is_closed
        with pytest.raises(ClosedError):
            await embedder.embed(["a"])

    asyncio.run(main())


def test_a_second_event_loop_is_refused(route: respx.Route) -> None:
    embedder = remote()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(embedder.embed(["a"]))
        with pytest.raises(ClosedError, match="each event loop"):
            second.run(embedder.embed(["a"]))
        first.run(embedder.close())


@pytest.mark.parametrize("when", ["asking", "pausing"])
def test_cancellation_leaves_nothing_behind(route: respx.Route, when: str) -> None:
    asked = 0

    async def hold(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if when == "asking":
            await asyncio.Event().wait()
        return httpx.Response(429, headers={"Retry-After": "30"})

    route.mock(side_effect=hold)

    async def main() -> None:
        embedder = remote()
        task = asyncio.ensure_future(embedder.embed(["a"]))
        await until(lambda: asked == 1)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        route.mock(side_effect=answer)
        assert (await embedder.embed(["a"])).any()  # type: ignore[attr-defined]
        await embedder.close()
        assert asked == 1

    asyncio.run(main())
    gc.collect()  # an abandoned connection would warn here


def test_a_real_socket_is_retried_and_closed() -> None:
    served: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        served.append(head)
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        texts = json.loads(await reader.readexactly(size))["input"]
        body = json.dumps({"data": [item(index, 1, 0, 0, 0) for index in range(len(texts))]}).encode()
        status, extra = (b"429 Slow", b"Retry-After: 0\r\n") if len(served) == 1 else (b"200 OK", b"")
        length = str(len(body)).encode()
        writer.write(b"HTTP/1.1 " + status + b"\r\n" + extra + b"Content-Length: " + length)
        writer.write(b"\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        embedder = remote(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        vectors = await embedder.embed(["a", "b"])
        await embedder.close()
        server.close()
        await server.wait_closed()
        return vectors

    assert asyncio.run(main())[:, 0].tolist() == [1, 1]
    assert [head.split(b" HTTP")[0] for head in served] == [b"POST /v1/embeddings"] * 2


def test_an_unreachable_endpoint_is_unavailable(naps: list[float]) -> None:
    async def main() -> int:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return port

    nowhere = remote(url=f"http://127.0.0.1:{asyncio.run(main())}/v1")
    with pytest.raises(ProviderUnavailableError) as caught:
        embed(["a"], nowhere)
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
