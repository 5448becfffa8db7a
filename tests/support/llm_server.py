"""An OpenAI-compatible endpoint on loopback: answers of a language model as a test scripts them, and vectors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint:
    """What it answers, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: str | int = '{"memory": []}'
        """The text of the next answers, or an HTTP status."""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def facts(self, *texts: str) -> None:
        """Answer with facts as mem0 expects them."""
        self.answer = json.dumps({"memory": [{"id": str(n), "text": text} for n, text in enumerate(texts)]})

    def reply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/embeddings"):
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            data = [{"object": "embedding", "index": n, "embedding": vector(text)} for n, text in enumerate(texts)]
            return {"object": "list", "data": data, "model": body["model"], "usage": USAGE}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self.answer}}
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def vector(text: str) -> list[float]:
    """Count the letters of a text."""
    return [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz012345"]


@contextmanager
def serving() -> Iterator[Endpoint]:
    """Serve an endpoint."""
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.asked.append(body)
            endpoint.keys.append(self.headers["Authorization"])
            failed = isinstance(endpoint.answer, int)
            answer = json.dumps({"error": "scripted"} if failed else endpoint.reply(self.path, body)).encode()
            self.send_response(endpoint.answer if isinstance(endpoint.answer, int) else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield endpoint
        server.shutdown()
