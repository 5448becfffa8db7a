"""Embeddings from any endpoint that speaks OpenAI's `/embeddings`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import httpx
from pydantic import SecretStr

from ..errors import ClosedError, ConfigurationError, OMPError, ProviderUnavailableError
from ..runtime.bridge import offload
from ..runtime.fork import in_child, leave_to_parent
from ..urls import tells_secret
from . import RefusedTextsError
from .answers import Row
from .exchange import OVERHEAD, Answer, TooLarge, Unreadable, post, seconds
from .portions import Limit, Sharing
from .reading import Reading
from .vectors import BATCH_TEXTS

URL = "https://api.openai.com/v1"
DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
PER_NUMBER, PER_TEXT = 40, 1_024
"""Bytes that a number, and what stands round a vector, take in JSON at the most."""
LARGE = 50_000
"""Bytes of an answer, and characters of its texts, above which it is read beside the event loop."""


class OpenAIEmbedder:
    """Embeds by an OpenAI-compatible HTTP endpoint.

    url is the base URL (what stands before /embeddings); dimension may be left out for OpenAI's own models, and
    shortens the vectors of its 3-* models; timeout is in seconds, for each attempt; batch is how many texts go into
    one request, fewer where the endpoint takes fewer, which is learnt. Waits and retries on 429, 5xx and lost
    connections, as the endpoint's Retry-After says. Raises ConfigurationError.
    Source: https://platform.openai.com/docs/api-reference/embeddings
    """

    inline = False
    model, dimension, _endpoint = "", 0, httpx.URL("")  # shown while it is not made

    def __init__(
        self,
        model: str,
        *,
        url: str = URL,
        api_key: SecretStr | None = None,
        dimension: int | None = None,
        batch: int = BATCH_TEXTS,
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
        self._reading = Reading(model, self.dimension, self._endpoint.host, self._key)
        self._limit = Limit(_whole("embedder_batch", batch))
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

        Raises RefusedTextsError for texts that the endpoint does not take, where it takes others; UnauthorizedError,
        ScopeDeniedError, RateLimitedError, ProviderUnavailableError, ProviderError; and ClosedError after close or
        from a second event loop.
        """
        client = await self._opened()
        sharing = Sharing(texts, partial(self._ask, client), self._limit, self.dimension, self._attempts - 1)
        await sharing.embed([position for position, text in enumerate(texts) if text.strip()])
        rows, errors = sharing.vectors, sharing.errors
        if errors:
            good = rows[[position for position in range(len(texts)) if position not in errors]]
            raise RefusedTextsError(self.model, cast("Sequence[Sequence[float]]", good), errors)
        return cast("Sequence[Sequence[float]]", rows)

    async def close(self) -> None:
        """Close the connections; embed is refused from here on."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _opened(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        self._refuse_closed()
        if self._client is None:
            certificates = await offload(httpx.create_ssl_context)  # read from files
            self._refuse_closed()
            if self._client is None:  # nobody was quicker
                self._client, self._loop = self._connect(certificates), loop
        if self._loop is not loop:  # its connections belong to the loop that opened them
            raise ClosedError(
                "the embedder is in use by another event loop.", remedy="Make one embedder for each event loop."
            )
        return self._client

    def _connect(self, certificates: Any) -> httpx.AsyncClient:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return httpx.AsyncClient(headers=headers, timeout=None, verify=certificates)  # noqa: S113  see _ask

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ClosedError("the embedder is closed.", remedy="Make a new embedder.")

    async def _ask(self, client: httpx.AsyncClient, texts: Sequence[str]) -> list[Row | OMPError]:
        limit = seconds(self._timeout)
        try:
            async with asyncio.timeout(limit):
                answer = await self._send(client, texts)
        except TimeoutError as error:
            raise ProviderUnavailableError(
                f"{self._reading.who} gave no whole answer within {limit:.3g} s.",
                remedy="Raise timeout, send fewer texts at once (embedder_batch), or check the endpoint's load.",
                provider="openai",
            ) from error
        if len(answer.body) + sum(map(len, texts)) > LARGE:
            return await offload(self._reading.read, answer, texts)
        return self._reading.read(answer, texts)

    async def _send(self, client: httpx.AsyncClient, texts: Sequence[str]) -> Answer:
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.dimension != DIMENSIONS.get(self.model, self.dimension):
            body["dimensions"] = self.dimension
        most = OVERHEAD + len(texts) * (PER_TEXT + PER_NUMBER * self.dimension)
        try:
            return await post(client, self._endpoint, body, most)
        except TooLarge:
            raise self._reading.wrong(f"more than {most} bytes for {len(texts)} texts") from None
        except Unreadable:
            raise self._reading.wrong("something packed as it should not be") from None
        except (httpx.NetworkError, httpx.TimeoutException) as error:
            raise ProviderUnavailableError(f"{self._reading.who} gave no answer.", provider="openai") from error
        except httpx.HTTPError as error:  # which quotes what was sent, and with it what the endpoint repeats
            failure = self._unread(error)
        except RuntimeError as error:
            if self._closed:  # meanwhile
                raise ClosedError("the embedder is closed.", remedy="Make a new embedder.") from error
            raise
        raise failure

    def _unread(self, error: httpx.HTTPError) -> OMPError:
        kind = type(error).__name__
        if isinstance(error, httpx.TransportError):
            return ProviderUnavailableError(f"{self._reading.who} gave no answer ({kind}).", provider="openai")
        return self._reading.wrong(f"an answer that cannot be read ({kind})")


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name} is {value!r}.", remedy="Give a whole number of 1 or more.")
    return value


def _dimension(model: str, wanted: int | None) -> int:
    native = DIMENSIONS.get(model)
    if wanted is None:
        if native is None:
            raise ConfigurationError(
                f"the dimension of model '{model}' is not known.", remedy="Give embedder_dimension."
            )
        return native
    _whole("embedder_dimension", wanted)
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
    if tells_secret(url):
        raise ConfigurationError(
            "embedder_url has a key in its query.", remedy="Give the key as embedder_api_key, which goes in a header."
        )
    path, mark, query = base.raw_path.partition(b"?")
    return base.copy_with(raw_path=path.rstrip(b"/") + b"/embeddings" + mark + query)  # with the escapes of the path


def _checked(key: SecretStr | None) -> SecretStr | None:
    # A line break read along with the key would fail within the HTTP library, whose error repeats the header.
    if key is not None and not all("!" <= character <= "~" for character in key.get_secret_value() or " "):
        raise ConfigurationError(
            "embedder_api_key is empty or holds a space, line break or non-ASCII character.",
            remedy="Give the key alone.",
        )
    return key
