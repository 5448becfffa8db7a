"""Scans of a file: what one snapshot holds of a user is copied aside, so that no transaction waits for who walks it."""

from __future__ import annotations

import sqlite3
from sqlite3 import Connection

import numpy as np

from openmem._generated.models import MemoryRecord
from openmem.adapter import CHUNK

from ..kit.vectors import put_vector
from .records import Records


def make_aside() -> Connection:
    """Make a database of its own: SQLite keeps it in memory while it is small, else in a file without a name."""
    return sqlite3.connect("", isolation_level=None, check_same_thread=False)


def copy_aside(store: Records, user_id: str, aside: Connection) -> None:
    """Copy a user's memories and vectors, in the order of a scan; done anew it begins anew."""
    aside.execute("DROP TABLE IF EXISTS scanned")
    aside.execute("CREATE TABLE scanned (place INTEGER PRIMARY KEY, record TEXT NOT NULL, data BLOB)")
    aside.execute("BEGIN")
    aside.executemany("INSERT INTO scanned (record, data) VALUES (?, ?)", store.everything(user_id))
    aside.execute("COMMIT")


def chunk_after(aside: Connection, place: int) -> list[MemoryRecord]:
    """Read the memories that come after so many."""
    query = "SELECT record, data FROM scanned WHERE place > ? ORDER BY place LIMIT ?"
    return [_memory(record, data) for record, data in aside.execute(query, (place, CHUNK)).fetchall()]


def _memory(record: str, data: bytes | None) -> MemoryRecord:
    memory = MemoryRecord.model_validate_json(record)
    if data is not None:
        put_vector(memory, np.frombuffer(data, dtype="<f4"))
    return memory
