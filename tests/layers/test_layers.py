"""The layers between client and adapter: retry, timeout, observe, guard, emulate, embed."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from openmem import (
    Adapter,
    AsyncMemory,
    ClosedError,
    InvalidRequestError,
    Memory,
    NotFoundError,
    OMPError,
    PayloadTooLargeError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UnsupportedCapabilityError,
)
from openmem._generated import models
from openmem._generated.verbs import NEEDS, READS, VERBS
from openmem.adapters.memory import MemoryAdapter
from openmem.embedding.testing import WordEmbedder
from support.clocks import START
from support.processes import run
from support.scripted import EMBEDDING, Remote, Scripted, record, trap, unreachable
from support.stores import everything

SECRET = "Zq7-private"


# --- retry ------------------------------------------------------------------------------------------------------


class Flaky:
    """Fails as told, then answers."""

    def __init__(self, *failures: Exception, answer: Any = None) -> None:
        self.failures = list(failures)
        self.answer = answer
        self.calls = 0

    def __call__(self, request: Any) -> Any:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.answer


ANSWERS: dict[str, Any] = {
    "get": record(external_id="key"),
    "list": models.MemoryPage(items=[]),
    "search": models.SearchResponse(results=[]),
    "context": models.ContextBlock(text="", citations=[], token_count=0),
    "audit": models.AuditResponse(entries=[]),
    "related": models.SearchResponse(results=[]),
    "history": models.HistoryResponse(items=[record(external_id="key")]),
    "stats": models.Stats(user_id="u", total=0, current=0),
    "scopes": models.ScopePage(items=[]),
    "users": models.UserPage(items=[]),
    "health": models.Health(status="ok"),
    "add": record(),
    "update": record(external_id="key"),
    "delete": None,
    "add_many": models.BatchResponse(results=[models.BatchResult(id="m1")]),
    "get_many": models.BatchResponse(results=[models.BatchResult(id="m1", memory=record())]),
    "update_many": models.BatchResponse(results=[models.BatchResult(id="m1", memory=record())]),
    "delete_many": models.BatchResponse(results=[models.BatchResult(id="m1")]),
    "remember": models.RememberResponse(items=[]),
    "erase": models.EraseResponse(count=0, dry_run=True, unreached=[]),
}
CALLS: dict[str, Callable[[Memory], Any]] = {
    "get": lambda memory: memory.get("m1"),
    "list": lambda memory: memory.list("u"),
    "search": lambda memory: memory.search("x", "u"),
    "context": lambda memory: memory.context("x", "u"),
    "audit": lambda memory: memory.audit("u"),
    "related": lambda memory: memory.related("m1"),
    "history": lambda memory: memory.history("m1"),
    "stats": lambda memory: memory.stats("u"),
    "scopes": lambda memory: memory.scopes("u"),
    "users": lambda memory: memory.users(),
    "health": lambda memory: memory.health(),
    "add": lambda memory: memory.add("x", "u"),
    "update": lambda memory: memory.update("m1", content="x"),
    "delete": lambda memory: memory.delete("m1"),
    "add_many": lambda memory: memory.add_many([{"content": "x"}], user_id="u"),
    "get_many": lambda memory: memory.get_many(["m1"]),
    "update_many": lambda memory: memory.update_many([{"id": "m1", "content": "x"}]),
    "delete_many": lambda memory: memory.delete_many(["m1"]),
    "remember": lambda memory: memory.remember([{"role": "user", "content": "x"}], "u"),
    "erase": lambda memory: memory.erase("u", all=True),
}
WRITES = {"add", "update", "delete", "add_many", "update_many", "delete_many", "remember", "erase"}


def test_reads_and_writes_are_all_the_verbs() -> None:
    assert set(VERBS) == READS | WRITES
    assert not READS & WRITES
    assert set(CALLS) == set(ANSWERS) == set(VERBS) - {"capabilities"}


def _flaky(verb: str, *failures: Exception, **options: Any) -> tuple[Memory, Flaky]:
    flaky = Flaky(*failures, answer=ANSWERS[verb])
    items = {"add": unreachable, "update": unreachable}  # batches are of what these take
    return Memory(Remote(**{**items, verb: flaky}), **options), flaky


@pytest.mark.parametrize("verb", sorted(CALLS.keys() - {"health"}))
def test_a_refusal_is_repeated_for_every_verb_after_the_pause_asked_for(verb: str, naps: list[float]) -> None:
    memory, flaky = _flaky(verb, RateLimitedError("wait.", retry_after=7.5), RateLimitedError("wait.", retry_after=3))
    CALLS[verb](memory)
    assert (flaky.calls, [nap for nap in naps if nap]) == (3, [7.5, 3])


def test_a_pause_of_over_a_minute_is_left_to_the_caller(naps: list[float]) -> None:
    memory, flaky = _flaky("get", RateLimitedError("wait.", retry_after=61))
    with pytest.raises(RateLimitedError) as caught:
        CALLS["get"](memory)
    assert (flaky.calls, caught.value.retry_after, naps) == (1, 61, [])


@pytest.mark.parametrize("verb", sorted(READS - {"capabilities", "health"}))
def test_a_lost_read_is_repeated(verb: str, naps: list[float]) -> None:
    memory, flaky = _flaky(verb, ProviderUnavailableError("lost."))
    CALLS[verb](memory)
    assert flaky.calls == 2
    assert naps


@pytest.mark.parametrize("verb", sorted(WRITES))
def test_a_lost_write_is_not_repeated(verb: str, naps: list[float]) -> None:
    memory, flaky = _flaky(verb, ProviderUnavailableError("lost."))
    with pytest.raises(ProviderUnavailableError, match="lost"):
        CALLS[verb](memory)
    assert (flaky.calls, naps) == (1, [])


def test_a_lost_add_with_an_external_id_is_repeated(naps: list[float]) -> None:
    memory, flaky = _flaky("add", ProviderUnavailableError("lost."))
    memory.add("x", "u", external_id="key")
    assert flaky.calls == 2


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_attempts_are_bounded(retries: int, naps: list[float]) -> None:
    failures = [ProviderUnavailableError(f"lost {number}.") for number in range(20)]
    memory, flaky = _flaky("get", *failures, retries=retries)
    with pytest.raises(ProviderUnavailableError, match=f"lost {retries}"):
        memory.get("m1")
    assert (flaky.calls, len(naps)) == (retries + 1, retries)


@pytest.mark.parametrize("error", [NotFoundError("no."), ProviderError("broken."), ValueError("foreign")])
def test_other_failures_are_not_repeated(error: Exception, naps: list[float]) -> None:
    memory, flaky = _flaky("get", error)
    with pytest.raises(OMPError):
        memory.get("m1")
    assert (flaky.calls, naps) == (1, [])


def test_an_adapter_in_this_process_is_not_asked_twice() -> None:
    flaky = Flaky(ProviderUnavailableError("lost."), answer=record())
    with pytest.raises(ProviderUnavailableError):
        Memory(Scripted(get=flaky)).get("m1")
    assert flaky.calls == 1


# --- timeout ----------------------------------------------------------------------------------------------------


class Hanging:
    """Never answers; knows who gave up on it."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0

    async def __call__(self, request: Any) -> Any:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def test_a_read_that_takes_too_long_is_cancelled_and_not_repeated() -> None:
    hanging = Hanging()
    memory = Memory(Remote(get=hanging), timeout=0.01, retries=1)
    with pytest.raises(ProviderUnavailableError, match=r"within 0\.01 s") as caught:
        memory.get("m1")
    assert (hanging.begun, hanging.cancelled) == (1, 1)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert caught.value.written == "nothing"


