"""A type checker over one file, as a user runs it: strict, and without the configuration of this project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TYPED = Path(__file__).parents[1] / "typed"
COMPLAINT = re.compile(r"^[^:]+:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)


def complaints(file: Path, folder: Path, *, executable: str = sys.executable) -> set[tuple[int, str]]:
    """Return line and code of all that mypy finds in a file, in the environment of a Python; it runs in a folder."""
    options = ["--strict", "--config-file=", f"--python-executable={executable}", "--cache-dir=cache"]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, file], cwd=folder, capture_output=True, text=True, timeout=300
    )
    found = {(int(line), code) for line, code in COMPLAINT.findall(run.stdout)}
    assert run.returncode == bool(found), run.stdout + run.stderr
    return found
