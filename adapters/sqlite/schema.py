"""The schema of a sqlite:// file and the steps that lead to it."""

APPLICATION_ID = 0x6F6D656D  # "omem": tells an openmem file from any other SQLite database

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE users (
            key INTEGER PRIMARY KEY,
            user_id TEXT NOT NULL UNIQUE,
            memories INTEGER NOT NULL DEFAULT 0,
            length INTEGER NOT NULL DEFAULT 0,
            vectors INTEGER NOT NULL DEFAULT 0,
            revision INTEGER NOT NULL DEFAULT 0)""",
        """CREATE TABLE memories (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            user INTEGER NOT NULL,
            external_id TEXT,
            created_at INTEGER NOT NULL,
            record TEXT NOT NULL)""",
        "CREATE INDEX memories_newest ON memories (user, created_at, id)",
        "CREATE UNIQUE INDEX memories_external ON memories (user, external_id) WHERE external_id IS NOT NULL",
        """CREATE TABLE postings (
            user INTEGER NOT NULL, term TEXT NOT NULL, memory INTEGER NOT NULL,
            count INTEGER NOT NULL, length INTEGER NOT NULL,
            PRIMARY KEY (user, term, memory)) WITHOUT ROWID""",
        """CREATE TABLE vectors (
            memory INTEGER PRIMARY KEY, user INTEGER NOT NULL, revision INTEGER NOT NULL, data BLOB NOT NULL)""",
        "CREATE INDEX vectors_changed ON vectors (user, revision)",
        """CREATE TABLE audit (
            key INTEGER PRIMARY KEY, user INTEGER NOT NULL, timestamp INTEGER NOT NULL,
            app TEXT, action TEXT NOT NULL, memory_id TEXT, scope TEXT, request_id TEXT)""",
        "CREATE INDEX audit_user ON audit (user)",
    ),
)
"""Statements that bring the schema from version n to n + 1; PRAGMA user_version counts them."""