def test_a_call_that_does_not_end_when_it_is_cancelled_is_given_up_all_the_same() -> None:
    async def work() -> None:
        release = asyncio.Event()
        ended: list[bool] = []

        async def get(request: Any) -> Any:
            while not release.is_set():
                with suppress(asyncio.CancelledError):
                    await release.wait()
            ended.append(True)
            return record()

        memory = AsyncMemory(Remote(get=get), timeout=0.05)
        with pytest.raises(ProviderUnavailableError, match=r"within 0\.05 s"):
            await memory.get("m1")
        assert not ended
        release.set()
        await memory.close()  # which waits for what still goes on
        assert ended

    run(work)


def test_a_cancelled_call_ends_before_its_caller_goes_on() -> None:
    async def work() -> None:
        hanging, begun = Hanging(), asyncio.Event()

        async def get(request: Any) -> Any:
            begun.set()
            return await hanging(request)

        call = asyncio.create_task(AsyncMemory(Remote(get=get)).get("m1"))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert hanging.cancelled == 1

    run(work)


class Slow(Remote):
    """Takes longer to open than a verb may."""

    def __init__(self, *failures: Exception, **verbs: Any) -> None:
        super().__init__(**verbs)
        self.failures = list(failures)

    async def open(self) -> None:
        await super().open()
        await asyncio.sleep(0.1)
        if self.failures:
            raise self.failures.pop(0)


def test_opening_is_not_within_the_timeout() -> None:
    adapter = Slow(get=lambda request: record())
    memory = Memory(adapter, timeout=0.02)
    assert memory.get("m1").id == "m1"
    memory.open()
    assert adapter.opened == 1


def test_opening_is_a_step_of_its_own_and_is_repeated_where_the_provider_is_away(naps: list[float]) -> None:
    adapter = Slow(ProviderUnavailableError("away."), get=lambda request: record())
    Memory(adapter).open()
    assert (adapter.opened, adapter.reached) == (2, [])


