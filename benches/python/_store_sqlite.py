"""The files of `sqlite-*`: a database, with an index on the group.

Databases are not renamed into place: readers and writers have SQLite's locks, and a rebuild is one
transaction. The journal is the usual one and not WAL, which needs shared memory (so no network file
system), two more files for each reader to open, and pays where writing is frequent. What is written
is not waited for (`synchronous`): a cache that a power cut damages is made again, as those of the
other formats.
"""

import sqlite3

from _record import Record, make_directory_of, remove

SUFFIX = ".sqlite"

# Each entry point has the name of its dist, so that nobody has to look it up.
_BEGIN = """
PRAGMA synchronous = OFF;
-- Before anything is looked at: who begins by reading can't wait for another writer.
BEGIN IMMEDIATE;
DROP TABLE IF EXISTS seen;
DROP TABLE IF EXISTS dist;
DROP TABLE IF EXISTS point;
CREATE TABLE seen (at INTEGER PRIMARY KEY, path TEXT, mtime INTEGER, dists INTEGER);
CREATE TABLE dist (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE point (at INTEGER PRIMARY KEY, dist TEXT, grp TEXT, name TEXT, value TEXT);
"""
_INDEX = "CREATE INDEX point_grp ON point (grp)"

# With fewer rows, to read them all takes no longer than to open an index.
_WORTH_AN_INDEX = 50

# As many as a query of an older SQLite takes.
_MAX_PARAMETERS = 999


class _Record(Record):
    """Names stay in the database until somebody asks: few are asked for."""

    def __init__(self, database, seen, rows):
        super().__init__(seen, [], rows)
        self._database = database
        self.has_dists = True

    def name(self):
        return self._database.execute("SELECT name FROM dist").fetchone()[0]

    def close(self):
        self._database.close()

    def known(self, names):
        left = list(names)
        found = []
        while left:
            some = left[:_MAX_PARAMETERS]
            del left[:_MAX_PARAMETERS]
            marks = ",".join("?" * len(some))
            rows = self._database.execute(f"SELECT name FROM dist WHERE name IN ({marks})", some)
            found += [name for (name,) in rows]
        return found


def load(path, group, seen):
    """What a file holds about one group, or about all; None unless it is one of these `seen`."""
    try:
        # Not to be created; to be written, because what a killed writer left is rolled back.
        database = sqlite3.connect(f"{_uri(path)}?mode=rw", uri=True)
        # One transaction, so that all is of one state.
        database.execute("BEGIN")
        query = "SELECT path, mtime, dists FROM seen ORDER BY at"
        found = database.execute(query).fetchall()
        if [list(row[:2]) for row in found] != seen:
            database.close()  # or nobody could write
            return None
        if not found[0][2]:
            database.close()
            return Record(seen, [], [])
        query = "SELECT dist, grp, name, value FROM point"
        if group is None:
            rows = database.execute(f"{query} ORDER BY at").fetchall()
        else:
            rows = database.execute(f"{query} WHERE grp = ? ORDER BY at", (group,)).fetchall()
        return _Record(database, seen, rows)
    except sqlite3.Error:
        return None


def _uri(path):
    """To import what quotes them takes longer than to read most caches."""
    return "file://" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def save(path, record):
    """Writes a file, in place. A damaged one is removed and made again."""
    try:
        make_directory_of(path)
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
    database.executescript(_BEGIN)
    seen = [(at, *one, len(record.names)) for at, one in enumerate(record.seen)]
    database.executemany("INSERT INTO seen VALUES (?, ?, ?, ?)", seen)
    names = sorted(record.names)
    database.executemany("INSERT INTO dist VALUES (?)", [(name,) for name in names])
    rows = [(at, *row) for at, row in enumerate(record.rows)]
    database.executemany("INSERT INTO point VALUES (?, ?, ?, ?, ?)", rows)
    if len(rows) >= _WORTH_AN_INDEX:
        database.execute(_INDEX)
    database.execute("COMMIT")
    database.close()
