"""Views that are rare: of stale indexes, of sources, of what is vouched for, of mirror files alone.

Each is built from an order of dists and, for each, either its number in an index or what was read
for it. `docs/format.md`, "Which one answers", says which is built when.
"""

import os

from . import _source
from ._cache import (
    NOTHING,
    REGULAR,
    SUFFIXES,
    TYPE,
    VENDOR_ROOT,
    Index,
    View,
    holds,
    is_cacheable,
    is_usable,
    load,
    read_trusted,
    remember,
)
from ._source import MAX_SOURCE, Read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._cache import Cache, Call, Entry
    from ._entry_point import EntryPoint

    # Of a dist, its number in the index, or what was read for it.
    Backing = int | Read


class MixedView(View):
    """A view some of whose dists are in an index, while the others were read."""

    __slots__ = ("_first", "_metadata_dirs", "_names", "_places", "_read")

    def __init__(
        self,
        path_entry: str,
        index: "Index | None",
        dists: "Iterable[tuple[str, Backing]]",
    ) -> None:
        """`dists` has the metadata directory of each dist, and what it is backed by, in order."""
        super().__init__(path_entry, index)
        self._metadata_dirs: list[str] = []
        self._names: list[str | None] = []
        # Where in this view the dists of the index are, and what was read for the others.
        self._places: dict[int, int] = {}
        self._read: dict[int, Read] = {}
        self._first: dict[str | None, int] = {}
        for dist, (metadata_dir, backing) in enumerate(dists):
            if isinstance(backing, Read):
                self._read[dist] = backing
                name = backing.name
            else:
                self._places[backing] = dist
                name = index.name(backing) if index else None
            self._metadata_dirs.append(metadata_dir)
            self._names.append(name)
            self._first.setdefault(name, dist)

    def points(self, group: "str | None", earlier: "Sequence[View]") -> "list[EntryPoint] | None":
        points = super().points(group, earlier)
        for dist, read in self._read.items():
            if read.problems and not self.is_shadowed(dist, earlier):
                warn_of(read.problems)
        return points

    def count(self) -> int:
        return len(self._metadata_dirs)

    def entries(self, group: "str | None") -> "list[Entry] | None":
        indexed = self.index.entries(group) if self.index else []
        if indexed is None:
            return None
        places = self._places
        entries = [
            (places[number], sequence, in_group, name, value)
            for number, sequence, in_group, name, value in indexed
            if number in places
        ]
        for dist, read in self._read.items():
            for sequence, (in_group, name, value) in enumerate(read.entries):
                if group is None or group == in_group:
                    entries.append((dist, sequence, in_group, name, value))
        entries.sort()
        return entries

    def name(self, dist: int) -> "str | None":
        return self._names[dist]

    def metadata_dir(self, dist: int) -> str:
        return self._metadata_dirs[dist]

    def has(self, name: str) -> bool:
        return name in self._first

    def is_first(self, dist: int, name: str) -> bool:
        return self._first[name] == dist

    def is_believed(self, dist: int) -> bool:
        return dist not in self._read or not self._read[dist].problems


_told: set[str] = set()

# So many problems are remembered, so that each is told once.
_MAX_TOLD = 10_000


def warn_of(problems: "Iterable[str]") -> None:
    """Says what is wrong, once in a process."""
    for problem in problems:
        if problem not in _told:
            from ._warn import BrokenMetadataWarning, warn

            if len(_told) >= _MAX_TOLD:
                _told.clear()
            _told.add(problem)
            warn(problem, BrokenMetadataWarning)


def archive(path_entry: str) -> View:
    """The view of a file: a zip, perhaps."""
    try:
        from . import _finders
    except ImportError as error:  # sys.path may be without the standard library by now
        warn_of([f"{path_entry}: not read, as importlib.metadata can't be imported: {error}"])
        return NOTHING
    return _finders.view_of(path_entry)


def source(cache: "Cache", path_entry: str, names: "list[str]") -> View:
    """The view of a directory, from the metadata directories among its listing's names."""
    read = _reader(cache, path_entry)
    return MixedView(path_entry, None, [(name, read(name)) for name in _source.in_order(names)])


