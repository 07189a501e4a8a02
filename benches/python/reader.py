"""The reader of epcache, as an application uses it, in one of its modes.

What is stale is answered all the same, and refreshed in the background, unless `EPCACHE_ON_STALE`
says otherwise: as in an application. Mode `only` looks at no path entry, so it knows of an install
when somebody has synced.
"""

import os

STRATEGIES = ("exact", "fast", "only")


def build(job):
    import _epcache

    _epcache.sync(job)


def find(job):
    os.environ["EPCACHE_PATH"] = job.cache
    os.environ["EPCACHE_MODE"] = job.strategy
    from epcache import entry_points

    found = entry_points() if job.group is None else entry_points(group=job.group)
    return [(point.group, point.name, point.value) for point in found]