def test_a_store_that_does_not_open_has_written_nothing(naps: list[float]) -> None:
    away = [ProviderUnavailableError("away.") for _ in range(3)]
    with pytest.raises(ProviderUnavailableError) as caught:
        Memory(Slow(*away, add=unreachable)).add("x", "u")
    assert caught.value.written == "nothing"


def test_a_closed_client_does_not_open() -> None:
    memory = Memory(Slow())
    memory.close()
    with pytest.raises(ClosedError):
        memory.open()


def test_closing_releases_all_of_it_and_then_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Remote):
        async def close(self) -> None:
            await super().close()
            raise ValueError("the disk is full")

    closed: list[WordEmbedder] = []

    async def close(embedder: WordEmbedder) -> None:
        closed.append(embedder)

    monkeypatch.setattr(WordEmbedder, "close", close)
    adapter = Broken()
    memory = Memory(adapter, embedder="test")
    with pytest.raises(ProviderError, match="ValueError"):
        memory.close()
    assert (adapter.closed, len(closed)) == (1, 1)
    memory.close()
    assert (adapter.closed, len(closed)) == (1, 1)


def test_a_write_that_takes_too_long_is_not_repeated() -> None:
    hanging = Hanging()
    with pytest.raises(ProviderUnavailableError) as caught:
        Memory(Remote(add=hanging), timeout=0.01).add("x", "u")
    assert (hanging.begun, hanging.cancelled, caught.value.written) == (1, 1, "perhaps")


# --- observe ----------------------------------------------------------------------------------------------------

EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(made)
    assert trace.get_tracer_provider() is made
    return made


@pytest.fixture
def spans(provider: TracerProvider) -> Any:
    EXPORTER.clear()
    yield EXPORTER.get_finished_spans
    EXPORTER.clear()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG)
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("openmem")]


Spans = Callable[[], Sequence[ReadableSpan]]
Lines = Callable[[], list[str]]
LINE = re.compile(r"(\S+) (\S+) (\S+) [\d.]+ ms ([0-9a-f]{16})")


def _use_everything(memory: Memory) -> None:
    """Every verb once, with a word in every place that must not leak."""
    stored = memory.add(
        f"content {SECRET}",
        SECRET,
        scope=SECRET,
        tags=[SECRET],
        metadata={"key": SECRET},
        external_id=SECRET,
        source={"app": SECRET},
        kind=SECRET,
        **{"x-own": SECRET},
    )
    memory.search(SECRET, SECRET, scope=SECRET, tag=SECRET, filter={"metadata.key": SECRET})
    memory.context(SECRET, SECRET)
    memory.list(SECRET)
    memory.stats(SECRET)
    memory.scopes(SECRET)
    memory.users()
    memory.health()
    memory.audit(SECRET, app=SECRET)
    memory.update(stored.id, content=f"new {SECRET}", user_id=SECRET)
    memory.related(stored.id)
    memory.history(stored.id)
    memory.get(stored.id)
    memory.capabilities()
    memory.delete(stored.id)
    memory.add_many([{"content": SECRET}, {"content": "", "x": SECRET}], user_id=SECRET)
    memory.get_many([SECRET])
    memory.get_many(external_ids=[SECRET], user_id=SECRET)
    memory.update_many([{"id": SECRET, "content": SECRET}], user_id=SECRET)
    memory.delete_many([SECRET])
    memory.erase(SECRET, scope=SECRET, tag=SECRET, filter={"metadata.key": SECRET})


VERBS_USED = set(VERBS) - {"remember"}


def test_each_call_is_logged_without_anything_of_the_users(lines: Lines) -> None:
    _use_everything(Memory("memory://", embedder="test"))
    matches = [LINE.fullmatch(line) for line in lines()]
    assert all(matches)
    assert {match[2] for match in matches if match} == VERBS_USED
    assert {(match[1], match[3]) for match in matches if match} == {("memory", "ok")}
    assert len({match[4] for match in matches if match}) == len(matches)


def test_nothing_of_the_users_is_logged_by_anyone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    _use_everything(Memory("memory://", embedder="test"))
    assert caplog.records
    assert SECRET not in caplog.text
    assert not any(SECRET in repr(vars(each)) for each in caplog.records)


def test_a_repeated_call_is_logged_without_anything_of_the_users(
    caplog: pytest.LogCaptureFixture, naps: list[float]
) -> None:
    caplog.set_level(logging.DEBUG)
    memory, flaky = _flaky("add", RateLimitedError("wait.", retry_after=1))
    flaky.answer = record(user_id=SECRET)
    memory.add(SECRET, SECRET)
    assert flaky.calls == 2
    assert SECRET not in caplog.text
    assert not any(SECRET in repr(vars(each)) for each in caplog.records)


