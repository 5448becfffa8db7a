"""Stores keep terms: those of another analysis are made anew, and what tells is its name alone."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

from openmem.protocol.analysis import ANALYSIS, terms

GOLDEN = Path(__file__).parents[1] / "golden" / "texts.json"
ODD = (
    *("Acme™ kettles in a room of 20 m²", "№5, 1º andar, H₂O and 10₂", "او هر روز چای سبز می‌نوشد", "他住\u200b在北京"),
    *(
        "เขา\u200bดื่มชา",
        "naïve İstanbul STRASSE straße",
        "C# and C♯, R&D, 3.14, don’t",
        "🍵 ⌚ ② ㊗ ㎡ ﷺ",
        "क्षि 한국어 чаи́",
    ),
)


def test_terms_change_only_with_the_name_of_the_analysis() -> None:
    """Where this fails, the analysis takes another name, and both are written here."""
    golden = [text for text in json.loads(GOLDEN.read_text())["texts"] if isinstance(text, str)]
    made = [terms(text) for text in (*golden, *ODD)]
    digest = blake2b(json.dumps(made).encode(), digest_size=8).hexdigest()
    assert (ANALYSIS, digest) == ("unicode-3", "c0c76acf1d3ec29f")
