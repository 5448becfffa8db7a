"""The schema of a postgres:// store and the steps that lead to it.

SQL in these modules is written for the schema `openmem`; Names puts the configured one in its place. Texts have the
collation "C": they compare and sort by code points, as the protocol does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.sql import Identifier

from .filters import SCOPE_PREFIX

LOCK = 0x6F6D656D
"""The advisory lock under which one process at a time changes a schema ("omem")."""
INDEX_LOCK = LOCK + 1
"""The one under which it makes the index of vectors."""

_USERS = """(SELECT ARRAY(SELECT jsonb_array_elements_text(nullif(current_setting('omp.users', true), '')::jsonb)))"""
MAINTENANCE = "omp.maintenance"
"""The setting of a transaction that sees the rows of every user: one on the store as a whole."""
POLICY = f"user_id = ANY ({_USERS}::text[]) OR current_setting('{MAINTENANCE}', true) = 'on'"
"""With row-level security a statement sees the users named in the setting omp.users of its transaction."""
OWNED = ("users", "memories", "postings", "audit")
"""Tables of rows that belong to a user."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE openmem.users (
            user_id text COLLATE "C" PRIMARY KEY,
            memories bigint NOT NULL,
            length bigint NOT NULL)""",
        "CREATE SEQUENCE openmem.keys INCREMENT BY 1000",
        """CREATE TABLE openmem.memories (
            user_id text COLLATE "C" NOT NULL,
            id text COLLATE "C" NOT NULL,
            key bigint NOT NULL,
            external_id text COLLATE "C",
            scope text COLLATE "C",
            created_at timestamptz NOT NULL,
            valid_from timestamptz,
            valid_to timestamptz,
            superseded_at timestamptz,
            archived boolean NOT NULL,
            record jsonb NOT NULL,
            PRIMARY KEY (id, user_id)) PARTITIONED""",
        "CREATE UNIQUE INDEX memories_key ON openmem.memories (user_id, key)",
        "CREATE INDEX memories_newest ON openmem.memories (user_id, created_at, id)",
        f"""CREATE INDEX memories_scope ON openmem.memories (user_id, left(scope, {SCOPE_PREFIX}))
            WHERE scope IS NOT NULL""",
        """CREATE UNIQUE INDEX memories_external ON openmem.memories (user_id, external_id)
            WHERE external_id IS NOT NULL""",
        """CREATE TABLE openmem.postings (
            user_id text COLLATE "C" NOT NULL,
            term text COLLATE "C" NOT NULL,
            key bigint NOT NULL,
            count integer NOT NULL,
            length integer NOT NULL,
            PRIMARY KEY (user_id, term, key)) PARTITIONED""",
        """CREATE TABLE openmem.audit (
            user_id text COLLATE "C" NOT NULL,
            key bigint GENERATED ALWAYS AS IDENTITY,
            moment timestamptz NOT NULL,
            app text COLLATE "C",
            action text NOT NULL,
            memory_id text,
            scope text,
            request_id text,
            PRIMARY KEY (user_id, key))""",
    ),
    (
        """ALTER TABLE openmem.users ADD stripe integer NOT NULL DEFAULT 0,
            DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (user_id, stripe)""",
    ),
    (
        "TRUNCATE openmem.postings",
        "ALTER TABLE openmem.postings DROP count, DROP length, ADD weight double precision NOT NULL",
        "ALTER TABLE openmem.users DROP length",
        "DELETE FROM openmem.meta WHERE name = 'analysis'",
    ),
)
"""Statements that bring the schema from version n to n + 1; the row `version` of meta counts them.

PARTITIONED is where a table is divided by hash of user_id. keys hands out blocks of 1000 to each process. How many
memories a user has is a sum over stripes, so that writers on several connections seldom wait for each other. The last
step empties the index of words, which keeps weights from then on: it is made anew after it, since the analysis changed
too, and an older program fails wherever it reads or changes it.
"""

RECOUNT = (
    "LOCK TABLE openmem.users IN SHARE ROW EXCLUSIVE MODE",
    "DELETE FROM openmem.users",
    """INSERT INTO openmem.users (user_id, stripe, memories)
        SELECT user_id, 0, count(*) FROM openmem.memories GROUP BY user_id""",
)
"""Statements that count the memories of all users, while writers wait who would change the numbers."""


@dataclass(frozen=True)
class Names:
    """Puts the configured schema into SQL that is written for `openmem`."""

    schema: str
    partitions: int = 0

    @property
    def quoted(self) -> str:
        """The schema as an identifier of SQL."""
        return Identifier(self.schema).as_string()

    def __call__(self, sql: str) -> str:
        """Rename the schema in a statement."""
        return sql if self.schema == "openmem" else sql.replace("openmem.", self.quoted + ".")

    def migration(self, version: int) -> Iterator[str]:
        """Write the statements from a version to the next."""
        for sql in MIGRATIONS[version]:
            yield from self._partitioned(sql) if "PARTITIONED" in sql else [self(sql)]

    def _partitioned(self, sql: str) -> Iterator[str]:
        plain = sql.replace(" PARTITIONED", "")
        table = plain.split("openmem.", 1)[1].split(" ", 1)[0]
        # A vector belongs beside its record: by default rows over 2 kB are spread over a second table.
        beside = " WITH (toast_tuple_target = 8160)" if table == "memories" else ""
        if not self.partitions:
            yield self(plain + beside)
            return
        yield self(f"{plain} PARTITION BY HASH (user_id)")
        for number in range(self.partitions):
            part = f"CREATE TABLE openmem.{table}_{number} PARTITION OF openmem.{table}"
            yield self(f"{part} FOR VALUES WITH (MODULUS {self.partitions}, REMAINDER {number}){beside}")
