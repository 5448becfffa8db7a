"""mem0://HOST where the platform refuses, fails or is silent, where the key is wrong, and in a child of fork."""

from __future__ import annotations

import logging
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from openmem import (
    ClosedError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    Memory,
    NotFoundError,
    OMPError,
    PayloadTooLargeError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    ScopeDeniedError,
    UnauthorizedError,
)
from openmem.adapters.kit.wire import Route
from openmem.protocol.clock import utc_now
from openmem.types import ListRequest
from support.mem0_platform import KEY, URL, Platform
from support.processes import python, run

# --- the key and the address ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "address"),
    [
        (URL, {"api_key": KEY}, "https://api.mem0.ai/v3/"),
        (f"mem0://:{KEY}@api.mem0.ai", {}, "https://api.mem0.ai/v3/"),
        (f"{URL}:8443?api_key={KEY}", {}, "https://api.mem0.ai:8443/v3/"),
        (f"{URL}:80", {"api_key": KEY, "https": False}, "http://api.mem0.ai/v3/"),
    ],
)
def test_the_key_goes_with_every_request(platform: Platform, url: str, options: dict[str, Any], address: str) -> None:
    with Memory(url, **options) as mem:
        mem.add("tea", "ann")
        mem.search("tea", "ann")
        assert KEY not in repr(mem) + repr(mem.adapter.settings)
    assert {request.headers["authorization"] for request in platform.requests} == {f"Token {KEY}"}
    assert all(str(request.url).startswith(address) for request in platform.requests)
    assert platform.asked == {"add": 1, "search": 1}, "nothing is asked that is not needed"


