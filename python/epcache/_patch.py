"""Serves programs that can't be changed: `importlib.metadata` itself is answered from the cache.

`patch` puts itself in the place of `PathFinder.find_distributions`, below everything that asks for
distributions: whoever bound `entry_points` or `distributions` early is served too, and order,
deduplication and types stay CPython's. stevedore keeps a cache of its own and, where that is warm,
never asks; its `stevedore._cache` gets a hook. `python -m epcache enable` (see `_enable`) has a
process come here by itself, with `enabled`, when it first asks.

The distributions that are found are marked, and the property `Distribution.entry_points` asks the
cache for those. To hand CPython a text instead would have it parsed again, and that takes as much
work as is saved by not reading the file.

Wherever the cache has no answer, or somebody else has changed what is stood in for, CPython's own
code does as it always did.
"""

import sys

from ._cache import environment_cache, is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from importlib.metadata import Distribution, EntryPoint
    from types import ModuleType
    from typing import Any, Protocol

    from ._cache import Cache

    Declared = tuple[tuple[str, str, str], ...]
    # Name, value and group, each combination once and in order, as stevedore keeps them.
    Members = dict[tuple[str, str, str], None]

    class FindDistributions(Protocol):
        def __call__(self, *args: Any, **kwargs: Any) -> Iterable[Distribution]: ...

    class GetGroupAll(Protocol):
        def __call__(self, group: str, path: "Sequence[str] | None" = None) -> list[EntryPoint]: ...


STEVEDORE = "stevedore._cache"


class Patch:
    """Has `importlib.metadata` and stevedore answered from a cache, in this process, until `undo`.

    Nothing is patched for a cache whose mode is `off`. Patches can be nested, and undone in any
    order: the last one that is not undone answers. As a context manager, one is undone at the end
    of the block.
    """

    def __init__(self, cache: "Cache | None" = None, *, serves_finding: bool = True) -> None:
        self._cache = environment_cache() if cache is None else cache
        self._is_undone = False
        self._is_declaring = False
        self._replacements: list[_Replacement] = []
        if self._cache.mode == "off":
            return
        if serves_finding:
            self.serve_finding()
        stevedore = sys.modules.get(STEVEDORE)
        if stevedore is None:
            _waiting.add(self)
        else:
            self.serve_stevedore(stevedore)

    def undo(self) -> None:
        """Put back what was there, wherever ours is still in its place.

        What somebody else has replaced or removed since stays so.
        """
        self._is_undone = True
        _waiting.discard(self)
        while self._replacements:
            self._replacements.pop().undo()

    def __enter__(self) -> "Patch":
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def serve_finding(self) -> None:
        """Stand in for PathFinder's own `find_distributions`.

        Not for somebody else's, whose answer is theirs to give; nor where there is none, as where
        the backport importlib_metadata has removed it.
        """
        finder = _path_finder()
        if hasattr(finder, "find_distributions") and is_own(finder):
            served = _Finding(self._cache, finder.find_distributions, self.serve_declaring)
            value = staticmethod(served.find_distributions)
            self._replacements.append(_Replacement(finder, "find_distributions", value, served))

    def serve_declaring(self, served: "_Finding") -> None:
        """Stand in for the property `entry_points` of CPython's distributions, once."""
        from importlib.metadata import Distribution

        if self._is_declaring:
            return
        self._is_declaring = True
        # There is one, and so the class gets no attribute more: CPython goes through the attributes
        # when a distribution is made, which another thread may be about.
        value = _Declaring(vars(Distribution)["entry_points"])
        self._replacements.append(_Replacement(Distribution, "entry_points", value, served))
        if self._is_undone:  # by another thread, in between
            self.undo()

    def serve_stevedore(self, module: "ModuleType") -> None:
        """Have stevedore's one cache, and the name that its managers use, answer from ours.

        Its other functions come to these two. Another Cache that a program makes is its own.
        """
        singleton = getattr(module, "_c", None)
        original: Any = getattr(module, "get_group_all", None)
        is_known = getattr(original, "__self__", None) is singleton is not None
        if self._is_undone or not (is_known or isinstance(original, _Stevedore)):
            return
        served = _Stevedore(self._cache, original)
        for owner in (singleton, module):
            self._replacements.append(_Replacement(owner, "get_group_all", served, served))


# --- Replacing ------------------------------------------------------------------------------------

_ABSENT = object()


