"""Wire, to every provider behind HTTP: routes, JSON in and out, statuses as our errors, requests repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from openmem import errors
from openmem.protocol.clock import retry_after
from openmem.runtime.bridge import offload
from openmem.runtime.calls import services
from openmem.runtime.fork import in_child, leave_to_parent
from openmem.runtime.repeat import repeat

REFUSALS: dict[int, type[errors.OMPError]] = {
    400: errors.InvalidRequestError,
    401: errors.UnauthorizedError,
    403: errors.ScopeDeniedError,
    404: errors.NotFoundError,
    408: errors.ProviderUnavailableError,
    409: errors.ConflictError,
    413: errors.PayloadTooLargeError,
    422: errors.InvalidRequestError,
    429: errors.RateLimitedError,
}
"""Status -> error; 5xx is ProviderUnavailableError, what is left ProviderError."""
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Failures of requests that never reached the provider."""
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""Seconds for each step of a request; the client's timeout bounds the whole."""
LONGEST_REASON = 200
"""Characters quoted of what a server says."""


Effect = Literal["read", "put", "change"]
"""What a request does: nothing, what doing it twice does not do otherwise, or anything else."""
_USUAL: Mapping[str, Effect] = {"GET": "read", "PUT": "put", "DELETE": "put"}


@dataclass(frozen=True)
class Route:
    """A method and a path, whose {parameters} are percent-encoded when it is filled in. effect: else the method's."""

    method: str
    path: str
    effect: Effect | None = None

    def at(self, **parameters: str) -> str:
        """Fill in the path; a dot is encoded too, for '..' would be a step up."""
        return self.path.format(**{k: quote(v, safe="").replace(".", "%2E") for k, v in parameters.items()})

    @property
    def does(self) -> Effect:
        """What a request to it does."""
        return self.effect or _USUAL.get(self.method, "change")


class Wire:
    """JSON over HTTP to one provider; each request is repeated by itself where that does no harm.

    base: the URL that routes begin at. authorization: what stands before the key. Raises ConfigurationError.
    """

    def __init__(self, base: str, authorization: str, key: SecretStr | None) -> None:
        try:
            self._base = httpx.URL(base)
        except httpx.InvalidURL as error:
            raise errors.ConfigurationError("the host is none.", remedy="Write SCHEME://HOST[:PORT].") from error
        if key is not None and not all("!" <= character <= "~" for character in key.get_secret_value() or " "):
            # A line break read along with the key would fail within httpx, whose error repeats the header.
            raise errors.ConfigurationError("api_key is empty or holds more than a key.", remedy="Give the key alone.")
        self._authorization, self._key = authorization, key
        self._client: httpx.AsyncClient | None = None
        in_child(self, Wire._forked)

    async def open(self) -> None:
        """Make the client, in a thread: it reads the certificates of the system."""
        self._client = await offload(self._connect)

    def _forked(self) -> None:
        """Leave the connections to the parent; the child opens its own."""
        leave_to_parent(self._client)
        self._client = None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def send(
        self, route: Route, body: Any = None, query: Mapping[str, Any] | None = None, **parameters: str
    ) -> Any:
        """Send a request and return the JSON answered, None for an empty answer; raises the error that fits.

        A refusal is repeated, and so is what may have arrived unless it is a change. A deletion that was repeated so
        and then finds nothing has been done.
        """
        lost = False

        async def attempt() -> Any:
            nonlocal lost
            try:
                return await self._once(route, body, query, route.at(**parameters))
            except errors.NotFoundError:
                if not (lost and route.method == "DELETE"):
                    raise
            except errors.OMPError as error:
                if route.does == "read":
                    error.written = "nothing"
                lost = lost or error.written != "nothing"
                raise
            return None

        return await repeat(attempt, services().retries, harmless=route.does != "change")

    async def _once(self, route: Route, body: Any, query: Mapping[str, Any] | None, path: str) -> Any:
        client = self._opened()
        try:
            response = await client.request(route.method, path, params=query, json=body)
            return response.json() if response.raise_for_status().content else None
        except httpx.HTTPStatusError as error:
            raise self._refusal(error.response) from error
        except httpx.TransportError as error:
            written: errors.Written = "nothing" if isinstance(error, UNSENT) else "perhaps"
            raise errors.ProviderUnavailableError(f"{self._base.host} gave no answer.", written=written) from error
        except (httpx.HTTPError, ValueError) as error:
            raise self.wrong("an answer that cannot be read") from error

    def wrong(self, what: str, written: errors.Written = "perhaps") -> errors.ProviderError:
        """Say that the provider answered what it should not."""
        message = f"{self._base.host} answered with {what}."
        return errors.ProviderError(message, remedy="Check the host; see the cause.", written=written)

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise errors.ClosedError("this adapter is closed.")
        return self._client

    def _connect(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"{self._authorization} {self._key.get_secret_value()}"} if self._key else {}
        return httpx.AsyncClient(base_url=self._base, headers=headers, timeout=TIMEOUT)

    def _refusal(self, response: httpx.Response) -> errors.OMPError:
        status = response.status_code
        other = errors.ProviderUnavailableError if status >= 500 else errors.ProviderError
        return REFUSALS.get(status, other)(
            f"{self._base.host} answered {status}: {self._reason(response)}",
            request_id=response.headers.get("x-request-id"),
            retry_after=retry_after(response.headers.get("retry-after")),
        )

    def _reason(self, response: httpx.Response) -> str:
        try:
            said = response.json()
        except ValueError:
            said = response.text
        if isinstance(said, Mapping):
            said = next((said[name] for name in ("detail", "error", "message") if said.get(name)), said)
        reason = str(said)
        if self._key:  # some servers repeat the key they were given
            reason = reason.replace(self._key.get_secret_value(), "***")
        return " ".join(reason.split())[:LONGEST_REASON] or response.reason_phrase
