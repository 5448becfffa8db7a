"""Time as the protocol has it: aware, in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

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
