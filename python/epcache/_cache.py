"""The fast path of the reader: settings, roots, trust, and answering from fresh indexes.

Everything that a process with a fresh cache needs is here, so that it imports one module and not
six. What is rare (stale or missing indexes, other finders) is in modules of its own, imported when
it is met. `docs/format.md` specifies what is read here and when it may be believed.

Nothing is imported beyond what a bare interpreter has loaded.
"""

import os
import sys
import time

from ._entry_point import EntryPoint, EntryPoints, _Dist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ._source import Read

    # The number of its dist, which of that dist's entries it is, group, name, value.
    Entry = tuple[int, int, str, str, str]

MODES = ("exact", "fast", "only", "off")
ON_STALE = ("sync", "warn", "ignore")

SYSTEM_ROOT = "/var/cache/epcache"
VENDOR_ROOT = "/usr/share/epcache"

# The kinds of roots, in the order in which they are asked.
SYSTEM, USER, VENDOR = range(3)

# The largest index that is read, in bytes.
MAX_INDEX = 64 << 20

# So many names are searched for in an index before a table is made of all.
_MANY_SEARCHES = 32

# The digits of the largest number of 64 bits.
MAX_DIGITS = 20

# How many path entries a process remembers: as many as `importlib.metadata` does.
MAX_REMEMBERED = 128

# After so many checks it is known whether this file system is slow: if one takes so long, in
# seconds, some hundred times what a warm local disk needs, they are made at the same time.
_PROBED = 16
_SLOW_STAT = 0.0001

SUFFIXES = (".dist-info", ".egg-info")

# No part of a path entry that has a mirror is one of these.
_RESERVED = (".", "..", ".index", ".interpreters", ".refresh", ".watchers")

_HEAD = "epcache 1\npath "
_END = "\nend\n"

# The types of files in a mode (`stat.h`), which the module `stat` need not be imported for.
TYPE, DIRECTORY, REGULAR, LINK = 0o170000, 0o040000, 0o100000, 0o120000

# A FIFO or device in the place of a file is not waited on.
OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
    OPEN_FLAGS |= getattr(os, _flag, 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)

# Elsewhere there is no cache yet, and `importlib.metadata` answers.
_POSIX = os.name == "posix"
# Where paths are encoded otherwise, a name that is not ASCII is not the one in an index.
_UTF8 = sys.getfilesystemencoding().replace("-", "").lower() == "utf8"

_importlib = sys.modules["_frozen_importlib_external"]


