"""The sources: listing a path entry and reading its dists as CPython does, without importing it.

Used for what no fresh index answers. Each rule here is one of CPython's `importlib/metadata/
__init__.py` (`Lookup`, `Prepared`, `PathDistribution`, `Sectioned`), versions 3.12 to 3.14; where
CPython raises, the least that is broken is left out and told as a problem.
"""

import os
import time

from ._cache import DIRECTORY, OPEN_FLAGS, REGULAR, SUFFIXES, TYPE, stamp_of, stamp_of_linked

# The largest text that is read, in bytes, as for the command.
MAX_SOURCE = 8 << 20

# So many bad lines of a text are named; the rest is counted.
MAX_TOLD = 10

# What is said of what CPython raises on.
FAILS = "left out, where importlib.metadata fails: reinstall or report the package"

# How old, in nanoseconds, the times of a stamp must be when a scan begins: a change within the same
# tick of the clock would not show. More for a time in whole seconds, which may be all there is.
_TICK, _COARSE_TICK, _SECOND = 100_000_000, 2_000_000_000, 1_000_000_000


class Read:
    """A dist, read from its source or from what stands for it."""

    __slots__ = ("checks", "entries", "name", "problems")

    def __init__(self, name: "str | None", text: "str | None", path: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self.entries = parse(text, path, self.problems) if text else []
        # By what it is known again, as in an index; None if by nothing.
        self.checks: list[str] | None = None


def in_order(names: "list[str]") -> "list[str]":
    """The metadata directories among a listing's names in CPython's order: as listed, but those of
    one lookup name together, where the first of them stood; then `EGG-INFO`."""
    infos: dict[str, list[str]] = {}
    eggs = []
    for name in names:
        low = name.lower()
        if low.endswith(SUFFIXES):
            lookup = normalize(low.rpartition(".")[0].partition("-")[0])
            infos.setdefault(lookup, []).append(name)
        else:
            eggs.append(name)
    return [name for same in infos.values() for name in same] + eggs


def normalize(name: str) -> str:
    """PEP 503, with `_` for `-` (`Prepared.normalize`)."""
    name = name.replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name.lower().replace("-", "_")


def name_in(metadata_dir: str) -> "str | None":
    """The normalized name, where a metadata directory's own name gives it."""
    stem, suffix = os.path.splitext(metadata_dir)
    if suffix not in SUFFIXES:
        return None
    return normalize(stem.partition("-")[0]) or None


def read(path_entry: str, metadata_dir: str) -> Read:
    """Reads one dist of a directory."""
    path = os.path.join(path_entry, metadata_dir)
    file = os.path.join(path, "entry_points.txt")
    began = time.time_ns()
    problems: list[str] = []
    name = name_in(metadata_dir)
    text, check = _text(file, problems)
    if name is None:
        name, check = _name_in_metadata(path_entry, metadata_dir, problems), None
    elif text is None and not problems and not os.path.lexists(file):
        check = _check_of_directory(path)  # which changes when there is one
    found = Read(name, text, file)
    found.problems[:0] = problems
    if check is not None and not found.problems and _is_settled(check, began):
        found.checks = [check]
    return found


def _text(path: str, problems: "list[str]") -> "tuple[str | None, str | None]":
    """What a file holds, and the check by which it is known again; None where CPython goes on as if
    it had not been there."""
    try:
        # Before it is opened: opening a device can have effects.
        if not _is_regular(os.stat(path), path, problems):
            return None, None
        file = os.open(path, OPEN_FLAGS)
        try:
            stat = os.fstat(file)
            if not _is_regular(stat, path, problems):
                return None, None
            data = _all_of(file)
            stamp = stamp_of(stat)
            same = stamp == stamp_of(os.fstat(file))
        finally:
            os.close(file)
        text = data.decode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return None, None
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}; {FAILS}")
        return None, None
    if stat.st_nlink != 1:
        stamp = stamp_of_linked(stat)
    return text, f"E{stamp}" if same else None


def _all_of(file: int) -> bytes:
    """All of a file that is known not to be too large by more than it may grow meanwhile."""
    data = b""
    while len(data) <= MAX_SOURCE:
        more = os.read(file, MAX_SOURCE + 1 - len(data))
        data += more
        if not more:
            return data
    raise OSError(f"larger than {MAX_SOURCE} bytes")


def _is_regular(stat: os.stat_result, path: str, problems: "list[str]") -> bool:
    """Whether it is a regular file of bounded size. CPython passes over directories in silence."""
    if stat.st_mode & TYPE == REGULAR:
        if stat.st_size <= MAX_SOURCE:
            return True
        problems.append(f"{path}: {stat.st_size} bytes, more than {MAX_SOURCE}; not read")
    elif stat.st_mode & TYPE != DIRECTORY:
        problems.append(f"{path}: not a regular file; not read")
    return False


def _check_of_directory(path: str) -> "str | None":
    try:
        return f"D{stamp_of(os.stat(path))}"
    except OSError:
        return None


def _is_settled(check: str, began: int) -> bool:
    """Whether any later change of what has this check must show in it."""
    for field in check[1:].split(":")[2:]:
        if field[:1] != "p":
            age = _COARSE_TICK if int(field) % _SECOND == 0 else _TICK
            if int(field) + age > began:
                return False
    return True


def _name_in_metadata(path_entry: str, metadata_dir: str, problems: "list[str]") -> "str | None":
    """The normalized name from METADATA, PKG-INFO, or the dist itself if it is a file."""
    path = os.path.join(path_entry, metadata_dir)
    told = len(problems)
    for file in (os.path.join(path, "METADATA"), os.path.join(path, "PKG-INFO"), path):
        text, _ = _text(file, problems)
        if len(problems) > told:
            return None  # CPython fails here, and looks no further
        if text:
            name = _name_header(text, problems)
            if name is not None:
                return normalize(name)
            break
    problems.append(f"{path}: its name is nowhere to be found; {FAILS}")
    return None


def _name_header(text: str, problems: "list[str]") -> "str | None":
    """The first `Name` in METADATA, as CPython reads it."""
    try:
        from email import message_from_string
        from importlib.metadata import _adapters  # type: ignore[attr-defined]
    except ImportError as error:  # sys.path may be without the standard library by now
        problems.append(f"METADATA can't be read: {error}")
        return None
    # It opens files with universal newlines, and takes folded lines apart in its own way.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    name = _adapters.Message(message_from_string(text)).get("Name")
    return None if name is None else str(name)


def parse(text: str, path: str, problems: "list[str]") -> "list[tuple[str, str, str]]":
    """The entries of an `entry_points.txt`: group, name, value, in the order of the file.

    Specification: https://packaging.python.org/en/latest/specifications/entry-points/
    """
    entries = []
    group = None
    bad = 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] == "#":
            continue
        if line[0] == "[" and line[-1] == "]":
            group = line.strip("[]")
        elif group is not None:
            name, separator, value = line.partition("=")
            if separator:
                entries.append((group, name.strip(), value.strip()))
                continue
            bad += 1
            if bad <= MAX_TOLD:
                problems.append(f"{path}:{number}: no '=' in this line; {FAILS}")
    if bad > MAX_TOLD:
        problems.append(f"{path}: {bad - MAX_TOLD} more lines without '='; {FAILS}")
    return entries
