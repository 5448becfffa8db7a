"""What an endpoint's answer means: vectors, texts that it does not take, or an error of all of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx
from pydantic import SecretStr

from ..errors import (
    OMPError,
    PayloadTooLargeError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    ScopeDeniedError,
    UnauthorizedError,
)
from ..protocol.clock import retry_after
from .answers import NotVectors, Problem, Row, WrongWidth, parse, problem, vectors
from .exchange import Answer
from .portions import Refusal
from .quoting import request_id, told

_REFUSALS = (400, 413, 422)
_TOO_LONG = re.compile(r"context.?length|too (long|large)|max\w*\s+(input|sequence|context)|\btokens\b", re.IGNORECASE)


class Reading:
    """Reads the answers of one endpoint; its errors name the model and the host, never the key or a text."""

    def __init__(self, model: str, dimension: int, host: str, key: SecretStr | None) -> None:
        self._model, self._dimension, self._key = model, dimension, key
        self.who = f"the embedder {model} at {host}"

    def read(self, answer: Answer, texts: Sequence[str]) -> list[Row | OMPError]:
        """Turn an answer into a vector for each text, or why it has none; raises what the answer says is wrong."""
        status, document = answer.status, None
        failed = not 200 <= status < 300
        try:
            document = parse(answer.body)
        except NotVectors as error:
            if not failed:
                raise self.wrong(str(error)) from None
        found = problem(document)
        if failed and found is None:
            found = Problem(status, answer.body.decode(errors="replace") if document is None else "")
        if found is not None:
            raise self._refusal(answer, status if failed else found.status, found.reason, texts)
        try:
            rows = vectors(document, len(texts), self._dimension)
        except NotVectors as error:
            raise self.wrong(str(error)) from None
        except WrongWidth as error:
            raise self.wrong(
                f"vectors of dimension {error}, where {self._dimension} is expected",
                remedy="Set embedder_dimension to the dimension of the model.",
            ) from None
        if all(row is None for row in rows):  # it may be so of these texts, or of any
            raise Refusal(self._no_vector(), self.wrong("no vector that has finite numbers"))
        return [self._no_vector() if row is None else row for row in rows]

    def _refusal(self, answer: Answer, status: int | None, reason: str, texts: Sequence[str]) -> Exception:
        """Make the error of a refusal; status: the one it has or stands for, None where it says only that it is one."""
        says = told(reason, texts, self._key)
        tells: dict[str, Any] = {
            "provider": "openai",
            "request_id": request_id(answer.headers.get("x-request-id"), texts, self._key),
            "retry_after": _pause(answer.headers),
        }
        code = "an error" if status is None else status
        if status == httpx.codes.UNAUTHORIZED:
            return UnauthorizedError(f"{self.who} refused the key.", remedy="Check embedder_api_key.", **tells)
        if status == httpx.codes.FORBIDDEN:
            remedy = f"Check that embedder_api_key may use {self._model}."
            return ScopeDeniedError(f"{self.who} answered {code}: {says}", remedy=remedy, **tells)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return RateLimitedError(f"{self.who} takes no more requests now: {says}", **tells)
        if status is not None and (status >= 500 or status == httpx.codes.REQUEST_TIMEOUT):
            return ProviderUnavailableError(f"{self.who} answered {code}: {says}", **tells)
        every = ProviderError(
            f"{self.who} answered {code}: {says}",
            remedy=f"Check embedder_url (what stands before /embeddings) and the name of the model ({self._model}).",
            **tells,
        )
        if status not in _REFUSALS:
            return every
        kind = PayloadTooLargeError if status == 413 or _TOO_LONG.search(reason) else ProviderError
        text = kind(
            f"{self.who} does not take the text ({code}): {says}",
            remedy="Shorten the text, or split it; where any text is refused, check the model and embedder_url.",
            **tells,
        )
        text.written = every.written = "nothing"
        return Refusal(text, every)

    def _no_vector(self) -> OMPError:
        return ProviderError(
            f"{self.who} answered no vector of finite numbers for the text.",
            remedy="Change the text, or use another model.",
            provider="openai",
            written="nothing",
        )

    def wrong(self, what: str, *, remedy: str = "") -> ProviderError:
        """Say that the endpoint answered what it should not."""
        return ProviderError(
            f"{self.who} answered with {what}.",
            remedy=remedy or "Check that embedder_url is an OpenAI-compatible endpoint.",
            provider="openai",
        )


def _pause(headers: httpx.Headers) -> float | None:
    """Read how long to wait, which some tell in milliseconds beside the standard's header."""
    with suppress(KeyError, ValueError):
        return retry_after(str(float(headers["retry-after-ms"]) / 1000))
    return retry_after(headers.get("retry-after"))
