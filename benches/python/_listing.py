"""What a path entry's listing says of its dists, and what is read of them, as CPython understands
it, without importing it: for `cached`."""

import os

from _record import Record, read, stamps

SUFFIXES = (".dist-info", ".egg-info")


def read_sys_path(path):
    """One record of all of a `sys.path`, without what is shadowed: nobody will ask for names."""
    seen = stamps(path)
    earlier = set()
    rows = []
    for path_entry in path:
        record = read_path_entry(path_entry)
        rows += [("", *row[1:]) for row in record.rows if row[0] not in earlier]
        earlier.update(record.names)
    return Record(seen, [""], rows)


def read_path_entry(path_entry):
    """The record of one path entry. What a dist of it shadows in it is left out."""
    seen = stamps([path_entry])
    sources = os.path.join(path_entry, "")
    record = of_listing(path_entry, None, lambda child, name: read_dist(sources + child, name))
    return Record(seen, record.names, record.rows)


def of_listing(path_entry, group, one):
    """The record of a path entry from its listing and what `one` knows of each dist's part
    of a group."""
    try:
        listed = metadata_dirs(path_entry)
    except NotADirectoryError:
        import _sources

        return _sources.of_path_entry(path_entry).of_group(group)
    names = {}
    rows = []
    for metadata_dir, name in listed:
        if name in names:
            continue  # shadowed, so nobody reads it
        name, points = one(metadata_dir, name)
        if name not in names:
            names[name] = None
            rows += [(name, *point) for point in points]
    return Record([], list(names), rows)


def metadata_dirs(path_entry: str) -> "list[tuple[str, str | None]]":
    """The dists of a directory, and their names where CPython takes these from there.

    They are in the order of `importlib.metadata.Lookup`: as listed, but those of one name together,
    then `EGG-INFO`. Raises `NotADirectoryError` for a zip."""
    try:
        children = os.listdir(path_entry or ".")
    except NotADirectoryError:
        raise
    except OSError:
        return []
    by_name: dict[str, list[tuple[str, str | None]]] = {}
    eggs: list[tuple[str, str | None]] = []
    for child in children:
        low = child.lower()
        if low.endswith(SUFFIXES):
            name = normalize(low.rpartition(".")[0].partition("-")[0])
            # Of most the name that sorts them is their name.
            is_plain = low == child and child[0] != "."
            found = (child, (name or None) if is_plain else name_in(child))
            by_name.setdefault(name, []).append(found)
        elif low == "egg-info" and path_entry.lower().endswith(".egg"):
            eggs.append((child, None))
    return [found for same in by_name.values() for found in same] + eggs


def name_in(metadata_dir: str) -> "str | None":
    """The normalized name, where CPython does not take it from the metadata."""
    stem, suffix = os.path.splitext(metadata_dir)
    if suffix not in SUFFIXES:
        return None
    return normalize(stem.partition("-")[0]) or None


def normalize(name: str) -> str:
    """PEP 503, with `_` for `-`."""
    name = name.replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name.lower().replace("-", "_")


def read_dist(metadata_dir, name):
    """The normalized name of a dist and its entry points: of its metadata directory, a path."""
    try:
        text = read(f"{metadata_dir}/entry_points.txt")
    except OSError:
        text = b""  # it declares nothing
    if name is None:
        import _sources

        name = _sources.name_of(metadata_dir)
    return name, parse(text)


def parse(text: bytes, asked: "str | None" = None) -> "list[tuple[str, str, str]]":
    """The entry points of an `entry_points.txt`, by CPython's grammar: of one group, or all."""
    if asked is not None and asked.encode() not in text:
        return []
    found = []
    group = None
    for line in map(str.strip, text.decode().splitlines()):
        if line[:1] == "[" and line[-1] == "]":
            group = line.strip("[]")
        elif line and line[0] != "#" and group is not None and asked in (None, group):
            name, _, value = line.partition("=")
            found.append((group, name.strip(), value.strip()))
    return found