def test_each_call_is_a_span_without_anything_of_the_users(spans: Spans) -> None:
    _use_everything(Memory("memory://", embedder="test"))
    finished = spans()
    assert {span.name for span in finished} == {f"openmem {verb}" for verb in VERBS_USED}
    for span in finished:
        attributes = dict(span.attributes or {})
        assert attributes.keys() == {"openmem.provider", "openmem.verb", "openmem.request_id"}
        assert attributes["openmem.provider"] == "memory"
        assert not span.events
        assert SECRET not in span.to_json()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda memory: memory.get(SECRET), "not_found"),
        (lambda memory: memory.add(f"{SECRET}\x00", SECRET), "invalid_request"),
        (lambda memory: memory.add("x", SECRET, metdata={"a": SECRET}), "invalid_request"),
        (lambda memory: memory.search(SECRET, SECRET, mode="vector"), "unsupported_capability"),
    ],
)
def test_failed_calls_are_signed_logged_and_traced(
    call: Callable[[Memory], Any], code: str, lines: Lines, spans: Spans
) -> None:
    with pytest.raises(OMPError) as caught:
        call(Memory("memory://", embedder="none"))
    error = caught.value
    assert (error.code, error.provider) == (code, "memory")
    (line,), (span,) = lines(), spans()
    match = LINE.fullmatch(line)
    assert match
    assert (match[3], match[4]) == (code, error.request_id)
    assert span.attributes
    assert (span.attributes["error.type"], span.attributes["openmem.request_id"]) == (code, error.request_id)
    assert span.status.status_code is StatusCode.ERROR
    assert not span.events
    assert SECRET not in line + span.to_json()


def test_a_foreign_exception_becomes_provider_error(lines: Lines, spans: Spans) -> None:
    cause = RuntimeError(f"vendor quotes {SECRET}")
    with pytest.raises(ProviderError) as caught:
        Memory(Remote(get=Flaky(cause))).get("a")
    error = caught.value
    assert error.__cause__ is cause
    assert (error.code, error.provider) == ("provider_error", "remote")
    assert "RuntimeError" in str(error)
    (line,), (span,) = lines(), spans()
    assert line.endswith(str(error.request_id))
    assert span.attributes
    assert span.attributes["error.type"] == "RuntimeError"
    assert not span.events
    assert SECRET not in f"{error} {error.envelope()} {line} {span.to_json()}"


def test_an_error_that_names_provider_and_request_keeps_them() -> None:
    failure = NotFoundError("no.", provider="upstream", request_id="theirs")
    with pytest.raises(NotFoundError) as caught:
        Memory(Scripted(get=Flaky(failure))).get("a")
    assert (caught.value.provider, caught.value.request_id) == ("upstream", "theirs")


def test_cancelled_calls_are_logged_and_their_spans_end(lines: Lines, spans: Spans) -> None:
    async def work() -> None:
        entered = asyncio.Event()

        async def get(request: Any) -> Any:
            entered.set()
            await asyncio.Event().wait()

        async with AsyncMemory(Remote(get=get)) as memory:
            call = asyncio.create_task(memory.get(SECRET))
            await entered.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    run(work)
    (line, _), (span, _) = lines(), spans()  # and those of close
    match = LINE.fullmatch(line)
    assert match
    assert match.groups()[:3] == ("remote", "get", "cancelled")
    assert (span.name, span.events, SECRET in span.to_json()) == ("openmem get", (), False)


def test_the_request_id_ties_log_span_and_audit_together(lines: Lines, spans: Spans) -> None:
    memory = Memory("memory://", embedder="none")
    memory.add("x", "u")
    (line,), (span,) = lines(), spans()
    (entry,) = memory.audit("u")
    assert span.attributes
    assert entry.request_id == span.attributes["openmem.request_id"] == line.split()[-1]


def test_a_batch_signs_the_errors_of_its_items(lines: Lines) -> None:
    results = Memory("memory://", embedder="none").add_many([{"content": " ", "user_id": "u"}])
    error = results[0].error
    assert error
    assert (error.provider, error.request_id) == ("memory", lines()[0].split()[-1])


def test_calls_nest_in_the_span_of_their_caller(spans: Spans) -> None:
    with trace.get_tracer("application").start_as_current_span("outer") as outer:
        Memory(Remote(get=lambda request: record())).get("m1")
    inner = next(span for span in spans() if span.name == "openmem get")
    assert inner.parent
    assert inner.parent.span_id == outer.get_span_context().span_id


# --- guard ------------------------------------------------------------------------------------------------------

