"""Folding for text analysis: what reads as equal is made equal, and what readers see apart stays apart.

NFKC alone writes what is small, framed or one sign in line with what stands beside it: of 10² it makes 102, of №5 No5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping

EXPONENT = "\0"
"""Stands before a superscript number, in a folded text: readers see it apart, but write m2 for m²."""
MANY = 50
"""Different characters up to which each is quicker replaced by itself than all at once."""
SHORT, LONG = 1_000, 30
"""Characters of a text, and marks in a row, up to which the time to bring marks into order does not matter."""

_KEYCAP, _ORDINALS = "\u20e3", "\u00aa\u00ba"
_SUPERSCRIPTS, _SUBSCRIPTS = "\u2070\u00b9\u00b2\u00b3\u2074-\u2079", "\u2080-\u2089"
_APART = (
    (re.compile(f"[{_SUPERSCRIPTS}]+"), rf"{EXPONENT}\g<0> "),
    (re.compile(rf"(?<=\d)(?=[{_SUBSCRIPTS}])|(?<=[{_SUBSCRIPTS}])(?=\d)"), " "),
    (re.compile(rf"(?<=\d)[{_ORDINALS}]"), " "),
    (re.compile(f"[{_ORDINALS}]"), r"\g<0> "),
    (re.compile(f"([0-9#*])\ufe0f?{_KEYCAP}"), r" \1 "),
)
"""What is set apart by what stands beside it: H₂O is a word, 10₂ two; 1º is a number, Nº5 a word and a number."""
_NEIGHBOURS = re.compile(f"[{_SUPERSCRIPTS}{_SUBSCRIPTS}{_ORDINALS}{_KEYCAP}]")

_plain: set[str] = set()
"""Characters of which nothing need be changed before NFKC, as seen so far."""
_marks: set[str] = set()
"""Characters that are, or become, marks that are brought into order, as seen so far."""


class _Before(dict[str, str]):
    """Character -> what stands for it before NFKC; each is looked up once."""

    def __missing__(self, character: str) -> str:
        form = self[character] = _before(character)
        if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]):
            _marks.add(character)
        if form == character and not _NEIGHBOURS.match(character):
            _plain.add(character)
        return form


_forms = _Before()


def folded(text: str) -> str:
    """Make equal what reads as equal: compatibility forms and case."""
    characters = set(text)
    if odd := characters - _plain:
        text = replaced(text, odd, _forms)
        if any(map(_NEIGHBOURS.match, odd)):
            for pattern, apart in _APART:
                text = pattern.sub(apart, text)
    if len(text) > SHORT and (marks := characters & _marks):
        text = re.sub(f"[{''.join(marks)}]{{{LONG},}}", lambda run: _in_order(run[0]), text)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return text.replace("i\u0307", "i")  # as the Turkish capital with a dot is folded


def replaced(text: str, characters: Collection[str], forms: Mapping[str, str]) -> str:
    """Replace characters by their forms."""
    changed = [character for character in characters if forms[character] != character]
    if len(changed) > MANY:
        return text.translate({ord(character): forms[character] for character in changed})
    for character in changed:
        text = text.replace(character, forms[character])
    return text


def _before(character: str) -> str:
    """Say what a character is before NFKC: itself, a blank, or itself between blanks."""
    category = unicodedata.category(character)
    kind, _, parts = unicodedata.decomposition(character).partition(" ")
    if character == "\u00b4":  # of which NFKC makes a blank with an accent
        return "'"
    if character == EXPONENT or (kind == "<super>" and category == "So"):  # the sign of a trade mark
        return " "
    if category == "No" and not kind and "CIRCLED" in unicodedata.name(character, ""):
        return f" {unicodedata.numeric(character):.0f} "
    if not kind.startswith("<") or _NEIGHBOURS.match(character):
        return character
    if category == "No" or (category in ("So", "Sc") and " " in parts):  # one letter in a circle is one of a word
        return f" {character} "
    return character


def _in_order(marks: str) -> str:
    """Bring a long run of marks into order: where NFKC does it, it takes time by the square of their number."""
    parts = {mark: unicodedata.normalize("NFKD", mark) for mark in set(marks)}
    return "".join(sorted("".join(map(parts.__getitem__, marks)), key=unicodedata.combining))
