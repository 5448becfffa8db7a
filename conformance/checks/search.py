"""Search: order, selection before the limit, scores, modes and vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from openmem.errors import InvalidRequestError, UnsupportedCapabilityError
from openmem.types import MemoryRecord, SearchResult

from ..check import check
from ..harness import Harness
from ..probes import RELATIVE
from ..ranking_table import NEAR, table
from ..verdicts import Inconclusive
from ._shared import ALIKE, MODES, by_test_words, crowd, declared, found, longest, modes, most, rich

KEYWORD = ("keyword_search",)
BOTH = ("hybrid_search", "keyword_search", "vector_search")
VECTORS = ("supports_vectors", "vector_search")


def _dimension(h: Harness) -> int:
    embedding = h.capabilities.features.embedding
    h.require(embedding is not None, "the provider takes vectors and names no embedding.")
    return embedding.dimension if embedding else 0


def _axis(h: Harness, place: int, *, tilt: float = 0.0) -> list[float]:
    """Make a unit vector along one axis, tilted towards the next."""
    vector = [0.0] * _dimension(h)
    vector[place % len(vector)] = math.sqrt(1 - tilt * tilt)
    vector[(place + 1) % len(vector)] += tilt
    return vector


async def _seed(h: Harness, contents: Sequence[str]) -> list[MemoryRecord]:
    return await h.seed([{"content": content} for content in contents])


# --- order ------------------------------------------------------------------------------------------------------


@check("SEA-1", "results are best first")
async def best_first(h: Harness) -> None:
    """Search in every mode for a text that one record is, and others hold ever less of."""
    words, tail = ["garden", "violin", "harbour", "lantern"], ["cactus", "pencil", "window"]
    contents = [h.signed(" ".join([*words[: 4 - less], *tail[:less]])) for less in (3, 1, 0, 2)]
    records = await _seed(h, contents)
    best = [records[place].id for place in (2, 1, 3, 0)]
    for mode in modes(h):
        results = await h.memory.search(" ".join(words), h.user, mode=mode)
        scores = [result.score for result in results]
        h.require(scores == sorted(scores, reverse=True), f"{mode} scores are not best first: {scores}")
        h.expect(h.ids(results)[:1], best[:1], among=best, what=f"best of {mode} search")
        if mode == "keyword" or by_test_words(h):
            what = f"{mode} search"
            h.expect(h.ids(results), best, among=best, what=what, ordered=True, all_expected=True)


@check("SEA-1", "equal scores are newest first")
async def ties_are_newest_first(h: Harness) -> None:
    """Search in every mode among equal texts, some of them beside the limit."""
    word = h.marker()
    records = await _seed(h, [f"{word} again"] * 6)
    newest = sorted(records, key=lambda record: (record.created_at, record.id), reverse=True)
    for mode in modes(h):
        results = await h.memory.search(word, h.user, mode=mode, limit=4)
        h.require(len(results) == 4, f"{mode} search of 6 found {len(results)}, up to 4.")
        if len({result.score for result in results}) > 1:
            raise Inconclusive(f"equal texts score differently in {mode} search: {_shown(results)}")
        h.expect(h.ids(results), h.ids(newest[:4]), among=h.ids(records), what=f"ties of {mode} search", ordered=True)


def _less_of(h: Harness, word: str, less: int, size: int) -> str:
    """Make a text of so many words, all of them the one but for the last few."""
    return " ".join([word] * (size - less) + [h.marker() for _ in range(less)])


# --- before the limit -------------------------------------------------------------------------------------------


async def _behind_a_crowd(h: Harness, word: str, wanted: Mapping[str, Any], crowding: Mapping[str, Any]) -> list[str]:
    """Store sixty records that fit a word best, and four that fit it less."""
    await crowd(h, [{"content": f"{word} {word}", **crowding} for _ in range(30)])
    tails = [f"{word} {' '.join(h.marker() for _ in range(6))}" for _ in range(4)]
    records = await h.seed([{"content": tail, **wanted} for tail in tails])
    await crowd(h, [{"content": f"{word} {word} {h.marker()}", **crowding} for _ in range(30)])
    return h.ids(records)


async def _all_come(h: Harness, word: str, expected: Sequence[str], selection: Mapping[str, Any], what: str) -> None:
    for mode in modes(h):
        everything = await found(h, word, mode=mode, **selection)
        h.expect(everything, expected, among=expected, what=f"{mode} search {what}", all_expected=True)
        few = h.ids(await h.memory.search(word, h.user, mode=mode, limit=3, **selection))
        h.require(few == everything[:3], f"{mode} search {what}: the first 3 are {few}, not {everything[:3]}.")


@check("SEA-2", "a tag selects before the limit")
async def tag_before_limit(h: Harness) -> None:
    """Search for four tagged records behind sixty better ones."""
    word = h.marker()
    wanted = await _behind_a_crowd(h, word, {"tags": [h.own("wanted")]}, {"tags": [h.own("unwanted")]})
    await _all_come(h, word, wanted, {"tag": h.own("wanted")}, "by tag")


@check("SEA-2", "a tag selects exactly, in every mode")
async def tags_match_exactly(h: Harness) -> None:
    """Search by each of the tags that resemble each other."""
    word, red = h.marker(), h.marker()
    tags = [red, red.upper(), f"{red} ", red[:-1], f"{red[:-1]}%", *(f"{red}{sign}" for sign in ALIKE)]
    ids = h.ids(await h.seed([{"content": f"{word} {h.marker()}", "tags": [tag, h.own("t")]} for tag in tags]))
    for mode in modes(h):
        for memory_id, tag in zip(ids, tags, strict=True):
            h.expect(await found(h, word, mode=mode, tag=tag), [memory_id], among=ids, what=f"{mode} search by {tag!a}")


@check("SEA-2", "a scope selects before the limit", requires=("scopes",))
async def scope_before_limit(h: Harness) -> None:
    """Search for four records in a scope behind sixty better ones beside it."""
    word = h.marker()
    wanted = await _behind_a_crowd(h, word, {"scope": h.scope("in/deep")}, {"scope": h.scope("into")})
    await _all_come(h, word, wanted, {"scope": h.scope("in")}, "by scope")


@check("SEA-2", "a filter selects before the limit", requires=("filters",))
async def filter_before_limit(h: Harness) -> None:
    """Search for four records of a kind behind sixty better ones."""
    word = h.marker()
    wanted = await _behind_a_crowd(h, word, {"kind": "wanted", "importance": 0.9}, {"kind": "unwanted"})
    for filter_ in ({"kind": "wanted"}, {"importance": {"gte": 0.5}}, {"not": {"kind": {"contains": "un"}}}):
        await _all_come(h, word, wanted, {"filter": filter_}, f"by {filter_}")


@check("SEA-2", "state selects before the limit", requires=("temporal",))
async def state_before_limit(h: Harness) -> None:
    """Search for four current records behind thirty better ones that have ended and thirty to come."""
    word, now = h.marker(), h.now()
    wanted = await _behind_a_crowd(h, word, {}, {"valid_to": now.replace(year=2001)})
    await crowd(h, [{"content": f"{word} {word}", "valid_from": now.replace(year=2999)} for _ in range(30)])
    await _all_come(h, word, wanted, {}, "of what is current")
    if "supports_archive" in declared(h):
        await crowd(h, [{"content": f"{word} {word}", "archived": True} for _ in range(30)])
        await _all_come(h, word, wanted, {}, "of what is not archived")


@check("SEA-2", "the user selects before the limit")
async def user_before_limit(h: Harness) -> None:
    """Search for one user's four records behind sixty better ones of another."""
    word = h.marker()
    await crowd(h, [{"content": f"{word} {word}"} for _ in range(60)], h.other)
    wanted = await h.seed([{"content": f"{word} {h.marker()} {h.marker()}"} for _ in range(4)])
    await _all_come(h, word, h.ids(wanted), {}, "of one user")


