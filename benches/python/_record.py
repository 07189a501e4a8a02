"""What one file of a cache holds, in whichever format, and how it is known, read and written: for
`cached`."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    # The normalized name of the dist, group, name, value.
    Row = tuple[str, str, str, str]
    # A path, escaped, and its modification time; None if there is no such file.
    Seen = list[list[object]]

_made: "set[str]" = set()


class Record:
    """The contents of one file of a cache, or of as much of it as was asked for."""

    def __init__(self, seen: "Seen", names: "list[str]", rows: "list[Row]") -> None:
        # By what it is known to be fresh.
        self.seen = seen
        # The normalized names of the dists, in order.
        self.names = names
        # In CPython's order.
        self.rows = rows
        self.has_dists = bool(names)

    def name(self) -> str:
        """The normalized name of the dist, where there is only one."""
        return self.names[0]

    def known(self, names: "set[str]") -> "Iterable[str]":
        """Those of some normalized names that a dist here has."""
        return names.intersection(self.names)

    def close(self) -> None:
        """Nobody will ask it for more names."""

    def of_group(self, group: "str | None") -> "Record":
        """Of what was just read, only what is asked for."""
        if group is None:
            return self
        return Record(self.seen, self.names, [row for row in self.rows if row[1] == group])


def stamps(paths: "list[str]") -> "Seen":
    """The state of files now. The names are escaped: not every format takes what a path can be."""
    return [[ascii(path), mtime(path)] for path in paths]


def mtime(path: str) -> "int | None":
    """When a file was modified, in nanoseconds; None if there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def file_for(paths: "list[str]") -> str:
    """A file's name for these. It says in the file for which it is, so a short hash will do: to
    import `hashlib` takes longer than to read most caches."""
    from binascii import crc32

    return f"{crc32(os.fsencode(os.pathsep.join(paths))):08x}"


def read(path: str) -> bytes:
    """What is in a file, with fewer system calls than an `open()` makes."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def write_atomically(path: str, data: bytes, modified: "int | None" = None) -> None:
    """Writes a file under a temporary name and renames it. It need not be possible."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        make_directory_of(path)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            written = os.write(file, data)
            if modified is not None:
                os.utime(file, ns=(modified, modified))
        finally:
            os.close(file)
        if written < len(data):
            raise OSError(f"only {written} bytes written")
        os.replace(temporary, path)
    except OSError:
        remove(temporary)


def make_directory_of(path: str) -> None:
    """Makes the directory of a file, unless this process has done so before."""
    directory = os.path.dirname(path)
    if directory not in _made:
        os.makedirs(directory, exist_ok=True)
        _made.add(directory)


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