def test_the_key_may_come_from_the_environment(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMEM_API_KEY", KEY)
    with Memory(URL) as mem:
        assert mem.list("ann").items == []


def test_without_a_key_the_remedy_is_named(platform: Platform) -> None:
    with Memory(URL) as mem, pytest.raises(ConfigurationError, match="key") as caught:
        mem.list("ann")
    assert "api_key" in caught.value.remedy and "OPENMEM_API_KEY" in caught.value.remedy
    assert not platform.requests


@pytest.mark.parametrize("key", ["", f"{KEY}\n", f" {KEY}", "schlüssel"])
def test_a_key_that_no_header_takes_is_refused(platform: Platform, key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        Memory(URL, api_key=key)
    assert not key or key.strip() not in str(caught.value)


@pytest.mark.parametrize("url", [f"mem0://{KEY}@api.mem0.ai", f"mem0://api.mem0.ai/{KEY}", f"mem0://{KEY}:x@h"])
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Memory(url)
    assert KEY not in f"{caught.value} {caught.value!r}"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="host"):
        Memory(f"mem0://{'ü' * 70}", api_key=KEY)


def test_a_wrong_key_is_unauthorized_and_told_nowhere(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Memory(URL, api_key="wrong-key-entirely") as mem, pytest.raises(UnauthorizedError) as caught:
        mem.search("tea", "ann")
    cause = caught.value.__cause__
    assert isinstance(cause, httpx.HTTPStatusError)
    shown = f"{caught.value} {caught.value!r} {caught.value.detail()} {cause} {cause!r} {caplog.text}"
    assert "Invalid API key" in shown
    assert "wrong-key-entirely" not in shown + repr(cause.request.headers)


# --- answers that are none --------------------------------------------------------------------------------------

DATE = format_datetime(utc_now().replace(year=2099), usegmt=True)
ANSWERS: list[tuple[Any, type[OMPError], float | None]] = [
    (httpx.Response(400, json={"error": "no such filter"}), InvalidRequestError, None),
    (httpx.Response(401, json={"detail": "Invalid API key."}), UnauthorizedError, None),
    (httpx.Response(403, json={"detail": "not this project"}), ScopeDeniedError, None),
    (httpx.Response(404, text="<html>"), NotFoundError, None),
    (httpx.Response(408), ProviderUnavailableError, None),
    (httpx.Response(409, json={"error": {"code": 1}}), ConflictError, None),
    (httpx.Response(413, json=["much"]), PayloadTooLargeError, None),
    (httpx.Response(422, json={"detail": [{"msg": "bad"}]}), InvalidRequestError, None),
    (httpx.Response(429), RateLimitedError, None),
    (httpx.Response(429, headers={"Retry-After": "7"}), RateLimitedError, 7.0),
    (httpx.Response(429, headers={"Retry-After": "soon"}), RateLimitedError, None),
    (httpx.Response(500, text=KEY * 3), ProviderUnavailableError, None),
    (httpx.Response(503, headers={"Retry-After": "3"}), ProviderUnavailableError, 3.0),
    (httpx.Response(302, headers={"Location": "https://elsewhere.test/"}), ProviderError, None),
    (httpx.Response(402, json={"detail": "pay"}), ProviderError, None),
    (httpx.Response(200, text="<html>"), ProviderError, None),
    (httpx.Response(200), ProviderError, None),
    (httpx.Response(200, json={"unexpected": 1}), ProviderError, None),
    (httpx.Response(200, json={"count": 1, "results": [{"memory": "tea"}]}), ProviderError, None),
    (httpx.Response(200, json={"count": 1, "results": [5]}), ProviderError, None),
    (httpx.Response(200, content=b"\xff"), ProviderError, None),
    (httpx.ConnectError("refused"), ProviderUnavailableError, None),
    (httpx.ConnectTimeout("slow"), ProviderUnavailableError, None),
    (httpx.ReadTimeout("slow"), ProviderUnavailableError, None),
    (httpx.RemoteProtocolError("gone"), ProviderUnavailableError, None),
]


@pytest.mark.parametrize(("answer", "expected", "after"), ANSWERS)
def test_failures_are_typed_and_keep_the_key_to_themselves(
    platform: Platform, answer: Any, expected: type[OMPError], after: float | None
) -> None:
    platform.refusals.append(answer)
    with Memory(URL, api_key=KEY, retries=0) as mem, pytest.raises(OMPError) as caught:
        mem.list("ann")
    error = caught.value
    assert (type(error), error.retry_after) == (expected, after)
    assert error.remedy and error.__cause__ is not None
    assert error.provider == "mem0" and error.request_id
    assert "api.mem0.ai" in error.message and len(error.message) < 300
    assert KEY not in f"{error} {error!r} {error.detail()}"


@pytest.mark.parametrize("reason", ["no such filter", "***"])
def test_what_the_server_says_is_quoted_without_the_key(platform: Platform, reason: str) -> None:
    platform.refusals.append(httpx.Response(400, json={"error": f"no such filter {KEY}"}))
    with Memory(URL, api_key=KEY) as mem, pytest.raises(InvalidRequestError, match="400") as caught:
        mem.list("ann")
    assert reason in caught.value.message


def test_a_pause_may_be_named_by_its_end(platform: Platform) -> None:
    platform.refusals.append(httpx.Response(429, headers={"Retry-After": DATE}))
    with Memory(URL, api_key=KEY) as mem, pytest.raises(RateLimitedError) as caught:
        mem.list("ann")
    assert caught.value.retry_after is not None and caught.value.retry_after > 60


def test_refused_reads_are_repeated_after_the_pause_asked_for(platform: Platform, naps: list[float]) -> None:
    with Memory(URL, api_key=KEY) as mem:
        record = mem.add("tea", "ann")
        platform.refusals += [httpx.Response(429, headers={"Retry-After": "2"}), httpx.Response(503)]
        assert mem.get(record.id) == record
    assert naps[0] == 2
    assert len(naps) == 2


def test_a_refused_add_is_repeated_and_one_that_may_have_arrived_is_not(platform: Platform, naps: list[float]) -> None:
    with Memory(URL, api_key=KEY) as mem:
        platform.refusals.append(httpx.Response(429))
        mem.add("tea", "ann")
        assert len(naps) == 1
        platform.refusals.append(httpx.ReadTimeout("slow"))
        with pytest.raises(ProviderUnavailableError):
            mem.add("coffee", "ann")
        assert len(naps) == 1
        assert [each.content for each in mem.list("ann").items] == ["tea"]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "SUCCEEDED"},
        {"status": "LOST", "event_id": "e"},
        {"event_id": "e"},
        {"status": "SUCCEEDED", "event_id": "e", "results": [{}]},
        [],
    ],
)
def test_an_add_that_is_answered_by_anything_else_is_not_taken_for_stored(platform: Platform, answer: Any) -> None:
    platform.refusals.append(httpx.Response(200, json=answer))
    with Memory(URL, api_key=KEY) as mem, pytest.raises(ProviderError):
        mem.add("tea", "ann")