ALL = MemoryAdapter(embedding=EMBEDDING).features()
VALUES: dict[str, Any] = {
    "supersedes": ["m1"],
    "external_id": "key",
    "external_ids": ["key"],
    "if_version": 1,
    "chain": True,
    "session": "s",
    "include_vectors": True,
    "archived": True,
    "pinned": False,
    "metadata": {"a": 1},
    "vector": [0.5] * 16,
    "scope": "a/b",
    "filter": {"kind": "fact"},
    "valid_from": START,
    "valid_to": START,
    "since": START,
    "until": START,
    "as_of": START,
    "include": ["archived"],
    "on_conflict": "skip",
}
REQUIRED: dict[str, dict[str, Any]] = {
    "add": {"content": "x", "user_id": "u"},
    "get": {"id": "m1"},
    "update": {"id": "m1", "content": "x"},
    "delete": {"id": "m1"},
    "list": {"user_id": "u"},
    "search": {"query": "x", "user_id": "u"},
    "context": {"query": "x", "user_id": "u"},
    "audit": {"user_id": "u"},
    "add_many": {"items": [{"content": "x", "user_id": "u"}]},
    "get_many": {"ids": ["m1"]},
    "update_many": {"items": [{"id": "m1", "content": "x"}]},
    "delete_many": {"ids": ["m1"]},
    "related": {"id": "m1"},
    "history": {"id": "m1"},
    "stats": {"user_id": "u"},
    "scopes": {"user_id": "u"},
    "users": {},
    "health": {},
    "remember": {"messages": [{"role": "user", "content": "x"}], "user_id": "u"},
    "erase": {"user_id": "u", "tag": "t"},
}
ROWS = [
    (verb, field)
    for verb in REQUIRED
    for field in NEEDS
    if field in VERBS[verb].request.model_fields and (verb, field) != ("audit", "since")
]


def test_every_need_has_a_value_and_a_verb() -> None:
    assert set(VALUES) == set(NEEDS) == {field for _, field in ROWS}


def _with(verb: str, field: str) -> dict[str, Any]:
    """Arguments of a verb with a field; a key is in the place of an id, and of some user."""
    keyed = field in ("external_id", "external_ids") and verb != "add"
    arguments = {name: value for name, value in REQUIRED[verb].items() if not (keyed and name in ("id", "ids"))}
    return {**arguments, field: VALUES[field], **({"user_id": "u"} if keyed else {})}


def _without(feature: str) -> list[models.CapabilityFeatures]:
    """All features but one, in each way of not having it."""
    absent = [None, "none"] if feature in ("scopes", "filters") else [None, False]
    if feature == "supports_chain_delete":  # which is made of supersession where it is not there
        return [ALL.model_copy(update={feature: value, "supports_supersession": value}) for value in absent]
    return [ALL.model_copy(update={feature: value}) for value in absent]


@pytest.mark.parametrize(("verb", "field"), ROWS)
def test_a_field_without_its_feature_is_refused_before_the_adapter(verb: str, field: str) -> None:
    arguments = _with(verb, field)
    for features in _without(NEEDS[field]):
        adapter = trap(features)
        with pytest.raises(UnsupportedCapabilityError) as caught:
            getattr(Memory(adapter), verb)(**arguments)
        assert caught.value.remedy
        assert adapter.reached == []
        assert adapter.opened == 0


@pytest.mark.parametrize(("verb", "field"), ROWS)
def test_a_field_with_its_feature_reaches_the_adapter(verb: str, field: str) -> None:
    adapter = Scripted(ALL, **{verb: lambda request: ANSWERS[verb]})
    getattr(Memory(adapter), verb)(**_with(verb, field))
    (request,) = adapter.reached
    assert getattr(request, field) == VALUES[field]


@pytest.mark.parametrize("field", [field for verb, field in ROWS if verb == "add"])
def test_an_item_of_a_batch_is_refused_alone(field: str) -> None:
    stored = models.BatchResponse(results=[models.BatchResult(id="m1")])
    adapter = Scripted(_without(NEEDS[field])[0], add=unreachable, add_many=lambda request: stored)
    good, bad = {"content": "x", "user_id": "u"}, {"content": "x", "user_id": "u", field: VALUES[field]}
    refused, done = Memory(adapter).add_many([bad, good])
    assert refused.error
    assert (refused.error.code, refused.id, done.id, done.error) == ("unsupported_capability", None, "m1", None)
    assert [len(request.items) for request in adapter.reached] == [1]


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
@pytest.mark.parametrize("verb", ["search", "context"])
def test_a_mode_that_is_not_declared_is_refused(verb: str, mode: str) -> None:
    adapter = trap(ALL.model_copy(update={f"{mode}_search": False}))
    with pytest.raises(UnsupportedCapabilityError, match="Search by"):
        getattr(Memory(adapter), verb)("x", "u", mode=mode)
    assert adapter.reached == []