@check("SEA-2", "min_score selects before the limit")
async def min_score_before_limit(h: Harness) -> None:
    """Ask for the score of each result in turn as the least; what reaches it comes, up to the limit."""
    word = h.marker()
    contents = [_less_of(h, word, less, 6) for less in range(6)]
    await h.seed([{"content": content, "tags": [h.own("t")]} for content in contents])
    await h.seed([{"content": word} for _ in range(6)])
    for mode in modes(h):
        ranked = await h.memory.search(word, h.user, mode=mode, tag=h.own("t"))
        h.require(len(ranked) == len(contents), f"{mode} search by tag found {len(ranked)} of {len(contents)}.")
        for least in (result.score for result in ranked):
            reaching = [result.memory.id for result in ranked if result.score >= least]
            for limit in (2, most(h)):
                ids = await found(h, word, mode=mode, tag=h.own("t"), min_score=least, limit=limit)
                expected = reaching[:limit]
                h.require(ids == expected, f"{mode} search from {least}, at most {limit}: {ids}, not {expected}")


@check("SEA-2", "a search returns as many as there are, up to the limit")
async def as_many_as_there_are(h: Harness) -> None:
    """Search 110 records with limits up to the highest."""
    word = h.marker()
    ids = await crowd(h, [{"content": f"{word} {h.marker()}"} for _ in range(110)])
    for mode in modes(h):
        for limit in sorted({min(each, most(h)) for each in (1, 10, 21, 100)}):
            results = h.ids(await h.memory.search(word, h.user, mode=mode, limit=limit))
            complete = len(results) == len(set(results)) == limit and set(results) <= set(ids)
            h.require(
                complete,
                f"{mode} search of 110 records gave {len(results)}, {len(set(results))} different, of {limit}.",
            )
        default = await h.memory.search(word, h.user, mode=mode)
        h.require(len(default) == 10, f"without a limit {mode} search gave {len(default)}, not 10.")


