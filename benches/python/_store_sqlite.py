"""The files of `sqlite-*`: a database, with an index on the group.

Databases are not renamed into place: readers and writers have SQLite's locks, and a rebuild is one
transaction. The journal is the usual one and not WAL, which needs shared memory (so no network file
system), two more files for each reader to open, and pays where writing is frequent. What is written
is not waited for (`synchronous`): a cache that a power cut damages is made again, as those of the
other formats.
"""

import os
import sqlite3

from _record import Record, remove

SUFFIX = ".sqlite"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (at INTEGER PRIMARY KEY, path TEXT, mtime INTEGER);
CREATE TABLE IF NOT EXISTS dist (number INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE IF NOT EXISTS point
    (at INTEGER PRIMARY KEY, dist INTEGER, grp TEXT, name TEXT, value TEXT);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS dist_name ON dist (name);
CREATE INDEX IF NOT EXISTS point_grp ON point (grp);
"""

# With fewer rows, to read them all takes no longer than to open an index.
_WORTH_AN_INDEX = 50


class _Record(Record):
    """Names stay in the database until somebody asks: few are asked for."""

    def __init__(self, database, seen, rows):
        super().__init__(seen, [], rows)
        self._database = database

    def name(self, dist):
        return self._one("SELECT name FROM dist WHERE number = ?", dist)[0]

    def has(self, name):
        return self._one("SELECT 1 FROM dist WHERE name = ?", name) is not None

    def _one(self, query, value):
        return self._database.execute(query, (value,)).fetchone()


def load(path, group, seen):
    """What a file holds about one group, or about all; None unless it is one of these `seen`."""
    if not os.path.exists(path):
        return None  # to connect would create it
    try:
        database = sqlite3.connect(path)
        # One transaction, so that all is of one state.
        database.execute("BEGIN")
        found = database.execute("SELECT path, mtime FROM seen ORDER BY at").fetchall()
        if [list(row) for row in found] != seen:
            database.close()  # or nobody could write
            return None
        query = "SELECT at, dist, grp, name, value FROM point"
        if group is None:
            rows = database.execute(f"{query} ORDER BY at").fetchall()
        else:
            rows = database.execute(f"{query} WHERE grp = ? ORDER BY at", (group,)).fetchall()
        return _Record(database, seen, rows)
    except sqlite3.Error:
        return None


def save(path, record):
    """Writes a file, in place. A damaged one is removed and made again."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            _save(path, record)
        except sqlite3.OperationalError:
            raise  # locked, or it can't be written
        except sqlite3.DatabaseError:
            remove(path)
            _save(path, record)
    except (OSError, sqlite3.OperationalError):
        pass


def _save(path, record):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    # Before anything is looked at: who begins by reading can't wait for another writer.
    database.execute("BEGIN IMMEDIATE")
    indexes = _INDEXES if len(record.rows) >= _WORTH_AN_INDEX else ""
    for statement in f"{_SCHEMA}{indexes}".split(";"):
        database.execute(statement)
    for table in ("seen", "dist", "point"):
        database.execute(f"DELETE FROM {table}")
    seen = [(at, *one) for at, one in enumerate(record.seen)]
    database.executemany("INSERT INTO seen VALUES (?, ?, ?)", seen)
    database.executemany("INSERT INTO dist VALUES (?, ?)", enumerate(record.names))
    database.executemany("INSERT INTO point VALUES (?, ?, ?, ?, ?)", record.rows)
    database.execute("COMMIT")
    database.close()
