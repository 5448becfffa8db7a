"""Errors: typed, signed, and without consequences."""

from __future__ import annotations

from typing import Any

from openmem._generated.verbs import ERROR_CODES
from openmem.errors import InvalidRequestError, NotFoundError, OMPError

from ..check import check
from ..harness import Harness


def _odd_ids(h: Harness, known: str) -> list[str]:
    """Make ids that nobody has; as patterns some would match a known one."""
    word = h.marker()
    patterns = [f"{known[:-1]}{sign}" for sign in "%_*?"] + [f"%{known[1:]}", f"{known} ", known.swapcase()]
    hostile = [f"../etc/{word}", f"{word}' OR 1=1 --", f"mem_é日{word}", f"a {word}", f"{h.number()}"]
    odd = [*patterns, *hostile, f"{word}{'x' * 244}", h.unknown()]
    return [each for each in odd if each != known]  # an id of digits is the same in either case


@check("ERR-1", "every error has code, type, message, remedy, provider and request id")
async def are_signed(h: Harness) -> None:
    """Provoke errors of several kinds and look at each part."""
    record = await h.add(h.own("fact"))
    calls = [h.memory.get(h.unknown()), h.memory.add("", h.user), h.memory.search("x", h.user, limit=0)]
    if h.capabilities.features.supports_if_version:
        calls.append(h.memory.delete(record.id, if_version=99))
    seen = set()
    for call in calls:
        error = await h.refused(call, OMPError)
        h.require(ERROR_CODES.get(error.code) == (error.status, error.type), f"{error.code} is not as the table says")
        h.require(error.provider == h.capabilities.provider, f"provider is {error.provider!r}")
        envelope = error.envelope()["error"]
        h.require(envelope["message"].startswith(error.message), "the envelope has another message")
        h.require(envelope["request_id"] == error.request_id, "the envelope has another request id")
        seen.add(error.request_id)
    h.require(len(seen) == len(calls), "two calls have one request id")


@check("ERR-2", "a refused request changes nothing")
async def change_nothing(h: Harness) -> None:
    """Refuse adds and updates in several ways and read the store again."""
    record = await h.add(h.own("fact"), tags=[h.own("t")])
    before = await h.memory.get(record.id, user_id=h.user)
    await h.refused(h.memory.add(h.own("fact"), h.user, confidence=7), InvalidRequestError)
    await h.refused(h.memory.add(h.own("fact"), h.user, no_such_field=1), InvalidRequestError)
    if "update" in h.capabilities.verbs:
        await h.refused(h.memory.update(record.id, content=h.own("new"), confidence=7), InvalidRequestError)
        await h.refused(h.memory.update(record.id, content=h.own("new"), no_such_field=1), InvalidRequestError)
        await h.refused(h.memory.update(record.id, content=h.own("new"), user_id=h.other), NotFoundError)
    if h.capabilities.features.supports_supersession:  # refused by the backend, not by the client
        await h.refused(h.memory.add(h.own("fact"), h.user, supersedes=[h.unknown()]), InvalidRequestError)
    h.require(await h.all_ids() == [record.id], "a refused add was stored")
    h.require(await h.memory.get(record.id, user_id=h.user) == before, "a refused update changed the record")


@check("ERR-3", "an unknown id is not_found, whatever it looks like")
async def unknown_ids_are_not_found(h: Harness) -> None:
    """Ask for ids that nobody has, some of them hostile."""
    record = await h.add(h.own("fact"))
    odd = _odd_ids(h, record.id)
    changes: dict[str, dict[str, Any]] = {"get": {}, "delete": {}, "update": {"content": h.own("new")}, "history": {}}
    for verb, fields in (changes | {"related": {}}).items():
        for memory_id in odd if verb in h.capabilities.verbs else ():
            for user in (h.user, None):
                await h.refused(getattr(h.memory, verb)(memory_id, user_id=user, **fields), NotFoundError)
    h.require(await h.all_ids() == [record.id], "a call with an unknown id made or deleted something")


@check("ERR-3", "an empty id is refused")
async def empty_ids_are_refused(h: Harness) -> None:
    """Ask for no id at all."""
    for memory_id in ("", " ", "x" * 257, "a\x00b"):
        await h.refused(h.memory.get(memory_id), InvalidRequestError)
        await h.refused(h.memory.delete(memory_id), InvalidRequestError)


@check("ERR-4", "what is refused, and what only reads, has written nothing")
async def say_what_was_written(h: Harness) -> None:
    """Look at what refused writes and reads say, in errors and on the wire."""
    record = await h.add(h.own("fact"))
    calls = [
        h.memory.add(h.own("fact"), h.user, confidence=7),
        h.memory.get(h.unknown(), user_id=h.user),
        h.memory.delete(h.unknown(), user_id=h.user),
        h.memory.search("x", h.user, limit=0),
    ]
    if "update" in h.capabilities.verbs:
        calls.append(h.memory.update(record.id, content=h.own("new"), user_id=h.other))
    features = h.capabilities.features
    if features.supports_if_version:
        calls.append(h.memory.delete(record.id, user_id=h.user, if_version=99))
    if features.supports_supersession:
        calls.append(h.memory.add(h.own("fact"), h.user, supersedes=[h.unknown()]))
    if features.supports_external_id:
        await h.add(h.own("fact"), external_id=h.own("key"))
        calls.append(h.memory.add(h.own("fact"), h.user, external_id=h.own("key"), on_conflict="error"))
    for call in calls:
        error = await h.refused(call, OMPError)
        h.require(error.written == "nothing", f"{error.code} says that {error.written} was written")
        h.require(error.detail().written == "nothing", "the wire says otherwise")
