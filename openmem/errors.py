"""The error tree: one class for each error code of the spec, and a few that only the SDK raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

from ._generated.models import ErrorDetail, ErrorResponse
from ._generated.verbs import ERROR_CODES

Written = Literal["nothing", "perhaps", "part"]


class OMPError(Exception):
    """The base of every error openmem raises.

    Attributes: message (what went wrong), remedy (what to do about it), code, type, status (HTTP), provider,
    request_id, retry_after (seconds, when the provider asked for a pause), written (whether the call that failed
    stored something: nothing for certain, perhaps all of it, or a part).
    """

    code: ClassVar[str] = "internal_error"
    default_remedy: ClassVar[str] = "Report it with the request id and the cause."
    default_written: ClassVar[Written] = "nothing"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        provider: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        written: Written | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy or self.default_remedy
        self.provider = provider
        self.request_id = request_id
        self.retry_after = retry_after
        self.written: Written = written or self.default_written

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    @property
    def status(self) -> int:
        """The HTTP status of this error's code."""
        return ERROR_CODES.get(self.code, ERROR_CODES[ProviderError.code])[0]

    @property
    def type(self) -> str:
        """The family of this error's code."""
        return ERROR_CODES.get(self.code, ERROR_CODES[ProviderError.code])[1]

    def detail(self) -> ErrorDetail:
        """Write this error as the spec's ErrorDetail."""
        return ErrorDetail(
            code=self.code,
            message=str(self),
            type=self.type,
            provider=self.provider,
            request_id=self.request_id,
            written=self.written,
        )

    def envelope(self) -> dict[str, Any]:
        """Write this error as the JSON envelope of the wire."""
        return ErrorResponse(error=self.detail()).model_dump(mode="json", exclude_none=True)


class UnauthorizedError(OMPError):
    """The key is missing, wrong or expired."""

    code = "unauthorized"
    default_remedy = "Check the API key."


class ScopeDeniedError(OMPError):
    """The key does not reach this user, verb or scope."""

    code = "scope_denied"
    default_remedy = "Ask for a key with this grant."


class NotFoundError(OMPError, LookupError):
    """There is no such memory, or it belongs to another user."""

    code = "not_found"
    default_remedy = "Check the id and the user it belongs to."


class InvalidRequestError(OMPError, ValueError):
    """The request is not one the protocol allows; nothing was done."""

    code = "invalid_request"
    default_remedy = "Correct the request."


class ConfigurationError(InvalidRequestError):
    """A URL, option, profile or store setting is wrong."""

    default_remedy = "Correct the configuration."


class UnsupportedProviderError(ConfigurationError):
    """No adapter is known by this name, or its extra is not installed."""


class ClosedError(InvalidRequestError, RuntimeError):
    """The client was used after close, or from an event loop that is not its own."""

    default_remedy = "Open a new client."


class CopyError(InvalidRequestError, TypeError):
    """A client was copied or pickled, which holds connections, threads and locks."""

    default_remedy = "Keep its URL or profile instead, and make a client where it is needed."


class UnsupportedCapabilityError(OMPError):
    """The provider does not offer this verb or feature; nothing was done."""

    code = "unsupported_capability"
    default_remedy = "See capabilities() for what this provider offers."


class ConflictError(OMPError):
    """The memory is not in the state the request requires; nothing was done."""

    code = "conflict"
    default_remedy = "Read the memory again and retry with what it holds now."


class PayloadTooLargeError(OMPError):
    """The request is larger than the provider takes."""

    code = "payload_too_large"
    default_remedy = "Send less at once."


class RateLimitedError(OMPError):
    """The provider asked for a pause; retry_after holds the seconds where it named them."""

    code = "rate_limited"
    default_remedy = "Wait and retry."


class ProviderError(OMPError):
    """The provider failed; its own exception is the cause."""

    code = "provider_error"
    default_remedy = "See the cause; the provider's own log may say more."
    default_written = "perhaps"


class ProviderUnavailableError(ProviderError):
    """The provider could not be reached or did not answer in time."""

    code = "provider_unavailable"
    default_remedy = "Check that the provider runs and is reachable, then retry."


class IngestionTimeoutError(ProviderError):
    """A queued memory was not stored before the deadline."""

    code = "ingestion_timeout"
    default_remedy = "Wait longer, or check the provider's queue."


class InternalError(OMPError):
    """A defect in the provider or in openmem."""

    code = "internal_error"
    default_written = "perhaps"


BY_CODE: dict[str, type[OMPError]] = {
    cls.code: cls
    for cls in (
        UnauthorizedError,
        ScopeDeniedError,
        NotFoundError,
        InvalidRequestError,
        UnsupportedCapabilityError,
        ConflictError,
        PayloadTooLargeError,
        RateLimitedError,
        ProviderError,
        ProviderUnavailableError,
        IngestionTimeoutError,
        InternalError,
    )
}


def from_detail(detail: ErrorDetail, *, retry_after: float | None = None) -> OMPError:
    """Build the error that an ErrorDetail describes; an unknown code becomes ProviderError."""
    error = BY_CODE.get(detail.code, ProviderError)(
        detail.message,
        provider=detail.provider,
        request_id=detail.request_id,
        retry_after=retry_after,
        written=detail.written,
    )
    error.remedy = ""  # the message of the wire already ends with it
    return error


@contextmanager
def nothing_written() -> Iterator[None]:
    """Have errors say that nothing was stored of what the caller asked for."""
    try:
        yield
    except OMPError as error:
        error.written = "nothing"
        raise