def completed(cache: "Cache", path_entry: str, index: Index) -> View:
    """The view of a fresh index, with what is to be read from the sources each time."""
    if not index.has_unindexed():
        return View(path_entry, index)
    if os.path.isfile(path_entry):
        return archive(path_entry)
    return repaired(cache, path_entry, index, [])


def repaired(
    cache: "Cache", path_entry: str, index: Index, changed: "Sequence[int] | None"
) -> View:
    """The view of an index of which only some is true: all but the dists that are `changed`, or, if
    that is None because the path entry itself is changed, the dists of a new listing whose checks
    hold."""
    lines = [line.split("\t") for line in index.lines]
    if changed is None:
        listed = cache._listed_names(path_entry)
        if isinstance(listed, View):
            return listed
        order = _source.in_order(listed)
        changed = index.changed(path_entry)
    else:
        order = [_metadata_dir(line) for line in lines]
    read = _reader(cache, path_entry)
    known = {line[2]: number for number, line in enumerate(lines) if line[0] == "dist"}
    other = frozenset(changed)

    def backing(metadata_dir: str) -> "Backing":
        number = known.get(metadata_dir)
        return read(metadata_dir) if number is None or number in other else number

    return MixedView(path_entry, index, [(name, backing(name)) for name in order])


def _metadata_dir(line: "list[str]") -> str:
    """The metadata directory that a line of an index, taken apart, is about."""
    return line[2] if line[0] == "dist" else os.fsdecode(bytes.fromhex(line[1]))


def _reader(cache: "Cache", path_entry: str) -> "Callable[[str], Read]":
    """What reads a dist, or takes what was read in an earlier call if it is still as it was."""
    if cache.mode == "off" or not is_cacheable(path_entry):
        return lambda metadata_dir: _source.read(path_entry, metadata_dir)
    known = cache._sources.get(path_entry, {})
    now: dict[str, Read] = {}
    remember(cache._sources, path_entry, now)

    def read(metadata_dir: str) -> Read:
        found = known.get(metadata_dir)
        path = os.path.join(path_entry, metadata_dir)
        if found is None or found.checks is None or not holds(path, found.checks):
            found = _source.read(path_entry, metadata_dir)
        now[metadata_dir] = found
        return found

    return read


def vouched(cache: "Cache", root: str, path_entry: str, stat: os.stat_result) -> "View | None":
    """The view of a sealed index in the vendor root, or of the mirror files that this root vouches
    for; None if there are none that count."""
    mirror = root + path_entry
    if not is_usable(mirror):
        return None
    index = load(root, path_entry)
    if index is not None and index.sealed == stat.st_mtime_ns // 1_000_000_000:
        return completed(cache, path_entry, index)
    if os.path.lexists(mirror + "/.index"):
        return None  # a broken seal: what is beside it is of the image as it was built
    if stat.st_uid != 0 or stat.st_mode & 0o022 or not os.path.isdir(path_entry):
        return None
    if cache.mode == "exact" and path_entry.split("/") >= VENDOR_ROOT.split("/"):
        # A package's files are put in place in this order, and no change time tells of a mirror
        # file that is ahead of its source.
        return None
    listed = cache._listed_names(path_entry)
    if isinstance(listed, View):
        return listed
    read = _reader(cache, path_entry)
    source_of = path_entry if cache.mode == "exact" else None
    dists = [
        (name, _mirrored(mirror, name, source_of) or read(name))
        for name in _source.in_order(listed)
    ]
    return MixedView(path_entry, None, dists)


def unchecked(path_entry: str, call: "Call") -> View:
    """The view of mode `only`: an index, whatever its age, else mirror files; the path entry itself
    is not touched."""
    for root, _ in call.roots:
        index = load(root, path_entry)
        if index is not None:
            return _unchecked_index(index, root + path_entry, path_entry)
    return mirror_files(path_entry, call)


def mirror_files(path_entry: str, call: "Call") -> View:
    """The view of the mirror files of the first root that has some."""
    for root, _ in call.roots:
        mirror = root + path_entry
        names = _mirror_files(mirror) if is_usable(mirror) else []
        if names:
            # In the order of bytes: that of the path entry is not known.
            names.sort(key=os.fsencode)
            dists = [(name, _mirrored_or_lost(mirror, name)) for name in _source.in_order(names)]
            return MixedView(path_entry, None, dists)
    return NOTHING


