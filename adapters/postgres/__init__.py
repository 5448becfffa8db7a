"""postgres://user:password@host/database: one schema of a Postgres database, with pgvector."""

from .adapter import PostgresAdapter
from .settings import PostgresSettings

__all__ = ["PostgresAdapter", "PostgresSettings"]