def test_a_batch_that_the_platform_does_not_answer_is_told_item_by_item(platform: Platform) -> None:
    with Memory(URL, api_key=KEY, retries=0) as mem:
        ids = [mem.add(text, "ann").id for text in ("tea", "coffee")]
        platform.fault = lambda request: httpx.Response(503) if request.method == "DELETE" else None
        results = mem.delete_many(ids, user_id="ann")
        assert [(each.id, each.error and each.error.code) for each in results] == [
            (each, "provider_unavailable") for each in ids
        ]
        assert {each.error and each.error.written for each in results} == {"perhaps"}
        assert len(mem.list("ann").items) == 2
        platform.fault = lambda request: httpx.Response(503) if request.url.path == "/v1/batch/" else None
        assert not any(each.error for each in mem.delete_many(ids, user_id="ann"))
        assert mem.list("ann").items == []


def test_a_batch_for_a_platform_that_is_not_there_is_not_tried_to_its_end(platform: Platform) -> None:
    with Memory(URL, api_key=KEY, retries=0) as mem:
        mem.open()
        asked: list[httpx.Request] = []

        def nobody(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            raise httpx.ConnectError("refused")

        platform.fault = nobody
        results = mem.add_many([{"content": f"fact {n}"} for n in range(200)], user_id="ann")
        assert {each.error and each.error.written for each in results} == {"nothing"}
        assert len(asked) <= 16


def test_a_client_opened_and_closed_without_a_call_sends_nothing(platform: Platform) -> None:
    Memory(URL, api_key=KEY).close()
    assert not platform.requests


def test_a_closed_adapter_says_so(platform: Platform) -> None:
    adapter = Memory(URL, api_key=KEY).adapter

    async def work() -> None:
        await adapter.handle(ListRequest(user_id="ann"))
        await adapter.close()
        await adapter.close()
        with pytest.raises(ClosedError):
            await adapter.handle(ListRequest(user_id="ann"))

    run(work)


@pytest.mark.parametrize("value", ["a/b", "..", "../../v1", "ü ?#%", "{id}"])
def test_a_parameter_is_one_segment_of_the_path(value: str) -> None:
    url = httpx.URL("https://h.test").join(Route("GET", "/v1/memories/{id}/").at(id=value))
    assert url.raw_path.count(b"/") == 4
    assert url.path == f"/v1/memories/{value}/"


# --- what it needs, and fork ------------------------------------------------------------------------------------


def test_the_vendors_package_is_not_needed() -> None:
    script = f"import sys; from openmem import Memory; Memory({URL!r}, api_key='k').capabilities(); print(*sys.modules)"
    done = python(script)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert "openmem.adapters.mem0.hosted" in modules
    assert "mem0" not in modules


FORK = f"""
import gc, os, sys, warnings
import httpx, respx
sys.path.insert(0, "tests")
from support.mem0_platform import KEY, URL, Platform
from openmem import Memory
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of fork beside threads: what is tested here
def clients():
    return [each for each in gc.get_objects() if type(each) is httpx.AsyncClient]
with respx.mock() as router:
    router.route().mock(side_effect=Platform().answer)
    memory = Memory({URL!r}, api_key=KEY)
    record = memory.add("x", "u")
    [client] = clients()
    child = os.fork()
    if child == 0:
        assert memory.get(record.id) == record
        assert len(clients()) == 2
        memory.close()
        os._exit(0 if not client.is_closed else 1)
    assert os.waitpid(child, 0)[1] == 0
    child = os.fork()
    if child == 0:
        memory.close()
        os._exit(0 if not client.is_closed else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert memory.get(record.id) == record
    memory.close()
    assert client.is_closed
print("parent")
"""


def test_a_child_of_fork_has_connections_of_its_own() -> None:
    done = python(FORK)
    assert (done.stdout, done.stderr, done.returncode) == ("parent\n", "", 0)
