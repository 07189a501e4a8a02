"""What an answer is made of: entry points, and the tuple that holds them.

`EntryPoint` and `EntryPoints` behave as those of `importlib.metadata` in CPython 3.12 to 3.14, on
every version, but are classes of their own: to define theirs costs the import of
`importlib.metadata`, which is most of what a program that uses epcache saves. For the same reason
nothing is imported here until it is needed, not even `re`: almost all values are plain
`module:attr`, and those are taken apart by hand.

The reader makes entry points by the thousand and most programs look at a few of them. So
`EntryPoint._of` does as little as it can, and the distribution that an entry point is from is only
named (`_Dist`) until somebody asks for it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator
    from importlib.metadata import Distribution
    from typing import Any

    _Tuple = tuple["EntryPoint", ...]
else:
    _Tuple = tuple


class _Dist:
    """Names the distribution of an entry point, and builds it when it is first asked for.

    All entry points of one distribution share one of these, so `dist` is the same object for all of
    them. Pickled and copied, it is the name that travels: a distribution in a zip file holds that
    file open, and couldn't.
    """

    def __init__(self, path_entry: str, metadata_dir: str) -> None:
        self.path_entry = path_entry
        self.metadata_dir = metadata_dir

    def dist(self) -> "Distribution":
        """The distribution as `importlib.metadata` would give it; the same object each time."""
        # `setdefault` is atomic: when two threads build one each, both get the one that was first.
        fields = self.__dict__
        built: Distribution | None = fields.get("_built")
        return built or fields.setdefault("_built", self._build())

    def _build(self) -> "Distribution":
        from importlib.metadata import PathDistribution
        from os.path import isfile
        from pathlib import Path

        if isfile(self.path_entry):
            import zipfile

            try:
                # As `FastPath.zip_children` has it: the archive, and the child that was listed.
                return PathDistribution(zipfile.Path(self.path_entry).joinpath(self.metadata_dir))
            except Exception:  # what CPython suppresses there: whatever is wrong, it is no zip file
                pass
        return PathDistribution(Path(self.path_entry, self.metadata_dir))

    def __reduce__(self) -> "tuple[type[_Dist], tuple[str, str]]":
        return _Dist, (self.path_entry, self.metadata_dir)


class _Fields:
    """What an `EntryPoint` holds, still open for writing.

    Setting an attribute of an immutable class goes through `__setattr__`, or around it through a
    dict, and both cost more than to set it here and to change the class afterwards (measured).
    `_dist_of` has a slot, so that the instance's dict holds what CPython's does and nothing else.
    """

    __slots__ = ("__dict__", "__weakref__", "_dist_of")

    name: str
    value: str
    group: str
    _dist_of: "_Dist | None"


_fields_of = _Fields.__dict__["__dict__"].__get__
_set_dist_of = _Fields.__dict__["_dist_of"].__set__


class _LazyDist:
    """`EntryPoint.dist`: built on first use, and then found in the instance's dict before this."""

    def __get__(self, entry_point: "EntryPoint | None", owner: object) -> "Distribution | None":
        if entry_point is None or entry_point._dist_of is None:
            return None
        dist = entry_point._dist_of.dist()
        _fields_of(entry_point)["dist"] = dist
        return dist


class _LazyPattern:
    """`EntryPoint.pattern`: compiled on first use, which then replaces this."""

    def __get__(self, entry_point: object, owner: "type[EntryPoint]") -> "re.Pattern[str]":
        import re

        # CPython's own, letter for letter.
        pattern = re.compile(
            r"(?P<module>[\w.]+)\s*"
            r"(:\s*(?P<attr>[\w.]+)\s*)?"
            r"((?P<extras>\[.*\])\s*)?$"
        )
        EntryPoint.pattern = pattern  # type: ignore[assignment]
        return pattern


