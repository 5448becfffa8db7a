"""Scans of Postgres: one statement, and so one snapshot, read by a cursor of the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from openmem._generated.models import MemoryRecord
from openmem.adapter import CHUNK

from ..kit.vectors import put_vector
from .filters import Bindings
from .jsonb import read_record
from .schema import Names
from .sessions import Session
from .vectors import HELD, Vectors, see_it_is_held


async def scanned(
    session: Session, names: Names, vectors: Vectors | None, user_id: str
) -> AsyncGenerator[list[MemoryRecord], None]:
    """Walk a user's memories, oldest first, in a transaction that is under way.

    Raises ConfigurationError where the store no longer holds such vectors.
    """
    columns = f"embedding::real[], ({HELD})" if vectors is not None else "NULL, NULL"
    sql = f"""SELECT record::text, {columns} FROM openmem.memories
        WHERE user_id = %(user)s ORDER BY created_at, id"""
    async with session.cursor("openmem_scan") as cursor:
        await cursor.execute(names(sql), Bindings(user=user_id))
        while rows := await cursor.fetchmany(CHUNK):
            if vectors is not None:
                see_it_is_held(vectors.embedding, rows[0][2])
            yield [_memory(row) for row in rows]


def _memory(row: Sequence[Any]) -> MemoryRecord:
    memory = read_record(row[0])
    if row[1] is not None:
        put_vector(memory, row[1])
    return memory