@pytest.mark.parametrize("verb", sorted(REQUIRED))
def test_a_verb_that_is_not_declared_is_refused(verb: str) -> None:
    adapter = Scripted(ALL)  # no verb of its own, so none to emulate another with
    with pytest.raises(UnsupportedCapabilityError, match=verb):
        getattr(Memory(adapter), verb)(**REQUIRED[verb])
    assert adapter.reached == []
    assert Memory(adapter).capabilities().verbs == []


class Small(Scripted):
    def limits(self) -> models.CapabilityLimits:
        return models.CapabilityLimits(max_batch_size=2, max_search_results=20, max_list_results=30)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda memory: memory.add("x" * 11, "u"), PayloadTooLargeError),
        (lambda memory: memory.update("m1", content="é" * 11), PayloadTooLargeError),
        (lambda memory: memory.delete_many(["a", "b", "c"]), PayloadTooLargeError),
        (lambda memory: memory.add_many([{"content": "x", "user_id": "u"}] * 3), PayloadTooLargeError),
        (lambda memory: memory.add("x", "u", vector=[1.0] * 15), InvalidRequestError),
        (lambda memory: memory.search("x", "u", vector=[1.0] * 17), InvalidRequestError),
    ],
)
def test_what_is_too_large_is_refused_before_the_adapter(call: Callable[[Memory], Any], error: type[OMPError]) -> None:
    adapter = Small(ALL.model_copy(update={"max_content_length": 10}), **trap().scripts)
    with pytest.raises(error):
        call(Memory(adapter))
    assert adapter.reached == []


def _deleted(request: models.DeleteManyRequest) -> models.BatchResponse:
    return models.BatchResponse(results=[models.BatchResult(id=each) for each in request.ids])


def test_a_limit_above_the_providers_is_refused() -> None:
    adapter = Small(list=lambda request: ANSWERS["list"], search=lambda request: ANSWERS["search"])
    memory = Memory(adapter)
    with pytest.raises(InvalidRequestError, match="20 at the most"):
        memory.search("x", "u", limit=21)
    with pytest.raises(InvalidRequestError, match="30 at the most"):
        memory.list("u", limit=31)
    assert adapter.reached == []
    memory.search("x", "u", limit=20)
    memory.list("u", limit=30)
    assert len(adapter.reached) == 2


def test_a_batch_answered_short_is_the_providers_error() -> None:
    adapter = Scripted(add_many=lambda request: models.BatchResponse(results=[]), add=lambda request: record())
    with pytest.raises(ProviderError, match="1 was answered by 0"):
        Memory(adapter).add_many([{"content": "x", "user_id": "u"}])


def test_what_just_fits_passes() -> None:
    features = ALL.model_copy(update={"max_content_length": 10})
    adapter = Small(features, add=lambda request: record(), delete_many=_deleted)
    Memory(adapter).add("é" * 10, "u", vector=[1.0] * 16)
    Memory(adapter).delete_many(["a", "b"])
    assert len(adapter.reached) == 2


# --- emulate ----------------------------------------------------------------------------------------------------

CORE = ("add", "get", "list", "search", "delete")
EMULATED = ["context", "add_many", "get_many", "delete_many", "related", "stats", "erase", "scopes", "health"]


class Minimal(Adapter):
    """The five core verbs of memory://, and nothing else."""

    name = "minimal"
    inline = True

    def __init__(self) -> None:
        super().__init__()
        self.inner = MemoryAdapter(embedding=EMBEDDING)

    def features(self) -> models.CapabilityFeatures:
        return self.inner.features()

    async def add(self, request: models.AddRequest) -> models.MemoryRecord:
        return await self.inner.add(request)

    async def get(self, request: models.GetRequest) -> models.MemoryRecord:
        return await self.inner.get(request)

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        return await self.inner.list(request)

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        return await self.inner.search(request)

    async def delete(self, request: models.DeleteRequest) -> None:
        await self.inner.delete(request)


@pytest.fixture
def minimal() -> Memory:
    return Memory(Minimal(), embedder="test:16")


def test_what_is_emulated_is_declared(minimal: Memory) -> None:
    capabilities = minimal.capabilities()
    assert capabilities.emulated == EMULATED
    assert set(capabilities.verbs) == {*CORE, *EMULATED}
    assert capabilities.features.token_counter == "characters/4"


def test_the_answer_about_capabilities_is_the_callers_own(minimal: Memory) -> None:
    minimal.capabilities().verbs.clear()
    minimal.capabilities().features.filters = "none"
    assert set(minimal.capabilities().verbs) == {*CORE, *EMULATED}
    assert minimal.list("u", filter={"kind": "fact"}).items == []


@pytest.mark.parametrize("verb", ["update", "history", "audit", "remember", "users"])
def test_what_has_no_generic_form_is_refused(verb: str, minimal: Memory) -> None:
    with pytest.raises(UnsupportedCapabilityError):
        getattr(minimal, verb)(**REQUIRED[verb])


