"""The schema of a sqlite:// file and the steps that lead to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection

from openmem._generated.models import AuditEntry, MemoryRecord
from openmem.errors import ConfigurationError
from openmem.protocol.clock import micros

from ..kit.base import newer_schema

APPLICATION_ID = 0x6F6D656D  # "omem": tells an openmem file from any other SQLite database
PIECE = 2000
"""Memories that one transaction of a long step moves or indexes: it lets others in, and is kept when the next ends."""

logger = logging.getLogger("openmem")

COLUMNS = (
    *("id", "user", "external_id", "created_at"),
    *("valid_from", "valid_to", "superseded_at", "archived", "scope", "kind", "tags", "record"),
)
"""What is kept of a memory: the record, and beside it what is looked up or counted."""

AUDIT = """CREATE TABLE audit (
    key INTEGER PRIMARY KEY, user INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    app TEXT, action TEXT NOT NULL, memory_id TEXT, scope TEXT, request_id TEXT)"""

_as_json = json.JSONEncoder(ensure_ascii=False).encode


def row(memory: MemoryRecord, user: int | None) -> tuple[object, ...]:
    """Return a memory as the columns have it, tags once each."""
    return (
        memory.id,
        user,
        memory.external_id,
        micros(memory.created_at),
        *(each and micros(each) for each in (memory.valid_from, memory.valid_to, memory.superseded_at)),
        bool(memory.archived),
        memory.scope,
        memory.kind,
        _as_json(sorted(set(memory.tags))) if memory.tags else None,
        memory.model_dump_json(exclude_none=True),
    )


def _tables(connection: Connection) -> bool:
    for statement in (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE users (
            key INTEGER PRIMARY KEY,
            user_id TEXT NOT NULL UNIQUE,
            memories INTEGER NOT NULL DEFAULT 0,
            length INTEGER NOT NULL DEFAULT 0,
            vectors INTEGER NOT NULL DEFAULT 0,
            revision INTEGER NOT NULL DEFAULT 0)""",
        """CREATE TABLE memories (
            key INTEGER PRIMARY KEY, id TEXT, user INTEGER, external_id TEXT, created_at INTEGER, record TEXT)""",
        """CREATE TABLE postings (
            user INTEGER NOT NULL, term TEXT NOT NULL, memory INTEGER NOT NULL,
            count INTEGER NOT NULL, length INTEGER NOT NULL,
            PRIMARY KEY (user, term, memory)) WITHOUT ROWID""",
        """CREATE TABLE vectors (
            memory INTEGER PRIMARY KEY, user INTEGER NOT NULL, revision INTEGER NOT NULL, data BLOB NOT NULL)""",
        "CREATE INDEX vectors_changed ON vectors (user, revision)",
        AUDIT,
        "CREATE INDEX audit_user ON audit (user)",
        f"PRAGMA application_id={APPLICATION_ID}",
    ):
        connection.execute(statement)
    return True


def _records(connection: Connection) -> bool:
    """Make the table that replaces `memories`.

    The name is another one, so that an older program that still has the file open fails and does no harm.
    """
    for statement in (
        """CREATE TABLE records (
            key INTEGER PRIMARY KEY AUTOINCREMENT, -- a key used again could be taken for the memory that had it before
            id TEXT NOT NULL UNIQUE,
            user INTEGER NOT NULL,
            external_id TEXT,
            created_at INTEGER NOT NULL,
            valid_from INTEGER,
            valid_to INTEGER,
            superseded_at INTEGER,
            archived INTEGER NOT NULL,
            scope TEXT,
            kind TEXT,
            tags TEXT,
            record TEXT NOT NULL)""",
        "CREATE INDEX records_newest ON records (user, created_at, id)",
        "CREATE UNIQUE INDEX records_external ON records (user, external_id) WHERE external_id IS NOT NULL",
        """CREATE TABLE removed (
            user INTEGER NOT NULL, revision INTEGER NOT NULL, memory INTEGER NOT NULL,
            PRIMARY KEY (user, revision)) WITHOUT ROWID""",
        "ALTER TABLE memories RENAME TO unmoved",
    ):
        connection.execute(statement)
    return True


