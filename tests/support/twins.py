"""What the twins of HTTP servers have in common: what they note, refuse and fail with before they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Literal

import httpx
import respx

from openmem.runtime.fork import Lock

Failure = Literal["429", "500", "500 after all", "cut"]
"""How a request fails: refused, failed before or after it was done, or done and its answer lost."""


class Twin:
    """Give `answer` to respx as the side effect of a route; a subclass replies."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.asked: Counter[str] = Counter()
        self.refusals: list[httpx.Response | Exception] = []
        """Answered, or raised, before anything else is."""
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.failed = 0
        """How many requests failed as `failing` asked for."""
        self._failing: Iterator[Failure | None] = repeat(None)
        self.lock = Lock()
        """Held while a request is answered."""

    @contextmanager
    def failing(self, failures: Iterable[Failure | None]) -> Iterator[None]:
        """Have the requests within the block fail so, one after the other; those beyond the end do not."""
        self._failing, self.failed = chain(failures, repeat(None)), 0
        try:
            yield
        finally:
            self._failing = repeat(None)

    def answer(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            self.requests.append(request)
            if self.refusals:
                refusal = self.refusals.pop(0)
                if isinstance(refusal, Exception):
                    raise refusal
                return refusal
            failure = next(self._failing)
            self.failed += failure is not None
            if failure in ("429", "500"):
                return httpx.Response(int(failure))
            answer = self.fault(request) or self.reply(request)
            if failure == "cut":
                raise httpx.ReadError("the connection was cut", request=request)
            return answer if failure is None else httpx.Response(500)

    def reply(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError


@contextmanager
def at(host: str, twin: Twin) -> Iterator[None]:
    """Let a twin answer for a host, by any scheme."""
    with respx.mock(assert_all_called=False) as router:
        router.route(host=host).mock(side_effect=twin.answer)
        yield
