"""`pkg_resources` of an old setuptools (66.1.1, which starts on CPython 3.11 to 3.13 and warns of
nothing), which has no cache: to import it looks at every dist.

Of two dists of one name in a path entry it takes the newer version. Values are put together again
from what it takes them apart into, which has several extras in any order.
"""

ORDERED = ()


def find(job):
    import pkg_resources

    if job.group is not None:
        found = pkg_resources.iter_entry_points(job.group)
        return [(job.group, point.name, value_of(point)) for point in found]
    return [
        (group, point.name, value_of(point))
        for dist in pkg_resources.working_set
        for group, points in dist.get_entry_map().items()
        for point in points.values()
    ]


def value_of(point):
    """The value, as tools write it."""
    return str(point).partition(" = ")[2].replace(",", ", ")
