"""Health: whether the backend answers."""

from __future__ import annotations

from ..check import check
from ..harness import Harness

SECOND = 1000.0


@check("HEA-1", "health says that the backend answers, and which it is", requires=("health",))
async def tells_how_it_is(h: Harness) -> None:
    """Ask for the health of a backend that is well."""
    health = await h.memory.health()
    h.require(health.status == "ok", f"the status of a backend that answers is {health.status!r}")
    h.require(health.provider == h.capabilities.provider, f"health is of {health.provider!r}")
    latency = health.latency_ms
    h.require(latency is None or 0 <= latency < SECOND, f"it is said to have taken {latency} ms")


@check("HEA-1", "health changes nothing and is in nobody's log", requires=("health",))
async def changes_nothing(h: Harness) -> None:
    """Compare what there is before and after."""
    [record] = await h.seed([{"content": h.marker()}])
    before = await h.all_ids()
    for _ in range(3):
        await h.memory.health()
    h.require(before == await h.all_ids() == [record.id], "health changed what is listed")
    if "audit" in h.capabilities.verbs:
        for user in (h.user, h.other):
            actions = [entry.action for entry in await h.memory.audit(user, limit=1000)]
            h.require("health" not in actions, f"the log has {actions}")