class _Replacement:
    """One attribute that has another value, until `undo`."""

    # Those whose value is in place, or may be what another one would put back.
    known: "list[_Replacement]" = []

    def __init__(
        self, owner: "Any", name: str, value: object, served: "_Finding | _Stevedore"
    ) -> None:
        self._owner = owner
        self._name = name
        self._value = value
        self._served = served
        self._before = vars(owner).get(name, _ABSENT)
        self.known.append(self)
        setattr(owner, name, value)

    def undo(self) -> None:
        # Also for those who still hold it: a wrapper of somebody else's, a name bound in between.
        self._served.is_undone = True
        if vars(self._owner).get(self._name, _ABSENT) is not self._value:
            return
        left = self._retire()
        if left is _ABSENT:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, left)

    def _retire(self) -> object:
        """What is to be put back: of what was there before, the last that is not undone."""
        self.known.remove(self)
        for other in self.known:
            is_below = other._value is self._before and other._owner is self._owner
            if is_below and other._served.is_undone:
                return other._retire()
        return self._before


# --- find_distributions ---------------------------------------------------------------------------


def _path_finder() -> "Any":
    # Loaded before anything else, and what importlib.machinery would import it from.
    from _frozen_importlib_external import PathFinder

    return PathFinder


def _are_cpythons(functions: "Iterable[object]") -> bool:
    from importlib import metadata

    own = vars(metadata)
    return all(getattr(function, "__globals__", None) is own for function in functions)


def _is_finding_untouched() -> bool:
    """Whether what is stood in for is as CPython made it, and nobody has put in something else."""
    from importlib import metadata as shown

    # The type stubs do not know all that is there.
    metadata: Any = shown
    declaring = vars(metadata.Distribution).get("entry_points")
    while type(declaring) is _Declaring:
        declaring = declaring.original
    functions = (
        metadata.FastPath.search,
        metadata.FastPath.children,
        getattr(metadata.MetadataPathFinder._search_paths, "__func__", None),
        getattr(metadata.MetadataPathFinder.find_distributions, "__func__", None),
        getattr(declaring, "fget", None),
    )
    is_inherited = "entry_points" not in vars(metadata.PathDistribution)
    return is_inherited and _are_cpythons(functions) and _is_reading_untouched()


def _is_reading_untouched() -> bool:
    """The same, of how CPython's property comes from the file to the entry points."""
    from importlib.metadata import EntryPoints, PathDistribution

    names = "_from_text_for", "_from_text"
    methods = [getattr(EntryPoints, name, None) for name in names]
    return _are_cpythons([PathDistribution.read_text, *methods])


class _Finding:
    """`PathFinder.find_distributions`, answering from a cache."""

    def __init__(
        self,
        cache: "Cache",
        original: "FindDistributions",
        serve_declaring: "Callable[[_Finding], None]",
    ) -> None:
        self.is_undone = False
        self._cache = cache
        self._original = original
        # Not before importlib.metadata is there.
        self._serve_declaring = serve_declaring

    def find_distributions(self, *args: "Any", **kwargs: "Any") -> "Iterable[Distribution]":
        """Lazy where CPython's is, and raising where CPython's raises."""
        from itertools import chain

        context = _context(args, kwargs)
        # Who asks for one name has the path entries listed, and reads what is asked for alone.
        is_for_us = context is not None and context.name is None
        if self.is_undone or not is_for_us or not _is_finding_untouched():
            return self._original(*args, **kwargs)
        self._serve_declaring(self)
        return chain.from_iterable(map(self._of_path_entry, context.path))

    def _of_path_entry(self, path_entry: "Any") -> "Iterable[Distribution]":
        from importlib.metadata import DistributionFinder

        known = None
        if self._cache.mode == "only" and type(path_entry) is str:
            known = _dists(self._cache, path_entry)
        if known is not None:
            found = _unseen(path_entry, known)
        else:
            found = self._original(DistributionFinder.Context(path=[path_entry]))
        if type(path_entry) is not str:
            return found
        return _Declarations(self, path_entry, known).serve(found)

    def declared(self, path_entry: str) -> "dict[str, Declared | None]":
        """What the dists of a path entry declare, as far as the cache knows."""
        return _dists(self._cache, path_entry) or {}


def _unseen(path_entry: str, known: "Iterable[str]") -> "Iterable[Distribution]":
    """CPython's objects for the metadata directories that a cache knows: mode `only` lists none."""
    from importlib.metadata import PathDistribution
    from pathlib import Path

    # The paths are as CPython's FastPath.joinpath makes them.
    return [PathDistribution(Path(path_entry, name)) for name in known]


