"""The backport `importlib_metadata`, which has no cache: what the next `importlib.metadata` will
be."""


def find(job):
    from importlib_metadata import entry_points

    found = entry_points() if job.group is None else entry_points(group=job.group)
    return [(point.group, point.name, point.value) for point in found]
