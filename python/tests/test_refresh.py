"""The refresh for the next start: who starts it, how often, and that nobody notices.

The command that the reader finds is a script that notes how it was started and then becomes the
real one; where a test holds it up, it waits for the test first.
"""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import PACKAGE_DIRECTORY, PATIENCE, Judge, MakeDist, Reader, Sync, missing

STORM = 200

ASK = "print(len(epcache.entry_points()))"


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


def processes_with(word: str) -> list[int]:
    """The processes that have this somewhere in their command line."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.fsencode(word) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            pass  # it has ended
    return found


class Refreshes:
    """The command that the reader finds, and what it was asked for."""

    def __init__(self, directory: Path, command: Path) -> None:
        self.command = command
        self.directory = directory / "bin"
        self.directory.mkdir()
        self._log = directory / "log"
        self._gate = directory / "gate"
        os.mkfifo(self._gate)
        self._held = os.open(self._gate, os.O_RDWR)
        self.install()

    def install(self, *lines: str) -> None:
        """Let the command run these lines of shell first."""
        script = self.directory / "new"
        log = shlex.quote(str(self._log))
        text = ["#!/bin/sh", f'echo "$$ $*" >> {log}', *lines]
        text.append(f'exec {shlex.quote(str(self.command))} "$@"')
        script.write_text("\n".join(text) + "\n")
        script.chmod(0o755)
        script.rename(self.directory / "epcache")  # a shell goes on reading the old one

    def hold(self) -> None:
        """Let the command wait, without a process of its own that would hold what it inherited."""
        self.install(f"read go < {shlex.quote(str(self._gate))}")

    def release(self) -> None:
        """Let one go on that waits."""
        os.write(self._held, b"go\n")

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.directory}:/usr/bin:/bin", "EPCACHE_ON_STALE": "sync"}

    def started(self) -> list[tuple[int, list[str]]]:
        """Each start: the process, and the path entries."""
        if not self._log.exists():
            return []
        starts = []
        for line in self._log.read_text().splitlines():
            pid, *words = line.split(" ")
            assert words[:3] == ["sync", "--quiet", "--background"]
            paths = [word.removeprefix("--path=") for word in words if word.startswith("--path=")]
            starts.append((int(pid), paths))
        return starts

    def times(self, path_entry: Path) -> int:
        """How often a refresh of a path entry was started."""
        return sum(paths.count(str(path_entry)) for _, paths in self.started())

    def wait_for(self, times: int, path_entry: Path) -> None:
        wait_until(f"{times} starts", lambda: self.times(path_entry) >= times)

    def wait_for_end(self) -> None:
        """Wait until nothing works in the background."""
        wait_until("the end of the refresh", lambda: not processes_with(str(self.directory.parent)))

    def close(self) -> None:
        os.close(self._held)


@pytest.fixture
def refreshes(tmp_path: Path, command: Path) -> Iterator[Refreshes]:
    found = Refreshes(tmp_path, command)
    yield found
    for pid in processes_with(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)
    found.close()


@pytest.fixture
def site(tmp_path: Path, make_dist: MakeDist) -> Path:
    """A path entry with three distributions, two of which declare something."""
    path_entry = tmp_path / "site"
    make_dist(path_entry, "alpha-1.0", "[g]\na = alpha:main\n")
    make_dist(path_entry, "beta-2.0", "[g]\nb = beta\n[h]\nc = beta:c\n")
    make_dist(path_entry, "gamma-3")
    return path_entry


def mirror(root: Path, path_entry: Path) -> Path:
    return root / path_entry.relative_to("/")


def make_stale(make_dist: MakeDist, site: Path) -> None:
    make_dist(site, "delta-1", "[g]\nd = delta\n")


# --- That it happens ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["missing", "stale"])
def test_the_next_start_finds_a_fresh_index(
    interpreter: Path,
    reader: Reader,
    refreshes: Refreshes,
    site: Path,
    sync: Sync,
    make_dist: MakeDist,
    judge: Judge,
    root: Path,
    state: str,
) -> None:
    if state == "stale":
        sync([site])
        make_stale(make_dist, site)
    code = """
        for point in epcache.entry_points():
            print(point.group, point.name, point.value)
        print("epcache._refresh" in sys.modules)
    """
    *first, met_stale = reader(code, [site], python=interpreter, env=refreshes.env).stdout.split(
        "\n"
    )[:-1]
    expected = [" ".join(answer[:3]) for answer in judge([site])]
    assert (first, met_stale) == (expected, "True")
    refreshes.wait_for(1, site)
    refreshes.wait_for_end()
    assert (mirror(root, site) / ".index").is_file()

    second = reader(code, [site], python=interpreter, env=refreshes.env).stdout.split("\n")[:-1]
    assert second == [*expected, "False"], "nothing is stale, nothing is imported for it"
    assert len(refreshes.started()) == 1


@pytest.mark.parametrize("state", ["missing", "stale"])
def test_of_a_storm_of_processes_all_answer_right_and_one_refreshes(
    refreshes: Refreshes,
    interpreters: list[Path],
    environment: dict[str, str],
    site: Path,
    sync: Sync,
    make_dist: MakeDist,
    judge: Judge,
    root: Path,
    reader: Reader,
    tmp_path: Path,
    state: str,
) -> None:
    if state == "stale":
        sync([site])
        make_stale(make_dist, site)
    # Each waits for the end of its input, which they share: so all ask at once.
    code = f"""
