"""Keyword ranking: the text analysis, BM25 against two other ways to it, statistics per user, fusion, ties."""

from __future__ import annotations

import math
import random
import tracemalloc
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmem import Memory
from openmem.protocol import ranking
from support.clocks import Clock

# --- text analysis ----------------------------------------------------------------------------------------------


def list_of(text: str) -> list[str]:
    """Return the terms of a text that says the same in plain words."""
    return ranking.terms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("running runs ran run", ["run", "run", "ran", "run"]),
        ("Connections CONNECTED connecting", ["connect"] * 3),
        ("the cat and the hat", ["cat", "hat"]),
        ("The AND Of", []),
        ("", []),
        ("... !? -- _", []),
        ("don't isn't what's I've", []),
        ("don’t isn’t What’s I’VE", []),
        ("Anna's Anna’s Anna´s Anna", ["anna"] * 4),
        ("'quoted' ‘quoted’ “quoted” quoted''quoted", ["quot"] * 5),
        ("rock'n'roll rock’n’roll", ["rock'n'rol"] * 2),
        ("snake_case_name kebab-case", ["snake", "case", "name", "kebab", "case"]),
        ("3.14 2026-01-02 v2", ["3", "14", "2026", "01", "02", "v2"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー", "東京", "京タ", "タワ", "ワー"]),
        ("한국어 책", ["한", "국", "어", "한국", "국어", "책"]),
        ("openmem東京test", ["openmem", "東", "京", "東京", "test"]),
        ("กาแฟ กา ก", ["กา", "าแ", "แฟ", "กา", "ก"]),
        ("Café ÜBER naïve", ["café", "über", "naïv"]),
        ("привет Мир", ["привет", "мир"]),
        ("ΣΊΣΥΦΟΣ σίσυφος", ["σίσυφοσ"] * 2),
        ("Straße STRASSE", ["strass"] * 2),
        ("İstanbul ISTANBUL", ["istanbul"] * 2),
        ("मेरी बहन किताब", ["मेरी", "बहन", "किताब"]),
        ("كِتَاب كتاب كتـاب الكتاب", ["كتاب"] * 4),
        ("שָׁלוֹם שלום", ["שלום"] * 2),
        ("ＡＰＩ ｺｰﾋｰ", ["api", *(term for term in ["コ", "ー", "ヒ", "ー", "コー", "ーヒ", "ヒー"])]),
        ("٢٠٢٤ २०२४ ２０２４", ["2024"] * 3),
        ("l'école L’École d'Artagnan dell'acqua", ["école", "école", "artagnan", "acqua"]),
        ("O'Brien o'clock Qur'an", ["o'brien", "o'clock", "qur'an"]),
        ("data\u00adbase data\u2060base data\ufeffbase", ["databas"] * 3),
        # Unicode breaks words at a zero-width space; between what is written without blanks it only lets lines break.
        ("zero\u200bwidth кот\u200b\u200bпёс", ["zero", "width", "кот", "пёс"]),
        ("กา\u200bแฟ ខ្មែរ\u200b\u200bភាសា 東\u200b京\u200btower", list_of("กาแฟ ខ្មែរភាសា 東京 tower")),
        ("Paris¹ is 10² metres, 2¹⁰ or 10⁻³", list_of("Paris Paris1 is 10 2 metres, 2 10 or 10 3")),
        ("50 m² E=mc² x²y³ Café²", list_of("50 m m2 E mc mc2 x x2 y y3 Café Café2")),
        ("¹ Paris (²) 東京³", list_of("1 Paris 2 東京 3")),
        ("CO₂ H₂O C₆H₁₂O₆ 10₂ ₂5", list_of("CO2 H2O C6H12O6 10 2 2 5")),
        ("2½ cups ½cup 3¾ ⅟8", list_of("2 1 2 cups 1 2 cup 3 3 4 1 8")),
        ("room №5 Nº5 nº 5 Mª 1º 25ºC", list_of("room 5 5 5 Ma 1 25 C")),
        ("Step① ⑩a ⑴b ⒈c ❶d ⓫e ⓵f 🄁g", list_of("Step 1 10 a 1 b 1 c 1 d 11 e 1 f 0 g")),
        ("1️⃣First Step2️⃣3️⃣ C#️⃣1", list_of("1 First Step 2 3 C 1")),
        ("5㎏ 100㎡ 25℃ ₨500 100﷼ ㏂7", list_of("5 kg 100 m2 25 C Rs 500 100 ريال a m 7")),
        ("ⓗⓔⓛⓛⓞ 𝓱𝓮𝓵𝓵𝓸 ﬁle Ⅷ 1ˢᵗ Mᵐᵉ", list_of("hello hello file VIII 1st Mme")),
        ("OpenMem® Open℠ Mem🅪 ©2024", list_of("OpenMem Open Mem 2024")),
        ("⏰at ⌚ ▶️ go ⏩ ↔️ ☎ ♥ 🫠x", ["⏰", "⌚", "▶", "go", "⏩", "↔", "☎", "♥", "🫠", "x"]),
        ("C♯ F♯ minor", ["c#", "f#", "minor"]),
        ("علی ہے کتاب یک ۀ", list_of("علي هي كتاب يك ه")),
        ("\u0301'b' '\u0301' x\0y", ["b", "x", "y"]),
        ("OpenMem™", ["openmem"]),
        ("C C++ C++17 C# f#", ["c", "c++", "c++", "17", "c#", "f#"]),
        ("C ‘C++’ C++17 C# #1 a+b", ["c", "c++", "c++", "17", "c#", "1", "b"]),
        ("🎉party👍🏽 👩\u200d💻 🇩🇪🇫🇷 1\ufe0f\u20e3", ["🎉", "parti", "👍", "👩", "💻", "🇩🇪", "🇫🇷", "1"]),
        ("´ ¨ \u0301 \u0301b", ["b"]),
        ("a@b.example/c?d=e", ["b", "exampl", "c", "d", "e"]),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert ranking.terms(text) == expected


@given(text=st.text(), stop=st.sampled_from(sorted(ranking.STOP_WORDS)))
def test_stop_words_add_nothing(text: str, stop: str) -> None:
    assert ranking.terms(f"{stop.upper()} {text} {stop}") == ranking.terms(text)
    assert all(ranking.terms(text))


@given(st.lists(st.sampled_from(["run", "blue", "the", "東", "x"]), max_size=8))
def test_terms_of_parts_are_the_parts_terms(words: list[str]) -> None:
    assert ranking.terms(" ".join(words)) == [term for word in words for term in ranking.terms(word)]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_what_else_a_text_holds_does_not_change_its_ascii_words(text: str) -> None:
    assert ranking.terms(f"{text} é") == [*ranking.terms(text), "é"]


@given(st.text())
def test_forms_of_one_text_have_the_same_terms(text: str) -> None:
    composed = ranking.terms(unicodedata.normalize("NFC", text))
    assert ranking.terms(unicodedata.normalize("NFD", text)) == composed == ranking.terms(text)


def test_a_text_of_very_many_signs_is_split_as_well() -> None:
    signs = "".join(map(chr, range(0x2500, 0x25AA)))
    assert ranking.terms(f"{signs} Ärger{signs}im Büro ４") == ["ärger", "im", "büro", "4"]


def test_every_picture_is_a_term() -> None:
    for sign in "⌚⏏⏩⏰⏳⏸▶◀◽◾☀☎⚽⛔✂✈✅❌❤➕➡⬛⭐⭕🀄🃏🆎🌀🍕🎉🏁🐈🚀🛒🟥🤖🥑🦀🧠🩰🪐\U0001fabe":
        assert ranking.terms(f"x{sign}\ufe0fy") == ["x", sign, "y"]


HOSTILE = {
    "two marks": "a" + "\u0301\u0323" * 50_000,
    "two runs of marks": "a" + "\u0301" * 50_000 + "\u0323" * 50_000,
    "marks alone": "\u0301" * 100_000,
    "a mark of two": "\u0f73" * 100_000,
    "marks that are letters first": "\u0301\uff9e" * 50_000,
    "marks of many kinds": "".join(map(chr, range(0x0300, 0x0370))) * 900 + "\u0334" * 40_000,
    "marks over composed letters": ("é" + "\u0323\u0301" * 20) * 2_500,
    "apostrophes": "é" + "a'" * 50_000,
    "raised": "é" + "²" * 100_000,
    "zero-width spaces": "ก" + "\u200b" * 100_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_marks_come_to_unicodedata_in_order(kind: str) -> None:
    """It brings them into order by insertion, which takes time by the square of their number."""
    normalize, handed = unicodedata.normalize, list[str]()

    def noted(form: Any, text: str) -> str:
        handed.append(text)
        return normalize(form, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unicodedata, "normalize", noted)
        ranking.terms(HOSTILE[kind])
    assert any(len(text) > 1_000 for text in handed)
    assert all(_moves(text) < 40 * 100_000 for text in handed)


def _moves(text: str) -> int:
    """Count how often an insertion sort moves a mark of a text past another."""
    classes = {each: [*map(unicodedata.combining, unicodedata.normalize("NFKD", each))] for each in set(text)}
    moves, before = 0, Counter[int]()
    for each in (each for character in text for each in classes[character]):
        if each == 0:
            before.clear()
            continue
        moves += sum(count for other, count in before.items() if other > each)
        before[each] += 1
    return moves


def test_a_long_run_of_marks_has_one_order() -> None:
    marks = ["\u0301", "\u0323", "\u0327", "\u0f73", "\uff9e"] * 400
    assert ranking.terms(f"a{''.join(marks)}") == ranking.terms(f"a{''.join(sorted(marks))}")


def test_what_is_too_long_for_a_word_is_taken_as_it_is() -> None:
    # Snowball's Arabic takes time by the square of the length.
    for root, ending in (("ab", "ing"), ("سب", "ها")):
        assert ranking.terms(root * 30 + ending) == [root * 30]
        assert ranking.terms(root * 32 + ending) == [root * 32 + ending]


def test_what_is_too_long_for_a_word_is_not_remembered() -> None:
    rng = random.Random(1)
    for encode in (str, "é{}".format):
        tracemalloc.start()
        try:
            for _ in range(50):
                assert len(ranking.terms(encode(rng.randbytes(20_000).hex()))) == 1
            assert tracemalloc.get_traced_memory()[0] < 500_000
        finally:
            tracemalloc.stop()


# --- BM25 -------------------------------------------------------------------------------------------------------


def test_bm25_by_hand() -> None:
    # Three memories of 2, 48 and 3 terms; "cat" is in the first once and in the second twice.
    #   idf("cat") = ln(1 + (3 - 2 + 0.5) / (2 + 0.5)) = ln 1.6
    #   first, which counts as 16 terms:  1 / (1 + 1.2 * (0.25 + 0.75 * 16/24)) = 1 / 1.9
    #   second:                           2 / (2 + 1.2 * (0.25 + 0.75 * 48/24)) = 2 / 4.1
    # "dog" is in the third alone: idf = ln(1 + 2.5 / 1.5) = ln(8/3); 1 / 1.9
    texts = {"first": ["cat", "hat"], "second": ["cat", "cat", *["sky"] * 46], "third": ["dog", "sea", "sea"]}
    weights = {key: ranking.weights(words) for key, words in texts.items()}
    postings = [{key: each[word] for key, each in weights.items() if word in each} for word in ("cat", "dog")]
    assert ranking.bm25(postings, count=3) == {
        "first": pytest.approx(0.470003629 / 1.9),
        "second": pytest.approx(0.470003629 * 2 / 4.1),
        "third": pytest.approx(0.980829253 / 1.9),
    }


def test_bm25_of_nothing() -> None:
    assert ranking.weights([]) == {}
    assert ranking.bm25([], count=0) == {}
    assert ranking.bm25([{}], count=2) == {}


def _naive(query: list[str], documents: list[list[str]]) -> list[float]:
    """BM25 as the book has it, document by document, but for the average length, which is a constant."""
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            holding = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            frequency = document.count(word)
            if frequency:
                score += idf * frequency / (frequency + 1.2 * (1 - 0.75 + 0.75 * max(len(document), 16) / 24))
        scores.append(score)
    return scores


WORDS = ["red", "blue", "green", "sky", "sea", "moon"]
DOCUMENTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), min_size=1, max_size=8)
QUERIES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique=True)