# --- scores -----------------------------------------------------------------------------------------------------


@check("SEA-3", "scores lie in [0, 1]")
async def scores_are_fractions(h: Harness) -> None:
    """Search in every mode with short, long, repeating and strange queries."""
    word = h.marker()
    contents = [word, f"{word} " * 40, f"{word} {h.marker()}", h.marker(), h.signed("!?"), h.signed("The end.")]
    await _seed(h, [content.strip() for content in contents])
    for mode in modes(h):
        h.require(await found(h, word, mode=mode), f"{mode} search finds nothing.")
        for query in (word, f"{word} " * 100, f"{h.marker()} {word}", h.marker(), "?", "the"):
            for result in await h.memory.search(query, h.user, mode=mode):
                score = result.score
                h.require(0 <= score <= 1, f"{mode} search for {query[:40]!r} gave the score {score}.")


@check("SEA-3", "nothing below min_score is returned")
async def nothing_below_min_score(h: Harness) -> None:
    """Search in every mode with rising min_score."""
    word = h.marker()
    await _seed(h, [_less_of(h, word, less, 8) for less in range(8)])
    for mode in modes(h):
        everything = await h.memory.search(word, h.user, mode=mode)
        h.require(len(everything) == 8, f"{mode} search finds {len(everything)} of 8.")
        for least in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
            results = await h.memory.search(word, h.user, mode=mode, min_score=least)
            expected = [result.memory.id for result in everything if result.score >= least]
            h.require(
                h.ids(results) == expected, f"{mode} search from {least} gave {_shown(results)} of {_shown(everything)}"
            )


def _shown(results: Sequence[SearchResult]) -> list[tuple[str, float]]:
    return [(result.memory.id, result.score) for result in results]


# --- by words ---------------------------------------------------------------------------------------------------


async def _finds(h: Harness, query: str, records: Sequence[MemoryRecord], expected: Sequence[MemoryRecord]) -> None:
    h.expect(
        await found(h, query, mode="keyword"),
        h.ids(expected),
        among=h.ids(records),
        what=f"keyword search for {query!r}",
        none_expected=not expected,
    )


@check("SEA-4", "words are found whatever their case", requires=KEYWORD)
async def case_of_words(h: Harness) -> None:
    """Search for words in other cases, some of them not English."""
    texts = ["Coffee at HARBOUR street", "Tea in Zürich", "Работа в МОСКВЕ", "ΑΘΗΝΑ by night"]
    records = await _seed(h, list(map(h.signed, texts)))
    for query, place in (("COFFEE", 0), ("harbour", 0), ("zÜRICH", 1), ("москве", 2), ("αθηνα", 3)):
        await _finds(h, query, records, [records[place]])


@check("SEA-4", "words are found in their English inflections", requires=KEYWORD)
async def inflection_of_words(h: Harness) -> None:
    """Search by one form for another."""
    texts = ["She runs every morning", "He is painting houses", "The invoice was cancelled"]
    records = await _seed(h, list(map(h.signed, texts)))
    queries = ("running", "run", "RUNS"), ("paint", "painted", "house"), ("invoices", "cancel", "cancelling")
    for record, forms in zip(records, queries, strict=True):
        for query in forms:
            await _finds(h, query, records, [record])


