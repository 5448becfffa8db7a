"""What a request must satisfy before anything is done: typed errors that name the remedy."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .._generated.bounds import MAX_METADATA_BYTES, MAX_METADATA_DEPTH, MAX_METADATA_PROPERTIES, MAX_OFFSET_REACH
from .._generated.models import (
    AddRequest,
    ContextRequest,
    DeleteRequest,
    EraseRequest,
    GetManyRequest,
    GetRequest,
    HistoryRequest,
    ListRequest,
    RelatedRequest,
    RememberRequest,
    SearchRequest,
    StatsRequest,
    UpdateRequest,
)
from .._generated.verbs import VERBS
from ..errors import InvalidRequestError, PayloadTooLargeError
from . import filters
from .strict import read_model

Request = TypeVar("Request", bound=BaseModel)
Addressed = GetRequest | UpdateRequest | DeleteRequest | RelatedRequest | HistoryRequest
"""Requests that concern one memory, named by its id or by its external_id and user."""
_CHECKED_APART = ("filter", "items", "ids", "external_ids")
LARGE = 2_000
"""Values that are checked in a few milliseconds."""
LARGEST = 3.4028235677973366e38
"""From here on a number is infinite in 32 bits (IEEE 754: the largest float32 and half its last place)."""


def build(verb: str, fields: Mapping[str, Any]) -> BaseModel:
    """Make the request model of a verb from its fields; InvalidRequestError where they do not fit."""
    return parse(VERBS[verb].request, fields)


def parse(model: type[Request], fields: Mapping[str, Any], *, strict: bool = False) -> Request:
    """Validate fields into a model, its error turned into InvalidRequestError; strict: as JSON, see read_model."""
    user_id = fields.get("user_id")
    if not (user_id is None or isinstance(user_id, str)):  # of which the model would read some as text: see check_user
        raise _no_user(user_id)
    try:
        return read_model(model, fields) if strict else model.model_validate(fields)
    except ValidationError as error:
        raise _from_pydantic(error, model) from None  # the original would repeat the rejected values


def given(request: BaseModel) -> dict[str, Any]:
    """Return the fields that a request was given, extensions included."""
    fields = {name: value for name, value in request.__dict__.items() if name in request.model_fields_set}
    return fields | (request.model_extra or {})


def made_anew(request: Any) -> BaseModel:
    """Make a request of the same fields: this one may have been changed since it was made, and is its maker's.

    Raises InvalidRequestError for what is no request.
    """
    for verb in VERBS.values():
        if isinstance(request, verb.request):
            return parse(verb.request, given(request))
    raise InvalidRequestError(f"{type(request).__name__} is no request.", remedy="Give one of openmem.types.")


def _from_pydantic(error: ValidationError, model: type[BaseModel]) -> InvalidRequestError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or model.__name__
    head = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return unknown_field(place, model)
    if first["type"] == "missing":
        return InvalidRequestError(f"{place} is missing.", remedy=f"Give {place}.")
    info = model.model_fields.get(head)
    remedy = f"{place}: {info.description}" if info and info.description else ""
    return InvalidRequestError(f"{place}: {first['msg']}.", remedy=remedy)


def no_request_id() -> InvalidRequestError:
    """Say that an id of a request is none: see ids.is_request_id."""
    return InvalidRequestError("request_id is not 1 to 128 visible ASCII characters.", remedy="Leave it out.")


def unknown_field(name: str, model: type[BaseModel]) -> InvalidRequestError:
    """Describe a field the model does not have, naming the near miss."""
    near = difflib.get_close_matches(name, list(model.model_fields), n=1, cutoff=0.75)  # not version for session
    remedy = f"Did you mean '{near[0]}'?" if near else "Use metadata or an extension named 'x-…' for your own data."
    return InvalidRequestError(f"unknown field '{name}'.", remedy=remedy)


def check(request: Request) -> Request:
    """Apply the rules that no schema states; return the request with moments in UTC.

    Raises InvalidRequestError. The items of a batch are checked one by one by the guard, not here.
    """
    _check_values(request)
    rule = _RULES.get(type(request))
    if rule is not None:
        rule(request)
    return request


def is_large(value: Any) -> bool:
    """Tell whether a request, or a list of them, holds so many values that checking it would hold an event loop up."""
    parts = value if isinstance(value, list) else [value]
    return count_values([_json_of(each) if isinstance(each, BaseModel) else each for each in parts], LARGE) >= LARGE


def _json_of(request: BaseModel) -> list[Any]:
    return [part for part in (request.__dict__.get("metadata"), request.model_extra) if part]


def count_values(value: Any, most: int) -> int:
    """Count the values in a JSON value, until there are more than matter."""
    count, waiting = 0, [value]
    while waiting and count < most:
        each = waiting.pop()
        inner = each.values() if isinstance(each, Mapping) else each if isinstance(each, (list, tuple)) else ()
        count += len(inner)
        waiting.extend(inner)
    return count


def _check_values(request: BaseModel) -> None:
    values = request.__dict__
    for name in request.__pydantic_fields_set__:
        value = values.get(name)
        if isinstance(value, str):
            check_text(name, value)
        elif value is None or name in _CHECKED_APART:
            continue
        elif isinstance(value, datetime):
            if value.tzinfo is not UTC or type(value) is not datetime:
                values[name] = _to_utc(name, value)
        elif isinstance(value, list) and value and isinstance(value[0], (str, BaseModel)):
            for item in value:
                check_text(name, item) if isinstance(item, str) else check_json(name, item.model_dump())
        elif isinstance(value, BaseModel):
            check_json(name, value.model_dump())
    if request.__pydantic_extra__:
        _check_extensions(request, request.__pydantic_extra__)


def _check_extensions(request: BaseModel, extensions: dict[str, Any]) -> None:
    for name, value in list(extensions.items()):
        if not name.startswith("x-") or len(name) < 3:
            raise unknown_field(name, type(request))
        check_text("an extension's name", name)
        if value is None and isinstance(request, AddRequest):
            del extensions[name]  # not given, as every other field that is null in an add
        else:
            extensions[name] = check_json(name, value)


def _to_utc(name: str, value: datetime) -> datetime:
    try:
        return filters.plain_moment(value.astimezone(UTC))
    except OverflowError:
        raise InvalidRequestError(f"{name} is out of range in UTC.", remedy="Use a year from 2 to 9998.") from None


def check_address(request: Addressed) -> None:
    """Refuse a request that does not name its memory in just one way, or names it by a key of no user."""
    if request.id is None or request.external_id is not None:
        _check_names("id", request.id, "external_id", request.external_id, request.user_id)


def _check_many(request: GetManyRequest) -> None:
    _check_names("ids", request.ids, "external_ids", request.external_ids, request.user_id)


def _check_names(id_name: str, id_: Any, key_name: str, key: Any, user_id: str | None) -> None:
    if (id_ is None) == (key is None):
        said = "neither is" if id_ is None else "both are"
        raise InvalidRequestError(f"{id_name} and {key_name}: {said} given.", remedy="Give one of the two.")
    if key and user_id is None:  # of no keys there is nobody to ask for
        raise InvalidRequestError(f"{key_name} without user_id.", remedy="Name the user whose key it is.")


def _check_add(request: AddRequest) -> None:
    check_validity(request.valid_from, request.valid_to)
    _check_written(request)


def _check_update(request: UpdateRequest) -> None:
    check_address(request)
    if request.content is None and "content" in request.model_fields_set:
        raise InvalidRequestError("content cannot be cleared.", remedy="Give new content, or delete the memory.")
    if request.vector is not None and request.content is None:
        raise InvalidRequestError("a vector goes with new content.", remedy="Give the content it was made from.")
    _check_written(request)


def _check_written(request: AddRequest | UpdateRequest) -> None:
    if request.metadata is not None:
        request.metadata = check_json("metadata", request.metadata)
    if request.metadata or request.__pydantic_extra__:
        check_size(request.metadata, request.__pydantic_extra__)
    if request.vector is not None:
        check_vector(request.vector)


def check_validity(valid_from: datetime | None, valid_to: datetime | None) -> None:
    """Refuse a validity that ends before it begins."""
    if valid_from and valid_to and valid_to <= valid_from:
        raise InvalidRequestError("valid_to is not after valid_from.", remedy="Give a later valid_to.")


def check_vector(vector: Sequence[float]) -> None:
    """Refuse numbers that no cosine can be taken of in 32 bits."""
    if not all(-LARGEST < number < LARGEST for number in vector):  # which NaN is not either
        raise InvalidRequestError(
            "vector holds a number that is not finite in 32 bits.", remedy="Make the vector anew, or scale it."
        )


def check_size(metadata: Any, extensions: Any) -> None:
    """Refuse metadata of too many keys, and metadata and extensions that are too large together; both are JSON."""
    if metadata and len(metadata) > MAX_METADATA_PROPERTIES:
        raise InvalidRequestError(f"metadata has over {MAX_METADATA_PROPERTIES} keys.", remedy="Group them in objects.")
    size = sum(len(json.dumps(part, ensure_ascii=False).encode()) for part in (metadata, extensions) if part)
    if size > MAX_METADATA_BYTES:
        raise PayloadTooLargeError(
            f"metadata and extensions take {size} bytes; {MAX_METADATA_BYTES} is the most.", remedy="Keep less there."
        )


def check_user(user_id: Any) -> str:
    """Return a user's id; InvalidRequestError for anything but a text that is not blank."""
    if not isinstance(user_id, str):
        raise _no_user(user_id)
    request = parse(StatsRequest, {"user_id": user_id})
    check_text("user_id", request.user_id)
    return request.user_id


