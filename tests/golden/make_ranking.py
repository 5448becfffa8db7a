"""Make the golden ranking file: what keyword search answers to queries over sixty texts, worked out another way.

Usage: python tests/golden/make_ranking.py. It reads texts.json beside it and writes conformance/ranking.json. Nothing
of openmem is imported: the rules of spec/semantics.md are written down here once more, slowly, character by character.
"""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path
from typing import Any

import Stemmer

HERE = Path(__file__).parent
OUTPUT = HERE.parents[1] / "conformance" / "ranking.json"
STOP_WORDS = set(
    """a about after all also am an and any are as at be because been before being both but by can could did do does
    doing for from had has have having he her here hers him his how i if in into is it its just me my no nor not of on
    or our ours out own she should so some such than that the their theirs them then there these they this those to too
    us very was we were what when where which while who whom why will with would you your yours i'm i've i'd i'll it's
    he's she's that's you're we're they're don't didn't doesn't isn't wasn't what's""".split()  # noqa: SIM905
)
ENGLISH, ARABIC = Stemmer.Stemmer("english"), Stemmer.Stemmer("arabic")
ELISIONS = "c d j l m n s t qu un all dall dell nell sull quest".split()  # noqa: SIM905

RAISED = 0xF0000
"""Where the superscript digits stand once they are marked: ten characters for private use."""
EMOJI = "2194-2199 21a9-21aa 231a-231b 2328-2328 23cf-23cf 23e9-23f3 23f8-23fa 24c2-24c2 25aa-25ab 25b6-25b6 25c0-25c0"
EMOJI += " 25fb-25fe 2934-2935 3030-3030 303d-303d"
TYPED = dict.fromkeys("‘’‛ʻʼ׳", "'") | {"♯": "#", "ک": "ك", "ی": "ي", "ے": "ي", "ۓ": "ي", "ۃ": "ة"}
TYPED |= dict.fromkeys(["ۀ", "ہ", "ۂ", "ە"], "ه")
"""Characters as those that are typed in their place."""


def in_any(character: str, ranges: str) -> bool:
    """Tell whether a character is in one of the ranges, written in hexadecimal: 0e01-0eff 1000-109f."""
    bounds = [part.split("-") for part in ranges.split()]
    return any(int(low, 16) <= ord(character) <= int(high, 16) for low, high in bounds)


def kind(character: str) -> str:
    """Say which kind of word a character is part of; ' ' for none."""
    if in_any(
        character,
        "1100-11ff 3005-3007 3041-30ff 3105-318f 31a0-31bf 31f0-31ff 3400-4dbf 4e00-9fff a960-a97f ac00-d7ff f900-faff"
        " 20000-3ffff",
    ):
        return "ideograph"
    if in_any(character, "0e01-0eff 1000-109f 1780-17d3 a9e0-a9fe aa60-aa7f"):
        return "syllable" if unicodedata.category(character)[0] in "LM" else " "
    if in_any(character, "2600-27bf 2b00-2bff 1f000-1ffff") and unicodedata.category(character) == "So":
        return "picture"
    if in_any(character, EMOJI) or (in_any(character, "1f000-1faff") and unicodedata.category(character) == "Cn"):
        return "picture"
    if 0 <= ord(character) - RAISED < 10:
        return "raised"
    return "letter" if unicodedata.category(character)[0] in "LMN" else " "


def set_apart(text: str) -> str:
    """Put blanks round what readers see apart, and mark superscript digits, before NFKC."""
    text = text.replace("´", "'").replace("\ufe0f\u20e3", "\u20e3")
    result = ""
    for place, character in enumerate(text):
        before, after, name = text[place - 1 : place], text[place + 1 : place + 2], unicodedata.name(character, "")
        becomes = unicodedata.normalize("NFKC", character)
        if name.startswith("SUPERSCRIPT ") and becomes in set("0123456789"):
            result += chr(RAISED + int(becomes))
        elif name.startswith("SUBSCRIPT ") and becomes in set("0123456789"):
            result += " " * before.isdecimal() + character + " " * after.isdecimal()
        elif name.endswith("ORDINAL INDICATOR"):
            result += " " if before.isdecimal() else f"{character} "
        elif is_framed(character, becomes) or (character in "#*0123456789" and after == "\u20e3"):
            result += f" {character} "
        elif unicodedata.category(character) == "No" and "CIRCLED" in name:
            result += f" {int(unicodedata.numeric(character))} "
        elif character in "™℠🅪🅫🅬":
            result += " "
        else:
            result += character
    return result


def is_framed(character: str, becomes: str) -> bool:
    """Tell whether a sign reads as a number, or as several letters, of its own: ①, ½, №, ㎏; but no trade mark."""
    category = unicodedata.category(character)
    if character in "™℠🅪🅫🅬":
        return False
    return (category == "No" and becomes != character) or (category in ("So", "Sc") and len(becomes) > 1)


