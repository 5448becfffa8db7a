"""The options of qdrant://, qdrant+local:// and qdrant+edge://."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from openmem import urls
from openmem.adapter import Settings

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class FolderSettings(Settings):
    """Options of qdrant+local:// and qdrant+edge://."""

    path: Path
    collection: str = Field(default="openmem", pattern=_NAME, max_length=200)
    private: bool = True
    """Whether a new folder is for nobody else; false: as the umask says."""


class QdrantSettings(Settings):
    """Options of qdrant://."""

    host: str = "localhost"
    """Also https://HOST:PORT."""
    port: int = Field(default=6333, ge=1, le=65535)
    collection: str = Field(default="openmem", pattern=_NAME, max_length=200)
    api_key: SecretStr | None = None
    https: bool | None = None
    """Whether to use TLS; left out: where there is an api_key, or the URL says qdrants://."""
    request_timeout: int = Field(default=30, ge=1)
    """Seconds that one request may take."""
    exact: bool = True
    """Search every memory that a filter leaves; false: by the server's graph where it leaves many."""
    shard_number: int | None = Field(default=None, ge=1)
    """Parts that a new collection is divided into over a cluster; like the next two, of no effect later."""
    replication_factor: int | None = Field(default=None, ge=1)
    """Copies of each part."""
    write_consistency_factor: int | None = Field(default=None, ge=1)
    """Copies that must have a change before it is acknowledged."""

    _unfold = model_validator(mode="before")(urls.unfold_host)
    _is_host = field_validator("host")(urls.checked_host)

    @field_validator("api_key")
    @classmethod
    def _is_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not all("!" <= each <= "~" for each in key.get_secret_value() or " "):
            raise PydanticCustomError("key", "it is empty or holds more than a key")  # httpx would quote it
        return key