@given(documents=DOCUMENTS, query=QUERIES)
def test_bm25_agrees_with_the_naive_way(documents: list[list[str]], query: list[str]) -> None:
    weights = list(map(ranking.weights, documents))
    postings = [{row: each[word] for row, each in enumerate(weights) if word in each} for word in query]
    scores = ranking.bm25(postings, count=len(documents))
    naive = _naive(query, documents)
    assert scores == {row: pytest.approx(score) for row, score in enumerate(naive) if score}
    assert all(score > 0 for score in scores.values())


@pytest.fixture(params=["memory", "sqlite"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with _open(request.param, tmp_path / "m.db") as opened:
        yield opened


def _open(backend: str, path: Path, **options: Any) -> Memory:
    if backend == "sqlite":
        return Memory(f"sqlite:///{path}", synchronous="normal", **{"embedder": "none", **options})
    return Memory("memory://", **{"embedder": "none", **options})


ON_BOTH = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
_users = iter(f"user {number}" for number in range(10**9))


@ON_BOTH
@given(documents=DOCUMENTS, query=QUERIES)
def test_a_store_scores_by_bm25(memory: Memory, documents: list[list[str]], query: list[str]) -> None:
    user = next(_users)
    added = memory.add_many([{"content": " ".join(words)} for words in documents], user_id=user)
    naive = dict(zip([str(each.id) for each in added], _naive(query, documents), strict=True))
    best = max(naive.values())
    found = memory.search(" ".join(query), user, mode="keyword", limit=100)
    assert {hit.memory.id: hit.score for hit in found} == {
        each: pytest.approx(score / best) for each, score in naive.items() if score
    }


@ON_BOTH
@given(
    documents=DOCUMENTS,
    changed=st.lists(st.tuples(st.integers(0, 7), st.none() | st.sampled_from(WORDS)), max_size=6),
    query=QUERIES,
)
def test_statistics_follow_updates_and_deletes(
    memory: Memory, documents: list[list[str]], changed: list[tuple[int, str | None]], query: list[str]
) -> None:
    user, fresh = next(_users), next(_users)
    ids = [memory.add(" ".join(words), user).id for words in documents]
    texts = dict(zip(ids, [" ".join(words) for words in documents], strict=True))
    for place, word in changed:
        target = ids[place % len(ids)]
        if target in texts and word is None:
            memory.delete(target)
            del texts[target]
        elif target in texts and word is not None:
            texts[target] = memory.update(target, content=f"{word} sky").content
    for text in texts.values():
        memory.add(text, fresh)
    assert _scores(memory, " ".join(query), user) == _scores(memory, " ".join(query), fresh)


def _scores(memory: Memory, query: str, user: str, mode: Any = "keyword") -> list[tuple[str, float]]:
    return sorted((hit.memory.content, hit.score) for hit in memory.search(query, user, mode=mode, limit=100))


def test_keyword_search_finds_by_stem_case_and_apostrophe(memory: Memory) -> None:
    for text in ("Running in the Park", "Anna’s café", "東京タワーに行った", "nothing of it"):
        memory.add(text, "u")
    for query, expected in [
        ("runs", "Running in the Park"),
        ("PARKS", "Running in the Park"),
        ("anna", "Anna’s café"),
        ("anna's CAFÉ", "Anna’s café"),
        ("東京", "東京タワーに行った"),
    ]:
        assert [hit.memory.content for hit in memory.search(query, "u", mode="keyword")] == [expected]
    for query in ("the in of", "don't", "!?", "absent"):
        assert memory.search(query, "u", mode="keyword") == []


# --- statistics per user ----------------------------------------------------------------------------------------


@ON_BOTH
@given(mine=DOCUMENTS, theirs=DOCUMENTS, query=QUERIES, mode=st.sampled_from(["keyword", "hybrid", "vector"]))
@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_another_users_data_never_changes_my_scores(
    backend: str,
    stores: dict[str, Memory],
    mine: list[list[str]],
    theirs: list[list[str]],
    query: list[str],
    mode: str,
) -> None:
    memory, me, them = stores[backend], next(_users), next(_users)
    memory.add_many([{"content": " ".join(words)} for words in mine], user_id=me)
    before = memory.search(" ".join(query), me, mode=mode, limit=100)
    others = memory.add_many([{"content": " ".join(words)} for words in theirs], user_id=them)
    assert memory.search(" ".join(query), me, mode=mode, limit=100) == before
    memory.delete(str(others[0].id))
    memory.update(str(others[-1].id), content="sky") if len(others) > 1 else None
    assert memory.search(" ".join(query), me, mode=mode, limit=100) == before


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("ranking") / "s.db"
    with _open("memory", path, embedder="test:64") as memory, _open("sqlite", path, embedder="test:64") as sqlite:
        yield {"memory": memory, "sqlite": sqlite}


# --- fusion and ties --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "best", "cosine", "expected"),
    [(4.0, 4.0, 1.0, 1.0), (2.0, 4.0, 0.5, 0.5), (0.0, 4.0, 1.0, 0.5), (4.0, 4.0, 0.0, 0.5), (0.0, 0.0, 0.6, 0.3)],
)
def test_fuse(keyword: float, best: float, cosine: float, expected: float) -> None:
    assert ranking.fuse(keyword, best, cosine) == pytest.approx(expected)


@given(best=st.floats(0.001, 100), share=st.floats(0, 1), cosine=st.floats(0, 1), other=st.floats(0, 1))
def test_fuse_stays_within_bounds_and_grows_with_each_score(
    best: float, share: float, cosine: float, other: float
) -> None:
    fused = ranking.fuse(share * best, best, cosine)
    assert 0 <= fused <= 1
    assert ranking.fuse(share * best, best, max(cosine, other)) >= fused
    assert ranking.fuse(max(share, other) * best, best, cosine) >= fused


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_hybrid_is_half_relative_bm25_and_half_cosine(backend: str, stores: dict[str, Memory]) -> None:
    memory, user = stores[backend], next(_users)
    memory.add_many([{"content": text} for text in ("red sky", "red red sea moon", "moon", "green")], user_id=user)
    keyword, vector = dict(_scores(memory, "red moon", user)), dict(_scores(memory, "red moon", user, "vector"))
    assert vector["green"] == pytest.approx(0)
    expected = {text: 0.5 * keyword.get(text, 0) + 0.5 * cosine for text, cosine in vector.items()}
    assert dict(_scores(memory, "red moon", user, "hybrid")) == {
        text: pytest.approx(score) for text, score in expected.items()
    }


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
def test_ties_are_newest_first(backend: str, mode: Any, tmp_path: Path) -> None:
    clock = Clock()
    with _open(backend, tmp_path / "t.db", embedder="test:64", clock=clock) as memory:
        for number in range(12):
            memory.add("blue sky" if number % 3 else "blue blue", "u", metadata={"number": number})
            clock.tick(seconds=number % 2)  # every other one is as old as the one before it
        found = [hit.memory for hit in memory.search("blue", "u", mode=mode, limit=100)]
    assert [each.content for each in found] == ["blue blue"] * 4 + ["blue sky"] * 8
    for tied in (found[:4], found[4:]):
        assert tied == sorted(tied, key=lambda each: (each.created_at, each.id), reverse=True)


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 50])
def test_a_limit_cuts_the_ranking_and_does_not_change_it(backend: str, limit: int, stores: dict[str, Memory]) -> None:
    memory, user = stores[backend], next(_users)
    texts = ["blue sky"] * 5 + ["blue"] * 3 + ["blue sky sea"] * 4 + ["green"] * 3
    memory.add_many([{"content": text} for text in texts], user_id=user)
    for mode in ("keyword", "vector", "hybrid"):
        whole = memory.search("blue", user, mode=mode, limit=100)
        assert memory.search("blue", user, mode=mode, limit=limit) == whole[:limit]


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_scores_are_relative_to_what_is_selected(backend: str, stores: dict[str, Memory]) -> None:
    memory, user = stores[backend], next(_users)
    memory.add("blue blue blue", user, scope="a")
    inside = memory.add("blue sky and much else beside it", user, scope="b")
    (hit,) = memory.search("blue", user, scope="b", mode="keyword")
    assert (hit.memory.id, hit.score) == (inside.id, 1)