def test_emulated_add_many_answers_item_by_item(minimal: Memory) -> None:
    key = {"external_id": "key", "supersedes": ["nothing"]}  # fails in the adapter, not in the guard
    items = [{"content": "one"}, {"content": " "}, {"content": "two", **key}, {"content": "three"}]
    results = minimal.add_many(items, user_id="u")
    assert [result.error and result.error.code for result in results] == [None, *["invalid_request"] * 2, None]
    assert results[0].memory
    assert minimal.get(str(results[0].id), user_id="u") == results[0].memory
    assert minimal.get(str(results[3].id), user_id="u").content == "three"
    assert minimal.search("one", "u", mode="vector")[0].memory.id == results[0].id


def test_emulated_delete_many_answers_item_by_item(minimal: Memory) -> None:
    one, two, other = minimal.add("one", "u"), minimal.add("two", "u"), minimal.add("other", "v")
    results = minimal.delete_many([one.id, "nothing", other.id, one.id, two.id], user_id="u")
    assert [result.error and result.error.code for result in results] == [None, *["not_found"] * 3, None]
    assert [result.id for result in results] == [one.id, "nothing", other.id, one.id, two.id]
    assert minimal.list("u").items == []
    assert minimal.list("v").items == [other]


def test_emulated_context_reads_what_search_reads(minimal: Memory) -> None:
    mine = minimal.add("blue sky", "u", scope="a/b")
    minimal.add("blue sea", "u", scope="ab")
    minimal.add("blue moon", "v", scope="a")
    block = minimal.context("blue", "u", scope="a", token_budget=100)
    assert [citation.memory_id for citation in block.citations] == [mine.id]
    assert block.text == f"- blue sky [{mine.id}]"
    assert [citation.score for citation in block.citations] == [
        hit.score for hit in minimal.search("blue", "u", scope="a")
    ]


def test_emulated_related_leaves_out_the_memory_itself(minimal: Memory) -> None:
    texts = ["red blue green", "red blue", "red", "nothing alike"]
    added = [minimal.add(text, "u") for text in texts]
    minimal.add("red blue green", "v")
    found = minimal.related(added[0].id, limit=2)
    assert [hit.memory.id for hit in found] == [added[1].id, added[2].id]
    assert minimal.related(added[0].id, min_score=0.99) == []
    with pytest.raises(NotFoundError):
        minimal.related(added[0].id, user_id="v")


def test_emulated_stats_counts_every_state_over_many_pages(minimal: Memory) -> None:
    first = minimal.add("old", "u", scope="a", tags=["t"], kind="fact")
    minimal.add("new", "u", supersedes=[first.id], scope="a", tags=["t", "s"])
    minimal.add("put away", "u", archived=True, kind="fact")
    minimal.add("over", "u", valid_to=START)
    minimal.add("to come", "u", valid_from=START + timedelta(days=100_000))
    minimal.add_many([{"content": f"n {number}"} for number in range(600)], user_id="u")
    minimal.add("not mine", "v", scope="a")
    stats = minimal.stats("u")
    assert (stats.total, stats.current) == (605, 601)
    assert (stats.superseded, stats.expired, stats.upcoming, stats.archived) == (1, 1, 1, 1)
    assert (stats.scopes, stats.kinds, stats.tags) == ({"a": 2}, {"fact": 2}, {"t": 2, "s": 1})


def test_a_native_verb_is_not_emulated() -> None:
    block = models.ContextBlock(text="native", citations=[], token_count=2)
    memory = Memory(Scripted(ALL, search=lambda request: ANSWERS["search"], context=lambda request: block))
    assert memory.context("x", "u").text == "native"
    assert memory.capabilities().emulated == []


def test_a_verb_is_emulated_only_over_what_is_there() -> None:
    memory = Memory(Scripted(ALL, delete=lambda request: None))
    assert memory.capabilities().verbs == ["delete", "delete_many"]
    assert memory.capabilities().emulated == ["delete_many"]


# --- embed ------------------------------------------------------------------------------------------------------


class Counting(WordEmbedder):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(dimension=16)
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked.append(list(texts))
        return await super().embed(texts)


