"""What is left in a file of what was deleted, and how it is got rid of.

SQLite leaves what is deleted in free pages, in the free space of pages in use, where rows were moved from one page to
another, and in its log. Overwriting rows as they are deleted (secure_delete) does not reach copies of rows that were
moved before, nor what was deleted while it was off. So the file is rewritten, by VACUUM, and the log is written back
and cut to nothing, whatever SQLite was built to do.
"""

from __future__ import annotations

import sqlite3
from sqlite3 import Connection

from .errors import is_busy

PATIENCE = 2.0
"""Seconds to wait for other connections, at the most: what was erased is erased, and it is said what is left."""
NOT_REWRITTEN = "Free space of the file holds what was deleted, for {0} Erase again, or run VACUUM."
NOT_EMPTIED = "The file's log holds what was deleted, for {0} Erase again once that is over, or close every client."
SWITCHED_OFF = "the option rewrite is off."
IN_THE_WAY = "another connection reads or writes."


def rewrite(connection: Connection) -> bool:
    """Rewrite the file; False while another connection writes."""
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return False
    return True


def empty_log(connection: Connection) -> bool:
    """Write the log back and cut it to nothing; False while another connection reads or writes."""
    busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not busy
