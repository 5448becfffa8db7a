"""Session: which conversation a memory belongs to."""

from __future__ import annotations

from openmem.types import MemoryRecord

from ..check import check
from ..harness import Harness
from ._shared import ALIKE, crowd, found, modes, reads

NEEDS = ("supports_sessions",)


async def _seed(h: Harness, word: str, sessions: list[str | None]) -> dict[str | None, MemoryRecord]:
    """Store one record a session, each with the word."""
    fields = [{} if session is None else {"session": h.own(session)} for session in sessions]
    records = await h.seed([{"content": f"{word} {h.marker()}", **each} for each in fields])
    return dict(zip(sessions, records, strict=True))


@check("SES-1", "the session is kept", requires=NEEDS)
async def is_kept(h: Harness) -> None:
    """Store sessions that look like paths, patterns and other users' names."""
    for session in ("s", "a/b", "*", "%", " s ", "тема 7", "Ａ"):
        record = await h.add(h.marker(), session=h.own(session))
        for verb, stored in (("add", record), ("get", await h.memory.get(record.id, user_id=h.user))):
            h.require(stored.session == h.own(session), f"{verb} answers another session than was given")


@check("SES-1", "an update changes and clears the session", requires=(*NEEDS, "update"))
async def is_changed_and_cleared(h: Harness) -> None:
    """Move a record to another session, then out of any, and ask the selection that it left."""
    record = await h.add(h.marker(), session=h.own("first"))
    for session in (h.own("second"), None):
        changed = await h.memory.update(record.id, user_id=h.user, session=session)
        h.require(changed.session == session, "update answers another session than was given")
        h.require((await h.memory.get(record.id, user_id=h.user)).session == session, "get has another session")
        left = await h.all_ids(session=h.own("first"))
        h.expect(left, [], among=[record.id], what="list of the session that it left", none_expected=True)
    other = await h.memory.update(record.id, user_id=h.user, tags=[h.own("t")])
    h.require(other.session is None, "an update of something else brings the session back")


@check("SES-2", "a session selects its own records", requires=NEEDS)
async def selects_its_own(h: Harness) -> None:
    """Store sessions that begin alike, differ by letter case or hold a wildcard's sign, and a record without one."""
    word, talk = h.marker(), h.own("talk")
    sessions = [talk, f"{talk}/two", f"{talk} ", talk[:-1], talk.upper(), h.own("t%k"), h.own("t_lk"), f"{talk[:-1]}*"]
    seeds = [{"content": f"{word} {h.marker()}", "session": session} for session in sessions]
    stored = await h.seed([*seeds, {"content": f"{word} {h.marker()}"}])
    for session, record in zip(sessions, stored, strict=False):
        await reads(h, word, stored, [record], f"of session '{session}'", selection={"session": session})
    await reads(h, word, stored, stored, "without a session", selection={}, all_expected=True)
    await reads(h, word, stored, [], "of another session", selection={"session": h.marker()}, none_expected=True)


@check("SES-2", "sessions match code point by code point", requires=NEEDS)
async def matches_code_points(h: Harness) -> None:
    """Store sessions that are one by normalisation or case folding."""
    word = h.marker()
    stored = await _seed(h, word, list(ALIKE))
    for sign in ALIKE:
        selection = {"session": h.own(sign)}
        await reads(h, word, stored.values(), [stored[sign]], f"of session '{sign}'", selection=selection)


@check("SES-2", "context reads the session alone", requires=(*NEEDS, "context"))
async def binds_context(h: Harness) -> None:
    """Ask for the context of one of two sessions."""
    word = h.marker()
    stored = await _seed(h, word, ["mine", "theirs", None])
    block = await h.memory.context(word, h.user, session=h.own("mine"))
    cited = [citation.memory_id for citation in block.citations]
    seeded = [each.id for each in stored.values()]
    h.expect(cited, [stored["mine"].id], among=seeded, what="context of one session")


@check("SES-2", "a session applies before the limit", requires=NEEDS)
async def applies_before_the_limit(h: Harness) -> None:
    """Hide three records of a session among many that fit as well."""
    word = h.marker()
    others = [{"content": f"{word} {h.marker()}", "session": h.own("theirs")} for _ in range(60)]
    wanted = await crowd(h, [{"content": f"{word} {h.marker()}", "session": h.own("mine")} for _ in range(3)])
    seeded = [*wanted, *await crowd(h, others)]
    for mode in modes(h):
        ids = await found(h, word, mode=mode, session=h.own("mine"), limit=5)
        h.expect(ids, wanted, among=seeded, what=f"{mode} search of one session")
