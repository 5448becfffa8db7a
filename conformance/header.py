"""What a report says of itself: which suite tried which adapter, where and when."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version

from openmem._generated.verbs import OMP_VERSION
from openmem.adapter import Adapter

SUITE = "openmem-sdk"
"""The distribution that brings the suite."""


@dataclass
class Header:
    """The circumstances of a run. adapter and adapter_version are known once a client was made."""

    seed: int
    suite: str = field(default_factory=lambda: version(SUITE))
    spec: str = OMP_VERSION
    adapter: str = ""
    adapter_version: str = ""
    python: str = field(default_factory=lambda: f"{platform.python_implementation()} {platform.python_version()}")
    platform: str = field(default_factory=platform.platform)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def name(self, adapter: Adapter) -> None:
        """Note which adapter is tried, and of which version."""
        kind = type(adapter)
        self.adapter = f"{adapter.name} ({kind.__module__}.{kind.__qualname__})"
        self.adapter_version = _version(kind.__module__.partition(".")[0])

    def __str__(self) -> str:
        adapter = f"{self.adapter} {self.adapter_version}".strip() or "no adapter"
        return (
            f"suite {self.suite}, spec {self.spec}, adapter {adapter}, {self.python}, {self.platform}, "
            f"seed {self.seed}, {self.date}"
        )


def _version(package: str) -> str:
    """Return the version of the distribution that brings a package; empty where none does."""
    if package == "openmem":
        return version(SUITE)
    return next((version(name) for name in packages_distributions().get(package, ())), "")
