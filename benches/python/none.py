"""No cache: `importlib.metadata`, as an application asks it."""

import sys


def find(job):
    from importlib.metadata import entry_points

    if job.group is not None:
        found = entry_points(group=job.group)
    elif sys.version_info >= (3, 12):
        found = entry_points()
    else:
        found = unsorted()
    return [(point.group, point.name, point.value) for point in found]


def unsorted():
    """All of them in the order of 3.12 and newer, which all contenders give: older ones would do
    the same, and then sort it by group."""
    from importlib.metadata import distributions

    names = set()
    found = []
    for dist in distributions():
        name = dist._normalized_name
        if name not in names:
            names.add(name)
            found += dist.entry_points
    return found