@check("SEA-4", "without a word in common nothing is found", requires=KEYWORD)
async def no_word_nothing_found(h: Harness) -> None:
    """Search for parts of words, for absent words, for signs and for stop words only."""
    texts = ["He will concatenate the two", "Portable radio", "An unrelated thought of the day"]
    records = await _seed(h, list(map(h.signed, texts)))
    for query in ("cat", "concat", "port", "table", "relate", h.marker(), "?!", "...", "the of and", "will the two of"):
        expected = records[:1] if "two" in query else []
        await _finds(h, query, records, expected)


@check("SEA-4", "one word in common is enough, wherever it stands", requires=KEYWORD)
async def one_word_is_enough(h: Harness) -> None:
    """Search by questions of which one word is stored."""
    first, second = h.marker(), h.marker()
    records = await _seed(h, [f"We met {first}, then left.", f"({second})", h.marker(), f"say '{first}-like'"])
    await _finds(h, f"where did we ever see {h.marker()} or {first}?", records, [records[0], records[3]])
    await _finds(h, f"{second} {h.marker()}", records, [records[1]])
    await _finds(h, f"{first} {second}", records, [records[0], records[1], records[3]])


@check("SEA-4", "a query is words, not the syntax of a search engine", requires=KEYWORD)
async def queries_are_no_syntax(h: Harness) -> None:
    """Search with operators of search engines and of SQL around a word."""
    word = h.marker()
    records = await _seed(h, [f"{word} here", h.marker()])
    forms = (
        "{0}",
        '"{0}',
        "'{0}",
        "-{0}",
        "+{0}",
        "{0}*",
        "{0}:",
        ":{0}",
        "({0}",
        "{0})",
        "^{0}",
        "NOT {0}",
        "{0} AND",
        "OR {0}",
    )
    more = (
        "content:{0}",
        "NEAR({0}",
        "{0} NEAR/2",
        "{0}; DROP TABLE memories; --",
        "{0}' OR '1'='1",
        "{0} & | ! <->",
        "[{0}]",
    )
    for form in (*forms, *more, "{0}~2", "{{{0}}}", "\\{0}", "%{0}%", "{0}\n\t", "`{0}`", "${0}", "/{0}/", "#{0}"):
        await _finds(h, form.format(word), records, [records[0]])


@check("SEA-4", "a long query counts to its end", requires=KEYWORD)
async def long_queries(h: Harness) -> None:
    """Search for a word behind eight thousand characters of others, and for a word in their midst."""
    words = [h.marker() for _ in range(2)]
    records = await _seed(h, [*(f"{word} alone" for word in words), h.marker()])
    filler = " ".join(h.marker() for _ in range(300))
    await _finds(h, f"{filler} {words[0]} {filler} {words[1]}", records, records[:2])
    await _finds(h, f"{filler} {filler} {words[1]}", records, records[1:2])


@check("SEA-4", "text without spaces between words is found", requires=KEYWORD)
async def ideographs(h: Harness) -> None:
    """Search for a part of a Japanese and a Chinese sentence."""
    texts = ["彼女は東京に住んでいる", "我喜欢喝咖啡", "Nothing of the kind"]
    records = await _seed(h, list(map(h.signed, texts)))
    await _finds(h, "東京", records, [records[0]])
    await _finds(h, "咖啡", records, [records[1]])


def _cut(h: Harness, text: str) -> str:
    """Cut a text to what the provider declares to take once it is signed, between words."""
    length = longest(h, len(h.signed(text))) - len(h.signed(""))
    return text if length >= len(text) else text[:length].rpartition(" ")[0]


@check("SEA-14", "keyword scores are those of the golden file", requires=(*KEYWORD, RELATIVE))
async def golden_scores(h: Harness) -> None:
    """Store sixty texts of many scripts and lengths, and hold what each query finds, and how it scores, to the file."""
    texts, queries = table()
    stored = [_cut(h, text) for text in texts]
    whole = [place for place, text in enumerate(texts) if stored[place] == text]
    ids = await crowd(h, [{"content": h.signed(text)} for text in stored])
    for query, expected in queries:
        if not expected.keys() <= {*whole}:  # a text that the provider takes in part weighs otherwise
            continue
        results = await h.memory.search(query, h.user, mode="keyword", limit=most(h))
        wanted = {ids[place]: score for place, score in expected.items()}
        if len(wanted) > most(h):
            h.require({*h.ids(results)} <= wanted.keys(), f"keyword search for {query!r} found more than it should.")
        elif wanted:
            h.expect(h.ids(results), wanted, among=ids, what=f"keyword search for {query!r}")
        else:  # which says something, since the other queries find
            h.require(not results, f"keyword search for {query!r} found {[r.memory.content[:40] for r in results]}.")
        for result in results:
            golden, content = wanted[result.memory.id], result.memory.content[:40]
            near = abs(result.score - golden) <= NEAR
            h.require(near, f"keyword search for {query!r} gave {content!r} the score {result.score}, not {golden}.")