def _dists(cache: "Cache", path_entry: str) -> "dict[str, Declared | None] | None":
    """What the cache knows of a path entry, in order; None if CPython is to be asked."""
    try:
        found = cache.dists(path_entry)
        return None if found is None else dict(found)
    # Whatever is the matter with the cache (or with a warning that was made an error) is no
    # reason to break a program that does not know of it.
    except Exception:
        return None


# Under which name a distribution knows its `_Declarations`.
_MARK = "_epcache"


class _Declarations:
    """What the dists of a path entry declare: not asked before one of them is."""

    __slots__ = ("_known", "_path_entry", "_served")

    def __init__(
        self, served: _Finding, path_entry: str, known: "dict[str, Declared | None] | None"
    ) -> None:
        self._served = served
        self._path_entry = path_entry
        self._known = known

    def serve(self, dists: "Iterable[Any]") -> "Iterable[Distribution]":
        """Has CPython's own objects told by the cache what they declare."""
        from importlib.metadata import PathDistribution
        from pathlib import Path

        for dist in dists:
            # The dists of a zip have a zipfile.Path, and what somebody else made is not ours.
            if type(dist) is PathDistribution and isinstance(dist._path, Path):
                setattr(dist, _MARK, self)
            yield dist

    def of(self, metadata_dir: str) -> "Declared | None":
        """What a dist declares; None if its source is to be read."""
        if self._served.is_undone:
            return None
        if self._known is None:
            self._known = self._served.declared(self._path_entry)
        return self._known.get(metadata_dir)

    def __reduce__(self) -> "tuple[Any, ...]":
        """What is unpickled, where there may be no epcache, reads the file."""
        return bool, ()


class _Declaring(property):
    """The property `entry_points` of `Distribution`, in the place of the `original`.

    From the cache for a distribution that is marked and as CPython made it.
    """

    def __init__(self, original: "Any") -> None:
        self.original = original
        super().__init__(self._of, doc=original.__doc__)

    def _of(self, dist: "Any") -> "Any":
        declared = _declared(dist)
        if declared is None:
            return self.original.__get__(dist)
        from importlib import metadata

        make: Any = metadata.EntryPoint
        points = [make(name=n, value=v, group=g)._for(dist) for g, n, v in declared]
        return metadata.EntryPoints(points)


def _declared(dist: "Any") -> "Declared | None":
    """What the cache says that a distribution declares; None if CPython is to say it."""
    attributes = getattr(dist, "__dict__", {})
    declarations = attributes.get(_MARK)
    if not declarations or "read_text" in attributes or not _is_reading_untouched():
        return None
    known: Declared | None = declarations.of(dist._path.name)
    return known


