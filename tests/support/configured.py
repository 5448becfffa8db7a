"""A remote store as configuration sees one."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from openmem import Adapter
from openmem._generated import models
from openmem.adapter import Settings

HIDDEN = "hush-Zq7"


class StoreSettings(Settings):
    host: str = ""
    path: str | None = None
    api_key: SecretStr | None = None
    password: SecretStr | None = None
    pool_size: int = 5


class Store(Adapter):
    """A remote store as configuration sees one; it is never reached."""

    name = "store"
    settings_type = StoreSettings

    @classmethod
    def options_from_url(cls, url: Any) -> dict[str, Any]:
        found = {"host": url.hostname, "password": url.password}
        return {name: value for name, value in found.items() if value}

    async def get(self, request: models.GetRequest) -> models.MemoryRecord:
        raise RuntimeError("the store is not there")
