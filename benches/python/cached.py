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


def find(job):
    """The entry points of the dists that are not shadowed by one of an earlier path entry."""
    found = []
    earlier = []
    for record in records(job):
        names = {row[0] for row in record.rows} if earlier else ()
        shadowed = set().union(*(other.known(names) for other in earlier if names))
        found += [row[1:] for row in record.rows if row[0] not in shadowed]
        if record.has_dists:
            earlier.append(record)
    return found


def build(job):
    """Makes all fresh. The entry points of no group are to be had for next to nothing."""
    job.group = ""
    records(job)


def records(job):
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
        return [of_path_entry(job, store, directory, path_entry) for path_entry in sys.path]
    return [of_sys_path(job, store, directory)]


def of_sys_path(job, store, directory):
    """The record of all of `sys.path`."""
    file = os.path.join(directory, _record.file_for(sys.path) + store.SUFFIX)
    record = store.load(file, job.group, _record.stamps(sys.path))
    if record is None:
        import _listing

        record = _listing.read_sys_path(sys.path)
        store.save(file, record)
        record = record.of_group(job.group)
    return record


def of_path_entry(job, store, directory, path_entry):
    """The record of one path entry."""
    file = f"{directory}{os.path.abspath(path_entry)}/all{store.SUFFIX}"
    record = store.load(file, job.group, _record.stamps([path_entry]))
    if record is None:
        import _listing

        record = _listing.read_path_entry(path_entry)
        store.save(file, record)
        record = record.of_group(job.group)
    return record


def of_dists(job, store, directory, path_entry):
    """What the files of one path entry's dists say."""
    import _listing

    mirror = f"{directory}{os.path.abspath(path_entry)}/"
    sources = os.path.join(path_entry, "")
    is_build = job.work == "build"
    files = set()

    def one(metadata_dir, name):
        seen = _record.stamps([f"{sources}{metadata_dir}/entry_points.txt"])
        if seen[0][1] is None and name is not None:
            return name, []  # it declares nothing, so there is no file either
        file = metadata_dir + store.SUFFIX
        if is_build:
            files.add(file)
        file = mirror + file
        record = store.load(file, job.group, seen)
        if record is None:
            its_name, points = _listing.read_dist(sources + metadata_dir, name)
            rows = [(its_name, *point) for point in points]
            record = _record.Record(seen, [its_name], rows)
            store.save(file, record)
            record = record.of_group(job.group)
        name = name or record.name()
        record.close()
        return name, [row[1:] for row in record.rows]

    found = _listing.of_listing(path_entry, job.group, one)
    if is_build:
        _record.keep_only(mirror, store.SUFFIX, files)
    return found
