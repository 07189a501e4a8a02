"""Warnings: told to the program that asked, not to the module in here that found the reason."""

import sys


class StaleCacheWarning(UserWarning):
    """The cache is stale and nothing will refresh it: answers are right, but slow."""

    __module__ = __package__


class BrokenMetadataWarning(UserWarning):
    """Something installed can't be read, and was left out; `importlib.metadata` mostly fails."""

    __module__ = __package__


def warn(message: str, category: "type[Warning]" = UserWarning) -> None:
    """Issues a warning that points to the first caller outside of this package."""
    try:
        import warnings
    except ImportError:  # sys.path may be without the standard library by now
        return

    level = 2
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
