"""Mirror files: copies of each `entry_points.txt`, under the names that epcache gives them. For
`cached`."""

import os

import _listing
import _record


def of_mirror(job, path_entry):
    """What the mirror files of one path entry say."""
    mirror = f"{job.cache}{os.path.abspath(path_entry)}/"
    sources = os.path.join(path_entry, "")
    is_build = job.work == "build"
    files = set()

    def one(metadata_dir, name):
        source = sources + metadata_dir
        file = f"{mirror}{metadata_dir}.txt"
        seen = modified(source) if is_build else None
        text = read(file) if not is_build or seen == _record.mtime(file) else None
        if text is None:
            text = copy(source, file, seen or modified(source))
        if name is None:  # it is in the metadata, which is not copied
            import _sources

            name = _sources.name_of(source)
        if is_build:
            files.add(metadata_dir + ".txt")
            return name, []  # nobody asks
        return name, _listing.parse(text, job.group)

    found = _listing.of_listing(path_entry, job.group, one)
    if is_build:
        _record.keep_only(mirror, ".txt", files)
    return found


def copy(path, file, seen):
    """Copies a source, with its time. A dist without one has an empty copy."""
    text = read(f"{path}/entry_points.txt") or b""
    _record.write_atomically(file, text, seen)
    return text


def modified(path):
    """When the source of a dist was modified, or the dist, if that has none."""
    return _record.mtime(f"{path}/entry_points.txt") or _record.mtime(path)


def read(file):
    """What is in a file; None if there is none."""
    try:
        return _record.read(file)
    except OSError:
        return None
