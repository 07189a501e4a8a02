"""What a listing does not say, by `importlib.metadata`: only who needs it pays for that."""

from importlib.metadata import Distribution, distributions

from _record import Record


def of_path_entry(path_entry):
    """The record of a zip. What a dist of it shadows in it is left out."""
    names = {}
    rows = []
    for dist in distributions(path=[path_entry]):
        name = dist._normalized_name
        if name not in names:
            names[name] = None
            rows += [(name, point.group, point.name, point.value) for point in dist.entry_points]
    return Record([], list(names), rows)


def name_of(metadata_dir):
    """The normalized name of a dist, from its metadata: of its metadata directory, a path."""
    return Distribution.at(metadata_dir)._normalized_name
