"""`epcache.ini`, read as the command reads it: what the environment leaves open.

Only imported if there is such a file. A program must start whatever is in it, so what is wrong with
it is told by a warning and by `epcache paths`, and passed over.
"""

import os

from ._cache import MODES, OPEN_FLAGS, REGULAR, TYPE, absolute_paths, is_trusted
from ._warn import warn

# The largest configuration that is read, in bytes.
_MAX_CONFIG = 1 << 20


def complete(
    file: str, mode: "str | None", paths: "list[str] | None"
) -> "tuple[str | None, list[str] | None]":
    """Takes from a configuration file what is not given yet: `mode` and `path` in `[epcache]`."""
    text = _text_of(file)
    if text is None:
        return mode, paths
    settings = _settings(text)
    if mode is None:
        mode = settings.get("mode")
        if mode is not None and mode not in MODES:
            warn(f"{file}: mode {mode!r} is none of {', '.join(MODES)}")
            mode = None
    if paths is None:
        paths = absolute_paths(f"{file}: path", settings.get("path", ""))
    return mode, paths


def _text_of(file: str) -> "str | None":
    """What the file holds, if nobody else could have written it."""
    try:
        opened = os.open(file, OPEN_FLAGS)
        try:
            stat = os.fstat(opened)
            if not is_trusted(stat) or stat.st_mode & TYPE != REGULAR:
                return None
            data = os.read(opened, _MAX_CONFIG + 1)
        finally:
            os.close(opened)
    except OSError:
        return None
    if len(data) > _MAX_CONFIG:
        return None
    # A path in it must be the one that the file system has, in any locale.
    return os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))


def _settings(text: str) -> "dict[str, str]":
    """The settings of the section `[epcache]`."""
    settings: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        line = line.strip()
        if line[:1] == "[":
            section = line[1:].partition("]")[0].strip()
        elif line[:1] not in ("", "#", ";") and section == "epcache":
            # Whichever of both comes first, as in the command's parser.
            at = min((i for i in (line.find("="), line.find(":")) if i >= 0), default=-1)
            if at > 0:
                settings.setdefault(line[:at].strip(), line[at + 1 :].strip())
    return settings
