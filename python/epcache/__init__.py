"""Entry points from a cache: `importlib.metadata.entry_points`, without reading every distribution.

>>> from epcache import entry_points
>>> plugins = entry_points(group="app.plugins")

The answer is the one that `importlib.metadata` of CPython 3.12 and newer gives in a fresh process,
whatever is in the cache. `Cache` is for programs that decide themselves whether and where there is
one; `patch` for programs that can't be changed.
"""

from ._cache import Cache, environment_cache
from ._entry_point import EntryPoint, EntryPoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._patch import Patch
    from ._warn import BrokenMetadataWarning, StaleCacheWarning

__all__ = [
    "BrokenMetadataWarning",
    "Cache",
    "EntryPoint",
    "EntryPoints",
    "StaleCacheWarning",
    "entry_points",
    "patch",
]

__version__ = "0.1.0"


def entry_points(**params: object) -> EntryPoints:
    """What `importlib.metadata.entry_points(**params)` gives, from the cache where there is one.

    Parameters are attributes of entry points with the values that they must have: `group`, `name`,
    `value`, `module`, `attr`, `extras`. Without any, all entry points are given. The environment
    variables `EPCACHE_MODE`, `EPCACHE_PATH` and `EPCACHE_ON_STALE` and the file `epcache.ini` say
    how much is checked, where caches are, and what is done about a stale one.
    """
    return environment_cache().entry_points(**params)


def patch(cache: "Cache | None" = None) -> "Patch":
    """Serves `importlib.metadata` itself from a cache, in this process, until the object that is
    returned is told to `undo()` it or, used as a context manager, is left."""
    from ._patch import Patch

    return Patch(cache)


if not TYPE_CHECKING:  # or every name would pass for one of this module's

    def __getattr__(name: str) -> object:
        # Most programs never see a warning, and each class costs the time of a dozen lookups.
        if name in ("BrokenMetadataWarning", "StaleCacheWarning"):
            from . import _warn

            return getattr(_warn, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
