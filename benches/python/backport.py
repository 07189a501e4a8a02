"""The backport `importlib_metadata`, which has no cache: what the next `importlib.metadata` will
be."""

# ruff: noqa: E402, RUF100  # the clock starts before anything is imported
import time

START = time.perf_counter_ns()

import _contender


def find(job):
    from importlib_metadata import entry_points

    found = entry_points() if job.group is None else entry_points(group=job.group)
    return [(point.group, point.name, point.value) for point in found]


_contender.run(START, lambda job: None, find)
