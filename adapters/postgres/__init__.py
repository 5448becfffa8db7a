"""Postgres: postgres://user:password@host:5432/database."""

from .adapter import PostgresAdapter
from .settings import PostgresSettings

__all__ = ["PostgresAdapter", "PostgresSettings"]