import sys
sys.path.insert(0, {str(PACKAGE_DIRECTORY)!r})
import epcache
sys.path[0] = {str(site)!r}
sys.stdin.read()
for point in epcache.entry_points():
    print(point.group, point.name, point.value)
"""
    waiting, gate = os.pipe()
    answers = [tmp_path / f"answer{number}" for number in range(STORM)]
    processes = []
    for answer in answers:
        with answer.open("w") as output:
            process = subprocess.Popen(
                [interpreters[-1], "-I", "-S", "-c", code],
                stdin=waiting,
                stdout=output,
                stderr=output,
                env={**environment, **refreshes.env},
            )
        processes.append(process)
    os.close(waiting)
    os.close(gate)
    statuses = {process.wait(PATIENCE) for process in processes}
    expected = "".join(" ".join(answer[:3]) + "\n" for answer in judge([site]))
    assert {answer.read_text() for answer in answers} == {expected}
    assert statuses == {0}

    refreshes.wait_for(1, site)
    refreshes.wait_for_end()
    paths = [path for _, paths in refreshes.started() for path in paths]
    assert len(paths) == len(set(paths)), "no path entry is refreshed twice"
    assert refreshes.times(site) == 1
    assert [path for path in root.rglob("*") if path.name.startswith(".tmp-")] == []
    again = reader("epcache.entry_points(); print(*sys.modules)", [site], env=refreshes.env)
    assert "epcache._refresh" not in again.stdout.split()


def test_a_copy_of_the_reader_in_another_package_refreshes_too(
    reader: Reader, refreshes: Refreshes, site: Path, make_dist: MakeDist, tmp_path: Path
) -> None:
    package = tmp_path / "lib" / "program"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copytree(PACKAGE_DIRECTORY / "epcache", package / "vendored")
    code = f"""
        for name in [name for name in sys.modules if name.split(".")[0] == "epcache"]:
            del sys.modules[name]
        sys.path.append({str(package.parent)!r})
        from program import vendored
        print(len(vendored.entry_points()), "epcache" in sys.modules)
    """
    assert reader(code, [site], env=refreshes.env).stdout == "3 False\n"
    refreshes.wait_for(1, site)
    refreshes.wait_for_end()
    make_stale(make_dist, site)
    output = reader(code, [site], env={**refreshes.env, "EPCACHE_ON_STALE": "warn"})
    assert output.stdout == "4 False\n"
    assert "StaleCacheWarning" in output.stderr


def test_one_refresh_is_for_all_path_entries_that_need_it(
    reader: Reader, refreshes: Refreshes, site: Path, make_dist: MakeDist, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_dist(other, "other-1")
    reader(ASK, [site, other, tmp_path / "absent"], env=refreshes.env)
    refreshes.wait_for(1, site)
    [(_, paths)] = refreshes.started()
    assert {str(site), str(other)} <= set(paths)
    assert str(tmp_path / "absent") not in paths


def test_nobody_waits_for_a_refresh_and_none_starts_another(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path
) -> None:
    refreshes.hold()
    for _ in range(5):
        assert reader(ASK, [site], env=refreshes.env).stdout == "3\n"
    refreshes.wait_for(1, site)
    assert refreshes.times(site) == 1
    assert not (mirror(root, site) / ".index").exists(), "it is held up"
    refreshes.release()
    wait_until("the index", (mirror(root, site) / ".index").exists)
    refreshes.wait_for_end()
    assert refreshes.times(site) == 1


def test_other_path_entries_are_refreshed_meanwhile(
    reader: Reader, refreshes: Refreshes, site: Path, make_dist: MakeDist, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_dist(other, "other-1")
    refreshes.hold()
    reader(ASK, [site], env=refreshes.env)
    refreshes.wait_for(1, site)
    refreshes.install()
    reader(ASK, [site, other], env=refreshes.env)
    refreshes.wait_for(1, other)
    assert refreshes.times(site) == 1


def test_who_judged_before_a_refresh_and_asks_for_it_afterwards_starts_none(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path
) -> None:
    code = f"""
        from epcache import _refresh
        _refresh.found_stale({str(root)!r}, [({str(site)!r}, False)], "sync")
    """
    reader(code, env=refreshes.env)
    refreshes.wait_for(1, site)
    refreshes.wait_for_end()
    reader(code, env=refreshes.env)
    assert refreshes.times(site) == 1
    # Until something changes.
    (site / "new-1.dist-info").mkdir()
    reader(code, env=refreshes.env)
    refreshes.wait_for(2, site)


def test_a_refresh_that_was_killed_is_started_again(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path
) -> None:
    refreshes.hold()
    reader(ASK, [site], env=refreshes.env)
    refreshes.wait_for(1, site)
    [(pid, _)] = refreshes.started()
    os.kill(pid, signal.SIGKILL)
    refreshes.wait_for_end()
    refreshes.install()
    reader(ASK, [site], env=refreshes.env)
    wait_until("the index", (mirror(root, site) / ".index").exists)
    assert refreshes.times(site) == 2


@pytest.mark.parametrize("how", ["a time in the future", "a command that fails"])
def test_what_no_refresh_makes_fresh_is_not_tried_at_each_start(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path, how: str
) -> None:
    if how == "a time in the future":
        tomorrow = time.time() + 86_400
        os.utime(site, (tomorrow, tomorrow))
    else:
        refreshes.install("exit 2")

    def ask(starts: int) -> None:
        reader(ASK, [site], env=refreshes.env)
        refreshes.wait_for_end()
        assert refreshes.times(site) == starts

    # One that says that it ended is enough; one that does not gets another chance.
    starts = 1 if how == "a time in the future" else 2
    for start in range(starts):
        ask(start + 1)
    ask(starts)
    claim = mirror(root, site) / ".refresh"

    def age(seconds: float) -> None:
        then = time.time() - seconds
        os.utime(claim, (then, then))

    age(25)
    ask(starts)
    age(31)
    ask(starts + 1)
    age(31)
    ask(starts + 1)  # by now the pause is longer
    age(61)
    ask(starts + 2)
    age(-61)
    ask(starts + 2)  # made just now, by a clock that is ahead
    age(-86_400)
    ask(starts + 3)


def test_a_damaged_claim_says_nothing(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path
) -> None:
    directory = mirror(root, site)
    damages = [b"", b"\xff" * 300, b"epcache-refresh 1 - - x\n", b"epcache-refresh 2\n" * 1000]
    for number, damage in enumerate(damages, 1):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for above in [directory, *directory.parents]:
            if above.is_relative_to(root):
                above.chmod(0o700)
        (directory / ".refresh").write_bytes(damage)
        (directory / ".refresh").chmod(0o600)
        (directory / ".index").unlink(missing_ok=True)
        reader(ASK, [site], env=refreshes.env)
        refreshes.wait_for(number, site)
        refreshes.wait_for_end()
        assert (directory / ".index").exists()


# --- What the user wants --------------------------------------------------------------------------


WARNED = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            epcache.entry_points()
    for warning in caught:
        print(warning.category.__name__, warning.filename, warning.message)
"""


