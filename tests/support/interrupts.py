"""Interrupts at chosen moments: as signals come, between two calls, and harder, at any bytecode of chosen files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import CO_GENERATOR
from types import FrameType
from typing import Any

MOMENTS = ("call", "return", "c_return")
"""Where CPython looks for signals: as a function begins and as a call ends."""


class Countdown:
    """Counts moments and interrupts at one of them."""

    def __init__(self, at: int | None, interrupt: Callable[[], None]) -> None:
        self.at = at
        self.seen = 0
        self._interrupt = interrupt

    def __call__(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            self._interrupt()


def control_c() -> None:
    """Do what Python does where Ctrl-C was pressed."""
    raise KeyboardInterrupt


@contextmanager
def at_calls(at: int | None) -> Iterator[Countdown]:
    """Interrupt what runs at its at-th moment; None: only count them."""
    count = Countdown(at, control_c)

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        yields = event != "c_return" and frame.f_code.co_flags & CO_GENERATOR  # where CPython looks for no signals
        if event in MOMENTS and argument is not sys.setprofile and not yields:
            count()

    sys.setprofile(profile)
    try:
        yield count
    finally:
        sys.setprofile(None)


@contextmanager
def at_bytecodes(
    at: int | None, traced: Callable[[FrameType], bool], interrupt: Callable[[], None] = control_c
) -> Iterator[Countdown]:
    """Interrupt what runs before its at-th bytecode in the frames that are to be traced."""
    count = Countdown(at, interrupt)

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            if not traced(frame):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            count()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)
