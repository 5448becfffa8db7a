"""An answer as an HTTP response and back: a response model, or an error in the envelope of the spec."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from .._generated.models import ErrorDetail, ErrorResponse
from .._generated.verbs import ERROR_CODES, Verb
from ..errors import BY_CODE, OMPError, ProviderError, Written, from_detail
from ..runtime.ids import is_request_id
from .clock import retry_after
from .messages import (
    JSON,
    HTTPResponse,
    Pairs,
    content_type,
    harmless,
    identified,
    read_json,
    request_id_of,
    values,
    write_json,
)
from .strict import read_model

_OK, _CREATED = 200, 201
_LONGEST_MESSAGE, _LONGEST_NAME = 2_000, 100
"""Characters that are kept of what a server says of an error."""
_WRITTEN: dict[str, Written] = {each: each for each in get_args(Written)}
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

    Raises the error that the response tells of, and ProviderError for an answer of the wrong status or shape.
    """
    if not 200 <= response.status < 300:
        raise decode_error(response)
    try:
        return _answer(verb, response)
    except OMPError:
        raise
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _unreadable(response, f"is no {error.title}: {place}: {first['msg']}") from None
    except (ValueError, OverflowError) as error:
        raise _unreadable(response, str(error)) from None


def _answer(verb: Verb, response: HTTPResponse) -> BaseModel | None:
    said = _read(response) if response.body else None
    if _detail(said, response) is not None:
        raise decode_error(response)
    if verb.response is None:
        _check_done(verb, response, said)
        return None
    if response.status not in verb.routes[0].success:
        raise ValueError(f"has the status {response.status}, which is none of {verb.name}")
    if not response.body:
        raise ValueError("is empty")
    answer = read_model(verb.response, said)
    _settle(answer)
    return answer


def _check_done(verb: Verb, response: HTTPResponse, said: Any) -> None:
    """Refuse what does not say that it is done: nothing, with the verb's status, or as others do an object by 200."""
    if response.status in verb.routes[0].success and not response.body:
        return
    refusal = isinstance(said, dict) and (said.get("error") is not None or False in said.values())
    if response.status != _OK or not isinstance(said, dict) or refusal:
        raise ValueError(f"to {verb.name}, of status {response.status}, does not say that it is done")


def _read(response: HTTPResponse) -> Any:
    kind, _ = content_type(response.headers)
    if kind not in ("", JSON) and not kind.endswith("+json"):
        raise ValueError(f"is not of the type {JSON}")
    return read_json(response.body)


def _unreadable(response: HTTPResponse, why: str) -> ProviderError:
    return ProviderError(
        f"the server's answer {why}.",
        remedy="Check that the URL is that of an OMP server.",
        request_id=request_id_of(response.headers),
    )


def _settle(model: BaseModel) -> None:
    """Write the moments of an answer in UTC, and what it says of errors in a form that is fit for logs."""
    if isinstance(model, ErrorDetail):
        model.__dict__.update(_harmless(model))
    for name, value in model.__dict__.items():
        if isinstance(value, datetime):
            model.__dict__[name] = value.astimezone(UTC)
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, BaseModel):
                _settle(each)


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
    try:
        detail = _detail(read_json(response.body), response)
    except ValueError:
        detail = None
    return _unsaid(response, pause) if detail is None else from_detail(detail, retry_after=pause)


def _detail(said: Any, response: HTTPResponse) -> ErrorDetail | None:
    """Find the error in an envelope; None where that is none."""
    error = said.get("error") if isinstance(said, dict) else None
    told = {name: value for name, value in error.items() if isinstance(value, str)} if isinstance(error, dict) else {}
    if not {"code", "message"} <= told.keys():
        return None
    code = told["code"] if told["code"] in BY_CODE else _by_class(response.status)
    detail = ErrorDetail(
        code=code,
        message=told["message"],
        type=ERROR_CODES[code][1],
        provider=told.get("provider"),
        request_id=told.get("request_id"),
        written=_WRITTEN.get(told.get("written", "")),
    )
    fields = _harmless(detail)
    return detail.model_copy(update=fields | {"request_id": fields["request_id"] or request_id_of(response.headers)})


def _harmless(detail: ErrorDetail) -> dict[str, Any]:
    """Return the texts of an error so that they are fit for logs, whoever sent them."""
    names = {"code": detail.code, "type": detail.type, "provider": detail.provider}
    return {name: text and harmless(text, _LONGEST_NAME) for name, text in names.items()} | {
        "message": harmless(detail.message, _LONGEST_MESSAGE),
        "request_id": detail.request_id if is_request_id(detail.request_id or "") else None,
    }


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
