"""What is left to `importlib.metadata`: other finders, zip files without a fresh index, odd items.

Other finders on `sys.meta_path` are asked as CPython asks them, each in its place; the cache stands
in for `PathFinder` alone. Importing `importlib.metadata` costs more than all the rest of an answer,
which is why this is a module of its own.
"""

import importlib.metadata
import os
import sys

from ._cache import NOTHING, View, is_own
from ._source import FAILS, Read
from ._views import MixedView, warn_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ._cache import Cache, Call
    from ._entry_point import EntryPoint


def find(cache: "Cache", group: "str | None", call: "Call") -> "list[EntryPoint]":
    """The entry points that all finders together have."""
    context = importlib.metadata.DistributionFinder.Context()

    def views() -> "Iterator[View]":
        for finder in sys.meta_path:
            ask: Any = getattr(finder, "find_distributions", None)
            if not ask:
                continue
            if is_own(finder):
                for item in sys.path:
                    yield cache._view(item, call)
            else:
                _forget_listings()  # it may be made of CPython's parts
                yield ForeignView(list(ask(context)))

    return cache._answer(views(), group, call)


def _forget_listings() -> None:
    """CPython remembers listings by modification time, which is not enough."""
    importlib.metadata.FastPath.__new__.cache_clear()  # type: ignore[attr-defined]


class ForeignView(View):
    """The dists of another finder, whose entry points are given as they are."""

    __slots__ = ("_dists", "_first", "_names")

    is_of_files = False

    def __init__(self, dists: "list[Any]") -> None:
        super().__init__("", None)
        self._dists = dists
        self._names: list[str | None] = [dist._normalized_name for dist in dists]
        self._first: dict[str | None, int] = {}
        for number, name in enumerate(self._names):
            self._first.setdefault(name, number)

    def points(self, group: "str | None", earlier: "Sequence[View]") -> "list[EntryPoint]":
        return [
            point
            for number, dist in enumerate(self._dists)
            if not self.is_shadowed(number, earlier)
            for point in dist.entry_points
            if group is None or group == point.group
        ]

    def count(self) -> int:
        return len(self._dists)

    def name(self, dist: int) -> "str | None":
        return self._names[dist]

    def has(self, name: str) -> bool:
        return name in self._first

    def is_first(self, dist: int, name: str) -> bool:
        return self._first[name] == dist


def view_of(path_entry: "Any") -> View:
    """What CPython itself finds on a path entry that is no directory."""
    _forget_listings()
    context = importlib.metadata.DistributionFinder.Context(path=[path_entry])
    try:
        found = list(importlib.metadata.MetadataPathFinder.find_distributions(context))
    except Exception as error:
        warn_of([f"{path_entry!r} on sys.path: {type(error).__name__}: {error}; left out"])
        return NOTHING
    view = _ArchiveView(path_entry, None, [(_metadata_dir(dist), _read(dist)) for dist in found])
    view.hold(found)
    return view


class _ArchiveView(MixedView):
    """Dists that CPython found, mostly in a zip file."""

    __slots__ = ()

    is_of_files = False

    def hold(self, dists: "list[Any]") -> None:
        """Keeps the dists, so that they need not be found again."""
        for number, dist in enumerate(dists):
            holder = self.holder(number)
            holder.__dict__["_built"] = dist


def _metadata_dir(dist: "Any") -> str:
    name: str = dist._path.name
    return name


def _read(dist: "Any") -> Read:
    """A dist of `importlib.metadata`, with what it raises told as problems."""
    path = f"{dist._path}/entry_points.txt"
    problems = []
    name = text = None
    try:
        name = dist._normalized_name
    except Exception as error:
        problems.append(f"{dist._path}: its name is nowhere to be found: {error}; {FAILS}")
    try:
        text = dist.read_text("entry_points.txt")
    except Exception as error:
        problems.append(f"{path}: {type(error).__name__}: {error}; {FAILS}")
    read = Read(name, text, path)
    read.problems[:0] = problems
    return read


def view_of_odd(cache: "Cache", item: object, call: "Call") -> View:
    """An item of `sys.path` that is no plain string, or not on a POSIX system."""
    if os.name != "posix":
        return view_of(item)
    try:
        path = os.fspath(item)  # type: ignore[call-overload]
    except Exception:
        path = item
    if isinstance(path, str):
        return cache._view(str.__str__(path), call)
    return view_of(item)  # which fails, and so is told
