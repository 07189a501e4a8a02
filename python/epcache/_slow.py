"""Checking the dists of an index where each `stat` is waited for: many at the same time.

On a network file system, and on a disk that has not been read yet, the time goes into waiting. The
answers are the same as of one check after the other (`Index.changed`), which starts this when the
first ones took long.
"""

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# So many are waited for at once: about as many as network file systems ask a server in parallel.
_THREADS = 16


def in_parallel(work: "Callable[[int, int], list[int]]", start: int, end: int) -> "list[int]":
    """What `work` gives for the numbers from `start` up to `end`, all together and in order.

    It is called for parts of them, in threads that have done their work when this returns.
    """
    size = max(-(-(end - start) // _THREADS), 1)
    parts = [(at, min(at + size, end)) for at in range(start, end, size)]
    results: list[list[int] | None] = [None] * len(parts)
    running = []

    def run(number: int, done: "_thread.LockType") -> None:
        try:
            results[number] = work(*parts[number])
        except BaseException:
            pass  # it is done again by the caller, who is to see it
        finally:
            done.release()

    for number in range(len(parts)):
        done = _thread.allocate_lock()
        done.acquire()
        try:
            _thread.start_new_thread(run, (number, done))
        except RuntimeError:
            break  # no more threads, or the interpreter is ending: the rest is done below
        running.append(done)
    for done in running:
        done.acquire()
    found: list[int] = []
    for part, result in zip(parts, results, strict=True):
        found += work(*part) if result is None else result
    return found
