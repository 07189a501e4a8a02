"""The files of `json-*`: an object with the entry points by group.

Each is a list: its place in the order of all, the number of its dist, name, value.
"""

import json

from _record import Record, read, write_atomically

SUFFIX = ".json"


def load(path, group, seen):
    """What a file holds about one group, or about all; None unless it is one of these `seen`."""
    try:
        data = json.loads(read(path))
        if data["seen"] != seen:
            return None
        names = data["names"]
        groups = data["groups"]
        if group is None:
            rows = _all_rows(groups, names)
        else:
            members = groups.get(group, ())
            rows = [(names[dist], group, name, value) for _, dist, name, value in members]
        return Record(seen, names, rows)
    except (OSError, ValueError, LookupError):
        return None


def _all_rows(groups, names):
    rows = [
        (at, (names[dist], group, name, value))
        for group, members in groups.items()
        for at, dist, name, value in members
    ]
    rows.sort()
    return [row for _, row in rows]


def save(path, record):
    """Writes a file."""
    numbers = {name: number for number, name in enumerate(record.names)}
    groups = {}
    for at, (dist, group, name, value) in enumerate(record.rows):
        groups.setdefault(group, []).append((at, numbers[dist], name, value))
    data = {"seen": record.seen, "names": record.names, "groups": groups}
    text = json.dumps(data, separators=(",", ":"))
    write_atomically(path, text.encode())