class Index:
    """An index: whole, and of this path entry. Whether it is fresh is another question."""

    __slots__ = (
        *("identity", "lines", "path", "sealed", "stamp", "text"),
        *("_are_plain", "_by_name", "_groups", "_searches", "_start"),
    )

    def __init__(self, path_entry: str, path: str, identity: str, text: str) -> None:
        """Raises `ValueError` if the text is no index of the path entry."""
        head = f"{_HEAD}{path_entry}\n"
        if not text.startswith(head) or not text.endswith(_END):
            raise ValueError("not whole, of another version, or of another path entry")
        # The line feed before the first dist, and that before the first group or the end mark.
        self._start = text.index("\n", len(head))
        self._groups = _first_group(text, self._start)
        self.stamp, self.sealed = _freshness(text[len(head) : self._start])
        dists = text[self._start : self._groups]
        # Of each dist; taken apart when it is needed.
        self.lines = dists.split("\n")[1:]
        self._are_plain = _are_plain(dists, self.lines)
        if not self._are_plain:
            for line in self.lines:
                _check(line.split("\t"))
        self.path = path
        self.identity = identity
        self.text = text
        self._by_name: dict[str, int] | None = None
        self._searches = 0

    def changed(self, path_entry: str) -> "list[int]":
        """The numbers of the dists whose checks do not hold. Those that are to be read from their
        sources anyway are not among them.

        One `stat` for most dists.
        """
        count = len(self.lines)
        if count <= 2 * _PROBED:
            return self._changed_among(path_entry, 0, count)
        start = time.perf_counter()
        changed = self._changed_among(path_entry, 0, _PROBED)
        if time.perf_counter() - start < _PROBED * _SLOW_STAT:
            return changed + self._changed_among(path_entry, _PROBED, count)
        from . import _slow

        def among(first: int, end: int) -> "list[int]":
            return self._changed_among(path_entry, first, end)

        return changed + _slow.in_parallel(among, _PROBED, count)

    def _changed_among(self, path_entry: str, first: int, end: int) -> "list[int]":
        """It is where the time of mode exact goes, so the usual cases are written out."""
        prefix = path_entry + "/"
        stat = os.stat
        changed = []
        for number, line in enumerate(self.lines[first:end], first):
            try:
                _, _, metadata_dir, check = line.split("\t")
                if check[0] == "E":
                    s = stat(f"{prefix}{metadata_dir}/entry_points.txt")
                    if check == f"E{s.st_ino}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}":
                        continue
                elif check[0] == "D":
                    s = stat(prefix + metadata_dir)
                    if check == f"D{s.st_ino}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}":
                        continue
            except (OSError, ValueError, IndexError):
                pass
            word, *fields = line.split("\t")
            if word == "dist" and not holds(prefix + fields[1], fields[2:]):
                changed.append(number)
        return changed

    def has_unindexed(self) -> bool:
        """Whether some dist is to be read from its source each time."""
        return not self._are_plain and self.text.find("\nself\t", self._start, self._groups) >= 0

    def name(self, dist: int) -> str:
        """The normalized name of a dist that is here."""
        return self.lines[dist].split("\t", 2)[1]

    def metadata_dir(self, dist: int) -> str:
        """The name of the metadata directory of a dist that is here."""
        return self.lines[dist].split("\t", 3)[2]

    def has(self, name: str) -> bool:
        """Whether a dist has this normalized name."""
        table = self._table()
        return name in table if table else self._search(name) >= 0

    def is_first(self, dist: int, name: str) -> bool:
        """Whether no dist before this one has its normalized name, which is this."""
        table = self._table()
        if table:
            return table[name] == dist
        return self.text.startswith(f"\n{self.lines[dist]}\n", self._search(name))

    def _search(self, name: str) -> int:
        return self.text.find(f"\ndist\t{name}\t", self._start, self._groups)

    def _table(self) -> "dict[str, int] | None":
        """For each normalized name the first dist that has it, once it pays to have a table."""
        self._searches += 1
        if self._by_name is None and self._searches > _MANY_SEARCHES:
            names = [line.split("\t", 2)[1] for line in reversed(self.lines)]
            last = len(names) - 1
            self._by_name = dict(zip(names, range(last, -1, -1), strict=True))
        return self._by_name

    def entries(self, group: "str | None") -> "list[Entry] | None":
        """The entries of one group, or of all, by dist and in the order of its file; None if a line
        of them is damaged."""
        if group is None:
            return self._all_entries()
        line = f"\n[{group}]\n"
        at = -1 if "\n" in group else self.text.find(line, self._groups)
        if at < 0:
            return []
        start = at + len(line)
        end = self.text.find("\n[", start - 1)
        end = end if end >= 0 else len(self.text) - len(_END)
        return self._parsed(group, self.text[start:end]) if start <= end else []

    def _all_entries(self) -> "list[Entry] | None":
        entries: list[Entry] = []
        for section in self.text[self._groups : -len(_END)].split("\n[")[1:]:
            group, separator, lines = section.partition("\n")
            parsed = self._parsed(group[:-1], lines) if separator else []
            if parsed is None or not group.endswith("]"):
                return None
            entries += parsed
        entries.sort()
        return entries

    def _parsed(self, group: str, text: str) -> "list[Entry] | None":
        entries = []
        count = len(self.lines)
        is_ascii = text.isascii()
        try:
            for line in text.split("\n"):
                dist, sequence, rest = line.split(" ", 2)
                name, value = rest.split("=", 1)
                if not (dist.isdecimal() and sequence.isdecimal()):
                    return None
                if not is_ascii and not (dist + sequence).isascii():
                    return None
                number = int(dist)
                if number >= count:
                    return None
                entries.append((number, int(sequence), group, name, value))
        except ValueError:  # of a line that has too little in it, or a number that has too much
            return None
        return entries


