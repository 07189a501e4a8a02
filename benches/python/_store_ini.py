"""The files of `ini-*`, read by configparser.

A section for each group, as in an `entry_points.txt`. But configparser has one value for each key
of a section, and dists may declare the same name; takes `:` for a `=`, `[DEFAULT]` for a section of
its own and what is indented for the rest of the line before; and knows no section without a name.
So a key is the place in the order of all, and the value the number of the dist, name and value:

    [group:console_scripts]
    0 = 3 pip = pip._internal.cli.main:main
"""

from configparser import Error, RawConfigParser

from _record import Record, read, write_atomically

SUFFIX = ".ini"
_GROUP = "group:"


class _Record(Record):
    """Names stay escaped until somebody asks: few are asked for."""

    def name(self):
        return _unescaped(self.names[0])

    def known(self, names):
        escaped = {_escaped(name): name for name in names}
        return [escaped[name] for name in escaped.keys() & self.names]


def load(path, group, seen):
    """What a file holds about one group, or about all; None unless it is one of these `seen`."""
    parser = RawConfigParser(comment_prefixes=(), strict=False, empty_lines_in_values=False)
    parser.optionxform = str
    try:
        parser.read_string(read(path).decode())
        if [line for _, line in parser.items("seen", raw=True)] != _lines_of(seen):
            return None
        names = [name for _, name in parser.items("names", raw=True)]
        if group is None:
            rows = _all_rows(parser, names)
        elif parser.has_section(_GROUP + group):
            members = parser.items(_GROUP + group, raw=True)
            rows = [_row(line, names, group) for _, line in members]
        else:
            rows = []
        return _Record(seen, names, rows)
    except (OSError, ValueError, LookupError, Error):
        return None


def _all_rows(parser, names):
    rows = []
    for section in parser.sections():
        if section.startswith(_GROUP):
            group = section[len(_GROUP) :]
            for at, line in parser.items(section, raw=True):
                rows.append((int(at), _row(line, names, group)))
    rows.sort()
    return [row for _, row in rows]


def _row(line, names, group):
    dist, rest = line.split(" ", 1)
    name, value = rest.split("=", 1)
    return _unescaped(names[int(dist)]), group, name.rstrip(), value.lstrip()


def save(path, record):
    """Writes a file. The parser's own writer would do the same with more objects."""
    lines = ["[seen]"]
    lines += [f"{number} = {line}" for number, line in enumerate(_lines_of(record.seen))]
    lines.append("[names]")
    lines += [f"{number} = {_escaped(name)}" for number, name in enumerate(record.names)]
    numbers = {name: number for number, name in enumerate(record.names)}
    groups = {}
    for at, (dist, group, name, value) in enumerate(record.rows):
        groups.setdefault(group, []).append(f"{at} = {numbers[dist]} {name} = {value}")
    for group, members in groups.items():
        lines += [f"[{_GROUP}{group}]", *members]
    write_atomically(path, "\n".join([*lines, ""]).encode())


def _lines_of(seen):
    return [f"{time} {path}" for path, time in seen]


def _escaped(name):
    is_plain = name.isascii() and name.isprintable() and "\\" not in name
    return name if is_plain else name.encode("unicode_escape").decode("ascii")


def _unescaped(name):
    return name.encode("ascii").decode("unicode_escape") if "\\" in name else name