# --- by meaning -------------------------------------------------------------------------------------------------


@check("SEA-5", "vector search ranks by meaning", requires=("vector_search",))
async def ranks_by_meaning(h: Harness) -> None:
    """Search for a text that one record is, one shares half with and one has nothing of."""
    texts = ["The invoice is due on Friday.", "The invoice is lost.", "Penguins swim very fast."]
    contents = list(map(h.signed, texts))
    records = await _seed(h, contents)
    for query, order in ((contents[0], (0, 1, 2)), (contents[2], (2,))):
        ids = await found(h, query, mode="vector")
        expected = [records[place].id for place in order]
        h.require(ids[: len(order)] == expected, f"vector search for {query!r} gave {ids}, not {expected} first.")


@check("SEA-5", "vector search needs no word that keyword search would find", requires=("vector_search",))
async def needs_no_common_word(h: Harness) -> None:
    """Search for a meaning in other words; with the embedder for tests, in words that keyword search leaves out."""
    if by_test_words(h):
        near, far, query = (
            f"where are you when it is {h.marker()}",
            f"{h.marker()} {h.marker()}",
            "when it is where you are",
        )
    else:
        near, far = map(h.signed, ("A cat is sleeping on the sofa.", "Taxes fall due in the last quarter."))
        query = "kittens nap upon couches"
    records = await _seed(h, [near, far])
    if "keyword" in modes(h):
        h.require(not await found(h, query, mode="keyword"), "the query has a word in common: the check is at fault.")
    results = await h.memory.search(query, h.user, mode="vector")
    h.expect(h.ids(results)[:1], [records[0].id], among=h.ids(records), what="nearest")
    h.require(results[0].score > 0, f"the nearest scores {results[0].score}.")


@check("SEA-5", "vector search ranks by the cosine of the vectors", requires=VECTORS)
async def ranks_by_cosine(h: Harness) -> None:
    """Store vectors ever further from the query's, with contents that say nothing of it."""
    tilts = (0.9, 0.0, 0.6, 0.3)
    ids = [(await h.add(h.marker(), vector=_axis(h, 0, tilt=tilt))).id for tilt in tilts]
    expected = [ids[place] for place in (1, 3, 2, 0)]
    results = await h.memory.search(None, h.user, vector=_axis(h, 0))
    what = "vector search"
    h.expect(h.ids(results), expected, among=ids, what=what, ordered=True, all_expected=True)


@check("SEA-5", "in vector search words do not sway the order", requires=VECTORS)
async def words_do_not_sway_vectors(h: Harness) -> None:
    """Search by a word and a vector, where the record with the word has the vector further off."""
    word = h.marker()
    far = await h.add(f"{word} {word}", vector=_axis(h, 0, tilt=0.9))
    near = await h.add(h.marker(), vector=_axis(h, 0))
    results = await h.memory.search(word, h.user, vector=_axis(h, 0), mode="vector", limit=1)
    h.expect(h.ids(results), [near.id], among=[near.id, far.id], what="vector search")


# --- by both ----------------------------------------------------------------------------------------------------


@check("SEA-6", "hybrid search finds what either mode finds", requires=(*BOTH, "supports_vectors"))
async def finds_what_either_finds(h: Harness) -> None:
    """Store a record found by its words only, one by its vector only, one by both and one by neither."""
    word = h.marker()
    near, far = _axis(h, 0), _axis(h, 2)
    fields = [(word, near), (word, far), (h.marker(), near), (h.marker(), far)]
    ids = [(await h.add(content=f"{text} {h.marker()}", vector=vector)).id for text, vector in fields]
    both, by_words, by_meaning, neither = ids
    results = await h.memory.search(word, h.user, vector=near, mode="hybrid")
    scores = {result.memory.id: result.score for result in results}
    ranked = h.ids(results)
    h.require({both, by_words, by_meaning} <= set(ranked), f"hybrid search found {ranked} of {ids}.")
    h.require(ranked[0] == both, f"hybrid search ranks {ranked[0]} above {both}, which both modes find.")
    least = min(scores[by_words], scores[by_meaning])
    h.require(scores[both] > max(scores[by_words], scores[by_meaning]), f"no gain by both: {scores}")
    h.require(scores.get(neither, 0.0) < least, f"what neither finds scores like what one finds: {scores}")


