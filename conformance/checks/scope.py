"""Scope: whole segments, exact letters, and no wildcard but a last '*'."""

from __future__ import annotations

from collections.abc import Sequence

from openmem.errors import InvalidRequestError
from openmem.types import MemoryRecord

from ..check import check
from ..harness import Harness
from ._shared import reads

NEEDS = ("scopes",)
BAD_PATHS = ("", "/a", "a/", "a//b", "/", "*", "a/*", "*/a", "a*", "a/*/b", "a/**")
BAD_SELECTORS = ("", "/a", "a/", "a//b", "/", "*", "/*", "a*", "*/a", "a/*/b", "a/**", "a/*/*")


async def _seed(h: Harness, word: str, paths: Sequence[str | None]) -> dict[str | None, MemoryRecord]:
    """Store one record a path, each with the word."""
    scoped = [{} if path is None else {"scope": h.scope(path)} for path in paths]
    records = await h.seed([{"content": f"{word} {h.marker()}", **fields} for fields in scoped])
    return dict(zip(paths, records, strict=True))


async def _selects(
    h: Harness, word: str, stored: dict[str | None, MemoryRecord], selector: str, expected: Sequence[str]
) -> None:
    await reads(
        h,
        word,
        stored.values(),
        [stored[path] for path in expected],
        f"of scope '{selector}'",
        selection={"scope": h.scope(selector)},
        none_expected=not expected,
    )


@check("SCO-1", "a scope selects itself and all below it", requires=NEEDS)
async def takes_itself_and_all_below(h: Harness) -> None:
    """Select at every depth of one branch, beside another branch."""
    word = h.marker()
    stored = await _seed(h, word, ["a", "a/b", "a/b/c", "a/b/c/d/e/f", "a/x", "z", "z/a/b"])
    await _selects(h, word, stored, "a", ["a", "a/b", "a/b/c", "a/b/c/d/e/f", "a/x"])
    await _selects(h, word, stored, "a/b", ["a/b", "a/b/c", "a/b/c/d/e/f"])
    await _selects(h, word, stored, "a/b/c/d", ["a/b/c/d/e/f"])
    await _selects(h, word, stored, "z/a", ["z/a/b"])


@check("SCO-1", "a never selects ab", requires=NEEDS)
async def leaves_out_siblings_that_begin_alike(h: Harness) -> None:
    """Store neighbours that share the first letters of the scope, in the first and in a later segment."""
    word = h.marker()
    siblings = ["acme-corp", "acmecorp", "acme corp", "acme.corp", "acme ", "acm", "acme0", "corp/acme"]
    below = ["acme", "acme/eu"]
    stored = await _seed(h, word, [*below, *siblings, "org/acme", "org/acme/eu", "org/acme-corp", "org/acmes/eu"])
    await _selects(h, word, stored, "acme", below)
    await _selects(h, word, stored, "org/acme", ["org/acme", "org/acme/eu"])
    await _selects(h, word, stored, "acm", ["acm"])


@check("SCO-1", "a scope that nobody has selects nothing", requires=NEEDS)
async def unknown_scope_selects_nothing(h: Harness) -> None:
    """Ask for parts and extensions of stored scopes that are no scopes of their own."""
    word = h.marker()
    stored = await _seed(h, word, ["team/alpha", "team/beta"])
    for selector in ("tea", "team/alph", "team/alpha/deeper", "alpha", "team/alpha/*", "gone"):
        await _selects(h, word, stored, selector, [])
    await _selects(h, word, stored, "team/alpha", ["team/alpha"])


@check("SCO-1", "a scope begins at the root", requires=NEEDS)
async def begins_at_the_root(h: Harness) -> None:
    """Select a scope beside one that holds it further down."""
    word, top = h.marker(), h.own("a")
    scope = h.scope(f"{top}/b")
    paths = (scope, f"{scope}/c", f"{h.own('top')}/{scope}", f"{top}/b")
    records = await h.seed([{"content": f"{word} {number}", "scope": path} for number, path in enumerate(paths)])
    for selector, expected in ((scope, records[:2]), (f"{scope}/*", records[1:2]), (top, records[3:])):
        await reads(h, word, records, expected, f"of scope '{selector}'", selection={"scope": selector})


@check("SCO-2", "a/* selects all strictly below a", requires=NEEDS)
async def star_takes_all_strictly_below(h: Harness) -> None:
    """Select below a scope that is itself stored, beside siblings."""
    word = h.marker()
    stored = await _seed(h, word, ["a", "a/b", "a/b/c", "ab", "ab/c", "b/a/c"])
    await _selects(h, word, stored, "a/*", ["a/b", "a/b/c"])
    await _selects(h, word, stored, "a/b/*", ["a/b/c"])
    await _selects(h, word, stored, "a/b/c/*", [])


