"""What a lookup costs a process where the cache is fresh: modules loaded, files touched.

The numbers are what the reader promises, so they are counted from outside: modules by comparing
`sys.modules`, files by strace, in virtual environments as people have them.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from conftest import PACKAGE_DIRECTORY, PATIENCE, MakeDist, Sync, missing, succeed

# The most calls that name a path or read a directory, more than `python -c pass` makes.
MOST_CALLS = 40

# "However many dists there are."
FEW, MANY = 10, 10_000

OWN_MODULES = "epcache epcache._cache epcache._entry_point"

# Under strace, on a machine that has much to do, each stat may take so long that threads make them.
IN_ONE_THREAD = "import epcache._cache; epcache._cache._SLOW_STAT = 3600; "

LOOKUP = "import epcache; print(len(epcache.entry_points(group='app')))"

# Shows which modules a lookup loads, and what is done with an answer to it.
MODULES = """
import os, sys
before = set(sys.modules)
import epcache
found = epcache.entry_points(group="app")
assert [point.module for point in found] == ["app.plugins"] * 5
assert [point.attr for point in found] == ["Plugin"] * 5
assert found.names and found.select(module="app.plugins") == found and found["n0"].extras == []
print(*sorted(set(sys.modules) - before))
"""

# Two lookups, with calls in the trace that tell them apart.
MARKED = """
import os
import epcache
def mark(where):
    try:
        os.stat("/mark/" + where)
    except OSError:
        pass
