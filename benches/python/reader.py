"""The reader of epcache, as an application uses it, in one of its modes.

What is stale is answered all the same, and refreshed in the background, unless `EPCACHE_ON_STALE`
says otherwise: as in an application. Mode `only` looks at no path entry, so it knows of an install
when somebody has synced.
"""

# ruff: noqa: E402, RUF100  # the clock starts before anything is imported
import time

START = time.perf_counter_ns()

import os

import _contender
import _epcache


def find(job):
    os.environ["EPCACHE_PATH"] = job.cache
    os.environ["EPCACHE_MODE"] = job.strategy
    from epcache import entry_points

    found = entry_points() if job.group is None else entry_points(group=job.group)
    return [(point.group, point.name, point.value) for point in found]


_contender.run(START, _epcache.sync, find, strategies=("exact", "fast", "only"))
