"""Documents as tests run them: their blocks of Python, and what each says that it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from support.processes import finished

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:^```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
_ID = re.compile(r"\bmem_[0-9a-f]+")
_END = "--- end of a block ---"


class Block(NamedTuple):
    """A block of Python and, where the document says it, what that prints."""

    code: str
    printed: str | None


def blocks(document: str) -> list[Block]:
    """Read the blocks of a document, a path within the repository."""
    text = (ROOT / document).read_text("utf-8")
    return [Block(code, printed or None) for code, printed in _BLOCK.findall(text)]


def printed_by(document: str, folder: Path) -> list[str]:
    """Run the blocks of a document one after another in a Python of their own; return what each prints, ids left out.

    Later blocks know the names of former ones, as whoever reads on does. An exception or a warning fails.
    """
    script = f"\nprint({_END!r})\n".join(block.code for block in blocks(document))
    return [without_ids(each.removeprefix("\n")) for each in finished(script, cwd=folder).split(_END)]


def without_ids(text: str) -> str:
    """Put one sign for every id of a memory, which is another one each time."""
    return _ID.sub("mem_…", text)


def links(document: str) -> list[str]:
    """List the paths that a document links to, from the root of the repository."""
    text, folder = (ROOT / document).read_text("utf-8"), (ROOT / document).parent
    found = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    return [str(folder / target) for target in found if target and "://" not in target]