def folded(text: str) -> str:
    """Fold a text: compatibility forms, case, digits, signs typed for others, signs that may be left out."""
    text = unicodedata.normalize("NFKC", set_apart(text)).casefold()
    text = unicodedata.normalize("NFKC", text).replace("i\u0307", "i")
    result = ""
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        if character in TYPED:
            result += TYPED[character]
        elif category == "Nd":
            result += str(unicodedata.decimal(character))
        elif character == "\u200b":
            around = text[:place].rstrip("\u200b")[-1:], text[place:].lstrip("\u200b")[:1]
            unspaced = all(each and kind(each) in ("ideograph", "syllable") for each in around)
            result += "" if unspaced else " "
        elif not may_be_left_out(character, category):
            result += character
    return result


def may_be_left_out(character: str, category: str) -> bool:
    """Tell whether a sign may be left out of a word."""
    if category == "Mn" and in_any(character, "0591-05c7 064b-06ed"):
        return True
    return category in ("Cf", "Me") or in_any(character, "0640-0640 034f-034f fe00-fe0f 1f3fb-1f3ff e0100-e01ef")


def pieces(text: str) -> list[tuple[str, str]]:
    """Cut a folded text into words of one kind each."""
    found: list[tuple[str, str]] = []
    before = " "
    for place, character in enumerate(text):
        now, after = kind(character), text[place + 1 : place + 2]
        if character == "'" and before == "letter" and after and kind(after) == "letter":
            now = "letter"
        if character in "+#" and before == "letter" and len(found[-1][1]) == 1 and "a" <= found[-1][1] <= "z":
            if character == "#" or after == "+":
                found[-1] = ("letter", found[-1][1] + ("#" if character == "#" else "++"))
            now = " "
        if now == "raised":
            number = str(ord(character) - RAISED)
            if before == "raised":
                found[-1] = ("letter", found[-1][1] + number)
            elif before == "letter" and not found[-1][1][-1].isdecimal():
                found.append(("letter", found[-1][1] + number))
            else:
                found.append(("letter", number))
        elif now == before != "picture" and now != " ":
            found[-1] = (now, found[-1][1] + character)
        elif now != " ":
            found.append((now, character))
        before = now
    return found


def terms(text: str) -> list[str]:
    """List the terms of a text."""
    result = []
    for what, word in pieces(folded(text)):
        pairs = [word[place : place + 2] for place in range(len(word) - 1)]
        if what == "ideograph":
            result += [*word, *pairs]
        elif what == "syllable":
            result += pairs or [word]
        elif what == "picture":
            result.append(word)
        elif word not in STOP_WORDS:
            result.append(stem(word))
    return result


def stem(word: str) -> str:
    """Stem a word by its script."""
    for elided in ELISIONS:
        rest = word.removeprefix(f"{elided}'")
        if rest != word and (rest[0] in "aeiouyhœ" or in_any(rest[0], "e0-f6 f8-fc")):
            word = rest
            break
    if len(word) > 64:
        return word
    names = [unicodedata.name(character, "") for character in word]
    if any(name.startswith("ARABIC LETTER") for name in names):
        return str(ARABIC.stemWord(word))
    if any(name.startswith("LATIN") for name in names) or word.isascii():
        return str(ENGLISH.stemWord(word))
    return word


def ranked(query: str, texts: list[list[str]]) -> list[list[Any]]:
    """Return the numbers of the texts that hold a word of the query, best first, with scores relative to the best."""
    scores = dict.fromkeys(range(len(texts)), 0.0)
    for term in set(terms(query)):
        holding = [number for number, words in enumerate(texts) if term in words]
        rarity = math.log(1 + (len(texts) - len(holding) + 0.5) / (len(holding) + 0.5))
        for number in holding:
            often, length = texts[number].count(term), max(len(texts[number]), 16)
            scores[number] += rarity * often / (often + 1.2 * (1 - 0.75 + 0.75 * length / 24))
    best = max(scores.values())
    found = [[number, round(score / best, 9)] for number, score in scores.items() if score]
    return sorted(found, key=lambda pair: (-pair[1], -pair[0]))  # ties: what was added last comes first


def written() -> str:
    """Write the golden file."""
    given = json.loads((HERE / "texts.json").read_text("utf-8"))
    texts = [text if isinstance(text, str) else _repeated(*text["repeat"]) for text in given["texts"]]
    assert len(texts) == 60
    split = [terms(text) for text in texts]
    queries = [{"query": query, "expected": ranked(query, split)} for query in given["queries"]]
    golden = {"texts": texts, "queries": queries}
    return json.dumps(golden, ensure_ascii=False, indent=1).replace("\n    ", " ").replace("\n   ]", " ]") + "\n"


def _repeated(text: str, times: int) -> str:
    return " ".join(text.replace("{n}", str(number)) for number in range(1, times + 1))[:2000]


if __name__ == "__main__":
    OUTPUT.write_text(written(), "utf-8")
