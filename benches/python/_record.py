"""What one file of a cache holds, in whichever format, and how it is known and written: for
`cached.py`."""

import os
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    # A number by which rows are in CPython's order, the number of the dist, group, name, value.
    Row = tuple[int, int, str, str, str]
    # A path, escaped, and its modification time; None if there is no such file.
    Seen = list[list[object]]


class Record:
    """The contents of one file of a cache, or of as much of it as was asked for."""

    def __init__(self, seen: "Seen", names: "list[str]", rows: "list[Row]") -> None:
        # By what it is known to be fresh.
        self.seen = seen
        # The normalized names of the dists, in order.
        self.names = names
        self.rows = rows
        self._known: set[str] | None = None

    def name(self, dist: int) -> str:
        """The normalized name of a dist."""
        return self.names[dist]

    def has(self, name: str) -> bool:
        """Whether a dist of this normalized name is here."""
        if self._known is None:
            self._known = set(self.names)
        return name in self._known


def stamps(paths: "list[str]") -> "Seen":
    """The state of files now. The names are escaped: not every format takes what a path can be."""
    return [[ascii(path), mtime(path)] for path in paths]


def mtime(path: str) -> "int | None":
    """When a file was modified, in nanoseconds; None if there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def file_for(*paths: str) -> str:
    """A file's name for these. It says in the file for which it is, so a short hash will do: to
    import `hashlib` takes longer than to read most caches."""
    return f"{crc32(os.fsencode(os.pathsep.join(paths))):08x}"


def write_atomically(path: str, data: bytes, modified: "int | None" = None) -> None:
    """Writes a file under a temporary name and renames it. It need not be possible."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
        if modified is not None:
            os.utime(temporary, ns=(modified, modified))
        os.replace(temporary, path)
    except OSError:
        remove(temporary)


def remove(path: str) -> None:
    """Removes a file, if it is there and can be removed."""
    try:
        os.unlink(path)
    except OSError:
        pass


def keep_only(directory: str, suffix: str, files: "set[str]") -> None:
    """Removes the files with this suffix, but for these."""
    try:
        for file in os.listdir(directory):
            if file.endswith(suffix) and file not in files:
                remove(os.path.join(directory, file))
    except OSError:
        pass
