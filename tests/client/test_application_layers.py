"""Layers of an application's own between a client and its backend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from openmem import (
    AsyncMemory,
    ClosedError,
    ConfigurationError,
    Handler,
    InvalidRequestError,
    Layer,
    Memory,
    ProviderError,
    ScopeDeniedError,
)
from openmem.types import AddRequest, CapabilitiesRequest, GetRequest, SearchRequest, SearchResponse
from support.processes import run
from support.scripted import EMBEDDING, Scripted, record


def noting(name: str, seen: list[str]) -> Layer:
    def layer(handler: Handler) -> Handler:
        async def noted(request: Any) -> Any:
            seen.append(f"{name} {type(request).__name__}")
            response = await handler(request)
            seen.append(f"{name} {type(response).__name__}")
            return response

        return noted

    return layer


def redacting(handler: Handler) -> Handler:
    async def redacted(request: Any) -> Any:
        if isinstance(request, AddRequest):
            request = request.model_copy(update={"content": request.content.replace("4711", "****")})
        return await handler(request)

    return redacted


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_the_first_layer_is_the_outermost(tmp_path: Path, scheme: str) -> None:
    seen: list[str] = []
    url = "memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/s.db"
    with Memory(url, embedder="none", layers=[noting("a", seen), noting("b", seen)]) as memory:
        memory.add("x", "u")
        assert seen == ["a AddRequest", "b AddRequest", "b MemoryRecord", "a MemoryRecord"]
        seen.clear()
        memory.for_user("u").search("x")
        assert seen[0::3] == ["a SearchRequest", "a SearchResponse"]


def test_a_layer_may_change_what_is_stored() -> None:
    with Memory("memory://", embedder="test:16", layers=[redacting]) as memory:
        made = memory.add("the code is 4711", "u")
        assert made.content == "the code is ****"
        assert memory.search("4711", "u", mode="keyword") == []


def test_a_layer_may_suspend_and_ask_more_than_once() -> None:
    def twice(handler: Handler) -> Handler:
        async def asked(request: Any) -> Any:
            await asyncio.sleep(0)
            if not isinstance(request, SearchRequest) or request.query is None:
                return await handler(request)
            first = await handler(request)
            request.query = "coffee"
            second = await handler(request)
            return SearchResponse(results=[*first.results, *second.results])

        return asked

    for client in (Memory, AsyncMemory):

        async def use(client: Any = client) -> list[str]:
            memory = client("memory://", embedder="test:16", layers=[twice])
            done = memory.add_many([{"content": text, "user_id": "u"} for text in ("green tea", "black coffee")])
            await done if client is AsyncMemory else None
            found = memory.search("tea", "u", limit=1)
            results = await found if client is AsyncMemory else found
            await closing if (closing := memory.close()) is not None else None
            return [result.memory.content for result in results]

        assert run(use) == ["green tea", "black coffee"]  # not twice by the vector of "tea"


def test_what_a_layer_hands_on_is_held_to_the_protocol() -> None:
    def anonymous(handler: Handler) -> Handler:
        async def made(request: Any) -> Any:
            return await handler(request.model_copy(update={"user_id": " "}))

        return made

    def unlimited(handler: Handler) -> Handler:
        async def made(request: Any) -> Any:
            request.limit = 10**6
            return await handler(request)

        return made

    def nonsense(handler: Handler) -> Handler:
        async def made(request: Any) -> Any:
            return await handler({"user_id": "u"})  # type: ignore[arg-type]

        return made

    for layer in (anonymous, unlimited, nonsense):
        with Memory("memory://", embedder="none", layers=[layer]) as memory, pytest.raises(InvalidRequestError):
            memory.list("u")


@pytest.mark.parametrize("answer", [None, [], {"id": "m1"}, record()])
def test_an_answer_of_a_layer_that_is_none_to_the_verb_is_an_error(answer: Any) -> None:
    def layer(handler: Handler) -> Handler:
        async def answering(request: Any) -> Any:
            return answer

        return answering

    with (
        Memory("memory://", embedder="none", layers=[layer]) as memory,
        pytest.raises(ProviderError, match="a layer answered"),
    ):
        memory.search("x", "u")


def test_a_layer_may_refuse_before_the_backend_is_reached() -> None:
    def denying(handler: Handler) -> Handler:
        async def denied(request: Any) -> Any:
            raise ScopeDeniedError("not yours.")

        return denied

    adapter = Scripted(get=lambda request: record(request.id))
    with Memory(adapter, layers=[denying]) as memory, pytest.raises(ScopeDeniedError) as caught:
        memory.get("a")
    assert adapter.reached == [] and caught.value.request_id


def test_a_layer_sees_what_is_supported() -> None:
    told: list[Any] = []

    def curious(handler: Handler) -> Handler:
        async def asking(request: Any) -> Any:
            told.append((await handler(CapabilitiesRequest())).provider)
            return await handler(request)

        return asking

    with Memory(Scripted(get=lambda request: record(request.id)), layers=[curious]) as memory:
        assert memory.handle(GetRequest(id="a")).id == "a"
    assert told == ["scripted"]


@pytest.mark.parametrize("wrong", [[None], ["redact"], [lambda handler: None], [redacting, 7], redacting, "ab"])
def test_what_is_no_layer_is_refused(wrong: Any) -> None:
    adapter = Scripted()
    with pytest.raises(ConfigurationError, match="layer"):
        Memory(adapter, layers=wrong)
    with pytest.raises(ConfigurationError, match="layer"):
        Memory("memory://", layers=wrong)
    Memory(adapter, embedder="test:8").close()  # nobody holds it


def test_from_config_takes_them_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("openmem.toml").write_text('[profiles.p]\nurl = "memory://"\nembedder = "none"')
    seen: list[str] = []
    with Memory.from_config("p", layers=[noting("a", seen)]) as memory:
        memory.list("u")
    assert seen == ["a ListRequest", "a MemoryPage"]


def test_a_vector_of_a_changed_content_is_made_anew() -> None:
    def shouting(handler: Handler) -> Handler:
        async def twice(request: Any) -> Any:
            if isinstance(request, AddRequest) and request.vector is None:
                await handler(request)
                request.content = "black coffee"
            return await handler(request)

        return twice

    with Memory("memory://", embedder="test:16", layers=[shouting]) as memory:
        memory.add("green tea", "u")
        found = memory.search("black coffee", "u", mode="vector")
        assert [result.memory.content for result in found] == ["black coffee", "green tea"]
        assert EMBEDDING.dimension == 16


def test_a_handler_that_was_kept_reaches_nothing_once_the_client_is_closed() -> None:
    kept: list[Handler] = []

    def keeping(handler: Handler) -> Handler:
        kept.append(handler)
        return handler

    memory = Memory("memory://", embedder="none", layers=[keeping])
    memory.add("x", "u")
    memory.close()

    async def late() -> Any:
        return await kept[0](AddRequest(content="y", user_id="u"))

    with pytest.raises(ClosedError):
        run(late)


def test_an_error_of_a_layer_that_wrote_does_not_say_that_nothing_was() -> None:
    def noting(handler: Handler) -> Handler:
        async def noted(request: Any) -> Any:
            await handler(AddRequest(content="asked", user_id="u"))
            raise ValueError("too late")

        return noted

    with Memory("memory://", embedder="none", layers=[noting]) as memory:
        with pytest.raises(ProviderError) as caught:
            memory.search("x", "u")
        assert caught.value.written == "perhaps"