@check("SEA-6", "hybrid search ranks what both modes find above what one finds", requires=BOTH)
async def ranks_above_what_both_find(h: Harness) -> None:
    """Search by a rare word in another form and a sentence without one; records hold both, either and neither."""
    rare, plain = ("walked", "walks"), "where are you when it is"
    contents = [h.signed(f"{plain} {rare[1]}"), f"{rare[1]} {h.marker()}", f"{plain} {h.marker()}"]
    contents.append(f"{h.marker()} {h.marker()}")
    both, by_words, by_meaning, neither = h.ids(await _seed(h, contents))
    results = await h.memory.search(f"{plain} {rare[0]}", h.user, mode="hybrid")
    scores = {result.memory.id: result.score for result in results}
    h.require({both, by_words, by_meaning} <= scores.keys(), f"hybrid search found {scores} of {contents}.")
    one = sorted((scores[by_words], scores[by_meaning]))
    h.require(scores[both] > one[1], f"what both find scores {scores[both]}, what one finds {one}.")
    least = scores.get(neither, 0.0)
    h.require(least < one[0], f"what neither finds scores {least}, what one finds {one}.")


@check("SEA-6", "hybrid search brings the one with the rare word past many nearer ones", requires=BOTH)
async def words_reach_past_the_nearest(h: Harness) -> None:
    """Search for a sentence with one rare word, among sixty records nearer to the sentence."""
    rare, plain = h.marker(), "What was it that we had for you there"
    await crowd(h, [{"content": h.signed(plain)} for _ in range(60)])
    wanted = await h.add(f"{rare} {' '.join(h.marker() for _ in range(12))}")
    ids = h.ids(await h.memory.search(f"{plain}, {rare}", h.user, mode="hybrid", limit=min(10, most(h))))
    h.require(wanted.id in ids, "the only record with the rare word is not among the best ten.")
    h.require(len(ids) == min(10, most(h)), f"hybrid search found {len(ids)} of 61, up to ten.")


# --- modes and arguments ----------------------------------------------------------------------------------------


@check("SEA-7", "a mode that is not declared is unsupported")
async def undeclared_modes(h: Harness) -> None:
    """Search in every mode: the declared answer, the others are refused, an invented one is invalid."""
    word = h.marker()
    record = await h.add(word)
    for mode in MODES:
        if mode in modes(h):
            h.require(
                await found(h, word, mode=mode) == [record.id], f"{mode} search, which is declared, found nothing."
            )
        else:
            await h.refused(h.memory.search(word, h.user, mode=mode), UnsupportedCapabilityError)
    for invented in ("semantic", "Keyword", ""):
        await h.refused(h.memory.search(word, h.user, mode=invented), InvalidRequestError)


@check("SEA-7", "without a mode the best declared one is used")
async def default_mode(h: Harness) -> None:
    """Search with no mode and with the best one, where the modes differ."""
    word = h.marker()
    await _seed(h, [f"{word} where are you", f"where are you {h.marker()}", f"{word} {word} {h.marker()}", h.marker()])
    query = f"where are you {word}"
    best = _shown(await h.memory.search(query, h.user, mode=modes(h)[0]))
    default = _shown(await h.memory.search(query, h.user))
    h.require(best and default == best, f"without a mode: {default}; by {modes(h)[0]}: {best}")


@check("SEA-8", "what was added is found by the next search")
async def found_at_once(h: Harness) -> None:
    """Add and search in turn, in every mode."""
    for _ in range(5):
        word = h.marker()
        record = await h.add(f"{word} now")
        for mode in modes(h):
            ids = await found(h, f"{word} now", mode=mode, limit=1)
            h.require(ids == [record.id], f"{mode} search right after the add found {ids}, not {record.id}.")