def _unchecked_index(index: Index, mirror: str, path_entry: str) -> View:
    if not index.has_unindexed():
        return View(path_entry, index)
    dists: list[tuple[str, Backing]] = []
    for number, text in enumerate(index.lines):
        line = text.split("\t")
        name = _metadata_dir(line)
        dists.append((name, number if line[0] == "dist" else _mirrored_or_lost(mirror, name)))
    return MixedView(path_entry, index, dists)


def _mirror_files(mirror: str) -> "list[str]":
    """The metadata directories that have a file in a mirror."""
    found = []
    try:
        with os.scandir(mirror) as files:
            for file in files:
                name = file.name[:-4]
                low = name.lower()
                is_dist = low.endswith(SUFFIXES) or low == "egg-info"
                if (
                    file.name.endswith(".txt")
                    and is_dist
                    and not file.is_dir(follow_symlinks=False)
                ):
                    found.append(name)
    except OSError:
        pass
    return found


def _mirrored(mirror: str, metadata_dir: str, path_entry: "str | None") -> "Read | None":
    """A dist as its mirror file has it, if there is one that counts and its name can be told; and,
    if a path entry is given, if the file can be the copy of what the directory there has."""
    name = _source.name_in(metadata_dir)
    return None if name is None else _from_mirror(mirror, metadata_dir, name, path_entry)


def _mirrored_or_lost(mirror: str, metadata_dir: str) -> Read:
    """The same for mode `only`, which has nothing else to look at."""
    name = _source.name_in(metadata_dir)
    read = _from_mirror(mirror, metadata_dir, name, None)
    if read is None:
        path = os.path.join(mirror, metadata_dir)
        read = Read(name, None, path)
        read.problems.append(f"{path}.txt: no such mirror file, and mode 'only' reads no source")
    return read


def _from_mirror(
    mirror: str, metadata_dir: str, name: "str | None", path_entry: "str | None"
) -> "Read | None":
    path = f"{mirror}/{metadata_dir}.txt"
    found = read_trusted(path, MAX_SOURCE)
    if found is None:
        return None
    data, copy = found
    if path_entry is not None and not _can_be_the_source(path_entry, metadata_dir, copy):
        return None
    try:
        return Read(name, data.decode(), path)
    except UnicodeDecodeError as error:
        read = Read(name, None, path)
        read.problems.append(f"{path}: {error}")
        return read


def _can_be_the_source(path_entry: str, metadata_dir: str, copy: os.stat_result) -> bool:
    """Whether a mirror file can be the copy of what the metadata directory has now. Whoever changed
    that since left a change time that is later than the copy's, which tells nothing if the copy has
    several links (unless the source is one), or is on another file system. A symbolic link never
    passes."""
    try:
        source = os.lstat(os.path.join(path_entry, metadata_dir, "entry_points.txt"))
    except (FileNotFoundError, NotADirectoryError):
        return copy.st_size == 0
    except (OSError, ValueError):
        return False
    return (
        source.st_mode & TYPE == REGULAR
        and source.st_size == copy.st_size
        # Packages keep whole seconds.
        and source.st_mtime_ns // 1_000_000_000 == copy.st_mtime_ns // 1_000_000_000
        and (
            (source.st_dev, source.st_ino) == (copy.st_dev, copy.st_ino)
            or (
                copy.st_nlink == 1
                and source.st_dev == copy.st_dev
                and source.st_ctime_ns <= copy.st_ctime_ns
            )
        )
        and source.st_mode & 0o444 == 0o444
    )


def dists(
    cache: "Cache", path_entry: str
) -> "list[tuple[str, tuple[tuple[str, str, str], ...] | None]] | None":
    """What `Cache.dists` gives."""
    call = cache._call()
    view = cache._view(path_entry, call)
    entries = view.entries(None)
    if entries is None:
        view = cache._distrusted(view, call)
        entries = view.entries(None) or []
    cache._refresh(call)
    if not view.is_of_files:
        return None
    declared: list[list[tuple[str, str, str]]] = [[] for _ in range(view.count())]
    for dist, _, group, name, value in entries:
        declared[dist].append((group, name, value))
    return [
        (view.metadata_dir(dist), tuple(of_dist) if view.is_believed(dist) else None)
        for dist, of_dist in enumerate(declared)
    ]
