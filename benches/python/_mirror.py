"""Mirror files: copies of each `entry_points.txt`, under the names that epcache gives them. For
`cached.py`."""

import os

import _listing
import _record


def of_mirror(job, path_entry):
    """What the mirror files of one path entry say."""
    mirror = job.cache + os.path.abspath(path_entry)
    files = set()

    def one(metadata_dir, name):
        path = os.path.join(path_entry, metadata_dir)
        file = os.path.join(mirror, metadata_dir + ".txt")
        files.add(metadata_dir + ".txt")
        text = None
        if job.work != "build" or is_copied(path, file):
            text = read(file)
        if text is None:
            text = copy(path, file)
        if name is None:  # it is in the metadata, which is not copied
            import _sources

            name = _sources.of_dist(path, path).name(0)
        return name, _listing.parse(text.decode())

    found = _listing.of_listing(path_entry, one)
    if job.work == "build":
        _record.keep_only(mirror, ".txt", files)
    return found


def is_copied(path, file):
    """Whether a mirror file has the time of its source, or of the dist, if that has none."""
    source = _record.mtime(os.path.join(path, "entry_points.txt")) or _record.mtime(path)
    return source == _record.mtime(file)


def copy(path, file):
    """Copies a source, with its time. A dist without one has an empty copy."""
    source = os.path.join(path, "entry_points.txt")
    modified = _record.mtime(source) or _record.mtime(path)
    text = read(source) or b""
    _record.write_atomically(file, text, modified)
    return text


def read(file):
    """What is in a file; None if there is none."""
    try:
        with open(file, "rb", buffering=0) as opened:
            return opened.read()
    except OSError:
        return None