def _move(connection: Connection) -> bool:
    """Move a piece of the memories to their new table."""
    rows = connection.execute("SELECT key, user, record FROM unmoved ORDER BY key LIMIT ?", (PIECE,)).fetchall()
    if not rows:
        connection.execute("DROP TABLE unmoved")
        return True
    marks = ", ".join("?" * len(COLUMNS))
    connection.executemany(
        f"INSERT INTO records (key, {', '.join(COLUMNS)}) VALUES (?, {marks})",  # noqa: S608
        [(key, *row(MemoryRecord.model_validate_json(record), user)) for key, user, record in rows],
    )
    connection.execute("DELETE FROM unmoved WHERE key <= ?", (rows[-1][0],))
    highest = connection.execute("SELECT max(key) FROM unmoved").fetchone()[0]
    logger.info("sqlite: moved memories up to number %d of %d to the new schema", rows[-1][0], highest or rows[-1][0])
    return False


def _order_audit(connection: Connection) -> bool:
    """Index the audit log by time: a client stores what it has kept back of its reads after what others did later."""
    if connection.execute("SELECT 1 FROM pragma_table_info('audit') WHERE name = 'entry'").fetchone():
        _unfold_audit(connection)
    connection.execute("CREATE INDEX audit_newest ON audit (user, timestamp)")
    connection.execute("DROP INDEX IF EXISTS audit_user")
    return True


def _unfold_audit(connection: Connection) -> None:
    """Give an audit log columns: the first files of version 1 keep each entry as JSON."""
    connection.execute("ALTER TABLE audit RENAME TO folded")
    connection.execute(AUDIT)
    rows = connection.execute("SELECT key, user, entry FROM folded ORDER BY key").fetchall()
    connection.executemany(
        "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(key, user, *_entry(AuditEntry.model_validate_json(entry))) for key, user, entry in rows],
    )
    connection.execute("DROP TABLE folded")


def _entry(entry: AuditEntry) -> tuple[object, ...]:
    moment = entry.timestamp and micros(entry.timestamp)
    return moment, entry.app, entry.action, entry.memory_id, entry.scope, entry.request_id


def _weigh(connection: Connection) -> bool:
    """Make the index of words anew, empty: it keeps a term's weight in place of its count and the text's length.

    The words are indexed after it, since their analysis changed as well; an older program that still has the file open
    fails wherever it reads or changes the index.
    """
    for statement in (
        "DROP TABLE postings",
        """CREATE TABLE postings (
            user INTEGER NOT NULL, term TEXT NOT NULL, memory INTEGER NOT NULL, weight REAL NOT NULL,
            PRIMARY KEY (user, term, memory)) WITHOUT ROWID""",
        "ALTER TABLE users RENAME TO former",
        """CREATE TABLE users (
            key INTEGER PRIMARY KEY,
            user_id TEXT NOT NULL UNIQUE,
            memories INTEGER NOT NULL DEFAULT 0,
            vectors INTEGER NOT NULL DEFAULT 0,
            revision INTEGER NOT NULL DEFAULT 0)""",
        "INSERT INTO users (key, user_id, vectors, revision) SELECT key, user_id, vectors, revision FROM former",
        "DROP TABLE former",
        "DELETE FROM meta WHERE name IN ('analysis', 'reindexed')",
    ):
        connection.execute(statement)
    return True


STEPS: tuple[Callable[[Connection], bool], ...] = (_tables, _records, _move, _order_audit, _weigh)
"""Steps from version n of the schema to n + 1, which PRAGMA user_version counts; False: not at the end yet."""


def version_of(connection: Connection, path: Path) -> int:
    """Return the version of a file's schema; ConfigurationError where it is a later one, or another program's."""
    used = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if used and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigurationError(f"{path} is another program's database.", remedy="Name a new file.")
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(STEPS):
        raise newer_schema(str(path), version, len(STEPS))
    return version


def migrate(connection: Connection, path: Path) -> bool:
    """Bring the schema up to date, as far as one transaction should; False: there is more to do."""
    for version in range(version_of(connection, path), len(STEPS)):
        if not STEPS[version](connection):
            return False
        connection.execute(f"PRAGMA user_version={version + 1}")
    return True
