"""What may be told of what an endpoint says: one short line, without the key and without anything of the texts."""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from urllib.parse import unquote_plus

from pydantic import SecretStr

LONGEST_REASON = 200
"""Characters told of what an endpoint says."""
_OF_KEY, _OF_TEXT = 8, 12
"""Letters and digits in a row that a reason may not have in common with the key, and with a text."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[nrt])")
_PACKED, _HEXADECIMAL = re.compile(r"[A-Za-z0-9+/_-]{11,}"), re.compile(r"[0-9a-fA-F]{16,}")
_WORD = re.compile(r"[^\W_]+")
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def told(reason: str, texts: Sequence[str], key: SecretStr | None) -> str:
    """Make one short line of a reason, without the key and without anything of the texts."""
    reason = reason[: 4 * LONGEST_REASON + _OF_KEY]
    if key is not None and len(secret := key.get_secret_value()) >= _OF_KEY:  # some endpoints repeat it
        reason = reason.replace(secret, "***")
    if quoted := _quoted(reason, texts, key):
        return f"its words quote the {quoted}."
    line = "".join(each if each.isprintable() else " " for each in reason)
    line = " ".join(line.split())[:LONGEST_REASON].rstrip(" .:;,")
    return f"{line}." if line else "it gives no reason."


def request_id(given: str | None, texts: Sequence[str], key: SecretStr | None) -> str | None:
    """Return the id that an endpoint gives a request, where it is one and has nothing of the key or the texts."""
    if given is None or not _REQUEST_ID.fullmatch(given) or _quoted(given, texts, key):
        return None
    return given


def _quoted(reason: str, texts: Sequence[str], key: SecretStr | None) -> str:
    """Say what a reason quotes, however it writes it: 'key', 'text' or ''."""
    readings = [_words(reading) for reading in _readings(reason)]
    if key is not None and _Said(readings, _OF_KEY).has(key.get_secret_value()):
        return "key"
    said = _Said(readings, _OF_TEXT)
    if any(map(said.has, texts)):
        return "text"
    signs = (text.strip() for text in texts if not text.isascii() and not _words(text))
    return "text" if any(sign in reason for sign in signs) else ""


class _Said:
    """The words of what was said, in all its readings, and the runs of so many letters and digits in it."""

    def __init__(self, readings: Sequence[Sequence[str]], most: int) -> None:
        self._most = most
        self._spoken = [f" {' '.join(words)} " for words in readings]
        self._runs = {run for words in readings for run in self._runs_of("".join(words))}

    def _runs_of(self, plain: str) -> Iterator[str]:
        return (plain[start : start + self._most] for start in range(len(plain) - self._most + 1))

    def has(self, text: str) -> bool:
        """Tell whether it has a run of a text, or a text that is shorter as words."""
        words = _words(text)
        plain = "".join(words)
        if len(plain) >= self._most:
            return any(run in self._runs for run in self._runs_of(plain))
        return bool(words) and any(f" {' '.join(words)} " in spoken for spoken in self._spoken)


def _readings(reason: str) -> Iterator[str]:
    """Read a reason as it stands, and what may be written in it in other ways."""
    yield reason
    plain = unquote_plus(html.unescape(_ESCAPE.sub(_escaped, reason)))
    yield plain
    for packed in _PACKED.findall(plain):
        standard = packed.replace("-", "+").replace("_", "/")
        for start in range(4):
            whole = standard[start : start + (len(standard) - start) // 4 * 4]
            yield base64.b64decode(whole).decode(errors="replace")
    for digits in _HEXADECIMAL.findall(plain):
        for start in range(2):
            yield bytes.fromhex(digits[start : start + (len(digits) - start) // 2 * 2]).decode(errors="replace")


def _escaped(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else " "


def _words(text: str) -> list[str]:
    """List the runs of letters and digits of a text, whatever their case and accents."""
    words = _WORD.findall(text.casefold())
    # Marks are gone before they would be brought into order, which takes time by the square of their number.
    return words if text.isascii() else _WORD.findall(unicodedata.normalize("NFKD", " ".join(words)))
