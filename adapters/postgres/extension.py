"""pgvector in a database: seen to, made where the role may, else said how."""

from __future__ import annotations

from psycopg import errors

from openmem.errors import ConfigurationError

from .store import PostgresStore

OLDEST_PGVECTOR = (0, 8)
"""The first version that goes on where a filter leaves too few of an index's rows."""


async def see_to_extension(store: PostgresStore) -> None:
    """See to it that the database has pgvector, new enough and where the role finds it; ConfigurationError else."""
    found = await store.row(
        "SELECT extversion, nspname, to_regtype('vector')::text FROM pg_extension e"
        " JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'vector'"
    )
    if found is None:
        await _make(store)
        return
    version, schema, visible = found
    if tuple(map(int, version.split(".")[:2])) < OLDEST_PGVECTOR:
        raise ConfigurationError(
            f"pgvector {version} is too old: its index answers with too few rows under a filter.",
            remedy="Install pgvector 0.8 or newer and run: ALTER EXTENSION vector UPDATE;",
        )
    if not visible:
        role = await store.one("SELECT current_user")
        raise ConfigurationError(
            f"pgvector is in the schema {schema}, which is not in the search path of {role}.",
            remedy=f'Run: ALTER ROLE "{role}" SET search_path = "$user", public, {schema};',
        )


async def _make(store: PostgresStore) -> None:
    database = await store.one("SELECT current_database()")
    try:
        async with store.step():
            await store.do("CREATE EXTENSION IF NOT EXISTS vector")
    except errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"the database {database} lacks the extension vector, and this role may not create it.",
            remedy="As a superuser run in that database: CREATE EXTENSION vector;",
        ) from error
    except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
        raise ConfigurationError(
            "the server does not have pgvector.",
            remedy="Install it there (Debian: postgresql-NN-pgvector), or use embedder=none for search by words.",
        ) from error
