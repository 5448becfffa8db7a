"""What the twins of HTTP servers have in common: what they note, refuse and fail with before they answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import respx


class Twin:
    """Give `answer` to respx as the side effect of a route; a subclass replies."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.asked: Counter[str] = Counter()
        self.refusals: list[httpx.Response | Exception] = []
        """Answered, or raised, before anything else is."""
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self._lock = threading.Lock()

    def answer(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.requests.append(request)
            if self.refusals:
                refusal = self.refusals.pop(0)
                if isinstance(refusal, Exception):
                    raise refusal
                return refusal
            return self.fault(request) or self.reply(request)

    def reply(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError


@contextmanager
def at(host: str, twin: Twin) -> Iterator[None]:
    """Let a twin answer for a host, by any scheme."""
    with respx.mock(assert_all_called=False) as router:
        router.route(host=host).mock(side_effect=twin.answer)
        yield
