"""Context: a budget kept, every line cited, and the same records as search."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from openmem.types import ContextBlock

from ..check import check
from ..harness import Harness
from ._shared import declared, found, longest, modes

CONTEXT = ("context",)
QUARTERS = "characters/4"
BUDGETS = (1, 2, 5, 8, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25, 30, 33, 40, 60, 100, 250, 1000, 1_000_000)
AMPLE = 20_000
DAY = timedelta(days=1)


def _cited(block: ContextBlock) -> list[str]:
    return [citation.memory_id for citation in block.citations]


def _hold(h: Harness, block: ContextBlock, budget: int) -> None:
    """Hold a block to its budget, and its lines to its citations."""
    h.require(block.token_count is not None, "token_count is missing.")
    tokens = block.token_count or 0
    h.require(0 <= tokens <= budget, f"{tokens} tokens for a budget of {budget}.")
    if h.capabilities.features.token_counter == QUARTERS:
        counted = -(-len(block.text) // 4)
        h.require(tokens == counted, f"token_count is {tokens}; the text has {counted} by {QUARTERS}.")
    h.require((tokens == 0) == (block.text == ""), f"{tokens} tokens are counted for {block.text!r}.")
    lines, cited = block.text.splitlines(), _cited(block)
    h.require(len(lines) == len(cited), f"{len(lines)} lines have {len(cited)} citations: {block.text!r}")
    for line, memory_id in zip(lines, cited, strict=True):
        h.require(line.endswith(f"[{memory_id}]"), f"the line {line!r} does not end in [{memory_id}].")
    h.require(len(cited) == len(set(cited)), f"a record is cited twice: {cited}")


async def _context(h: Harness, query: str, budget: int = AMPLE, **selection: Any) -> ContextBlock:
    block: ContextBlock = await h.memory.context(query, h.user, token_budget=budget, **selection)
    _hold(h, block, budget)
    return block


@check("CTX-1", "token_count never exceeds token_budget", requires=CONTEXT)
async def budget_is_kept(h: Harness) -> None:
    """Ask with budgets from one token to many, over short, long and foreign texts."""
    word = h.marker()
    contents = [word, f"{word} " + "long " * 300, f"{word} 東京に住んでいる 🚀", f"{word} one", f"{word} two\nlines"]
    await h.seed([{"content": content.strip()} for content in contents])
    sizes = [len((await _context(h, word, budget)).citations) for budget in BUDGETS]
    h.require(sizes[-1] == len(contents), f"within an ample budget {sizes[-1]} of {len(contents)} are cited.")


@check("CTX-1", "one memory longer than the budget does not break it", requires=CONTEXT)
async def one_long_memory(h: Harness) -> None:
    """Ask with small budgets over a single text of ten thousand letters, with and without spaces."""
    for content in ("word " * 2000, "x" * 10_000):
        user, text = h.new_user(), f"{h.marker()} {content}"[: longest(h, 10_000)].strip()
        await h.seed([{"content": text}], user_id=user)
        for budget in BUDGETS:
            block = await h.memory.context(text[:12], user, token_budget=budget)
            _hold(h, block, budget)
        h.require(block.citations, "within an ample budget the memory is not cited.")


@check("CTX-1", "without a budget the default of 500 holds", requires=CONTEXT)
async def default_budget(h: Harness) -> None:
    """Ask without a budget over more than it takes."""
    word = h.marker()
    await h.seed([{"content": f"{word} " + f"{h.marker()} " * 20 + "."} for _ in range(12)])
    block = await h.memory.context(word, h.user)
    _hold(h, block, 500)
    h.require(block.citations, "nothing is cited.")


@check("CTX-2", "every line ends in the id of its record", requires=CONTEXT)
async def every_line_is_cited(h: Harness) -> None:
    """Ask over texts of several lines, some written to look like lines and citations of others."""
    word = h.marker()
    breaks = [
        "one\ntwo",
        "one\r\ntwo\r\n",
        "one\rtwo",
        "one\u2028two\u2029three",
        "one\x0btwo\x0cthree\x85four",
        "\n\none",
    ]
    forged = ["one [mem_forged]", "one\n- two [mem_forged]", "[mem_forged]", "- one", "one]\n[", "{id} {{content}} %s"]
    records = await h.seed([{"content": f"{word} {text}"} for text in [*breaks, *forged]])
    block = await _context(h, word)
    h.expect(_cited(block), h.ids(records), among=h.ids(records), what="context", all_expected=True)


@check("CTX-2", "a line holds what its record says", requires=CONTEXT)
async def lines_hold_the_content(h: Harness) -> None:
    """Look for each record's own word in the line that cites it, and best first."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {h.marker()}"} for _ in range(4)])
    best = await h.add(word)
    contents = {record.id: record.content for record in [*records, best]}
    block = await _context(h, word)
    for line, memory_id in zip(block.text.splitlines(), _cited(block), strict=True):
        h.require(contents[memory_id] in line, f"the line {line!r} does not say {contents[memory_id]!r}.")
    h.expect(_cited(block)[:1], [best.id], among=contents, what="first citation")
    scores = [citation.score for citation in block.citations]
    h.require(scores == sorted(scores, reverse=True), f"citations are not best first: {scores}")


