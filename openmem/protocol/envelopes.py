"""An answer as an HTTP response and back: a response model, or an error in the envelope of the spec."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from .._generated.models import ErrorDetail, ErrorResponse
from .._generated.verbs import ERROR_CODES, Verb
from ..errors import BY_CODE, OMPError, ProviderError, Written, from_detail
from .clock import retry_after
from .messages import JSON, HTTPResponse, Pairs, content_type, identified, read_json, request_id_of, values, write_json

_CREATED = 201
_BODY: Pairs = (("Content-Type", JSON),)
_MEANT = {
    "invalid_request": (400, 422),
    "unauthorized": (401,),
    "scope_denied": (403,),
    "payload_too_large": (413, 414, 431),
    "rate_limited": (429,),
    "unsupported_capability": (405, 501),
    "provider_unavailable": (408, 502, 503, 504),
}
_UNSAID = {status: code for code, statuses in _MEANT.items() for status in statuses}
"""What statuses say of themselves, for whoever stands between may send them: not 404, which may mean a wrong URL."""
_BY_STATUS = _UNSAID | {status: code for code, (status, _) in reversed(ERROR_CODES.items())}


def encode_response(verb: Verb, answer: BaseModel | None, request_id: str | None = None) -> HTTPResponse:
    """Write what a verb answers; ProviderError for what is not JSON. request_id: of the request that is answered."""
    success = verb.routes[0].success
    if verb.response is None:
        return HTTPResponse(success[0], identified(request_id))
    first = getattr(answer, "version", None) in (None, 1)
    status = _CREATED if first and _CREATED in success else success[0]
    try:
        return HTTPResponse(status, (*_BODY, *identified(request_id)), write_json(answer))
    except ValueError as error:
        raise ProviderError(f"the answer cannot be written: {error}.") from None


def decode_response(verb: Verb, response: HTTPResponse) -> BaseModel | None:
    """Read what a verb answered, unknown fields kept, moments in UTC.

    Raises the error that the response tells of, and ProviderError for an answer of the wrong shape.
    """
    if not 200 <= response.status < 300:
        raise decode_error(response)
    if verb.response is None:
        return None
    try:
        answer = verb.response.model_validate(_read(response))
        _to_utc(answer)
        return answer
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _unreadable(response, f"is no {verb.response.__name__}: {place}: {first['msg']}") from None
    except (ValueError, OverflowError) as error:
        raise _unreadable(response, str(error)) from None


def _read(response: HTTPResponse) -> Any:
    kind, _ = content_type(response.headers)
    if not response.body:
        raise ValueError("is empty")
    if kind not in ("", JSON) and not kind.endswith("+json"):
        raise ValueError(f"is not of the type {JSON}")
    return read_json(response.body)


def _unreadable(response: HTTPResponse, why: str) -> ProviderError:
    return ProviderError(
        f"the server's answer {why}.",
        remedy="Check that the URL is that of an OMP server.",
        request_id=request_id_of(response.headers),
    )


def _to_utc(model: BaseModel) -> None:
    for name, value in model.__dict__.items():
        if isinstance(value, datetime):
            model.__dict__[name] = value.astimezone(UTC)
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, BaseModel):
                _to_utc(each)


# --- errors -----------------------------------------------------------------------------------------------------


def encode_error(error: OMPError) -> HTTPResponse:
    """Write an error: its status, the envelope, and Retry-After in whole seconds where it asks for a pause."""
    pause = error.retry_after
    waits = pause is not None and math.isfinite(pause)
    after = (("Retry-After", str(max(0, math.ceil(pause)))),) if pause is not None and waits else ()
    body = write_json(ErrorResponse(error=error.detail()), errors="replace")
    return HTTPResponse(error.status, (*_BODY, *after, *identified(error.request_id)), body)


def decode_error(response: HTTPResponse) -> OMPError:
    """Read the error that a response tells of, by its code or, where that is unknown, by its status.

    A body that is no envelope is never quoted: it may be anybody's, and hold anything.
    """
    pause = retry_after(next(iter(values(response.headers, "Retry-After")), None))
    detail = _detail(response)
    if detail is None:
        return _unsaid(response, pause)
    return from_detail(detail, retry_after=pause)


def _detail(response: HTTPResponse) -> ErrorDetail | None:
    try:
        said = read_json(response.body)["error"]
        code, message = said["code"], said["message"]
    except (ValueError, KeyError, TypeError):
        return None
    if not (isinstance(code, str) and isinstance(message, str)):
        return None
    code = code if code in BY_CODE else _by_class(response.status)
    return ErrorDetail(
        code=code,
        message=message,
        type=ERROR_CODES[code][1],
        provider=_one_of(said.get("provider"), None),
        request_id=_one_of(said.get("request_id"), None) or request_id_of(response.headers),
        written=_one_of(said.get("written"), get_args(Written)),
    )


def _one_of(value: Any, known: Iterable[str] | None) -> Any:
    return value if isinstance(value, str) and (known is None or value in known) else None


def _by_class(status: int) -> str:
    return _BY_STATUS.get(status) or ("invalid_request" if 400 <= status < 500 else ProviderError.code)


def _unsaid(response: HTTPResponse, pause: float | None) -> OMPError:
    """Make an error of a status alone; what was refused with a status below 500 has written nothing."""
    code = _UNSAID.get(response.status, ProviderError.code)
    refused = response.status < 500 and response.status != 408
    return BY_CODE[code](
        f"the server answered {response.status} without saying why.",
        remedy="Check that the URL is that of an OMP server." if code == ProviderError.code else "",
        request_id=request_id_of(response.headers),
        retry_after=pause,
        written="nothing" if refused else None,
    )