mark("first")
first = epcache.entry_points(group="app")
mark("second")
second = epcache.entry_points(group="app")
mark("end")
assert first == second
"""


class Environment(NamedTuple):
    """A virtual environment with the reader and some dists in it, and its caches."""

    directory: Path
    python: Path
    site_packages: Path
    variables: dict[str, str]
    sync: Sync

    def run(self, code: str, mode: str = "exact") -> str:
        return succeed(
            [self.python, "-I", "-c", code], {**self.variables, "EPCACHE_MODE": mode}
        ).stdout

    def trace(self, code: str, mode: str = "exact") -> "list[Call]":
        return trace([self.python, "-I", "-c", code], {**self.variables, "EPCACHE_MODE": mode})


class Call(NamedTuple):
    """One system call that names a path, or reads a directory."""

    name: str
    path: str


def make_environment(
    interpreter: Path,
    directory: Path,
    dists: int,
    make_dist: MakeDist,
    sync: Sync,
    variables: dict[str, str],
) -> Environment:
    """Half of the dists have entry points, five of those in the group `app`; the cache is fresh."""
    succeed([interpreter, "-m", "venv", "--without-pip", directory], variables)
    (site_packages,) = directory.glob("lib/python3*/site-packages")
    shutil.copytree(
        PACKAGE_DIRECTORY / "epcache",
        site_packages / "epcache",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for number in range(dists):
        group = "app" if number < 10 else "other"
        text = f"[{group}]\nn{number} = app.plugins:Plugin\n" if number % 2 == 0 else None
        make_dist(
            site_packages, f"dist_{number}-1.0", text, metadata=None if number < 10 else False
        )
    (directory / "bin" / "app").write_text(MODULES)
    made = Environment(directory, directory / "bin" / "python", site_packages, variables, sync)
    sync([], f"--venv={directory}")
    # Python compiles what it imports for the first time.
    for mode in ("exact", "fast"):
        assert made.run(LOOKUP, mode) == "5\n"
    return made


@pytest.fixture
def small(
    interpreter: Path,
    tmp_path: Path,
    make_dist: MakeDist,
    sync: Sync,
    environment: dict[str, str],
) -> Environment:
    return make_environment(interpreter, tmp_path / "venv", FEW, make_dist, sync, environment)


# --- Modules --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_lookup_loads_no_module_but_its_own(small: Environment, mode: str) -> None:
    assert small.run(MODULES, mode) == OWN_MODULES + "\n"


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_lookup_in_a_bare_interpreter_needs_nothing_more(
    interpreter: Path, small: Environment, mode: str
) -> None:
    program = f"import sys\nsys.path.insert(0, {str(small.site_packages)!r})\n{MODULES}"
    output = succeed(
        [interpreter, "-I", "-S", "-c", program], {**small.variables, "EPCACHE_MODE": mode}
    )
    assert output.stdout == OWN_MODULES + "\n"


def test_an_installed_command_loads_no_module_but_its_own(small: Environment) -> None:
    # Its directory is the first path entry, of which `epcache sync` knows.
    output = succeed([small.python, small.directory / "bin" / "app"], small.variables)
    assert output.stdout == OWN_MODULES + "\n"


def test_a_vendored_copy_loads_no_module_but_its_own(small: Environment) -> None:
    # As `docs/python.md` says, without what may be left out, and with nothing else there.
    vendored = small.site_packages / "app" / "_vendor" / "epcache"
    (small.site_packages / "epcache").rename(small.site_packages / "gone")
    shutil.copytree(small.site_packages / "gone", vendored)
    for name in ("__main__.py", "_enable.py", "_patch.py"):
        (vendored / name).unlink()
    code = MODULES.replace("import epcache", "from app._vendor import epcache")
    # Stale, so that the rest of the modules is loaded; then fresh.
    assert "app._vendor.epcache._views" in small.run(code)
    small.sync([], f"--venv={small.directory}")
    own = [f"app._vendor.{module}" for module in OWN_MODULES.split()]
    assert small.run(code).split() == ["app", "app._vendor", *own]


# --- Files ----------------------------------------------------------------------------------------


def test_a_lookup_touches_few_files(small: Environment) -> None:
    needs_strace()
    nothing = small.trace("pass", "fast")
    lookup = small.trace(LOOKUP, "fast")
    more = len(lookup) - len(nothing)
    print(f"{more} calls more than python -c pass, which makes {len(nothing)}")
    assert 0 < more <= MOST_CALLS, "\n".join(map(str, lookup))


def test_files_touched_do_not_depend_on_how_many_dists_there_are(
    interpreters: list[Path],
    tmp_path: Path,
    make_dist: MakeDist,
    sync: Sync,
    environment: dict[str, str],
) -> None:
    needs_strace()
    more: dict[str, dict[int, int]] = {"fast": {}, "exact": {}}
    for dists in (FEW, MANY):
        made = make_environment(
            interpreters[-1], tmp_path / f"venv-{dists}", dists, make_dist, sync, environment
        )
        # The interpreter itself looks through the directory when it starts.
        nothing = made.trace("pass")
        for mode, counts in more.items():
            counts[dists] = len(made.trace(IN_ONE_THREAD + LOOKUP, mode)) - len(nothing)
    assert more["fast"][FEW] == more["fast"][MANY]
    for dists in (FEW, MANY):
        assert more["exact"][dists] == more["fast"][dists] + dists


def test_mode_exact_stats_each_dist_once_and_opens_indexes_alone(small: Environment) -> None:
    needs_strace()
    first, _ = lookups(small.trace(MARKED, "exact"))
    stats = [call for call in first if call.path.startswith(f"{small.site_packages}/")]
    dists = {re.sub(r"/entry_points\.txt$", "", call.path) for call in stats}
    assert len(stats) == len(dists) == FEW
    assert all("stat" in call.name for call in stats)
    assert_only_indexes_are_opened(first, small)


def test_mode_fast_looks_at_no_dist(small: Environment) -> None:
    needs_strace()
    first, _ = lookups(small.trace(MARKED, "fast"))
    assert not [call for call in first if call.path.startswith(f"{small.site_packages}/")]
    assert_only_indexes_are_opened(first, small)


def test_mode_only_looks_at_no_dist(small: Environment) -> None:
    needs_strace()
    first, _ = lookups(small.trace(MARKED, "only"))
    paths = [call.path for call in first]
    dists = f"{small.site_packages}/.*info"
    assert not [path for path in paths if re.match(dists, path)]
    assert f"{small.variables['XDG_CACHE_HOME']}/epcache{small.site_packages}/.index" in paths


def assert_only_indexes_are_opened(calls: list[Call], made: Environment) -> None:
    opened = [call.path for call in calls if "stat" not in call.name]
    path_entries = made.run("import os, sys; print(*filter(os.path.exists, sys.path), sep='\\n')")
    root = f"{made.variables['XDG_CACHE_HOME']}/epcache"
    expected = [f"{root}{path_entry}/.index" for path_entry in path_entries.splitlines()]
    print("opened:", *opened)
    assert opened == expected
    assert f"{root}{made.site_packages}/.index" in opened


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_second_lookup_opens_nothing(small: Environment, mode: str) -> None:
    needs_strace()
    first, second = lookups(small.trace(MARKED, mode))
    assert {call.name for call in second if "stat" not in call.name} == set()
    assert len(second) <= len(first)


# --- strace ---------------------------------------------------------------------------------------


def needs_strace() -> None:
    strace = shutil.which("strace")
    if strace is None:
        missing("there is no strace to count system calls with")
    attempt = subprocess.run(
        [strace, "-o", os.devnull, "true"], capture_output=True, text=True, timeout=PATIENCE
    )
    if attempt.returncode != 0:
        missing(f"strace can't trace here: {attempt.stderr.strip()}")


def trace(program: list[str | os.PathLike[str]], variables: dict[str, str]) -> list[Call]:
    """The calls of a program and its children that name a path, and those that read directories."""
    output = succeed(
        ["strace", "-f", "-y", "-s", "4096", "-e", "trace=%file,getdents64", *program], variables
    )
    calls = []
    for line in output.stderr.splitlines():
        match = re.match(r"(?:\[pid +\d+\] )?(\w+)\((.*)\) += ", line)
        if match is None:
            assert line.startswith(("+++", "---", "strace: ")), line
            continue
        name, arguments = match.groups()
        path = re.search(r'"([^"]*)"', arguments)
        if name == "getdents64":
            calls.append(Call(name, arguments))
        # What has an empty path is an open file.
        elif path is not None and path[1]:
            calls.append(Call(name, path[1]))
    assert calls
    return calls


def lookups(calls: list[Call]) -> tuple[list[Call], list[Call]]:
    """Those of the first and of the second lookup in `MARKED`."""
    paths = [call.path for call in calls]
    first, second, end = (paths.index(f"/mark/{where}") for where in ("first", "second", "end"))
    return calls[first + 1 : second], calls[second + 1 : end]
