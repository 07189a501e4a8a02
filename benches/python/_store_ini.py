"""The files of `ini-*`, read by configparser.

A section for each group, as in an `entry_points.txt`. But configparser has one value for each key
of a section, and dists may declare the same name; takes `:` for a `=`, `[DEFAULT]` for a section of
its own and what is indented for the rest of the line before; and knows no section without a name.
So a key is the place in the order of all, and the value the number of the dist, name and value:

    [group:console_scripts]
    0 = 3 pip = pip._internal.cli.main:main
"""

from configparser import Error, RawConfigParser

from _record import Record, write_atomically

SUFFIX = ".ini"
_GROUP = "group:"


def load(path, group, seen):
    """What a file holds about one group, or about all; None unless it is one of these `seen`."""
    parser = RawConfigParser(
        delimiters=("=",),
        comment_prefixes=(),
        strict=False,
        empty_lines_in_values=False,
    )
    parser.optionxform = str
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            parser.read_file(file)
        if [line for _, line in parser.items("seen")] != _lines_of(seen):
            return None
        names = [name.encode("ascii").decode("unicode_escape") for _, name in parser.items("names")]
        if group is None:
            sections = [name for name in parser.sections() if name.startswith(_GROUP)]
        else:
            sections = [_GROUP + group] if parser.has_section(_GROUP + group) else []
        rows = []
        for section in sections:
            for at, line in parser.items(section):
                dist, rest = line.split(" ", 1)
                name, value = rest.split("=", 1)
                in_group = section[len(_GROUP) :]
                rows.append((int(at), int(dist), in_group, name.rstrip(), value.lstrip()))
        rows.sort()
        return Record(seen, names, rows)
    except (OSError, ValueError, Error):
        return None


def save(path, record):
    """Writes a file. The parser's own writer would do the same with more objects."""
    lines = ["[seen]"]
    lines += [f"{number} = {line}" for number, line in enumerate(_lines_of(record.seen))]
    lines.append("[names]")
    for number, name in enumerate(record.names):
        lines.append(f"{number} = {name.encode('unicode_escape').decode('ascii')}")
    groups = {}
    for at, dist, group, name, value in record.rows:
        groups.setdefault(group, []).append(f"{at} = {dist} {name} = {value}")
    for group, members in groups.items():
        lines += [f"[{_GROUP}{group}]", *members]
    write_atomically(path, "\n".join([*lines, ""]).encode())


def _lines_of(seen):
    return [f"{time} {path}" for path, time in seen]
