"""Reading and checking sources, function by function: what a disk can hardly be made to do.

What the reader makes of it as a whole is asked of CPython, in `test_reader` and `test_conformance`.
"""

import _thread
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import PATIENCE, MakeDist
from epcache import _cache, _slow, _source

MS, SECOND = 1_000_000, 1_000_000_000

# The start of a scan, in nanoseconds, and a time in it that is no whole second.
BEGAN = 1_700_000_000 * SECOND + 500 * MS

LONG_AGO = BEGAN - 3600 * SECOND


# --- Stamps ---------------------------------------------------------------------------------------


def is_settled(*times: int | str) -> bool:
    """Of a file with these times, mtime and then ctime."""
    return _source._is_settled("E" + ":".join(map(str, (7, 42, *times))), BEGAN)


def test_an_old_stamp_is_settled() -> None:
    assert is_settled(LONG_AGO, LONG_AGO)
    assert is_settled(0, LONG_AGO)
    assert is_settled(-5, LONG_AGO)


@pytest.mark.parametrize("age", [0, 1, 99 * MS, 100 * MS - 1])
def test_a_stamp_of_the_last_tick_is_not_settled(age: int) -> None:
    assert not is_settled(BEGAN - age, LONG_AGO)
    assert not is_settled(LONG_AGO, BEGAN - age)
    assert not is_settled(BEGAN - age, BEGAN - age)


def test_a_stamp_is_settled_when_a_tick_has_passed() -> None:
    assert is_settled(BEGAN - 100 * MS, LONG_AGO)
    assert is_settled(LONG_AGO, BEGAN - 100 * MS)


@pytest.mark.parametrize("age", [500 * MS, 1500 * MS])
def test_a_time_in_whole_seconds_takes_longer_to_settle(age: int) -> None:
    assert (BEGAN - age) % SECOND == 0
    assert not is_settled(BEGAN - age, LONG_AGO)
    assert not is_settled(LONG_AGO, BEGAN - age)
    assert is_settled(BEGAN - age - 1, BEGAN - age + 1)


def test_a_time_in_whole_seconds_is_settled_after_two() -> None:
    assert is_settled(BEGAN - 2500 * MS, LONG_AGO)
    assert _source._is_settled(f"E1:1:{2 * SECOND}:{SECOND}", 4 * SECOND)
    assert not _source._is_settled(f"E1:1:{2 * SECOND}:{SECOND}", 4 * SECOND - 1)


@pytest.mark.parametrize("ahead", [1, SECOND, 10**9 * SECOND])
def test_a_time_in_the_future_is_never_settled(ahead: int) -> None:
    assert not is_settled(BEGAN + ahead, LONG_AGO)
    assert not is_settled(LONG_AGO, BEGAN + ahead)


def test_of_a_file_with_several_links_the_modification_time_alone_counts(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    os.link(file, tmp_path / "link")
    os.utime(file, ns=(LONG_AGO, LONG_AGO + 1))
    stamp = _cache.stamp_of_linked(file.stat())
    assert stamp.rpartition(":")[2][0] == "p"
    assert _source._is_settled(f"E{stamp}", BEGAN)
    assert not _source._is_settled(f"E{stamp}", LONG_AGO + 100 * MS)
    assert _source._is_settled(f"E{stamp}", LONG_AGO + 100 * MS + 1)


def test_what_was_just_written_is_read_and_not_remembered(
    tmp_path: Path, make_dist: MakeDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = make_dist(tmp_path, "a-1", "[g]\nx = m\n") / "entry_points.txt"
    bare = make_dist(tmp_path, "b-1")
    written = max(text.stat().st_ctime_ns, bare.stat().st_ctime_ns)
    for name, entries in (("a-1.dist-info", [("g", "x", "m")]), ("b-1.dist-info", [])):
        monkeypatch.setattr("time.time_ns", lambda: written + MS)
        young = _source.read(str(tmp_path), name)
        monkeypatch.setattr("time.time_ns", lambda: written + 3 * SECOND)
        old = _source.read(str(tmp_path), name)
        assert young.entries == old.entries == entries
        assert young.checks is None
        assert old.checks is not None
        assert _cache.holds(str(tmp_path / name), old.checks)


# --- Texts ----------------------------------------------------------------------------------------


def test_of_many_bad_lines_some_are_named_and_the_rest_is_counted() -> None:
    problems: list[str] = []
    text = "[g]\n" + "bad\n" * 1000 + "x = m\n"
    assert _source.parse(text, "/p/entry_points.txt", problems) == [("g", "x", "m")]
    assert len(problems) == _source.MAX_TOLD + 1
    assert problems[0].startswith("/p/entry_points.txt:2: ")
    assert str(1000 - _source.MAX_TOLD) in problems[-1]


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b"#" * (_source.MAX_SOURCE + 1)),
    ],
    ids=["a FIFO", "a device", "too large"],
)
def test_what_is_no_file_of_bounded_size_is_told_and_not_waited_for(
    make: Callable[[Path], object], tmp_path: Path, make_dist: MakeDist
) -> None:
    path = make_dist(tmp_path, "a-1") / "entry_points.txt"
    make(path)
    found = _source.read(str(tmp_path), "a-1.dist-info")
    assert (found.name, found.entries, found.checks) == ("a", [], None)
    [problem] = found.problems
    assert problem.startswith(f"{path}: ")