@pytest.mark.parametrize("on_stale", ["warn", "sync"])
def test_one_warning_for_each_path_entry_that_stays_stale(
    reader: Reader,
    refreshes: Refreshes,
    site: Path,
    tmp_path: Path,
    sync: Sync,
    make_dist: MakeDist,
    on_stale: str,
) -> None:
    other, never_synced = tmp_path / "other", tmp_path / "never"
    make_dist(other, "other-1")
    make_dist(never_synced, "never-1")
    sync([site, other])
    make_stale(make_dist, site)
    make_stale(make_dist, other)
    if on_stale == "sync":
        (refreshes.directory / "epcache").unlink()
    output = reader(
        WARNED, [site, other, never_synced], env={**refreshes.env, "EPCACHE_ON_STALE": on_stale}
    )
    lines = output.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["StaleCacheWarning", "<string>"]] * 2
    assert [str(path) in line for path, line in zip([site, other], lines, strict=True)] == [
        True,
        True,
    ]
    assert "never" not in output.stdout
    assert output.stderr == ""
    assert refreshes.started() == []


def test_a_warning_points_to_who_asked_and_is_an_error_only_where_that_is_wanted(
    reader: Reader, site: Path, sync: Sync, make_dist: MakeDist
) -> None:
    sync([site])
    make_stale(make_dist, site)
    code = "def ask():\n    epcache.entry_points()\nask()"
    env = {"EPCACHE_ON_STALE": "warn"}
    output = reader(code, [site], env=env)
    line = output.stderr.partition(" ")[0]
    assert line.startswith("<string>:")
    assert "run 'epcache sync'" in output.stderr
    flags = ["-W", "error::UserWarning"]
    raised = reader(code, [site], env=env, flags=flags, check=False)
    assert raised.returncode == 1
    assert "StaleCacheWarning" in raised.stderr.splitlines()[-1]
    [_, asked] = [text for text in raised.stderr.splitlines() if 'File "<string>"' in text]
    assert f"line {line.split(':')[1]}," in asked