@check("SEA-9", "other users' records change neither results nor scores")
async def others_change_nothing(h: Harness) -> None:
    """Search, add many records of another user that make a rare word common and texts long, and search again."""
    rare, common = h.marker(), h.marker()
    await _seed(
        h, [f"{rare} {h.marker()}", f"{common} {h.marker()}", f"{common} {h.marker()} {h.marker()}", h.marker()]
    )
    query = f"{rare} {common}"
    before = {mode: _shown(await h.memory.search(query, h.user, mode=mode)) for mode in modes(h)}
    h.require(all(before.values()), f"a search finds nothing: {before}")
    await crowd(
        h, [{"content": f"{rare} {rare} {' '.join(h.marker() for _ in range(30))}"} for _ in range(40)], h.other
    )
    for mode, earlier in before.items():
        now = _shown(await h.memory.search(query, h.user, mode=mode))
        if _declared_global(h, mode):
            earlier, now = [(each, 0.0) for each, _ in earlier], [(each, 0.0) for each, _ in now]
            earlier.sort()
            now.sort()
        h.require(now == earlier, f"another user's records changed {mode} search from {earlier} to {now}.")


def _declared_global(h: Harness, mode: str) -> bool:
    scores = h.capabilities.features.scores
    return "global" in (getattr(scores, mode, None) or "")


@check("SEA-9", "another user's changes and deletions change nothing", requires=("update",))
async def others_changes_change_nothing(h: Harness) -> None:
    """Search while another user's records with the same words are changed and deleted."""
    word = h.marker()
    await _seed(h, [f"{word} {h.marker()}", f"{word} {word}", h.marker()])
    theirs = await h.seed([{"content": f"{word} {h.marker()}"} for _ in range(6)], user_id=h.other)
    before = {mode: _shown(await h.memory.search(word, h.user, mode=mode)) for mode in modes(h)}
    h.require(all(before.values()), f"a search finds nothing: {before}")
    for record in theirs[:3]:
        await h.memory.update(record.id, user_id=h.other, content=h.marker())
        await h.memory.delete(theirs[3 + theirs.index(record)].id, user_id=h.other)
    for mode, earlier in before.items():
        now = _shown(await h.memory.search(word, h.user, mode=mode))
        if not _declared_global(h, mode):
            h.require(now == earlier, f"another user's changes turned {mode} search from {earlier} to {now}.")


@check("SEA-10", "a limit below 1 or above 100 is refused")
async def limits_are_checked(h: Harness) -> None:
    """Search with limits beside the bounds and on them."""
    word = h.marker()
    records = await _seed(h, [word, f"{word} {word}"])
    for limit in (0, -1, 101, 10**9):
        await h.refused(h.memory.search(word, h.user, limit=limit), InvalidRequestError)
    for limit, count in ((1, 1), (most(h), 2)):
        results = await h.memory.search(word, h.user, limit=limit)
        h.require(len(results) == count, f"a limit of {limit} gave {len(results)} of {len(records)}.")


@check("SEA-10", "a search for nothing is refused")
async def nothing_is_refused(h: Harness) -> None:
    """Search without a query, and for blanks."""
    await h.add(h.marker())
    for query in (None, "", " ", "\n\t "):
        await h.refused(h.memory.search(query, h.user), InvalidRequestError)
    for mode in modes(h):
        await h.refused(h.memory.search(" ", h.user, mode=mode), InvalidRequestError)


# --- vectors of the caller's ------------------------------------------------------------------------------------


@check("SEA-11", "a vector of the caller's is stored and searched with", requires=VECTORS)
async def own_vectors(h: Harness) -> None:
    """Store own vectors against the sense of the contents, and search with each."""
    word = h.marker()
    ids = [(await h.add(content=f"{word} {place}", vector=_axis(h, 2 * place))).id for place in range(3)]
    for place in range(3):
        for query, fields in ((None, {}), (f"{word} 0", {"mode": "vector"})):
            results = await h.memory.search(query, h.user, vector=_axis(h, 2 * place), **fields)
            h.expect(h.ids(results)[:1], [ids[place]], among=ids, what=f"nearest to axis {2 * place}")


@check("SEA-11", "the length of a vector does not matter to its rank", requires=VECTORS)
async def vectors_of_any_length(h: Harness) -> None:
    """Store a long vector that is further off and a short one that is nearer."""
    short = [number * 0.01 for number in _axis(h, 0, tilt=0.2)]
    long = [number * 50.0 for number in _axis(h, 0, tilt=0.8)]
    near = await h.add(h.marker(), vector=short)
    far = await h.add(h.marker(), vector=long)
    for length in (0.001, 1.0, 1000.0):
        results = await h.memory.search(None, h.user, vector=[number * length for number in _axis(h, 0)])
        h.expect(h.ids(results)[:1], [near.id], among=[near.id, far.id], what="nearest")
        scores = [result.score for result in results]
        h.require(all(0 <= score <= 1 for score in scores), f"scores are {scores}.")