class View:
    """One path entry, ready to answer: its dists in CPython's order, and what they declare.

    This one is for a fresh index that has all that there is; other views are its subclasses, in
    modules of their own.
    """

    __slots__ = ("_holders", "index", "path_entry")

    # Whether the dists are directories or files: CPython makes others than `PathDistribution`s of
    # `pathlib.Path`s otherwise.
    is_of_files = True

    def __init__(self, path_entry: str, index: "Index | None") -> None:
        self.path_entry = path_entry
        self.index = index
        self._holders: dict[int, _Dist] = {}

    def points(self, group: "str | None", earlier: "Sequence[View]") -> "list[EntryPoint] | None":
        """The entry points of one group, or of all, of the dists that are not shadowed by one
        before it, here or in an earlier view; None if the index turns out to be damaged."""
        entries = self.entries(group)
        if entries is None:
            return None
        points = []
        last, shown = -1, False
        for dist, _, in_group, name, value in entries:
            if dist != last:
                last, shown = dist, not self.is_shadowed(dist, earlier)
                holder = self.holder(dist)
            if shown:
                points.append(EntryPoint._of(name, value, in_group, holder))
        return points

    def is_shadowed(self, dist: int, earlier: "Sequence[View]") -> bool:
        """Whether a dist of the same normalized name comes before it."""
        name = self.name(dist)
        if name is None:
            return False
        if not self.is_first(dist, name):
            return True
        return any(view.has(name) for view in earlier)

    def count(self) -> int:
        """How many dists there are."""
        return len(self.index.lines) if self.index else 0

    def entries(self, group: "str | None") -> "list[Entry] | None":
        """The entries of one group, or of all, of all dists, in order; None as above."""
        return self.index.entries(group) if self.index else []

    def name(self, dist: int) -> "str | None":
        """A dist's normalized name, if it has one."""
        return self.index.name(dist) if self.index else None

    def metadata_dir(self, dist: int) -> str:
        """The name of a dist's metadata directory."""
        return self.index.metadata_dir(dist) if self.index else ""

    def has(self, name: str) -> bool:
        """Whether a dist has this normalized name."""
        return self.index is not None and self.index.has(name)

    def is_first(self, dist: int, name: str) -> bool:
        """Whether no dist of this view before this one has its normalized name, which is this."""
        return self.index is None or self.index.is_first(dist, name)

    def is_believed(self, dist: int) -> bool:
        """Whether `entries` has what the dist declares, and CPython would not raise on it."""
        return True

    def holder(self, dist: int) -> _Dist:
        """What the entry points of a dist share."""
        holder = self._holders.get(dist)
        if holder is None:
            holder = self._holders[dist] = _Dist(self.path_entry, self.metadata_dir(dist))
        return holder


class Call:
    """One call of `entry_points`, and what is found out in it."""

    __slots__ = ("missed", "roots")

    def __init__(self, roots: "Iterable[tuple[str, int]]") -> None:
        # The roots that count, with their kinds.
        self.roots = [root for root in roots if is_usable(root[0])]
        # The path entries that no fresh index answered for, and whether there was a stale one.
        self.missed: list[tuple[str, bool]] = []


