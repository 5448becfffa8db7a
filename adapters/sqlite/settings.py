"""The options of sqlite://."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from openmem.adapter import Settings


class SqliteSettings(Settings):
    """Options of sqlite://."""

    path: Path
    synchronous: Literal["full", "normal"] = "full"
    """full: an acknowledged write survives a power cut; normal: it survives the end of the process."""
    busy_timeout: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    """Seconds to wait for another process's write."""
    cached_users: int = Field(default=1000, ge=1)
    """Users whose vectors are kept in memory."""
    rewrite: bool = True
    """An erase rewrites the file, which leaves nothing of what was ever deleted; False: it says what may be left."""
    private: bool = True
    """A new file is its owner's alone (0600); False: as the umask says."""

    @field_validator("path")
    @classmethod
    def _names_a_file(cls, path: Path) -> Path:
        if path == Path() or str(path).startswith((":memory:", "file:")):
            raise PydanticCustomError("path", "name a file by its path; a store in memory is memory://")
        return path
