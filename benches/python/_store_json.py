"""The files of `json-*`: an object with the entry points by group.

Each is a list: its place in the order of all, the number of its dist, name, value.
"""

import json

from _record import Record, write_atomically

SUFFIX = ".json"


def load(path, group, seen):
    """What a file holds about one group, or about all; None unless it is one of these `seen`."""
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read())
        if data["seen"] != seen:
            return None
        groups = data["groups"]
        if group is not None:
            groups = {group: groups.get(group, [])}
        rows = [
            (at, dist, in_group, name, value)
            for in_group, members in groups.items()
            for at, dist, name, value in members
        ]
        rows.sort()
        return Record(seen, data["names"], rows)
    except (OSError, ValueError, KeyError):
        return None


def save(path, record):
    """Writes a file."""
    groups = {}
    for at, dist, group, name, value in record.rows:
        groups.setdefault(group, []).append((at, dist, name, value))
    data = {"seen": record.seen, "names": record.names, "groups": groups}
    text = json.dumps(data, separators=(",", ":"))
    write_atomically(path, text.encode())
