"""The caches that were not chosen, each as its author would write it.

Nine of them are a format (`ini`, `json`, `sqlite`) and what one file is of:

- `sys-path`: of a whole `sys.path`. Fresh while each path entry has the modification time that it
  had;
- `path-entry`: of one path entry. The same;
- `dist`: of one dist. Fresh while its `entry_points.txt` has the modification time that it had;
  which dists there are says the listing of the path entry.

`mirror-files` has copies of the `entry_points.txt`, named as epcache names them: the path entry is
listed, and what is copied is believed by its name alone.

All keep CPython's order and shadowing. None sees what it does not compare: see `docs/design.md`.
Only what is stale is built again; what can't be written is answered all the same. A zip has no
files of `dist` and `mirror-files`; `importlib.metadata` reads it each time.
"""

import os
import sys

import _record

FORMATS = ("ini", "json", "sqlite")
LAYOUTS = ("sys-path", "path-entry", "dist")
STRATEGIES = (*(f"{form}-{layout}" for form in FORMATS for layout in LAYOUTS), "mirror-files")


def build(job):
    """What answers, in the order of `sys.path`. What is stale is written anew."""
    form, _, layout = job.strategy.partition("-")
    if job.strategy == "mirror-files":
        import _mirror

        return [_mirror.of_mirror(job, path_entry) for path_entry in sys.path]
    store = __import__(f"_store_{form}")
    directory = os.path.join(job.cache, job.strategy)
    if layout == "dist":
        return [of_dists(job, store, directory, path_entry) for path_entry in sys.path]
    if layout == "path-entry":
        return [whole(job, store, directory, [path_entry]) for path_entry in sys.path]
    return [whole(job, store, directory, sys.path)]


def whole(job, store, directory, path):
    """The record of a `sys.path`, or of one path entry."""
    file = os.path.join(directory, _record.file_for(*path) + store.SUFFIX)
    record = store.load(file, job.group, _record.stamps(path))
    if record is None:
        import _sources

        if job.strategy.endswith("sys-path"):
            record = _sources.of_sys_path(path)
        else:
            record = _sources.of_path_entry(path[0])
        store.save(file, record)
    return record


def of_dists(job, store, directory, path_entry):
    """What the files of one path entry's dists say."""
    import _listing

    mirror = os.path.join(directory, _record.file_for(path_entry))
    files = set()

    def one(metadata_dir, name):
        path = os.path.join(path_entry, metadata_dir)
        source = os.path.join(path, "entry_points.txt")
        seen = _record.stamps([source])
        if seen[0][1] is None and name is not None:
            return name, []  # it declares nothing, so there is no file either
        file = metadata_dir + store.SUFFIX
        files.add(file)
        file = os.path.join(mirror, file)
        record = store.load(file, job.group, seen)
        if record is None:
            import _sources

            record = _sources.of_dist(path, source)
            store.save(file, record)
        return record.name(0), [row[2:] for row in record.rows]

    found = _listing.of_listing(path_entry, one)
    if job.work == "build":
        _record.keep_only(mirror, store.SUFFIX, files)
    return found


def find(job):
    """The entry points of the dists that are not shadowed by one of an earlier path entry."""
    found = []
    earlier = []
    for record in build(job):
        shown = {}
        for _, dist, group, name, value in record.rows:
            if dist not in shown:
                shown[dist] = not any(other.has(record.name(dist)) for other in earlier)
            if shown[dist] and job.group in (None, group):
                found.append((group, name, value))
        earlier.append(record)
    return found
