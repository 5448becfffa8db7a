"""sqlite:///file.db: one SQLite file, shared by any number of threads and processes."""

from .adapter import SqliteAdapter
from .settings import SqliteSettings

__all__ = ["SqliteAdapter", "SqliteSettings"]