class Cache:
    """The caches of this machine, or those in `roots`, asked in one mode.

    `mode` is one of exact, fast, only, off; `roots` are directories, instead of those of this
    machine; `on_stale` is one of sync, warn, ignore. What is not given is taken from the
    environment (`EPCACHE_MODE`, `EPCACHE_PATH`, `EPCACHE_ON_STALE`), then from `epcache.ini`; what
    nobody says is exact, the roots of this machine, and sync. Raises `ValueError` for a word that
    is none of these.

    Can be used by several threads at once, and after a fork.
    """

    def __init__(
        self,
        mode: "str | None" = None,
        roots: "Iterable[str | os.PathLike[str]] | None" = None,
        on_stale: "str | None" = None,
    ) -> None:
        for word, words in ((mode, MODES), (on_stale, ON_STALE)):
            if word is not None and word not in words:
                raise ValueError(f"{word!r} is none of {', '.join(words)}")
        if isinstance(roots, (str, bytes, os.PathLike)):
            raise TypeError("roots is not one directory but a list of them")
        paths = None if roots is None else [os.fsdecode(root) for root in roots]
        if mode is None or paths is None or on_stale is None:
            mode, paths, on_stale = _configured(mode, paths, on_stale)
        self.mode = mode
        self.on_stale = on_stale
        self.roots = _default_roots() if paths is None else _roots_of(paths)
        self._forget()

    def _forget(self) -> None:
        # Indexes that were fresh, by path entry: checked again as those on disk are.
        self._indexes: dict[str, Index] = {}
        # Dists that were read from their sources, by path entry and metadata directory.
        self._sources: dict[str, dict[str, Read]] = {}
        # Who could read all that.
        self._readers = credentials()

    def entry_points(self, /, **params: object) -> EntryPoints:
        """What `importlib.metadata.entry_points(**params)` of CPython 3.12 and newer gives.

        Where CPython raises because of something that is installed, the least that is broken is
        left out, and a `BrokenMetadataWarning` says so. What other finders raise is raised.
        """
        group = None
        if params and next(iter(params)) == "group" and type(params["group"]) is str:
            group = params.pop("group")
        found = self._find(group)  # type: ignore[arg-type]  # it is a str
        if params:
            found = [point for point in found if point.matches(**params)]
        return EntryPoints(found)

    def dists(
        self, path_entry: str
    ) -> "list[tuple[str, tuple[tuple[str, str, str], ...] | None]] | None":
        """What the cache knows of the dists of one path entry; for `patch`.

        Their metadata directories' names in CPython's order, each with what it declares as (group,
        name, value), or None where its source must be read. The whole is None where
        `importlib.metadata` must be asked.
        """
        from . import _views

        return _views.dists(self, path_entry)

    def _find(self, group: "str | None") -> "list[EntryPoint]":
        finders = [f for f in sys.meta_path if getattr(f, "find_distributions", None)]
        call = self._call()
        if len(finders) == 1 and is_own(finders[0]):
            found = self._answer([self._view(item, call) for item in sys.path], group, call)
        else:
            from . import _finders

            found = _finders.find(self, group, call)
        self._refresh(call)
        return found

    def _call(self) -> Call:
        """To be handed on through one call."""
        if self._readers != credentials():
            self._forget()
        return Call(self.roots if self.mode != "off" else ())

    def _refresh(self, call: Call) -> None:
        """Has done what is to be done about path entries that no fresh index answered for."""
        if call.missed and self.on_stale != "ignore":
            from . import _refresh

            root = next((path for path, kind in self.roots if kind == USER), None)
            _refresh.found_stale(root, call.missed, self.on_stale)
        elif f"{__package__}._refresh" in sys.modules:
            sys.modules[f"{__package__}._refresh"].reap()  # what an earlier call started

    def _answer(
        self, views: "Iterable[View]", group: "str | None", call: Call
    ) -> "list[EntryPoint]":
        """The entry points of the dists that are not shadowed, in order."""
        found: list[EntryPoint] = []
        earlier: list[View] = []
        for view in views:
            points = view.points(group, earlier)
            if points is None:
                view = self._distrusted(view, call)
                points = view.points(group, earlier) or []
            found += points
            earlier.append(view)
        return found

    def _distrusted(self, view: View, call: Call) -> View:
        """What answers in the place of a view whose index turned out to be damaged."""
        if self.mode == "only":
            from . import _views

            return _views.mirror_files(view.path_entry, call)
        self._indexes.pop(view.path_entry, None)
        call.missed.append((view.path_entry, True))
        return self._listed(view.path_entry)

    def _view(self, item: object, call: Call) -> View:
        """What answers for one item of `sys.path`: see "Which one answers" in `docs/format.md`."""
        if type(item) is not str or not _POSIX:
            from . import _finders

            return _finders.view_of_odd(self, item, call)
        if self.mode == "off" or not is_cacheable(item):
            return NOTHING if self.mode == "only" else self._listed(item)
        if self.mode == "only":
            from . import _views

            return _views.unchecked(item, call)
        try:
            stat = os.stat(item)
        except OSError:
            return NOTHING
        index = self._known(item, stat)
        stale = None
        if index is None:
            index, stale = self._looked_up(item, stat, call)
        if index is None:
            return self._not_fresh(item, stat, stale, call)
        if index.has_unindexed():
            from . import _views

            return _views.completed(self, item, index)
        return View(item, index)

    def _known(self, path_entry: str, stat: os.stat_result) -> "Index | None":
        """The index that was fresh in an earlier call, if it still is."""
        index = self._indexes.get(path_entry)
        if index is None or index.stamp != stamp_of(stat):
            return None
        if self.mode == "fast" and identity_of(index.path) != index.identity:
            return None  # nothing else tells of what was changed inside
        return None if self._changed(index, path_entry, stat) else index

    def _looked_up(
        self, path_entry: str, stat: os.stat_result, call: Call
    ) -> "tuple[Index | None, tuple[Index, list[int] | None] | None]":
        """The first fresh index, or the last stale one with what is changed: the dists of these
        numbers or, if that is None, the path entry."""
        stamp = stamp_of(stat)
        stale = None
        for root, kind in call.roots:
            index = load(root, path_entry) if kind != VENDOR else None
            if index is None or index.sealed is not None:
                continue  # only a vendor root vouches
            changed = self._changed(index, path_entry, stat) if index.stamp == stamp else None
            if changed == []:
                remember(self._indexes, path_entry, index)
                return index, None
            stale = index, changed
        return None, stale

    def _changed(self, index: Index, path_entry: str, stat: os.stat_result) -> "list[int]":
        """Which dists are not what the index says, as far as the mode has it checked."""
        if stat.st_mode & TYPE == REGULAR or self.mode == "fast":
            return []  # a zip has no stamps but its own
        return index.changed(path_entry)

    def _not_fresh(
        self,
        path_entry: str,
        stat: os.stat_result,
        stale: "tuple[Index, list[int] | None] | None",
        call: Call,
    ) -> View:
        if stale is not None:
            from . import _views

            call.missed.append((path_entry, True))
            return _views.repaired(self, path_entry, stale[0], stale[1])
        for root, kind in call.roots:
            if kind == VENDOR and os.path.lexists(root + path_entry):
                from . import _views

                view = _views.vouched(self, root, path_entry, stat)
                if view is not None:
                    return view
        view = self._listed(path_entry)
        if view.count():  # a directory without dists is as quickly listed as looked up
            call.missed.append((path_entry, False))
        return view

    def _listed(self, path_entry: str) -> View:
        """The view of the sources."""
        names = self._listed_names(path_entry)
        if isinstance(names, View):
            return names
        from . import _views

        return _views.source(self, path_entry, names)

    def _listed_names(self, path_entry: str) -> "list[str] | View":
        """The metadata directories in a directory, in the order of the listing; the view of
        anything else."""
        try:
            names = os.listdir(path_entry or ".")
        except NotADirectoryError:
            from . import _views

            return _views.archive(path_entry)
        except OSError:
            return NOTHING
        except ValueError as error:
            from . import _views

            _views.warn_of([f"{path_entry!r} on sys.path: {error}; left out"])
            return NOTHING
        is_egg = path_entry[-4:].lower() == ".egg"
        names = [
            name
            for name in names
            if (low := name.lower()).endswith(SUFFIXES) or (is_egg and low == "egg-info")
        ]
        return names or NOTHING


