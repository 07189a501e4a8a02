"""`epcache.ini`, read as the command reads it: what the environment leaves open.

Only imported if there is such a file. A program must start whatever is in it, so what is wrong with
it is told by a warning and by `epcache paths`, and passed over.
"""

import os

from ._cache import MODES, OPEN_FLAGS, REGULAR, is_trusted

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
            _warn(f"{file}: mode {mode!r} is none of {', '.join(MODES)}")
            mode = None
    if paths is None:
        paths = [path for path in settings.get("path", "").split(os.pathsep) if path] or None
        if paths and not all(path.startswith("/") for path in paths):
            _warn(f"{file}: path: not all of these are absolute: {os.pathsep.join(paths)}")
            paths = None
    return mode, paths


def _text_of(file: str) -> "str | None":
    """What the file holds, if nobody else could have written it."""
    try:
        opened = os.open(file, OPEN_FLAGS)
        try:
            stat = os.fstat(opened)
            if not is_trusted(stat) or stat.st_mode & 0o170000 != REGULAR:
                return None
            data = os.read(opened, _MAX_CONFIG + 1)
        finally:
            os.close(opened)
        return data.decode("utf-8-sig") if len(data) <= _MAX_CONFIG else None
    except (OSError, ValueError):
        return None


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


def _warn(message: str) -> None:
    import warnings

    warnings.warn(message, stacklevel=5)
