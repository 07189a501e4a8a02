"""What a path entry's listing says of its dists, as CPython understands it, without importing it:
for the strategies of `cached.py` that have one file for each."""

import os

from _record import Record

SUFFIXES = (".dist-info", ".egg-info")


def of_listing(path_entry, one):
    """The record of a path entry from its listing and what `one` knows of each dist."""
    try:
        listed = metadata_dirs(path_entry)
    except NotADirectoryError:
        import _sources

        return _sources.of_path_entry(path_entry)
    names = {}
    rows = []
    for metadata_dir in listed:
        name = name_in(metadata_dir)
        if name in names:
            continue  # shadowed, so nobody reads it
        name, points = one(metadata_dir, name)
        if name not in names:
            number = names[name] = len(names)
            rows += [(len(rows) + at, number, *point) for at, point in enumerate(points)]
    return Record([], list(names), rows)


def metadata_dirs(path_entry: str) -> "list[str]":
    """The dists of a directory in the order of `importlib.metadata.Lookup`: as listed, but those of
    one name together, then `EGG-INFO`. Raises `NotADirectoryError` for a zip."""
    try:
        children = os.listdir(path_entry or ".")
    except NotADirectoryError:
        raise
    except OSError:
        return []
    by_name: dict[str, list[str]] = {}
    eggs = []
    for child in children:
        low = child.lower()
        if low.endswith(SUFFIXES):
            stem = low.rpartition(".")[0].partition("-")[0]
            by_name.setdefault(normalize(stem), []).append(child)
        elif low == "egg-info" and path_entry.lower().endswith(".egg"):
            eggs.append(child)
    return [child for same in by_name.values() for child in same] + eggs


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


def parse(text: str) -> "list[tuple[str, str, str]]":
    """The entry points of an `entry_points.txt`, by CPython's grammar."""
    found = []
    group = None
    for line in map(str.strip, text.splitlines()):
        if line[:1] == "[" and line[-1] == "]":
            group = line.strip("[]")
        elif line and line[0] != "#" and group is not None:
            name, _, value = line.partition("=")
            found.append((group, name.strip(), value.strip()))
    return found