@check("SCO-3", "% _ . ? and other signs in a stored scope are ordinary", requires=NEEDS)
async def signs_are_ordinary_characters(h: Harness) -> None:
    """Select each of many scopes that differ in one sign; as patterns they would match each other."""
    word = h.marker()
    paths = ["a%b", "a_b", "a.b", "a?b", "axb", "axxb", "a[x]b", "a\\b", "a'b", 'a"b', "a+b", "a^b$", "(a|b)", "a b"]
    stored = await _seed(h, word, paths)
    for path in paths:
        await _selects(h, word, stored, path, [path])


@check("SCO-3", "a selector holds no pattern", requires=NEEDS)
async def selectors_hold_no_pattern(h: Harness) -> None:
    """Ask with patterns of SQL, globs and regular expressions that would match what is stored."""
    word = h.marker()
    stored = await _seed(h, word, ["project/one", "project/two", "pro_ject/one"])
    for selector in (
        "%",
        "pro%",
        "project/%",
        "project/___",
        ".+",
        "project/.+",
        "p?oject",
        "pro[j]ect",
        "project/o?e",
    ):
        await _selects(h, word, stored, selector, [])
    await _selects(h, word, stored, "pro_ject", ["pro_ject/one"])
    await _selects(h, word, stored, "pro_ject/*", ["pro_ject/one"])


@check("SCO-4", "a scope with an empty segment or a * is not stored", requires=NEEDS)
async def bad_paths_are_not_stored(h: Harness) -> None:
    """Add under bad paths and under a good one, which alone is stored."""
    word = h.marker()
    stored = await _seed(h, word, ["good", None])
    for path in BAD_PATHS:
        await h.refused(h.memory.add(h.marker(), h.user, scope=path), InvalidRequestError)
    await _selects(h, word, stored, "good", ["good"])
    h.require(len(await h.all_ids()) == 2, "a refused add stored a record.")


@check("SCO-4", "an update cannot move a record to a bad scope", requires=("scopes", "update"))
async def bad_paths_are_not_updated_to(h: Harness) -> None:
    """Update to bad paths and read the record back unchanged."""
    record = await h.memory.get((await h.add(h.marker(), scope=h.scope("kept"))).id)
    for path in BAD_PATHS:
        await h.refused(h.memory.update(record.id, user_id=h.user, scope=path), InvalidRequestError)
    h.require(await h.memory.get(record.id) == record, "a refused update changed the record.")
    moved = await h.memory.update(record.id, user_id=h.user, scope=h.scope("moved"))
    h.require(moved.scope == h.scope("moved"), f"the scope is {moved.scope} after a good update.")


@check("SCO-4", "a malformed selector is refused", requires=NEEDS)
async def bad_selectors_are_refused(h: Harness) -> None:
    """List and search by malformed selectors and by a good one."""
    word = h.marker()
    stored = await _seed(h, word, ["good", None])
    await _selects(h, word, stored, "good", ["good"])
    for selector in BAD_SELECTORS:
        await h.refused(h.memory.list(h.user, scope=selector), InvalidRequestError)
        await h.refused(h.memory.search(h.marker(), h.user, scope=selector), InvalidRequestError)


@check("SCO-5", "unscoped records are read by reads without a scope only", requires=NEEDS)
async def unscoped_records(h: Harness) -> None:
    """Read with and without a scope, and with words that a missing scope may be stored as."""
    word = h.marker()
    stored = await _seed(h, word, ["a", "a/b", None])
    await reads(h, word, stored.values(), stored.values(), "of no scope", selection={}, all_expected=True)
    await _selects(h, word, stored, "a", ["a", "a/b"])
    for selector in ("None", "null", "default", "unscoped"):
        await reads(
            h, word, stored.values(), [], f"of scope '{selector}'", selection={"scope": selector}, none_expected=True
        )


@check("SCO-5", "clearing a scope makes a record unscoped", requires=("scopes", "update"))
async def cleared_scope(h: Harness) -> None:
    """Clear one scope, set another, and read by the old and the new one."""
    word = h.marker()
    stored = await _seed(h, word, ["old", "old/kept", "elsewhere"])
    await h.memory.update(stored["old"].id, user_id=h.user, scope=None)
    await h.memory.update(stored["elsewhere"].id, user_id=h.user, scope=h.scope("old/moved"))
    await _selects(h, word, stored, "old", ["old/kept", "elsewhere"])
    await _selects(h, word, stored, "elsewhere", [])
    await reads(h, word, stored.values(), stored.values(), "of no scope", selection={}, all_expected=True)


@check("SCO-6", "scopes match exactly by letter case", requires=NEEDS)
async def letter_case_matters(h: Harness) -> None:
    """Select among scopes that differ in case or in how an accent is written."""
    word = h.marker()
    paths = ["Team/a", "team/A", "team/a", "TEAM/a", "straße", "STRASSE", "caf\u00e9", "cafe\u0301", "CAF\u00c9"]
    stored = await _seed(h, word, paths)
    await _selects(h, word, stored, "team", ["team/A", "team/a"])
    await _selects(h, word, stored, "TEAM/*", ["TEAM/a"])
    for path in paths[2:]:
        await _selects(h, word, stored, path, [path])
