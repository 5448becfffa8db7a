"""Work run in an event loop of its own, or in a Python of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run an async test."""
    return asyncio.run(work())


def python(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own, warnings being errors; whatever it prints is in the answer."""
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 120, **options})


def finished(script: str, *arguments: str, **options: Any) -> str:
    """Run a script to its good end and return what it printed."""
    process = python(script, *arguments, **options)
    assert process.returncode == 0, process.stderr
    return process.stdout
