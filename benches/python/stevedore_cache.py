"""stevedore's own cache, as its managers ask it (stevedore 5.10, `stevedore/_cache.py`).

It drops an entry point that is declared twice. It keeps no cache for an interpreter below `/tmp`.
There is no call for all groups; what is loaded for one has them all, in no order.
"""

import os

ORDERED = ("find",)


def build(job):
    find(job)


def find(job):
    os.environ["XDG_CACHE_HOME"] = job.cache
    from stevedore import _cache

    if job.group is not None:
        found = _cache.get_group_all(job.group)
        return [(point.group, point.name, point.value) for point in found]
    groups = _cache._c._get_data_for_path(None)["groups"]
    return [(group, name, value) for rows in groups.values() for name, value, group in rows]
