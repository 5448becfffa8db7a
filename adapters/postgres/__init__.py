"""Postgres: postgres://user:password@host:5432/database."""

from .adapter import PostgresAdapter, PostgresSettings

__all__ = ["PostgresAdapter", "PostgresSettings"]