def _context(args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> "Any":
    """The context of a call of `find_distributions`; None if it is not called as it should be."""
    from importlib.metadata import DistributionFinder

    if not args and not kwargs:
        return DistributionFinder.Context()
    if len(args) == 1 and not kwargs:
        return args[0]
    return kwargs["context"] if not args and list(kwargs) == ["context"] else None


# --- stevedore ------------------------------------------------------------------------------------


# Who asks for more groups than these is given all that there are, which takes as long as some four
# groups of a thousand dists: a program that asks for a third mostly asks for many (cliff's ask for
# hundreds).
_FEW_GROUPS = 2


class _Stevedore:
    """`stevedore._cache.get_group_all`, answering from a cache."""

    def __init__(self, cache: "Cache", original: "GetGroupAll") -> None:
        self.is_undone = False
        self._cache = cache
        self._original = original
        # As stevedore does it: what it once found for a sys.path holds as long as the process.
        self._known: dict[tuple[str, ...], dict[str, Members]] = {}
        # Those of which all groups are known.
        self._complete: set[tuple[str, ...]] = set()

    def __call__(self, group: str, path: "Sequence[str] | None" = None) -> "list[EntryPoint]":
        members = None
        if not self.is_undone and path is None and type(group) is str:
            members = self._members(group)
        if members is None:
            return self._original(group, path)
        from importlib.metadata import EntryPoint

        return [EntryPoint(*member) for member in members]

    def _members(self, group: str) -> "Members | None":
        try:
            path = tuple(sys.path)
            groups = self._known.setdefault(path, {})
            if group not in groups and path not in self._complete:
                if len(groups) < _FEW_GROUPS:
                    groups[group] = self._found(group=group).get(group, {})
                else:
                    groups.update({**self._found(), **groups})
                    self._complete.add(path)
        # As for find_distributions.
        except Exception:
            return None
        return groups.get(group, {})

    def _found(self, **params: str) -> "dict[str, Members]":
        groups: dict[str, Members] = {}
        for point in self._cache.entry_points(**params):
            members = groups.setdefault(point.group, {})
            members[point.name, point.value, point.group] = None
        return groups


class _WaitingForStevedore:
    """A finder on `sys.meta_path` that finds nothing, but sees when stevedore's cache is imported.

    It has no `find_distributions`, and goes when it has done its work.
    """

    def __init__(self) -> None:
        self._patches: list[Patch] = []
        self._is_asking = False

    def add(self, patch: Patch) -> None:
        self._patches.append(patch)
        if _position(self) is None:
            sys.meta_path.insert(0, self)

    def discard(self, patch: Patch) -> None:
        if patch in self._patches:
            self._patches.remove(patch)
            self.settle()

    def settle(self) -> None:
        """Go, if there is nothing to wait for."""
        position = _position(self)
        # Another thread may be importing, and walking along the list: it would pass over the finder
        # after this one. Then this one stays, and finds nothing.
        is_alone = len(sys._current_frames()) == 1
        if not self._patches and position is not None and is_alone:
            del sys.meta_path[position]

    def find_spec(
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if fullname != STEVEDORE or not self._patches or self._is_asking:
            return None
        # The others, this one's own placeholder among them, may hand the question back.
        self._is_asking = True
        try:
            spec = _find_spec(self, fullname, path, target)
        finally:
            self._is_asking = False
        if spec is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: "Any") -> None:
        """Be called when the loader has run the module, once.

        The loader stays what it is, because the module shows it.
        """
        run = getattr(loader, "exec_module", None)
        attributes = getattr(loader, "__dict__", None)
        # A loader that is a class, or shows no attributes, is nobody's to change; one that has the
        # attribute was asked for before, and has not been used.
        if run is None or type(attributes) is not dict or "exec_module" in attributes:
            return

        def exec_module(module: "ModuleType") -> None:
            # Of a zip there is one loader for all modules.
            if module.__name__ == STEVEDORE:
                attributes.pop("exec_module", None)
            run(module)
            if module.__name__ == STEVEDORE:
                self._arrived(module)

        loader.exec_module = exec_module

    def _arrived(self, module: "ModuleType") -> None:
        patches = self._patches[:]
        self._patches.clear()
        for patch in patches:
            patch.serve_stevedore(module)
        self.settle()


def _position(finder: object) -> "int | None":
    """Where on `sys.meta_path` the finder is."""
    return next((at for at, other in enumerate(sys.meta_path) if other is finder), None)


def _find_spec(
    asker: object, name: str, path: "Sequence[str] | None", target: "ModuleType | None"
) -> "ModuleSpec | None":
    """What the other finders on `sys.meta_path` find."""
    for finder in [finder for finder in sys.meta_path if finder is not asker]:
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, path, target) if find_spec else None
        if spec is not None:
            return spec
    return None


_waiting = _WaitingForStevedore()


# --- A whole environment --------------------------------------------------------------------------


class Enabled:
    """What answers in the place of the line that `python -m epcache enable` writes."""

    def __init__(self, find_distributions: "FindDistributions") -> None:
        self.find_distributions = find_distributions
        self.find_spec = _waiting.find_spec


# The patch of an enabled environment, once somebody has asked.
_enabled: "list[tuple[Cache, Patch]]" = []


def enabled(placeholder: object, original: "Any", finder: "Any") -> Enabled:
    """Take over from that line: from its `placeholder` in PathFinder, and its finder for stevedore.

    `original` is what the placeholder stands for. Where somebody has come between since, their
    thing stays in its place, and what they hand on is served. Called again, it does no more.
    """
    position = _position(finder)
    if position is not None and _position(_waiting) is None:
        # In its place, so that nothing moves for who is walking along the list.
        sys.meta_path[position] = _waiting
    if not _enabled:
        cache = environment_cache()
        _enabled.append((cache, Patch(cache, serves_finding=False)))
        _waiting.settle()
    cache, patch = _enabled[0]
    path_finder = _path_finder()
    if vars(path_finder).get("find_distributions") is placeholder:
        path_finder.find_distributions = original
        if cache.mode != "off":
            patch.serve_finding()
        return Enabled(path_finder.find_distributions)
    function = original.__func__
    if cache.mode == "off":
        return Enabled(function)
    return Enabled(_Finding(cache, function, patch.serve_declaring).find_distributions)