# --- Many checks at once --------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = _thread._count()
    yield
    deadline = time.monotonic() + PATIENCE
    while _thread._count() > before:  # one that has done its work takes a moment to end
        assert time.monotonic() < deadline, "threads are left"
        time.sleep(0.001)


def odd(first: int, end: int) -> list[int]:
    return [number for number in range(first, end) if number % 2]


@pytest.mark.parametrize("start", [0, 16])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 33, 1000])
def test_what_is_done_in_parallel_gives_what_one_after_the_other_gives(
    start: int, count: int
) -> None:
    parts = []

    def work(first: int, end: int) -> list[int]:
        parts.append((first, end))
        return odd(first, end)

    assert _slow.in_parallel(work, start, start + count) == odd(start, start + count)
    assert sorted(number for part in parts for number in range(*part)) == [
        *range(start, start + count)
    ]


def test_parts_are_done_at_the_same_time_and_put_together_in_order() -> None:
    # Each waits for all others: one after the other, they would never end.
    barrier = threading.Barrier(_slow._THREADS)

    def work(first: int, end: int) -> list[int]:
        barrier.wait(PATIENCE)
        return odd(first, end)

    assert _slow.in_parallel(work, 0, 1000) == odd(0, 1000)


@pytest.mark.parametrize("started", [0, 1, 5])
def test_where_no_more_threads_can_be_started_the_rest_is_done_without(
    started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = _thread.start_new_thread
    left = [None] * started

    def limited(*arguments: Any) -> int:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        return start(*arguments)

    monkeypatch.setattr(_thread, "start_new_thread", limited)
    threads = set()

    def work(first: int, end: int) -> list[int]:
        threads.add(threading.get_ident())
        return odd(first, end)

    assert _slow.in_parallel(work, 16, 1000) == odd(16, 1000)
    assert threading.get_ident() in threads
    assert not left


def test_a_part_that_fails_in_a_thread_is_done_again_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The interpreter shows there what ends a thread.
    caller = threading.get_ident()

    def fails_in_threads(first: int, end: int) -> list[int]:
        if threading.get_ident() != caller and first <= 500 < end:
            raise ValueError("in a thread")
        return odd(first, end)

    assert _slow.in_parallel(fails_in_threads, 0, 1000) == odd(0, 1000)

    def fails(first: int, end: int) -> list[int]:
        if first <= 500 < end:
            raise ValueError("everywhere")
        return odd(first, end)

    with pytest.raises(ValueError, match="everywhere"):
        _slow.in_parallel(fails, 0, 1000)


class SlowStat:
    """`os.stat` as of a file system that is waited for; counts who waits at the same time."""

    def __init__(self, seconds: float) -> None:
        self._stat = os.stat
        self._seconds = seconds
        self._asker = threading.get_ident()
        self._lock = threading.Lock()
        self._never, self._together = threading.Event(), threading.Event()
        self._waiting = 0
        self.most = 0
        self.paths: list[str] = []

    def __call__(self, path: str) -> os.stat_result:
        with self._lock:
            self._waiting += 1
            self.most = max(self.most, self._waiting)
            self.paths.append(path)
            if self._waiting > 1:
                self._together.set()
        self._never.wait(self._seconds)
        # However slowly threads start: one that does not ask by itself waits for another.
        if threading.get_ident() != self._asker:
            self._together.wait(PATIENCE)
        with self._lock:
            self._waiting -= 1
        return self._stat(path)


def index_of(path_entry: Path, count: int, make_dist: MakeDist) -> _cache.Index:
    """An index of that many dists, every other of which declares something."""
    lines = []
    for number in range(count):
        metadata_dir = make_dist(path_entry, f"d{number}-1", None if number % 2 else "[g]\nx = m\n")
        file = metadata_dir if number % 2 else metadata_dir / "entry_points.txt"
        check = f"{'D' if number % 2 else 'E'}{_cache.stamp_of(file.stat())}"
        lines.append(f"dist\td{number}\t{metadata_dir.name}\t{check}\n")
    head = f"epcache 1\npath {path_entry}\nstamp {_cache.stamp_of(path_entry.stat())}\n"
    text = f"{head}{''.join(lines)}end\n"
    return _cache.Index(str(path_entry), "/root/.index", "", text)


@pytest.mark.parametrize("count", [1, 32, 33, 48, 200])
def test_checks_on_a_slow_file_system_are_made_at_once_and_find_the_same(
    count: int, tmp_path: Path, make_dist: MakeDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = index_of(tmp_path, count, make_dist)
    assert index.changed(str(tmp_path)) == []
    changed = sorted({0, count // 3, count // 2, count - 1})
    for number in changed:
        text = tmp_path / f"d{number}-1.dist-info" / "entry_points.txt"
        text.unlink() if text.exists() else text.write_text("[g]\nnew = m\n")
    assert index.changed(str(tmp_path)) == changed
    slow = SlowStat(20 * _cache._SLOW_STAT)
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", slow)
        found = index.changed(str(tmp_path))
    assert found == changed
    # Few are not worth the threads.
    assert (slow.most > 1) == (count > 2 * _cache._PROBED)
    assert slow.most <= _slow._THREADS
    # A check that does not hold is made again, by itself.
    assert len(set(slow.paths)) == count
    assert len(slow.paths) <= count + len(changed)
