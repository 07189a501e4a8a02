"""Where the `epcache` command is: it comes in the same wheel as this module.

Used by `python -m epcache` and by what refreshes a stale cache; no lookup needs it.
"""

import os
import sys

NAME = "epcache"

_WRITABLE_BY_ALL = 0o002


def find_command(*, trusted_only: bool = False) -> "str | None":
    """The absolute path of the `epcache` executable to run; None where there is none.

    The one that was installed with this module, else one beside the running interpreter, else the
    first on PATH. Relative items of PATH are passed over: what is in the current directory,
    whoever put it there, is not to be run by the way. Nor, where nobody has asked for the command
    (`trusted_only`), is what somebody else could have put where it is.
    """
    for directory in _directories():
        command = os.path.join(directory, NAME)
        if not os.path.isfile(command) or not os.access(command, os.X_OK):
            continue
        if not trusted_only or (_is_trusted(directory) and _is_trusted(command)):
            return command
    return None


def _is_trusted(path: str) -> bool:
    """Whether it is root's or this user's, and not for everybody to write.

    A group may: on Debian, /usr/local/bin is the group staff's.
    """
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & _WRITABLE_BY_ALL


def _directories() -> "list[str]":
    """Where the command can be, the likeliest first."""
    # There may be no file, as in a frozen program.
    file: str = globals().get("__file__") or ""
    directories = _scripts_directories(os.path.dirname(os.path.dirname(file)))
    # Empty or None where the interpreter is embedded in another program.
    if sys.executable:
        directories.append(os.path.dirname(sys.executable))
    directories += os.environ.get("PATH", "").split(os.pathsep)
    return [directory for directory in directories if os.path.isabs(directory)]


def _scripts_directories(site_packages: str) -> "list[str]":
    """Where an installer puts commands that come with the modules in this directory.

    `PREFIX/bin`, if the modules are in `PREFIX/lib/pythonX.Y/site-packages` (on some systems in
    `lib64`, in `dist-packages`, in `python3`); and for `pip install --target DIR`, `DIR/bin`.
    """
    directories = [os.path.join(site_packages, "bin")]
    rest, packages = os.path.split(site_packages)
    rest, python = os.path.split(rest)
    prefix, lib = os.path.split(rest)
    # Of a module that lies somewhere else, three directories up is anybody's.
    is_known = packages in ("site-packages", "dist-packages")
    if is_known and python.startswith("python") and lib.startswith("lib"):
        directories.insert(0, os.path.join(prefix, "bin"))
    return directories