def environment_cache() -> Cache:
    """The cache that the environment asks for: the same one while that does not change."""
    global _cache_and_key
    get = os.environ.get
    key = (
        *map(get, ("EPCACHE_MODE", "EPCACHE_PATH", "EPCACHE_ON_STALE")),
        *map(get, ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HOME")),
        _effective_user(),
    )
    cached = _cache_and_key
    if cached is None or cached[1] != key:
        cached = _cache_and_key = (Cache(), key)
    return cached[0]


_cache_and_key: "tuple[Cache, object] | None" = None
NOTHING = View("", None)


def remember(known: "dict[str, Any]", path_entry: str, what: object) -> None:
    """Keeps something of a path entry, and forgets the oldest if there are too many."""
    if len(known) >= MAX_REMEMBERED and path_entry not in known:
        known.pop(next(iter(known), ""), None)
    known[path_entry] = what


def credentials() -> "tuple[int, ...]":
    """By what the system decides what this process may read."""
    if not _POSIX:
        return ()
    return (os.geteuid(), os.getegid(), *os.getgroups())


def is_own(finder: object) -> bool:
    """Whether it is `PathFinder`, with the `find_distributions` of CPython or of `patch`."""
    if finder is not _importlib.PathFinder:
        return False
    names = getattr(finder.find_distributions, "__globals__", {})
    return names is vars(_importlib) or names.get("__name__", "").endswith("epcache._patch")


def is_cacheable(path_entry: str) -> bool:
    """Whether a path entry can have a mirror."""
    if path_entry[:1] != "/" or path_entry[-1] == "/" or "//" in path_entry:
        return False
    if not path_entry.isprintable() and not _has_plain_characters(path_entry):
        return False
    if not _UTF8 and not path_entry.isascii():
        return False
    if "/." not in path_entry and ".txt" not in path_entry:
        return True
    for part in path_entry.split("/"):
        if part in _RESERVED or part.startswith(".tmp-"):
            return False
        low = part.lower()
        if part.endswith(".txt") and (low == "egg-info.txt" or low[:-4].endswith(SUFFIXES)):
            return False
    return True


def _has_plain_characters(text: str) -> bool:
    """Whether a text is Unicode without control characters and line ends (U+2028, U+2029)."""
    for character in text:
        code = ord(character)
        if code < 0x20 or 0x7F <= code < 0xA0 or 0x2028 <= code <= 0x2029:
            return False
        if 0xD800 <= code < 0xE000:
            return False  # bytes that are not UTF-8
    return True


def stamp_of(stat: os.stat_result) -> str:
    """The stamp of a directory, or of a file that has one link."""
    return f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


# What a check is of, within a metadata directory.
CHECKED = {"E": "/entry_points.txt", "D": "", "M": "/METADATA", "P": "/PKG-INFO"}


def holds(metadata_dir: str, checks: "Sequence[str]") -> bool:
    """Whether there are checks, and all hold, of the dist with this metadata directory (a path)."""
    for check in checks:
        try:
            stat = os.stat(metadata_dir + CHECKED[check[:1]])
        except (OSError, ValueError, KeyError):
            return False
        stamp = check[1:]
        if stamp == stamp_of(stat):
            continue
        linked = stamp_of_linked(stat)
        if stamp != linked:
            # Of the birth time, which os.stat() does not tell, it is enough that it is one.
            start, _, born = stamp.rpartition(".")
            if start != linked or not _is_time(born):
                return False
    return bool(checks)


def stamp_of_linked(stat: os.stat_result) -> str:
    """The stamp of a file that has several links, without its birth time."""
    status = f"p{stat.st_mode:o}.{stat.st_uid}.{stat.st_gid}"
    return f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{status}"


def _freshness(line: str) -> "tuple[str, int | None]":
    """The stamp that a path entry must have, and the second of its modification time if it is
    sealed. Raises `ValueError`."""
    word, _, rest = line.partition(" ")
    fields = rest.split(":")
    if word == "sealed" and _is_time(rest):
        return "-", int(rest)
    if word == "stamp" and rest == "-":
        return rest, None
    if word != "stamp" or len(fields) != 4 or not all(map(_is_time, fields[2:])):
        raise ValueError("neither a stamp nor a seal")
    if not all(is_number(field) and int(field) < 1 << 64 for field in fields[:2]):
        raise ValueError("no stamp")
    return rest, None


def is_number(text: str) -> bool:
    """Whether a text is a number, of as many digits as one of 64 bits can have."""
    return len(text) <= MAX_DIGITS and text.isdecimal() and text.isascii()


def _is_time(text: str) -> bool:
    """Whether a text is an integer of 64 bits with a sign."""
    digits = text[1:] if text[:1] == "-" else text
    return is_number(digits) and -1 << 63 <= int(text) < 1 << 63


def _first_group(text: str, start: int) -> int:
    """Where the line feed before the first group is, or that before the end mark.

    One character is found many times sooner than two, and few names of dists have a bracket.
    """
    bracket = text.find("[", start)
    groups = -1 if bracket < 0 else text.find("\n[", bracket - 1)
    return groups if groups >= 0 else len(text) - len(_END)


def _are_plain(dists: str, lines: "list[str]") -> bool:
    """Whether all lines of dists are as most are, as far as can be seen at once: so that a thousand
    of them need not be taken apart."""
    return (
        dists.count("\ndist\t") == len(lines)
        and min([line.count("\t") for line in lines], default=2) > 1
        and not ("/" in dists or "\t\t" in dists or "\t\n" in dists or dists[-1:] == "\t")
    )


def _check(line: "list[str]") -> None:
    """Raises `ValueError` if it is no line of a dist."""
    if line[0] == "dist":
        if len(line) < 3 or not line[1] or not line[2] or "/" in line[2]:
            raise ValueError("no name of a dist")
        return
    if line[0] != "self" or len(line) != 2 or not line[1]:
        raise ValueError("a line that is no dist")
    name = bytes.fromhex(line[1])
    if name.hex() != line[1] or b"/" in name or b"\0" in name:
        raise ValueError("no name of a metadata directory")


def _effective_user() -> int:
    return os.geteuid() if _POSIX else 0


def is_trusted(stat: os.stat_result) -> bool:
    """Whether nobody but root and the effective user can have written it."""
    return stat.st_uid in (0, _effective_user()) and not stat.st_mode & 0o022


def is_usable(directory: str) -> bool:
    """Whether a directory of a cache counts. A link to one does if it is nobody else's."""
    try:
        stat = os.lstat(directory)
        if stat.st_mode & TYPE == LINK:
            if stat.st_uid not in (0, _effective_user()):
                return False
            stat = os.stat(directory)
    except (OSError, ValueError):
        return False
    return stat.st_mode & TYPE == DIRECTORY and is_trusted(stat)


def load(root: str, path_entry: str) -> "Index | None":
    """The index of a path entry in a usable root, if there is one that counts."""
    if not is_usable(root + path_entry):
        return None
    path = f"{root}{path_entry}/.index"
    found = read_trusted(path, MAX_INDEX)
    if found is None or b"\0" in found[0]:
        return None  # what a power cut leaves of a file is often zeros
    try:
        text = found[0].decode()
        if not _UTF8 and not text.isascii():
            return None
        return Index(path_entry, path, stamp_of(found[1]), text)
    except ValueError:
        return None


def read_trusted(path: str, limit: int) -> "tuple[bytes, os.stat_result] | None":
    """The bytes and the `stat` of a cache's file, if it counts and has at most `limit` bytes."""
    try:
        file = os.open(path, OPEN_FLAGS | _NO_LINK)
    except (OSError, ValueError):
        return None
    try:
        stat = os.fstat(file)
        if stat.st_mode & TYPE != REGULAR or not is_trusted(stat) or stat.st_size > limit:
            return None
        data = os.read(file, stat.st_size + 1)
        if len(data) != stat.st_size:
            return None  # cut off: files of a cache are not changed once they are there
        return data, stat
    except OSError:
        return None
    finally:
        os.close(file)


def identity_of(path: str) -> "str | None":
    """By what a file of a cache is known again."""
    try:
        return stamp_of(os.lstat(path))
    except (OSError, ValueError):
        return None


def _roots_of(paths: "Iterable[str]") -> "list[tuple[str, int]]":
    """The roots that were named, in the order in which they are asked. Empty ones are none."""
    kinds = {SYSTEM_ROOT: SYSTEM, VENDOR_ROOT: VENDOR}
    roots = [(path.rstrip("/"), kinds.get(path.rstrip("/"), USER)) for path in paths if path]
    roots.sort(key=lambda root: root[1])
    return roots


def _default_roots() -> "list[tuple[str, int]]":
    """Those of this machine. Without a home directory there is no user's root."""
    user = _user_directory("XDG_CACHE_HOME", ".cache", "Library/Caches")
    paths = [SYSTEM_ROOT, user and user + "/epcache", VENDOR_ROOT]
    return _roots_of(path for path in paths if path)


def _user_directory(variable: str, default: str, on_macos: str) -> str:
    """One of the user's directories (XDG Base Directory Specification), or an empty string."""
    named = os.environ.get(variable, "")
    if named.startswith("/") and sys.platform != "darwin":
        return named.rstrip("/")
    home = os.environ.get("HOME") or _home_of_account()
    if not home.startswith("/"):
        return ""
    return f"{home.rstrip('/')}/{on_macos if sys.platform == 'darwin' else default}"


def _home_of_account() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        return ""


def _configured(
    mode: "str | None", paths: "list[str] | None", on_stale: "str | None"
) -> "tuple[str, list[str] | None, str]":
    """What was not given, from the environment and the configuration files."""
    mode = mode or _word("EPCACHE_MODE", MODES)
    on_stale = on_stale or _word("EPCACHE_ON_STALE", ON_STALE)
    if paths is None:
        paths = absolute_paths("EPCACHE_PATH", os.environ.get("EPCACHE_PATH", ""))
    if mode is None or paths is None:
        user = _user_directory("XDG_CONFIG_HOME", ".config", "Library/Application Support")
        for file in (user and f"{user}/epcache/epcache.ini", "/etc/epcache/epcache.ini"):
            if file and os.path.exists(file):
                from . import _config

                mode, paths = _config.complete(file, mode, paths)
    return mode or "exact", paths, on_stale or "sync"


def _word(variable: str, words: "Sequence[str]") -> "str | None":
    """What an environment variable says; what it says wrongly is passed over with a warning."""
    word = os.environ.get(variable)
    if not word or word in words:
        return word or None
    from ._warn import warn

    warn(f"{variable}={word!r} is none of {', '.join(words)}; passed over")
    return None


def absolute_paths(where: str, text: str) -> "list[str] | None":
    """The items of a list like `PATH`. If not all are absolute, so that they would mean something
    else in each directory, none counts, and a warning says so."""
    paths = [path for path in text.split(os.pathsep) if path]
    if all(path[0] == "/" for path in paths):
        return paths or None
    from ._warn import warn

    warn(f"{where}={text!r} has a path that is not absolute; passed over")
    return None
