"""Reading the sources, by `importlib.metadata`: only who has to rebuild a cache pays for that."""

from importlib.metadata import Distribution, distributions

from _record import Record, stamps


def of_sys_path(path):
    """One record of all of a `sys.path`, without what is shadowed: nobody will ask for names."""
    seen = stamps(path)
    record = _of(seen, distributions(path=path))
    return Record(seen, [""], [(row[0], 0, *row[2:]) for row in record.rows])


def of_path_entry(path_entry):
    """The record of one path entry. What a dist of it shadows in it is left out."""
    seen = stamps([path_entry])
    return _of(seen, distributions(path=[path_entry]))


def of_dist(metadata_dir, source):
    """The record of one dist: of its metadata directory, a path, known by its source."""
    return _of(stamps([source]), [Distribution.at(metadata_dir)])


def _of(seen, dists):
    names = {}
    rows = []
    for dist in dists:
        name = dist._normalized_name
        if name in names:
            continue
        number = names[name] = len(names)
        for point in dist.entry_points:
            rows.append((len(rows), number, point.group, point.name, point.value))
    return Record(seen, list(names), rows)
