"""Embeddings from any endpoint that speaks OpenAI's `/embeddings`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from ..clock import retry_after
from ..errors import (
    ClosedError,
    ConfigurationError,
    OMPError,
    PayloadTooLargeError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UnauthorizedError,
)
from ..fork import in_child, leave_to_parent
from ..repeat import repeat
from ._vectors import batches, to_unit_length

URL = "https://api.openai.com/v1"
DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}


class OpenAIEmbedder:
    """Embeds by an OpenAI-compatible HTTP endpoint.

    url is the base URL (what stands before /embeddings); dimension may be left out for OpenAI's own models,
    and shortens the vectors of its 3-* models; timeout is in seconds, for each attempt. Waits and retries on
    429, 5xx and lost connections, as the endpoint's Retry-After says. Raises ConfigurationError.
    Source: https://platform.openai.com/docs/api-reference/embeddings
    """

    inline = False

    def __init__(
        self,
        model: str,
        *,
        url: str = URL,
        api_key: SecretStr | None = None,
        dimension: int | None = None,
        timeout: float = 30.0,
        attempts: int = 4,
    ) -> None:
        if not model:
            raise ConfigurationError(
                "embedder 'openai' needs a model.", remedy="Write, say, 'openai:text-embedding-3-small'."
            )
        self.model = model
        self.dimension = _dimension(model, dimension)
        self._endpoint = _endpoint(url)
        self._key = _checked(api_key)
        self._timeout = timeout
        self._attempts = attempts
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        in_child(self, OpenAIEmbedder._forked)

    def _forked(self) -> None:
        """Connect anew in a child of fork."""
        leave_to_parent(self._client)
        self._client = self._loop = None

    def __repr__(self) -> str:
        return f"OpenAIEmbedder({self.model!r}, dimension={self.dimension}, host={self._endpoint.host!r})"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a float32 array with one row a text; blank texts are not sent, and their rows are zeros.

        Raises UnauthorizedError, RateLimitedError, PayloadTooLargeError, ProviderUnavailableError,
        ProviderError; and ClosedError after close or from a second event loop.
        """
        client = self._opened()
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        spoken = [position for position, text in enumerate(texts) if text.strip()]
        wanted = [texts[position] for position in spoken]
        for batch in batches(wanted):
            rows[spoken[batch]] = await self._ask(client, wanted[batch])
        return cast("Sequence[Sequence[float]]", rows)

    async def close(self) -> None:
        """Close the connections; embed is refused from here on."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClosedError("the embedder is closed.", remedy="Make a new embedder.")
        if self._client is None:
            key = self._key.get_secret_value() if self._key else None
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            self._client, self._loop = httpx.AsyncClient(headers=headers, timeout=self._timeout), loop
        if self._loop is not loop:  # its connections belong to the loop that opened them
            raise ClosedError(
                "the embedder is in use by another event loop.", remedy="Make one embedder for each event loop."
            )
        return self._client

    async def _ask(self, client: httpx.AsyncClient, texts: Sequence[str]) -> NDArray[np.float64]:
        async def ask() -> NDArray[np.float64]:
            return self._read(await self._send(client, texts), len(texts))

        return await repeat(ask, self._attempts - 1, harmless=True)

    async def _send(self, client: httpx.AsyncClient, texts: Sequence[str]) -> httpx.Response:
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.dimension != DIMENSIONS.get(self.model, self.dimension):
            body["dimensions"] = self.dimension
        try:
            response = await client.post(self._endpoint, json=body)
            return response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise self._refusal(error.response) from error
        except httpx.TransportError as error:
            raise ProviderUnavailableError(f"{self._endpoint.host} gave no answer.", provider="openai") from error
        except httpx.HTTPError as error:
            raise self._wrong("an answer that cannot be read") from error
        except RuntimeError as error:
            if self._closed:  # meanwhile
                raise ClosedError("the embedder is closed.", remedy="Make a new embedder.") from error
            raise

    def _refusal(self, response: httpx.Response) -> OMPError:
        host, status = self._endpoint.host, response.status_code
        told: dict[str, Any] = {
            "provider": "openai",
            "request_id": response.headers.get("x-request-id"),
            "retry_after": retry_after(response.headers.get("retry-after")),
        }
        if status == httpx.codes.UNAUTHORIZED:
            return UnauthorizedError(f"{host} refused the key.", remedy="Check embedder_api_key.", **told)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return RateLimitedError(f"{host} takes no more requests now.", **told)
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return PayloadTooLargeError(f"{host} does not take texts this long.", **told)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return ProviderUnavailableError(f"{host} answered {status}.", **told)
        return ProviderError(f"{host} answered {status}: {self._reason(response)}", **told)

    def _reason(self, response: httpx.Response) -> str:
        try:
            reason = str(response.json()["error"]["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            reason = response.text
        if self._key:  # some endpoints repeat the key they were given
            reason = reason.replace(self._key.get_secret_value(), "***")
        return " ".join(reason.split())[:200]

    def _read(self, response: httpx.Response, count: int) -> NDArray[np.float64]:
        try:
            items = sorted(response.json()["data"], key=lambda item: item["index"])
            indexes = [item["index"] for item in items]
            vectors = np.array([item["embedding"] for item in items], dtype=np.float64)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise self._wrong("something other than a list of embeddings") from error
        if indexes != list(range(count)):
            raise self._wrong(f"{len(indexes)} vectors, indexed otherwise than the {count} texts sent")
        if vectors.shape != (count, self.dimension):
            raise self._wrong(
                f"vectors of dimension {vectors.shape[-1]}, where {self.dimension} is expected",
                remedy="Set embedder_dimension to the dimension of the model.",
            )
        with np.errstate(over="ignore"):
            if not np.isfinite(np.linalg.norm(vectors)):
                raise self._wrong("a vector of no finite length")
        to_unit_length(vectors)
        return vectors

    def _wrong(self, what: str, *, remedy: str = "") -> ProviderError:
        return ProviderError(
            f"{self._endpoint.host} answered with {what}.",
            remedy=remedy or "Check that embedder_url is an OpenAI-compatible endpoint.",
            provider="openai",
        )


def _dimension(model: str, wanted: int | None) -> int:
    native = DIMENSIONS.get(model)
    if wanted is None:
        if native is None:
            raise ConfigurationError(
                f"the dimension of model '{model}' is not known.", remedy="Give embedder_dimension."
            )
        return native
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise ConfigurationError(f"embedder_dimension is {wanted!r}.", remedy="Give a whole number of 1 or more.")
    if native and (wanted > native or (wanted < native and "-3-" not in model)):
        raise ConfigurationError(
            f"model '{model}' has {native} dimensions, which cannot become {wanted}.",
            remedy=f"Leave embedder_dimension out, or give {native}.",
        )
    return wanted


def _endpoint(url: str) -> httpx.URL:
    try:
        base = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        base = httpx.URL("")
    if base.scheme not in ("http", "https") or not base.host or base.userinfo:
        # The URL itself stays out of the message: it may hold a password.
        raise ConfigurationError(
            "embedder_url is not a base URL.",
            remedy=f"Give one like {URL}, and the key as embedder_api_key.",
        )
    return base.copy_with(path=base.path.rstrip("/") + "/embeddings")


def _checked(key: SecretStr | None) -> SecretStr | None:
    # A line break read along with the key would fail within the HTTP library, whose error repeats the header.
    if key is not None and not all("!" <= character <= "~" for character in key.get_secret_value() or " "):
        raise ConfigurationError(
            "embedder_api_key is empty or holds a space, line break or non-ASCII character.",
            remedy="Give the key alone.",
        )
    return key
