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

from ..runtime.fork import Lock, importing, in_child
from .folding import EXPONENT, folded, replaced

ANALYSIS = "unicode-3"
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

MOST_WORDS, LONGEST = 131_072, 64
"""Words whose terms are remembered, and characters of the longest that is stemmed and remembered."""

_IDEOGRAPHS = "\u1100-\u11ff\u3005-\u3007\u3041-\u30ff\u3105-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_IDEOGRAPHS += "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_SYLLABLES = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\ua9e0-\ua9fe\uaa60-\uaa7f"
_FLAGS = "\U0001f1e6-\U0001f1ff"

_EMOJI = re.compile(
    "[\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe"
    "\u2934\u2935\u3030\u303d]"
)
"""Those of emoji-data.txt (Unicode 16) in blocks of other signs, but for ©, ® and ™, which are not read as words."""
_PICTURES = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U000fffff]")
_PICTURES_TO_COME = re.compile("[\U0001f000-\U0001faff]")
"""Where later versions of Unicode have theirs, of which this Python may know nothing yet."""

_PLAIN = re.compile(r"[a-z](?:\+\+|#)|[a-z0-9]+(?:'[a-z0-9]+)*")
"""A word of ASCII. An apostrophe between letters belongs to it; C++, C# and F# are words too."""
_SIGNS = re.compile(r"(?<![^\s'+#])(?<![^\s'+#]')([a-z](?:\+\+|#))|[+#]")
_UNSPACED = re.compile(rf"([{_IDEOGRAPHS}])|[{_SYLLABLES}]")
_RUN = re.compile(rf"[{_IDEOGRAPHS}]+|[{_SYLLABLES}]+|[{_FLAGS}]{{2}}")
_BREAKS = re.compile(rf"(?<=[{_IDEOGRAPHS}{_SYLLABLES}])\u200b+(?=[{_IDEOGRAPHS}{_SYLLABLES}])")
"""Zero-width spaces where they are no more than leave to break the line; elsewhere they end a word."""
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u0870-\u08ff]")
_LATIN = re.compile("[a-z\u00df-\u024f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff]")
_ELIDED = re.compile(
    r"(?:[cdjlmnst]|qu|un|all|dall|dell|nell|sull|quest)'(?=[aeiouyh\u00e0-\u00f6\u00f8-\u00fc\u0153])"
)
"""Short words that French, Italian and Catalan write together with the next: l'école is about a school."""

_APOSTROPHES = "'\u2018\u2019\u201b\u02bb\u02bc\u05f3"
_ALIKE = {"\u266f": "#"} | dict.fromkeys(_APOSTROPHES, "'")
_ALIKE |= {"\u06a9": "\u0643", "\u06cc": "\u064a", "\u06d2": "\u064a", "\u06d3": "\u064a", "\u06c3": "\u0629"}
_ALIKE |= dict.fromkeys("\u06c0\u06c1\u06c2\u06d5", "\u0647")
"""Signs typed for one another; of Persian and Urdu kaf, yeh and heh, which keyboards have in two forms."""

_spaced: set[str] = set()
"""Characters that are themselves in words of spaced scripts, as seen so far."""


class _Forms(dict[str, str]):
    """Character of a folded text -> what stands for it in words; each is looked up once."""

    def __missing__(self, character: str) -> str:
        form = self[character] = _form(character)
        several = character == EXPONENT or _UNSPACED.match(character) or not _is_spaced(character)
        if form == character and not several:
            _spaced.add(character)
        return form


def _form(character: str) -> str:
    """Say what a character is in words: itself, a digit, an apostrophe, nothing, or a blank between words."""
    category = unicodedata.category(character)
    if character in _ALIKE:
        return _ALIKE[character]
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if character != "\u200b" and (category in ("Cf", "Me") or _may_be_left_out(character, category)):
        return ""
    if _is_picture(character, category):
        return f" {character} " if _is_spaced(character) else character
    if category[0] in "LNM" or category in ("Cn", "Co") or character in f"+#{EXPONENT}" or character.isspace():
        return character
    return " "


def _is_spaced(character: str) -> bool:
    return not "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_picture(character: str, category: str) -> bool:
    known = {"So": _PICTURES, "Cn": _PICTURES_TO_COME}.get(category, _EMOJI)
    return bool(known.match(character) or _EMOJI.match(character))


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

    return Stemmer.Stemmer(language, 0)  # it would remember words of any length


class Terms(dict[str, str]):
    """Word -> term, '' for a stop word; each is worked out once but for numbers and what is too long for a word."""

    def __init__(self) -> None:
        self._stemming = Lock()
        in_child(self, Terms._renew)

    def _renew(self) -> None:
        _stemmer.cache_clear()  # a thread of the parent may have been in the midst of using it

    def __missing__(self, word: str) -> str:
        if word.isdecimal():  # has no stem, and would crowd out words: there are more numbers than words
            return word
        with self._stemming:  # a stemmer object is not safe in several threads at once
            term = _term(word)
            if len(word) <= LONGEST:
                if len(self) >= MOST_WORDS:
                    self.clear()
                self[word] = term
        return term


def _term(word: str) -> str:
    starts = (place for place, each in enumerate(word) if each != "'" and unicodedata.category(each)[0] != "M")
    word = word[next(starts, len(word)) :].rstrip("'")  # without marks on nothing
    if word in STOP_WORDS:
        return ""
    if elided := _ELIDED.match(word):
        word = word[elided.end() :]
    if len(word) > LONGEST:  # no inflected word; and Arabic stemming takes time by the square of the length
        return word
    if _ARABIC.search(word):
        return str(_stemmer("arabic").stemWord(word)) or word
    if word.isascii() or _LATIN.search(word):
        return str(_stemmer("english").stemWord(word)) or word
    return word


TERM_OF = Terms()
"""Word -> term, of this process."""


def terms(text: str) -> list[str]:
    """Split a text into the terms that it is indexed by, in order, each as often as it holds it."""
    if text.isascii():
        return list(filter(None, map(TERM_OF.__getitem__, _PLAIN.findall(text.lower()))))
    text, parted = _spread(folded(text))
    words = text.split()
    return list(filter(None, _each(words) if parted else map(TERM_OF.__getitem__, words)))


def _spread(text: str) -> tuple[str, bool]:
    """Put blanks between words; tell whether there may be such as give several terms."""
    if "\u200b" in text:
        text = _BREAKS.sub("", text)
    odd = set(text) - _spaced
    parted = any(_forms[character] == character for character in odd)
    text = replaced(text, odd, _forms)
    if parted:
        text = _RUN.sub(r" \g<0> ", text)
    if "+" in text or "#" in text:
        text = _SIGNS.sub(r" \1 ", text)
    return text.replace("''", " "), parted


def _each(words: list[str]) -> Iterator[str]:
    for word in words:
        if EXPONENT in word:
            yield from _raised(*word.split(EXPONENT, 1))
            continue
        if not (unspaced := _UNSPACED.match(word)):
            yield TERM_OF[word]
            continue
        if unspaced[1] or len(word) == 1:
            yield from word
        yield from map(str.__add__, word, word[1:])


def _raised(word: str, number: str) -> Iterator[str]:
    """Give a word with a superscript number: Paris¹ is about Paris, and m² is also written m2."""
    if word:
        yield TERM_OF[word]
    yield number if word[-1:] in "'0123456789" else TERM_OF[word + number]
