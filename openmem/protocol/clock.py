"""Time as the protocol has it, aware and in UTC; and pauses as Retry-After has them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

Clock = Callable[[], datetime]

_SECONDS = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def micros(moment: datetime) -> int:
    """Count the microseconds since 1970, for engines that keep moments as integers."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(count: int) -> datetime:
    """Return the moment so many microseconds after 1970 began."""
    return _EPOCH + count * _MICROSECOND


def retry_after(header: str | None) -> float | None:
    """Read a Retry-After header, ASCII digits or a date, as seconds from now, at least 0 (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    if _SECONDS.fullmatch(text := header.strip()):
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