class EntryPoint(_Fields):
    """An entry point: in `group`, under `name`, a dist offers the object that `value` refers to.

    A value is `module`, `module:attr`, or either with `[extras]` behind it; white space around the
    colon, after the attribute and after the extras doesn't count:

    >>> ep = EntryPoint("shout", "alpha.plugins:Shout.run [color, sound]", "app.plugins")
    >>> ep.module, ep.attr, ep.extras
    ('alpha.plugins', 'Shout.run', ['color', 'sound'])

    Immutable. Equal to, and ordered among, others by (name, value, group), those of
    `importlib.metadata` included.
    """

    __slots__ = ()

    dist = _LazyDist()
    pattern = _LazyPattern()

    def __init__(self, name: str, value: str, group: str) -> None:
        _set_dist_of(self, None)
        _fields_of(self).update(name=name, value=value, group=group)

    @classmethod
    def _of(cls, name: str, value: str, group: str, dist_of: "_Dist | None") -> "EntryPoint":
        """The same with the distribution that `dist_of` names, and cheaper than the constructor."""
        made: Any = _Fields()
        made.name = name
        made.value = value
        made.group = group
        made._dist_of = dist_of
        made.__class__ = cls
        return made  # type: ignore[no-any-return]

    @property
    def __dict__(self) -> "dict[str, Any]":  # type: ignore[override]
        # `vars(ep)` has a "dist" in CPython, so it is time to build it.
        self.dist  # noqa: B018
        return _fields_of(self)  # type: ignore[no-any-return]

    def load(self) -> "Any":
        """Import the module, and give its attribute that the value names, or the module itself."""
        from importlib import import_module

        module, attr = self._plain() or self._match().group("module", "attr")
        found: Any = import_module(module)
        for name in (attr or "").split("."):
            if name:
                found = getattr(found, name)
        return found

    @property
    def module(self) -> str:
        plain = self._plain()
        return plain[0] if plain else self._checked_match().group("module")

    @property
    def attr(self) -> "str | None":
        plain = self._plain()
        return plain[1] if plain else self._checked_match().group("attr")

    @property
    def extras(self) -> "list[str]":
        if self._plain():
            return []
        match = self._checked_match()
        import re

        return re.findall(r"\w+", match.group("extras") or "")

    def _plain(self) -> "tuple[str, str | None] | None":
        """Module and attribute of a value that needs no pattern, as it has no blank or extras."""
        value: Any = self.value  # whatever the constructor was given
        if not isinstance(value, str):
            return None
        module, colon, attr = value.partition(":")
        if not _is_of_word_characters(module):
            return None
        if not colon:
            return module, None
        return (module, attr) if _is_of_word_characters(attr) else None

    def _match(self) -> "Any":
        return self.pattern.match(self.value)

    def _checked_match(self) -> "Any":
        # A value that is no object reference raises what CPython of this version raises: an
        # AssertionError from 3.13 on; before, and with -O, the AttributeError that None gives rise
        # to in the caller.
        match = self._match()
        from sys import version_info

        if version_info >= (3, 13):
            assert match is not None
        return match

    def matches(self, **params: "Any") -> bool:
        """Whether each parameter equals the attribute of that name, compared from left to right.

        >>> EntryPoint("shout", "alpha:Shout", "app").matches(group="app", module="alpha")
        True
        """
        # The wanted one first: it is its `==` that is asked.
        return all(wanted == getattr(self, name) for name, wanted in params.items())

    def _for(self, dist: "Distribution") -> "EntryPoint":
        _set_dist_of(self, None)
        _fields_of(self).update(dist=dist)
        return self

    def _key(self) -> "tuple[str, str, str]":
        # Under this name, as `importlib.metadata`'s ask it of what they are compared with.
        return self.name, self.value, self.group

    def __lt__(self, other: object) -> bool:
        key = _key_of(other)
        return NotImplemented if key is None else self._key() < key

    def __gt__(self, other: object) -> bool:
        # For 3.10, whose own entry points are tuples that don't know how to compare with this.
        key = _key_of(other)
        return NotImplemented if key is None else self._key() > key

    def __eq__(self, other: object) -> bool:
        key = _key_of(other)
        return NotImplemented if key is None else self._key() == key

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("EntryPoint objects are immutable.")

    def __repr__(self) -> str:
        return f"EntryPoint(name={self.name!r}, value={self.value!r}, group={self.group!r})"

    def __reduce__(self) -> "tuple[Any, ...]":
        fields = dict(_fields_of(self))
        if self._dist_of is not None:
            fields.pop("dist", None)
        return _restore, (self.__class__, fields, self._dist_of)


def _is_of_word_characters(text: str) -> bool:
    """Whether `[\\w.]+` matches the text, and it has more to it than `_` and `.`."""
    return text.replace(".", "").replace("_", "").isalnum()


def _key_of(other: object) -> "tuple[str, str, str] | None":
    """What an entry point, of whichever class, is compared by; None for anything else."""
    try:
        return other._key()  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        # 3.10's are named tuples.
        return other if isinstance(other, tuple) and hasattr(other, "_fields") else None


def _restore(
    cls: "type[EntryPoint]", fields: "dict[str, Any]", dist_of: "_Dist | None"
) -> EntryPoint:
    """The entry point that was pickled or copied."""
    restored = cls.__new__(cls)
    _set_dist_of(restored, dist_of)
    _fields_of(restored).update(fields)
    return restored


class EntryPoints(_Tuple):
    """Entry points, in the order in which their distributions are found."""

    __slots__ = ()

    def __getitem__(self, name: str) -> EntryPoint:  # type: ignore[override]
        """The first entry point of that name; KeyError if there is none."""
        for entry_point in self.select(name=name):
            return entry_point
        raise KeyError(name)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({tuple(self)!r})"

    def select(self, **params: "Any") -> "EntryPoints":
        """Those that match all parameters (see `EntryPoint.matches`)."""
        return EntryPoints(entry_point for entry_point in self if entry_point.matches(**params))

    @property
    def names(self) -> "set[str]":
        """The names of all, each once."""
        return {entry_point.name for entry_point in self}

    @property
    def groups(self) -> "set[str]":
        """The groups of all, each once."""
        return {entry_point.group for entry_point in self}

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[EntryPoint]: ...