def _no_user(user_id: Any) -> InvalidRequestError:
    return InvalidRequestError(f"user_id is {type(user_id).__name__}, not text.", remedy="Name one user.")


def _check_remember(request: RememberRequest) -> None:
    request.metadata = check_json("metadata", request.metadata)
    check_size(request.metadata, None)


def _check_filter(request: ListRequest | SearchRequest | ContextRequest | EraseRequest | StatsRequest) -> None:
    if request.filter is not None:
        request.filter = filters.Parsed(request.filter)


def _check_search(request: SearchRequest) -> None:
    _check_filter(request)
    if request.query is None and request.vector is None:
        raise InvalidRequestError("search has nothing to look for.", remedy="Give a query, a vector or both.")
    if request.query is None and request.mode in ("keyword", "hybrid"):
        raise InvalidRequestError(f"{request.mode} search needs words.", remedy="Give a query, or mode='vector'.")
    if request.vector is not None:
        check_vector(request.vector)
    if request.offset and request.offset + request.limit > MAX_OFFSET_REACH:
        reach = request.offset + request.limit
        raise InvalidRequestError(
            f"offset and limit come to {reach}; {MAX_OFFSET_REACH} is the most.",
            remedy="Narrow the search, or read the selection with list.",
        )


def _check_erase(request: EraseRequest) -> None:
    _check_filter(request)
    selectors = (request.scope, request.tag, request.session, request.since, request.until)
    narrows = any(each is not None for each in selectors)
    narrows = narrows or not (request.filter is None or filters.selects_all(filters.parse(request.filter)))
    if request.all and (narrows or request.filter is not None):
        raise InvalidRequestError("erase has both all and a selection.", remedy="Leave one of the two out.")
    if not (request.all or narrows):
        raise InvalidRequestError("erase names nothing to erase.", remedy="Select, or pass all=True for everything.")
    if request.audit and not request.all:
        raise InvalidRequestError("the audit log is erased whole.", remedy="Pass all=True, or leave audit out.")


