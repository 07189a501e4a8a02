"""Tells how long a program spends in asking for entry points: a `sitecustomize` of its own.

Counted are calls from outside: of `importlib.metadata.entry_points`, of the iterator that
`distributions` returns, of `Distribution.entry_points`, and of what stevedore's cache offers. Not
counted are imports and the loading of what was found. The last line on standard error is the sum.
"""

import atexit
import builtins
import sys
import time

spent = 0
depth = 0
wrapped = set()


def timed(function):
    def wrapper(*args, **kwargs):
        global spent, depth
        depth += 1
        start = time.perf_counter_ns()
        try:
            return function(*args, **kwargs)
        finally:
            depth -= 1
            if not depth:
                spent += time.perf_counter_ns() - start

    return wrapper


def timed_iterator(function):
    def wrapper(*args, **kwargs):
        advance = timed(iter(timed(function)(*args, **kwargs)).__next__)
        while True:
            try:
                dist = advance()
            except StopIteration:
                return
            wrap_dist(type(dist))
            yield dist

    return wrapper


def wrap_dist(kind):
    """Another program's classes may have an `entry_points` of their own."""
    for base in kind.__mro__:
        if base not in wrapped and "entry_points" in vars(base):
            wrapped.add(base)
            get = vars(base)["entry_points"].__get__
            base.entry_points = property(timed(get))


def wrap_modules():
    metadata = sys.modules.get("importlib.metadata")
    if "metadata" not in wrapped and hasattr(metadata, "entry_points"):
        wrapped.add("metadata")
        metadata.entry_points = timed(metadata.entry_points)
        metadata.distributions = timed_iterator(metadata.distributions)
    cache = sys.modules.get("stevedore._cache")
    if "stevedore" not in wrapped and hasattr(cache, "get_group_all"):
        wrapped.add("stevedore")
        for name in [name for name in vars(cache) if name.startswith("get_")]:
            setattr(cache, name, timed(getattr(cache, name)))


def import_and_wrap(*args, original=builtins.__import__, **kwargs):
    module = original(*args, **kwargs)
    wrap_modules()
    return module


builtins.__import__ = import_and_wrap
atexit.register(lambda: print(f"asking_ns={spent}", file=sys.stderr))
