"""What happens between a client and its adapter: one layer a file, each a function from handler to handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from openmem._generated.models import Capabilities

Handler = Callable[[BaseModel], Awaitable[Any]]
"""The one signature: a request model in, its response model out."""

Layer = Callable[[Handler], Handler]
"""Wraps a handler in one that does something before or after it."""

Describe = Callable[[], Awaitable[Capabilities]]
"""Says what the stack supports, emulated verbs included."""
