"""Text that is safe to show: no secrets, no commands to the terminal."""

from __future__ import annotations

import re

from openmem.urls import redact

_JOINERS = "\u200c\u200d"  # not printable by themselves, but part of words and emoji
_URL = re.compile(r"[A-Za-z][\w+.-]*://\S*[@?]\S*")  # one that may hold a secret


def line(text: str) -> str:
    """Make one safe line of a text."""
    return safe(" ".join(text.split()))


def safe(text: str) -> str:
    """Take the secrets out of a text's URLs and show its control characters, not send them."""
    return visible(_URL.sub(lambda match: redact(match[0]), text))


def visible(text: str) -> str:
    """Replace the characters that would command the terminal by their escapes."""
    return "".join(
        each if each.isprintable() or each in "\n\t" or each in _JOINERS else ascii(each)[1:-1] for each in text
    )