@check("SEA-11", "an update takes a vector of the caller's", requires=(*VECTORS, "update"))
async def own_vector_in_update(h: Harness) -> None:
    """Give new content with a new vector, and search with the old and the new one."""
    moved = await h.add(h.marker(), vector=_axis(h, 0))
    kept = await h.add(h.marker(), vector=_axis(h, 0, tilt=0.5))
    await h.memory.update(moved.id, user_id=h.user, content=h.marker(), vector=_axis(h, 4))
    for place, expected in ((0, kept), (4, moved)):
        results = await h.memory.search(None, h.user, vector=_axis(h, place))
        h.expect(h.ids(results)[:1], [expected.id], among=[moved.id, kept.id], what=f"nearest to axis {place}")


@check("SEA-11", "a vector of another dimension, or not of numbers, is refused", requires=VECTORS)
async def bad_vectors(h: Harness) -> None:
    """Add and search with vectors too short, too long, empty and not finite."""
    good = _axis(h, 0)
    near, far = await h.add(h.marker(), vector=good), await h.add(h.marker(), vector=_axis(h, 2))
    for place, expected in ((0, near), (2, far)):
        best = await h.memory.search(None, h.user, vector=_axis(h, place), limit=1)
        h.expect(h.ids(best), [expected.id], among=[near.id, far.id], what="nearest to a good vector")
    for bad in (good[:-1], [*good, 0.0], [], [math.nan, *good[1:]], [math.inf, *good[1:]]):
        await h.refused(h.memory.add(h.marker(), h.user, vector=bad), InvalidRequestError)
        await h.refused(h.memory.search(None, h.user, vector=bad), InvalidRequestError)
        await h.refused(h.memory.search(h.marker(), h.user, vector=bad), InvalidRequestError)
    h.require(set(await h.all_ids()) == {near.id, far.id}, "a refused add stored a record.")


def _towards(h: Harness, degrees: float) -> list[float]:
    """Make a unit vector at an angle to the first axis."""
    vector = [0.0] * _dimension(h)
    vector[:2] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return vector


@check("SEA-13", "vectors that point away are ranked by how far", requires=VECTORS)
async def below_zero(h: Harness) -> None:
    """Store vectors at growing angles to the one searched with, the farthest last, and cut the answer at each place."""
    near, *away = [await h.add(h.marker(), vector=_towards(h, degrees)) for degrees in (30, 95, 120, 150, 180)]
    every = [near.id, *h.ids(away)]
    for limit in range(1, len(every) + 1):
        results = await h.memory.search(None, h.user, vector=_towards(h, 0), limit=limit)
        what, whole = f"the nearest {limit}", limit == len(every)
        h.expect(h.ids(results), every[:limit], among=every, what=what, ordered=True, all_expected=whole)
    scores = [result.score for result in results]
    h.require(scores[0] > 0 and not any(scores[1:]), f"scores are {scores}, not 0 for all that point away.")
    results = await h.memory.search(None, h.user, vector=_towards(h, 0), min_score=0.01)
    h.expect(h.ids(results), [near.id], among=every, what="those of at least 0.01")


# --- records ----------------------------------------------------------------------------------------------------


@check("SEA-12", "the record in a result equals the record that get answers")
async def results_equal_records(h: Harness) -> None:
    """Search in every mode for a record with every field, a bare one and a changed one."""
    word = h.marker()
    fields = rich(h)
    records = await h.seed([{"content": f"{word} rich", **fields}, {"content": f"  {word}\n bare\n"}])
    if "update" in h.capabilities.verbs:
        await h.memory.update(records[1].id, user_id=h.user, kind="changed", tags=[h.own("t")])
    for mode in modes(h):
        results = await h.memory.search(word, h.user, mode=mode)
        h.require(len(results) == 2, f"{mode} search found {len(results)} of 2 records.")
        for result in results:
            record = await h.memory.get(result.memory.id, user_id=h.user)
            h.require(result.memory == record, f"{mode} search answered {result.memory}, get {record}")
