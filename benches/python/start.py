"""Starts a contender. What is started is compiled by each process, so there is no more of it."""

import time

START = time.perf_counter_ns()

import _contender  # noqa: E402  # the clock starts before anything is imported

_contender.run(START)
