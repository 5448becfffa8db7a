"""numpy and sqlite3 by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from data import NOTHING, SINGLES, Data, Row, best_rows, median_ms, rate


def numpy_scan(data: Data) -> Row:
    """Measure an exact scan of each user's matrix."""
    rows: dict[str, list[int]] = {}
    kept: dict[str, Any] = {}

    def add(batch: range) -> None:
        for number in batch:
            rows.setdefault(data.users[number], []).append(number)
        kept.clear()

    speed = rate(data, add)
    kept.update({user: data.vectors[numbers] for user, numbers in rows.items()})

    def search(number: int) -> list[tuple[int, float]]:
        user = data.users[number]
        scores = kept[user] @ data.vectors[number]
        return [(rows[user][row], float(scores[row])) for row in best_rows(scores)]

    get = median_ms(lambda number: data.texts[number], data.asked)
    return ("raw numpy", speed, NOTHING, median_ms(search, data.asked), NOTHING, NOTHING, get)


def sqlite(data: Data, path: Path) -> Row:
    """Measure sqlite3 by hand, vectors scanned by numpy."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE m (id INTEGER PRIMARY KEY, user TEXT, content TEXT, vector BLOB)")
    connection.execute("CREATE INDEX u ON m (user)")

    def add(batch: Sequence[int]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        values = [(data.users[n], data.texts[n], data.vectors[n].tobytes()) for n in batch]
        connection.executemany("INSERT INTO m (user, content, vector) VALUES (?, ?, ?)", values)
        connection.execute("COMMIT")

    def search(number: int) -> list[tuple[int, float]]:
        found = connection.execute("SELECT id, vector FROM m WHERE user = ?", (data.users[number],)).fetchall()
        matrix = np.frombuffer(b"".join(vector for _, vector in found), np.float32).reshape(len(found), -1)
        scores = matrix @ data.vectors[number]
        return [(found[row][0], float(scores[row])) for row in best_rows(scores)]

    speed = rate(data, add)
    single = median_ms(lambda number: add([number]), data.asked[:SINGLES])
    found = median_ms(search, data.asked)
    one = "SELECT * FROM m WHERE id = ?"
    get = median_ms(lambda number: connection.execute(one, (number + 1,)).fetchone(), data.asked)
    connection.close()
    return ("raw sqlite3", speed, single, found, NOTHING, NOTHING, get)
