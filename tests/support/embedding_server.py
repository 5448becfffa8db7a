"""An embedding endpoint on a real socket of this machine, as strict, odd and broken as a test asks for."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

DIMENSION = 8
_sleep = asyncio.sleep  # which a test may replace for the client's side
Answer = tuple[int, dict[str, str], bytes]


def vector(text: str) -> list[float]:
    """Return the vector of a text: eight numbers that fit float32, unlike those of other texts."""
    return [byte / 128 - 1 for byte in blake2b(text.encode(), digest_size=DIMENSION).digest()]


def answer(status: int, document: Any, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(document).encode()


def refusal(status: int, message: str = "refused", **headers: str) -> Answer:
    return answer(status, {"error": {"message": message}}, **headers)


def _indexed(texts: list[str]) -> list[dict[str, Any]]:
    return [{"object": "embedding", "index": index, "embedding": vector(text)} for index, text in enumerate(texts)]


def _packed(text: str) -> str:
    return base64.b64encode(struct.pack(f"<{DIMENSION}f", *vector(text))).decode()


SHAPES: dict[str, Callable[[list[str]], Any]] = {
    "openai": lambda texts: {"object": "list", "data": _indexed(texts), "model": "m", "error": None},
    "any order": lambda texts: {"data": _indexed(texts)[::-1]},
    "no index": lambda texts: {"data": [{"embedding": vector(text)} for text in texts]},
    "base64": lambda texts: {"data": [{"index": i, "embedding": _packed(text)} for i, text in enumerate(texts)]},
    "ollama": lambda texts: {"model": "m", "embeddings": [vector(text) for text in texts]},
    "cohere": lambda texts: {"id": "1", "embeddings": {"float": [vector(text) for text in texts]}},
    "tei": lambda texts: [vector(text) for text in texts],
    "llama.cpp": lambda texts: [{"index": i, "embedding": [vector(text)]} for i, text in enumerate(texts)],
}


@dataclass
class Endpoint:
    """What the endpoint does; a test changes it between calls. requests: the texts of each request, in order."""

    shape: str = "openai"
    most: int = 10_000
    """Texts that it takes in one request."""
    longest: int = 10_000
    """Characters that it takes in one text."""
    most_characters: int = 1_000_000
    """Characters that it takes in one request."""
    delay: float = 0
    """Seconds that it takes for an answer."""
    every: tuple[int, Callable[[int], Answer]] | None = None
    """After how many requests one is answered otherwise."""
    instead: Callable[[list[str]], Answer | None] = lambda texts: None
    """Answers in place of all the above."""
    pieces: Callable[[], Iterator[tuple[float, bytes]]] | None = None
    """What is sent bit by bit instead, whole answer, each after so many seconds."""
    requests: list[list[str]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    open: int = 0
    busy: int = 0
    busiest: int = 0
    sent: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def respond(self, texts: list[str]) -> Answer:
        told = self.instead(texts)
        if told is not None:
            return told
        if self.every is not None and len(self.requests) % self.every[0] == 0:
            return self.every[1](len(self.requests))
        if len(texts) > self.most:
            return refusal(400, f"batch size is invalid, it should not be larger than {self.most}")
        if sum(map(len, texts)) > self.most_characters:
            return refusal(400, "too many tokens in the request")
        if any(len(text) > self.longest for text in texts):
            return refusal(400, f"maximum context length is {self.longest} tokens")
        return answer(200, SHAPES[self.shape](texts))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._once(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        texts = json.loads(await reader.readexactly(size))["input"]
        self.heads.append(head)
        self.requests.append(texts)
        if self.pieces is not None:
            for pause, piece in self.pieces():
                await _sleep(pause)
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
            writer.close()
            raise ConnectionError
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await _sleep(self.delay)
        self.busy -= 1
        status, headers, body = self.respond(texts)
        lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Serve an endpoint from a thread of its own."""
    served, loop = Endpoint(), asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(served.serve, "127.0.0.1", 0)

    server = loop.run_until_complete(start())
    served.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def stop() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield served
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