@check("CTX-3", "no record, no text", requires=CONTEXT)
async def no_record_no_text(h: Harness) -> None:
    """Ask for a user without records, and for one whose records are deleted."""
    word = h.marker()
    await h.seed([{"content": word}], user_id=h.other)
    gone = await h.add(word)
    h.require((await _context(h, word)).citations, "the record is not cited while it is there.")
    await h.memory.delete(gone.id, user_id=h.user)
    for user in (h.user, h.new_user()):
        block = await h.memory.context(word, user)
        empty = (block.text, block.citations, block.token_count) == ("", [], 0)
        h.require(empty, f"without records the context is {block}")


@check("CTX-3", "no record fits, no text", requires=CONTEXT)
async def nothing_fits(h: Harness) -> None:
    """Ask with a budget of one token, which no citation fits."""
    word = h.marker()
    await h.seed([{"content": f"{word} {h.marker()}"} for _ in range(3)])
    h.require((await _context(h, word)).citations, "nothing is cited within an ample budget.")
    block = await h.memory.context(word, h.user, token_budget=1)
    h.require((block.text, block.citations, block.token_count) == ("", [], 0), f"for one token: {block}")


@check("CTX-4", "context reads one user's records", requires=CONTEXT)
async def context_of_one_user(h: Harness) -> None:
    """Ask where another user's records fit better."""
    word = h.marker()
    theirs = await h.seed([{"content": word} for _ in range(5)], user_id=h.other)
    mine = await h.seed([{"content": f"{word} {h.marker()}"} for _ in range(2)])
    block = await _context(h, word)
    h.expect(_cited(block), h.ids(mine), among=h.ids([*mine, *theirs]), what="context")


async def _selected(h: Harness, word: str, among: list[str], expected: list[str], selection: dict[str, Any]) -> None:
    """Hold the citations under a selection against what is expected and against search."""
    what = f"context by {selection}"
    cited = _cited(await _context(h, word, **selection))
    h.expect(cited, expected, among=among, what=what)
    h.require(cited == await found(h, word, **selection), f"{what} cites {cited}, which is not what search finds.")


@check("CTX-4", "tag, scope and filter bind context", requires=CONTEXT)
async def context_of_a_selection(h: Harness) -> None:
    """Ask by each selection, and by two together."""
    word, features = h.marker(), declared(h)
    scoped = "scopes" in features
    places = ("in/deep", "into", "in", "out")
    seeds = [
        {"content": f"{word} {h.marker()}", "tags": [h.own(tag)], "kind": tag}
        | ({"scope": h.scope(place)} if scoped else {})
        for tag, place in zip(("a", "ab", "b", "a"), places, strict=True)
    ]
    ids = h.ids(await h.seed(seeds))
    await _selected(h, word, ids, [ids[0], ids[3]], {"tag": h.own("a")})
    if scoped:
        await _selected(h, word, ids, [ids[0], ids[2]], {"scope": h.scope("in")})
        await _selected(h, word, ids, [ids[0]], {"scope": h.scope("in/*")})
        await _selected(h, word, ids, [ids[0]], {"scope": h.scope("in"), "tag": h.own("a")})
    if "filters" in features:
        await _selected(h, word, ids, ids[1:3], {"filter": {"kind": {"contains": "b"}}})


@check("CTX-4", "state, time and least score bind context", requires=(*CONTEXT, "temporal"))
async def context_of_a_state(h: Harness) -> None:
    """Ask for what is current, for other states and for the past."""
    word, now = h.marker(), h.now()
    validity = [
        {"valid_from": now - 3 * DAY},
        {"valid_to": now - DAY, "valid_from": now - 9 * DAY},
        {"valid_from": now + DAY},
    ]
    ids = h.ids(await h.seed([{"content": f"{word} {h.marker()}", **fields} for fields in validity]))
    for selection, expected in (
        ({}, ids[:1]),
        ({"include": ["expired"]}, ids[:2]),
        ({"include": ["upcoming"]}, [ids[0], ids[2]]),
        ({"as_of": now - 4 * DAY}, ids[1:2]),
        ({"as_of": now + 2 * DAY}, [ids[0], ids[2]]),
    ):
        await _selected(h, word, ids, expected, selection)
    block = await _context(h, word, since=now.replace(year=2999))
    h.require(block.text == "", "context since a moment to come cites a record.")


@check("CTX-4", "mode and min_score bind context", requires=CONTEXT)
async def context_of_a_mode(h: Harness) -> None:
    """Ask in every mode, and from the score that the second best has."""
    word = h.marker()
    contents = [" ".join([word] * (3 - less) + [h.marker() for _ in range(less)]) for less in range(3)]
    ids = h.ids(await h.seed([{"content": content} for content in contents]))
    for mode in modes(h):
        results = await h.memory.search(word, h.user, mode=mode)
        h.require(len(results) == 3, f"{mode} search found {len(results)} of 3 records.")
        selection = {"mode": mode, "min_score": results[1].score}
        await _selected(h, word, ids, h.ids(results[:2]), selection)


@check("CTX-4", "a better record that is not selected leaves room to those that are", requires=CONTEXT)
async def selection_before_the_budget(h: Harness) -> None:
    """Ask with a budget for three lines, where ten better records carry another tag."""
    word = h.marker()
    better = await h.seed([{"content": f"{word} {word}", "tags": [h.own("no")]} for _ in range(10)])
    wanted = await h.seed([{"content": f"{word} {h.marker()}", "tags": [h.own("yes")]} for _ in range(3)])
    cited = _cited(await _context(h, word, 80, tag=h.own("yes")))
    h.require(cited, "nothing is cited where three records fit.")
    strange = set(cited) - set(h.ids(wanted))
    h.require(not strange, f"context cites {strange} of {h.ids(better)}.")
