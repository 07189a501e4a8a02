"""The floor: a bare interpreter, and for each path entry one `stat` of it, and one `open` and one
`read` of its index. Nothing is made of what was read, so it answers nothing.

The cache is one that `reader` can read; both build it in the same way.
"""

import os
import sys

ORDERED = ()

# All of it is to be had in one read; only as much memory is used as there is.
MAX_INDEX = 16 << 20


def build(job):
    import _epcache

    _epcache.sync(job)


def find(job):
    for path_entry in sys.path:
        try:
            os.stat(path_entry)
            file = os.open(f"{job.cache}{path_entry}/.index", os.O_RDONLY)
        except OSError:
            continue  # no such path entry, or no dists in it
        os.read(file, MAX_INDEX)
        os.close(file)
    return []