def test_a_user_who_wants_nothing_gets_nothing(
    reader: Reader, refreshes: Refreshes, site: Path, sync: Sync, make_dist: MakeDist
) -> None:
    sync([site])
    make_stale(make_dist, site)
    output = reader(WARNED, [site], env={**refreshes.env, "EPCACHE_ON_STALE": "ignore"})
    assert (output.stdout, output.stderr, refreshes.started()) == ("", "", [])


def test_who_refreshes_does_not_warn(
    reader: Reader, refreshes: Refreshes, site: Path, sync: Sync, make_dist: MakeDist
) -> None:
    sync([site])
    make_stale(make_dist, site)
    output = reader(WARNED, [site], env=refreshes.env)
    assert (output.stdout, output.stderr) == ("", "")
    refreshes.wait_for(1, site)


def test_settings_of_the_asking_process_are_not_passed_on(
    reader: Reader, refreshes: Refreshes, site: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    refreshes.install(f"env > {shlex.quote(str(seen))}.new", f"mv {seen}.new {seen}")
    root = tmp_path / "root"
    settings = {"EPCACHE_MODE": "fast", "EPCACHE_PATH": str(root), "OTHER": "kept"}
    reader(ASK, [site], env={**refreshes.env, **settings})
    wait_until("the index", (mirror(root, site) / ".index").exists)
    lines = seen.read_text().splitlines()
    assert "OTHER=kept" in lines
    passed_on = {line.partition("=")[0] for line in lines}
    assert passed_on.isdisjoint({"EPCACHE_MODE", "EPCACHE_PATH", "EPCACHE_ON_STALE"})


# --- Where nothing can be written -----------------------------------------------------------------


def expect_silence(reader: Reader, refreshes: Refreshes, site: Path) -> None:
    output = reader(WARNED, [site], env=refreshes.env)
    assert (output.stdout, output.stderr) == ("", "")
    assert refreshes.times(site) == 0


@pytest.mark.parametrize(
    "state", ["writable by others", "a file", "a link to nothing", "below what others may write"]
)
def test_a_root_that_can_not_be_used_is_left_alone(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path, state: str
) -> None:
    root.parent.mkdir(mode=0o700)
    if state == "writable by others":
        root.mkdir()
        root.chmod(0o770)
    elif state == "a file":
        root.write_text("")
    elif state == "a link to nothing":
        root.symlink_to(root.parent / "nothing")
    else:
        if os.geteuid() != 0:
            missing("only root looks at the directories above")
        root.parent.chmod(0o777)
    expect_silence(reader, refreshes, site)
    assert not root.is_dir() or list(root.iterdir()) == []
    assert not (root.parent / "nothing").exists()


@pytest.mark.parametrize("state", ["a link", "writable by others", "another user's", "a file"])
def test_nothing_is_written_below_what_is_not_the_user_s_alone(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path, tmp_path: Path, state: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root.mkdir(mode=0o700, parents=True)
    first = root / site.parts[1]
    if state == "a link":
        first.symlink_to(elsewhere)
    elif state == "a file":
        first.write_text("")
    elif state == "another user's":
        if os.geteuid() != 0:
            missing("only root can give a directory away")
        first.mkdir()
        os.chown(first, 65534, 65534)
    else:
        first.mkdir()
        first.chmod(0o777)
    expect_silence(reader, refreshes, site)
    assert list(elsewhere.iterdir()) == []
    assert not first.is_dir() or list(first.iterdir()) == []


@pytest.mark.parametrize("kind", ["a link", "a pipe", "writable by others", "a directory"])
def test_what_only_has_the_name_of_a_claim_is_none(
    reader: Reader, refreshes: Refreshes, site: Path, sync: Sync, root: Path, kind: str
) -> None:
    sync([site])
    (mirror(root, site) / ".index").unlink()
    claim = mirror(root, site) / ".refresh"
    other = root.parent / "other"
    other.write_text("mine")
    if kind == "a link":
        claim.symlink_to(other)
    elif kind == "a pipe":
        os.mkfifo(claim, 0o600)
    elif kind == "a directory":
        claim.mkdir()
    else:
        claim.write_text("")
        claim.chmod(0o666)
    expect_silence(reader, refreshes, site)
    assert other.read_text() == "mine"


def test_a_home_that_does_not_exist_is_not_made(
    reader: Reader, refreshes: Refreshes, site: Path, tmp_path: Path
) -> None:
    home = tmp_path / "nonexistent"
    for variables in [
        {"HOME": str(home), "XDG_CACHE_HOME": ""},
        {"XDG_CACHE_HOME": str(home / "cache")},
    ]:
        reader(ASK, [site], env={**refreshes.env, **variables})
        assert not home.exists()
    assert refreshes.started() == []


def test_another_user_s_root_is_left_alone(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path
) -> None:
    if os.geteuid() != 0:
        missing("only root can give a directory away")
    root.mkdir(mode=0o700, parents=True)
    os.chown(root, 65534, 65534)
    expect_silence(reader, refreshes, site)
    assert list(root.iterdir()) == []
    # One who runs a program as another, with the home of the first.
    os.chown(root, 0, 0)
    code = f"""
        import fcntl, os
        from epcache import _command, _refresh
        os.seteuid(65534)
        _refresh.found_stale({str(root)!r}, [({str(site)!r}, False)], "sync")
    """
    reader(code, env=refreshes.env)
    assert list(root.iterdir()) == []
    assert refreshes.started() == []


@pytest.fixture
def small_disk(root: Path) -> Iterator[Callable[[str], None]]:
    """`small_disk(options)` mounts one where the cache root is to be."""
    mounted = []

    def mount(options: str) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "none", str(root)]
        try:
            subprocess.run(line, check=True, capture_output=True, timeout=PATIENCE)
        except (OSError, subprocess.CalledProcessError) as error:
            missing(f"no file system can be mounted: {error}")
        mounted.append(root)

    yield mount
    for _ in mounted:
        subprocess.run(["umount", "--lazy", str(root)], check=True, timeout=PATIENCE)


@pytest.mark.parametrize("options", ["ro", "size=4k", "nr_inodes=1", "nr_inodes=4"])
def test_a_disk_that_is_full_or_read_only_is_passed_over_in_silence(
    reader: Reader,
    refreshes: Refreshes,
    site: Path,
    root: Path,
    small_disk: Callable[[str], None],
    options: str,
) -> None:
    small_disk(options)
    if options == "size=4k":
        (root / "full").write_bytes(b"x" * 4096)
    expect_silence(reader, refreshes, site)


def test_a_disk_that_is_full_later_is_not_tried_at_each_start(
    reader: Reader,
    refreshes: Refreshes,
    site: Path,
    root: Path,
    make_dist: MakeDist,
    small_disk: Callable[[str], None],
) -> None:
    small_disk("size=1m")
    reader(ASK, [site], env=refreshes.env)
    refreshes.wait_for(1, site)
    refreshes.wait_for_end()
    with (root / "full").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    make_stale(make_dist, site)
    for _ in range(3):
        assert reader(ASK, [site], env=refreshes.env).stdout == "4\n"
        refreshes.wait_for_end()
    assert refreshes.times(site) == 2
    assert [path for path in root.rglob("*") if path.name.startswith(".tmp-")] == []


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_what_is_made_is_the_user_s_alone_whatever_the_umask_is(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path, umask: int
) -> None:
    reader(f"import os; os.umask({umask})\n{ASK}", [site], env=refreshes.env)
    wait_until("the index", (mirror(root, site) / ".index").exists)
    refreshes.wait_for_end()
    for path in [root.parent, root, *root.rglob("*")]:
        others = path.stat().st_mode & 0o077
        assert (path, others) == (path, 0)
        if path.is_dir():
            assert path.stat().st_mode & 0o777 == 0o700


# --- That the host program does not notice --------------------------------------------------------


def test_a_program_that_waits_for_its_children_meets_none_of_ours(
    reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = """
        import os
        from epcache import _refresh
        _refresh._PATIENCE = 60  # on a busy machine, too
        epcache.entry_points()
        try:
            print(os.wait())
        except ChildProcessError:
            print("none")
    """
    assert reader(code, [site], env=refreshes.env).stdout == "none\n"
    refreshes.wait_for(1, site)


def test_a_child_that_ends_late_is_taken_note_of_at_a_later_call(
    reader: Reader, refreshes: Refreshes, site: Path, tmp_path: Path
) -> None:
    refreshes.hold()
    code = f"""
        import os, time
        from epcache import _refresh
        epcache.entry_points()
        [(_, pid)] = _refresh._children
        if os.fork() == 0:
            _refresh.reap()
            os._exit(0 if _refresh._children == [] else 1)
        print(os.wait()[1])
        gate = os.open({str(tmp_path / "gate")!r}, os.O_WRONLY)
        os.write(gate, b"go\\n")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _refresh._AT_REST = 60  # no other refresh
        os.mkdir({str(site / "new-1.dist-info")!r})
        epcache.entry_points()
        print(_refresh._children)
        try:
            print(os.wait())
        except ChildProcessError:
            print("none")
    """
    assert reader(code, [site], env=refreshes.env).stdout == "0\n[]\nnone\n"


@pytest.mark.parametrize("obstacle", ["os.waitpid", "time.sleep"])
def test_a_program_in_which_nobody_may_wait_gets_its_answer(
    reader: Reader, refreshes: Refreshes, site: Path, obstacle: str
) -> None:
    refreshes.hold()
    code = f"""
        import os, time
        def forbidden(*_):
            raise PermissionError(1, "not here")
        {obstacle} = forbidden
        {ASK}
        {ASK}
    """
    assert reader(code, [site], env=refreshes.env).stdout == "3\n3\n"
    refreshes.wait_for(1, site)


def test_the_wait_for_a_child_ends_in_time(reader: Reader) -> None:
    code = """
        import os, subprocess, time
        from epcache import _refresh
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        _refresh._children.append((os.getpid(), child.pid))
        now, naps = 0.0, []
        def sleep(seconds):
            global now
            naps.append(seconds)
            now += seconds
        time.monotonic, time.sleep = lambda: now, sleep
        _refresh.reap(0.01)
        print(0.0099 < sum(naps) < 0.0101, max(naps) <= 0.001, len(_refresh._children))
        child.communicate()
    """
    assert reader(code).stdout == "True True 1\n"


def test_a_program_that_handles_the_end_of_its_children_gets_none_of_ours(
    interpreter: Path, reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = f"""
        import os, signal
        kids = {{}}
        def ended(*_):
            kids.pop(os.waitpid(-1, os.WNOHANG)[0])
        signal.signal(signal.SIGCHLD, ended)
        {ASK}
    """
    output = reader(code, [site], python=interpreter, env=refreshes.env)
    assert (output.stdout, output.stderr, refreshes.started()) == ("3\n", "", [])


def test_the_first_process_of_a_container_has_one_child_and_takes_note_of_its_end(
    reader: Reader, refreshes: Refreshes, site: Path, root: Path, tmp_path: Path
) -> None:
    launcher = ["unshare", "--pid", "--fork", "--mount-proc"]
    try:
        subprocess.run([*launcher, "true"], check=True, capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"no process can be the first one: {error}")
    code = """
        import os
        from epcache import _refresh
        epcache.entry_points()
        [(_, pid)] = _refresh._children
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        epcache.entry_points()
        print(os.getpid(), _refresh._children)
        try:
            print(os.wait())
        except ChildProcessError:
            print("none")
    """
    assert reader(code, [site], env=refreshes.env, launcher=launcher).stdout == "1 []\nnone\n"
    [line] = (tmp_path / "log").read_text().splitlines()
    assert "--background" not in line
    assert (mirror(root, site) / ".index").is_file()


def test_a_child_that_another_thread_forks_meanwhile_does_not_keep_the_lock(
    interpreter: Path, reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = """
        import os, threading
        from epcache import _refresh

        def claims():
            found = 0
            for name in os.listdir("/proc/self/fd"):
                try:
                    found += os.readlink(f"/proc/self/fd/{name}").endswith("/.refresh")
                except OSError:
                    pass  # that of the list itself
            return found

        def fork():
            pid = os.fork()
            if pid == 0:
                os._exit(claims())
            print(claims() > 0, os.waitpid(pid, 0)[1])

        spawn = _refresh._spawn
        def spawn_later(*arguments):
            thread = threading.Thread(target=fork)
            thread.start()
            thread.join()
            spawn(*arguments)

        _refresh._spawn = spawn_later
        epcache.entry_points()
        print(claims(), _refresh._open_claims)
    """
    output = reader(code, [site], python=interpreter, env=refreshes.env)
    assert output.stdout == "True 0\n0 set()\n"
    refreshes.wait_for(1, site)


def test_a_program_that_meets_ever_new_path_entries_does_not_grow(reader: Reader) -> None:
    code = """
        import warnings
        from epcache import _refresh
        warnings.simplefilter("ignore")
        for number in range(2500):
            assert _refresh._is_rested(f"/{number}")
            assert not _refresh._is_rested(f"/{number}")
            _refresh._warn_once(f"/{number}", "")
        print(len(_refresh._tried) <= 1000, len(_refresh._warned) <= 1000)
    """
    assert reader(code).stdout == "True True\n"


def test_a_command_that_everybody_may_write_is_not_started(
    reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    refreshes.directory.chmod(0o777)
    output = reader(ASK, [site], env=refreshes.env)
    assert (output.stdout, output.stderr, refreshes.started()) == ("3\n", "", [])


def test_a_program_that_takes_note_of_all_children_itself_is_no_hindrance(
    reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = f"""
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        {ASK}
    """
    assert reader(code, [site], env=refreshes.env).stdout == "3\n"
    refreshes.wait_for(1, site)


def test_threads_start_one_refresh_together_and_no_fork(
    interpreter: Path, reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = """
        import threading
        barrier = threading.Barrier(20)
        found = []
        def ask():
            barrier.wait()
            found.append(len(epcache.entry_points()))
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(set(found))
    """
    output = reader(
        code,
        [site],
        python=interpreter,
        env=refreshes.env,
        flags=["-W", "error::DeprecationWarning"],
    )
    assert (output.stdout, output.stderr) == ("{3}\n", "")
    refreshes.wait_for(1, site)
    refreshes.wait_for_end()
    assert refreshes.times(site) == 1


@pytest.mark.parametrize("closed", [[], [0], [1], [0, 2], [0, 1, 2]])
def test_nothing_but_the_claim_is_inherited_whichever_descriptors_are_free(
    reader: Reader, refreshes: Refreshes, site: Path, tmp_path: Path, closed: list[int]
) -> None:
    seen = shlex.quote(str(tmp_path / "seen"))
    refreshes.install(f"readlink /proc/$$/fd/* > {seen}.new", f"mv {seen}.new {seen}")
    code = f"""
        import os
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        os.dup2(writing, 3)
        os.dup2(writing, 77)
        for descriptor in {closed}:
            os.close(descriptor)
        epcache.entry_points()
    """
    reader(code, [site], env=refreshes.env)
    wait_until("what was seen", (tmp_path / "seen").exists)
    open_files = (tmp_path / "seen").read_text().splitlines()
    refreshes.wait_for_end()
    [(_, paths)] = refreshes.started()
    assert open_files.count("/dev/null") >= 2  # and the list itself
    assert [path for path in open_files if "pipe" in path] == []
    claims = [path for path in open_files if path.endswith("/.refresh")]
    assert len(claims) == len(paths)
    script = str(refreshes.directory / "epcache")
    known = {"/dev/null", f"{tmp_path}/seen.new", script, *claims}
    assert set(open_files) <= known


def test_nothing_of_a_refresh_is_open_in_the_program_afterwards(
    reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = """
        import os
        before = sorted(os.listdir("/proc/self/fd"))
        epcache.entry_points()
        print(sorted(os.listdir("/proc/self/fd")) == before)
    """
    assert reader(code, [site], env=refreshes.env).stdout == "True\n"
    refreshes.wait_for(1, site)


def test_a_program_that_asks_for_many_groups_in_a_row_tries_once(
    reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = """
        opened = []
        def note(event, arguments):
            if event == "open" and str(arguments[0]).endswith("/.refresh"):
                opened.append(arguments[0])
        sys.addaudithook(note)
        for number in range(50):
            epcache.entry_points(group=f"group{number}")
        print(len(opened), len(set(opened)))
    """
    refreshes.hold()
    [tries, claims] = reader(code, [site], env=refreshes.env).stdout.split()
    assert (tries, claims) == ("1", "1")
    assert refreshes.times(site) == 1


def test_a_sandbox_that_forbids_to_start_programs_is_respected_in_silence(
    reader: Reader, refreshes: Refreshes, site: Path
) -> None:
    code = f"""
        def forbid(event, arguments):
            if event == "os.posix_spawn":
                raise RuntimeError("not here")
        sys.addaudithook(forbid)
        {ASK}
    """
    output = reader(code, [site], env=refreshes.env)
    assert (output.stdout, output.stderr, refreshes.started()) == ("3\n", "", [])


def test_a_refresh_does_not_end_with_the_session_of_who_started_it(
    refreshes: Refreshes,
    interpreters: list[Path],
    environment: dict[str, str],
    site: Path,
    root: Path,
) -> None:
    # The sync waits until this is past.
    soon = time.time() + 1.5
    os.utime(site, (soon, soon))
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(PACKAGE_DIRECTORY)!r})
import epcache
from epcache import _refresh
_refresh._PATIENCE = 60
sys.path[0] = {str(site)!r}
epcache.entry_points()
os.killpg(0, signal.SIGKILL)
"""
    process = subprocess.run(
        [interpreters[-1], "-I", "-S", "-c", code],
        env={**environment, **refreshes.env},
        start_new_session=True,
        timeout=PATIENCE,
    )
    assert process.returncode == -signal.SIGKILL
    wait_until("the index", (mirror(root, site) / ".index").exists)
    refreshes.wait_for_end()