_RULES: dict[type[BaseModel], Callable[[Any], None]] = {
    AddRequest: _check_add,
    UpdateRequest: _check_update,
    **dict.fromkeys((GetRequest, DeleteRequest, RelatedRequest, HistoryRequest), check_address),
    GetManyRequest: _check_many,
    RememberRequest: _check_remember,
    ListRequest: _check_filter,
    ContextRequest: _check_filter,
    SearchRequest: _check_search,
    EraseRequest: _check_erase,
    StatsRequest: _check_filter,
}
"""By kind, which is looked up: isinstance takes these classes long to answer."""


def check_text(name: str, value: str) -> None:
    """Refuse what no backend keeps alike: U+0000 and lone surrogates."""
    if "\x00" in value:
        raise InvalidRequestError(f"{name} holds U+0000.", remedy="Remove the character.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidRequestError(
                f"{name} holds a lone surrogate.", remedy="Decode the text as UTF-8 first."
            ) from None


def check_json(name: str, value: Any, depth: int = 0) -> Any:
    """Return a JSON value of plain types, shared with nobody.

    Refuses what JSON does not bring back as it was: foreign types, NaN, keys that are not text, deep nesting.
    """
    if depth > MAX_METADATA_DEPTH:
        raise InvalidRequestError(f"{name} is nested deeper than {MAX_METADATA_DEPTH}.", remedy="Flatten it.")
    if isinstance(value, Mapping):
        return {_key(name, key): check_json(f"{name}.{key}", item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [check_json(name, item, depth + 1) for item in value]
    if isinstance(value, str):
        check_text(name, value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequestError(f"{name} is not a finite number.", remedy="Leave it out or write it as text.")
    elif isinstance(value, int) and not filters.is_whole(value):
        raise InvalidRequestError(f"{name} is an integer of over 64 bits.", remedy="Write it as text.")
    elif value is not None and not isinstance(value, (int, float)):
        raise InvalidRequestError(
            f"{name} is {type(value).__name__}, not a JSON value.", remedy="Use text, numbers, booleans, lists, dicts."
        )
    return filters.plain(value)


def _key(name: str, key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidRequestError(f"{name} has the key {key!r}.", remedy="JSON keys are text: use str(key).")
    check_text(name, key)
    return str(filters.plain(key))