class Broken(Counting):
    """Fails, or answers with too few vectors."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__()
        self.failure = failure

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        if self.failure:
            raise self.failure
        return (await super().embed(texts))[1:]


@pytest.fixture
def counting() -> tuple[Memory, Counting]:
    embedder = Counting()
    return Memory("memory://", embedder=embedder), embedder


def test_a_batch_is_embedded_in_one_call(counting: tuple[Memory, Counting]) -> None:
    memory, embedder = counting
    items = [{"content": "one"}, {"content": ""}, {"content": "two", "vector": [1.0] * 16}, {"content": "three"}]
    memory.add_many(items, user_id="u")
    assert embedder.asked == [["one", "three"]]
    assert memory.search("three", "u", mode="vector", limit=1)[0].memory.content == "three"


def test_only_what_needs_a_vector_is_embedded(counting: tuple[Memory, Counting]) -> None:
    memory, embedder = counting
    stored = memory.add("one", "u")
    memory.update(stored.id, tags=["t"])
    memory.search("one", "u", mode="keyword")
    memory.get(stored.id)
    memory.list("u")
    assert embedder.asked == [["one"]]
    memory.update(stored.id, content="two")
    memory.search("three", "u")
    assert embedder.asked[1:] == [["two"], ["three"]]


def test_the_callers_vector_is_kept(counting: tuple[Memory, Counting]) -> None:
    memory, embedder = counting
    along = [1.0] + [0.0] * 15
    stored = memory.add("words that say nothing of it", "u", vector=along)
    memory.add("others", "u", vector=along[::-1])
    (hit,) = memory.search(None, "u", vector=along, limit=1)
    assert hit.memory.id == stored.id
    assert hit.score == pytest.approx(1)
    assert embedder.asked == []


def test_a_vector_is_not_put_on_the_callers_own_request() -> None:
    item = models.AddRequest(content="one", user_id="u")
    Memory("memory://", embedder="test:16").add_many([item])
    assert item == models.AddRequest(content="one", user_id="u")


@pytest.mark.parametrize(
    ("offered", "query", "expected"),
    [
        (("vector", "keyword", "hybrid"), {"query": "x"}, "hybrid"),
        (("vector", "keyword"), {"query": "x"}, "vector"),
        (("keyword",), {"query": "x"}, "keyword"),
        ((), {"query": "x"}, None),
        (("vector", "keyword", "hybrid"), {"query": None, "vector": [1.0] * 16}, "vector"),
        (("vector", "keyword", "hybrid"), {"query": "x", "mode": "keyword"}, "keyword"),
    ],
)
def test_the_mode_is_the_best_there_is(offered: Sequence[str], query: dict[str, Any], expected: str | None) -> None:
    features = ALL.model_copy(update={f"{mode}_search": mode in offered for mode in ("vector", "keyword", "hybrid")})
    adapter = Scripted(features, search=lambda request: ANSWERS["search"])
    Memory(adapter, embedder=WordEmbedder(dimension=16)).search(user_id="u", **query)
    assert [request.mode for request in adapter.reached] == [expected]


@pytest.mark.parametrize("failure", [RateLimitedError("slow down."), ValueError(f"of {SECRET}"), None])
def test_where_the_embedder_fails_nothing_is_stored(failure: Exception | None) -> None:
    adapter = MemoryAdapter(embedding=EMBEDDING)
    memory, keeping = Memory(adapter, embedder=Broken(failure)), Memory(adapter, embedder="test:16")
    stored = keeping.add("kept", "u")
    attempts: list[Callable[[], Any]] = [
        lambda: memory.add("one", "u"),
        lambda: memory.add_many([{"content": "one", "user_id": "u"}, {"content": "two", "user_id": "u"}]),
        lambda: memory.update(stored.id, content="three"),
    ]
    for attempt in attempts:
        with pytest.raises(OMPError) as caught:
            attempt()
        assert caught.value.request_id
    assert everything(keeping, "u") == [stored]


@pytest.mark.parametrize("verb", ["add", "update"])
def test_an_extension_is_refused_where_it_would_be_lost(verb: str) -> None:
    for features in _without("supports_metadata"):
        adapter = trap(features)
        with pytest.raises(UnsupportedCapabilityError, match="x-own"):
            getattr(Memory(adapter), verb)(**REQUIRED[verb], **{"x-own": 1})
        assert adapter.reached == []


# --- cursors ------------------------------------------------------------------------------------------------------


def test_an_adapters_own_cursor_comes_back_to_it_bound_to_the_query() -> None:
    pages = {None: "page two", "page two": None}
    adapter = Scripted(ALL, list=lambda request: models.MemoryPage(items=[], next_cursor=pages[request.cursor]))
    memory = Memory(adapter)
    first = memory.list("u", scope="a")
    assert first.next_cursor not in (None, "page two")
    assert memory.list("u", scope="a", limit=7, cursor=first.next_cursor).next_cursor is None
    assert [request.cursor for request in adapter.reached] == [None, "page two"]
    for user, scope in (("v", "a"), ("u", "b")):
        with pytest.raises(InvalidRequestError, match="another query"):
            memory.list(user, scope=scope, cursor=first.next_cursor)
    with pytest.raises(InvalidRequestError, match="malformed"):
        memory.list("u", cursor="page two")
    assert len(adapter.reached) == 2
