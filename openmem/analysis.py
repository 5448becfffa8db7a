"""Text analysis for keyword search: the terms of a text, in whatever script it is written.

A text is folded (NFKC, case, digits, signs that may be left out) and cut into words. A word keeps its combining marks;
one of Latin letters is a term by its English stem, one of Arabic letters by its Arabic stem, any other as it is. What
is written without blanks has no words: Chinese, Japanese and Korean give single characters and pairs of neighbours,
Thai, Lao, Burmese and Khmer pairs alone, since there a character is less than a syllable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from .fork import Lock, importing, in_child

ANALYSIS = "unicode-2"
"""Name of this text analysis; stores that keep its terms record it, so that a change of it can be noticed."""

STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being both but by can could did do does
    doing for from had has have having he her here hers him his how i if in into is it its just me my no nor not of
    on or our ours out own she should so some such than that the their theirs them then there these they this those
    to too us very was we were what when where which while who whom why will with would you your yours
    i'm i've i'd i'll it's he's she's that's you're we're they're don't didn't doesn't isn't wasn't what's
    """.split()  # noqa: SIM905  a list of words is read as words
)

MOST_WORDS = 131_072
"""Words whose terms are remembered."""
MANY = 50
"""Different characters up to which each is quicker replaced by itself than all at once."""

_IDEOGRAPHS = "\u1100-\u11ff\u3005-\u3007\u3041-\u30ff\u3105-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_IDEOGRAPHS += "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_SYLLABLES = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\ua9e0-\ua9fe\uaa60-\uaa7f"
_FLAGS = "\U0001f1e6-\U0001f1ff"

_PLAIN = re.compile(r"[a-z](?:\+\+|#)|[a-z0-9]+(?:'[a-z0-9]+)*")
"""A word of ASCII. An apostrophe between letters belongs to it; C++, C# and F# are words too."""
_SIGNS = re.compile(r"(?<![^\s'+#])(?<![^\s'+#]')([a-z](?:\+\+|#))|[+#]")
_UNSPACED = re.compile(rf"([{_IDEOGRAPHS}])|[{_SYLLABLES}]")
_RUN = re.compile(rf"[{_IDEOGRAPHS}]+|[{_SYLLABLES}]+|[{_FLAGS}]{{2}}")
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u0870-\u08ff]")
_LATIN = re.compile("[a-z\u00df-\u024f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff]")
_ELIDED = re.compile(
    r"(?:[cdjlmnst]|qu|un|all|dall|dell|nell|sull|quest)'(?=[aeiouyh\u00e0-\u00f6\u00f8-\u00fc\u0153])"
)
"""Short words that French, Italian and Catalan write together with the next: l'école is about a school."""

_APOSTROPHES = "'\u2018\u2019\u201b\u02bb\u02bc\u05f3"
_BEFORE = {"\u00b4": "'", "\u2122": " ", "\u2120": " "}
"""Replaced before NFKC, which makes a blank of an accent alone, and letters of the sign of a trade mark."""

_spaced: set[str] = set()
"""Characters that are themselves in words of spaced scripts, as seen so far."""


class _Forms(dict[str, str]):
    """Character of a folded text -> what stands for it in words; each is looked up once."""

    def __missing__(self, character: str) -> str:
        form = self[character] = _form(character)
        if form == character and not _UNSPACED.match(character) and _is_spaced(character):
            _spaced.add(character)
        return form


def _form(character: str) -> str:
    """Say what a character is in words: itself, a digit, an apostrophe, nothing, or a blank between words."""
    category = unicodedata.category(character)
    if character in _APOSTROPHES:
        return "'"
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in ("Cf", "Me") or _may_be_left_out(character, category):
        return ""
    if category[0] in "LNM" or category in ("Cn", "Co") or character in "+#" or character.isspace():
        return character
    if category == "So" and _is_picture(character):
        return f" {character} " if _is_spaced(character) else character
    return " "


def _is_spaced(character: str) -> bool:
    return not "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_picture(character: str) -> bool:
    return "\u2600" <= character <= "\u27bf" or "\u2b00" <= character <= "\u2bff" or character >= "\U0001f000"


def _may_be_left_out(character: str, category: str) -> bool:
    """Tell whether writers leave a sign out: vowel points of Hebrew and Arabic, variants and tones of pictures."""
    return (
        (category == "Mn" and ("\u0591" <= character <= "\u05c7" or "\u064b" <= character <= "\u06ed"))
        or character in "\u0640\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


_forms = _Forms()


@lru_cache(maxsize=2)
def _stemmer(language: str):  # type: ignore[no-untyped-def]
    with importing:
        import Stemmer  # imported when first used: it is compiled code that a keyword-less program never needs

    return Stemmer.Stemmer(language)


class _Terms(dict[str, str]):
    """Word -> term, '' for a stop word; each word but numbers is worked out once."""

    def __init__(self) -> None:
        self._stemming = Lock()
        in_child(self, _Terms._renew)

    def _renew(self) -> None:
        _stemmer.cache_clear()  # a thread of the parent may have been in the midst of using it

    def __missing__(self, word: str) -> str:
        if word.isdecimal():  # has no stem, and would crowd out words: there are more numbers than words
            return word
        with self._stemming:  # a stemmer object is not safe in several threads at once
            term = _term(word)
            if len(self) >= MOST_WORDS:
                self.clear()
            self[word] = term
        return term


def _term(word: str) -> str:
    word = word.strip("'")
    while word and unicodedata.category(word[0])[0] == "M":  # a mark on nothing
        word = word[1:]
    if word in STOP_WORDS:
        return ""
    if elided := _ELIDED.match(word):
        word = word[elided.end() :]
    if _ARABIC.search(word):
        return str(_stemmer("arabic").stemWord(word)) or word
    if word.isascii() or _LATIN.search(word):
        return str(_stemmer("english").stemWord(word)) or word
    return word


_terms = _Terms()


def terms(text: str) -> list[str]:
    """Split a text into the terms that it is indexed by, in order, each as often as it holds it."""
    if text.isascii():
        return list(filter(None, map(_terms.__getitem__, _PLAIN.findall(text.lower()))))
    text, unspaced = _spread(_folded(text))
    words = text.split()
    return list(filter(None, _each(words) if unspaced else map(_terms.__getitem__, words)))


def _folded(text: str) -> str:
    """Make equal what reads as equal."""
    for sign, instead in _BEFORE.items():
        text = text.replace(sign, instead)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return text.replace("i\u0307", "i")  # as the Turkish capital with a dot is folded


def _spread(text: str) -> tuple[str, bool]:
    """Put blanks between words; tell whether there may be such as are written without."""
    odd = set(text) - _spaced
    changed = [character for character in odd if _forms[character] != character]
    unspaced = len(changed) < len(odd)
    if len(changed) > MANY:
        text = text.translate({ord(character): _forms[character] for character in changed})
    else:
        for character in changed:
            text = text.replace(character, _forms[character])
    if unspaced:
        text = _RUN.sub(r" \g<0> ", text)
    if "+" in text or "#" in text:
        text = _SIGNS.sub(r" \1 ", text)
    return text.replace("''", " "), unspaced


def _each(words: list[str]) -> Iterator[str]:
    for word in words:
        if not (unspaced := _UNSPACED.match(word)):
            yield _terms[word]
            continue
        if unspaced[1] or len(word) == 1:
            yield from word
        yield from map(str.__add__, word, word[1:])
