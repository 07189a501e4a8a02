"""Programs that know nothing of epcache: the same plugins, patched, enabled or neither.

Real ones from PyPI, installed into real environments: stevedore (of today, and as old as is still
in use), the OpenStack client, pytest and flake8 with plugins, the backport `importlib_metadata`.
"""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from conftest import (
    PACKAGE_DIRECTORY,
    MakeDist,
    Reader,
    Sync,
    missing,
    succeed,
    version_of,
)

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]

# For many distributions, over a network.
INSTALLING = 900.0

PROGRAMS = ["python-openstackclient", "pytest", "pytest-mock", "flake8", "flake8-comprehensions"]

STEVEDORES = ["stevedore", "stevedore==5.1.0", "stevedore==3.5.2"]


def pip_install(*arguments: str | Path, python: Path = Path(sys.executable)) -> None:
    """Install what can be had, or skip."""
    try:
        subprocess.run(
            [*PIP, f"--python={python}", "install", *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALLING,
        )
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        missing(f"pip does not install {arguments[-1]}: {' '.join(last)}")


# --- Programs in an environment -------------------------------------------------------------------


class Hosts:
    """An environment with programs and with epcache, enabled or not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "bin/python"

    @functools.cached_property
    def site(self) -> Path:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        output = subprocess.run([self.python, "-c", code], capture_output=True, check=True)
        return Path(output.stdout.decode().strip())

    def epcache(self, *arguments: str) -> None:
        subprocess.run(
            [self.python, "-m", "epcache", *arguments], check=True, stdout=subprocess.DEVNULL
        )


@pytest.fixture(scope="session")
def installed_hosts(
    interpreters: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosts]:
    """An environment of the newest interpreter of which there can be one."""
    directory = tmp_path_factory.mktemp("hosts")
    for number, interpreter in enumerate(reversed(interpreters)):
        hosts = Hosts(directory / f"venv{number}")
        subprocess.run([interpreter, "-m", "venv", "--without-pip", hosts.directory], check=True)
        if version_of(hosts.python) == version_of(interpreter):
            break
    else:
        missing("no interpreter makes a virtual environment")
    pip_install(*PROGRAMS, python=hosts.python)
    copy_package(hosts.site)
    succeed([hosts.python, "-m", "compileall", "-q", hosts.site], {})
    yield hosts
    shutil.rmtree(directory)


def copy_package(site: Path) -> None:
    shutil.copytree(
        PACKAGE_DIRECTORY / "epcache",
        site / "epcache",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


@pytest.fixture
def hosts(installed_hosts: Hosts) -> Iterator[Hosts]:
    """The environment, not enabled; whatever a test adds to its site directory is removed."""
    before = set(installed_hosts.site.iterdir())
    yield installed_hosts
    for path in set(installed_hosts.site.iterdir()) - before:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture
def variables(environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        # The first import of a module that is a single file would make the path entry stale.
        "PYTHONDONTWRITEBYTECODE": "1",
        # The OpenStack client prints some of its options in the order of a set.
        "PYTHONHASHSEED": "0",
        "COLUMNS": "200",
    }


# Each with something that must be in what it prints.
COMMANDS = {
    "openstack": (["openstack", "command", "list", "-f", "csv"], "server create"),
    "openstack help": (["openstack", "--help"], "--os-cloud"),
    "pytest": (["pytest", "-VV"], "pytest-mock-"),
    "pytest fixtures": (["pytest", "--fixtures", "-q"], "mocker"),
    "flake8": (["flake8", "--version"], "flake8-comprehensions"),
    "flake8 run": (["flake8", "--exit-zero", "checked.py"], "C408"),
}

# Patches its process, then becomes the program.
PATCHED = """
import runpy, sys, epcache
epcache.patch()
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(
    hosts: Hosts,
    command: list[str],
    variables: Mapping[str, str],
    directory: Path,
    *,
    launcher: tuple[str | Path, ...] = (),
    patched: bool = False,
) -> str:
    """What a program prints, without what is of this one run."""
    work = directory / "work"
    work.mkdir(exist_ok=True)
    (work / "checked.py").write_text("dict()\n")
    program: list[str | Path] = [hosts.directory / "bin" / command[0], *command[1:]]
    if patched:
        program = [hosts.python, "-c", PATCHED, *program]
    output = succeed([*launcher, *program], variables, cwd=work, timeout=300)
    assert "Warning" not in output.stderr
    return re.sub(r"\d+\.\d+s", "", output.stdout + output.stderr)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_program_says_the_same_patched_and_enabled(
    hosts: Hosts, name: str, variables: dict[str, str], sync: Sync, tmp_path: Path
) -> None:
    command, expected = COMMANDS[name]
    plain = run(hosts, command, variables, tmp_path)
    assert expected in plain

    sync([hosts.site])
    assert run(hosts, command, variables, tmp_path, patched=True) == plain
    hosts.epcache("enable")
    assert run(hosts, command, variables, tmp_path) == plain  # stale: the file is new
    sync([hosts.site])
    assert run(hosts, command, variables, tmp_path) == plain
    assert run(hosts, command, {**variables, "EPCACHE_MODE": "off"}, tmp_path) == plain
    assert run(hosts, command, {**variables, "EPCACHE_MODE": "fast"}, tmp_path) == plain


@pytest.mark.parametrize("name", COMMANDS)
def test_an_enabled_program_opens_no_entry_points_of_its_own(
    hosts: Hosts, name: str, variables: dict[str, str], sync: Sync, tmp_path: Path
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        missing("there is no strace to see which files are opened")
    command, _ = COMMANDS[name]
    log = tmp_path / "log"
    traced = (strace, "-f", "-e", "trace=open,openat", "-o", str(log))

    def opened() -> int:
        run(hosts, command, variables, tmp_path, launcher=traced)
        return sum("/entry_points.txt" in line for line in log.read_text().splitlines())

    # The environment is below /tmp, where stevedore uses no cache of its own.
    assert opened() > 10
    hosts.epcache("enable")
    sync([hosts.site])
    assert opened() == 0


def test_a_plugin_that_was_installed_since_is_there_at_once(
    hosts: Hosts, variables: dict[str, str], sync: Sync, tmp_path: Path, make_dist: MakeDist
) -> None:
    hosts.epcache("enable")
    sync([hosts.site])
    assert "late" not in run(hosts, ["flake8", "--version"], variables, tmp_path)

    make_dist(hosts.site, "flake8_late-7.5", "[flake8.extension]\nL99 = late_plugin:Check\n")
    (hosts.site / "late_plugin.py").write_text(
        "class Check:\n    def __init__(self, tree):\n        pass\n\n"
        "    def run(self):\n        yield 1, 0, 'L99 late', type(self)\n"
    )

    assert "flake8_late: 7.5" in run(hosts, ["flake8", "--version"], variables, tmp_path)
    assert "L99 late" in run(hosts, ["flake8", "--exit-zero", "checked.py"], variables, tmp_path)


# --- stevedore ------------------------------------------------------------------------------------


@pytest.fixture(scope="session", params=STEVEDORES)
def stevedore(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """A path entry with stevedore, one with what it needs, and one with plugins for it."""
    directory = tmp_path_factory.mktemp("stevedore")
    pip_install("--no-deps", "--target", directory / "stevedore", request.param)
    pip_install("--no-deps", "--target", directory / "plugins", "oslo.messaging", "keystoneauth1")
    return [directory / "stevedore", directory / "plugins"]


# Everything that stevedore's cache tells. It switches itself off for an interpreter below /tmp.
STEVEDORE_SURVEY = """
import warnings
warnings.simplefilter("ignore")
sys.executable = "/opt/python"
from stevedore import _cache
import importlib.metadata

def told(points):
    return [(type(p) is importlib.metadata.EntryPoint, p.name, p.value, p.group) for p in points]

def single(group):
    try:
        return told([_cache.get_single(group, "anything")])
    except ValueError as error:
        return str(error)

groups = sorted(set(p.group for d in importlib.metadata.distributions() for p in d.entry_points))
for group in [*groups, "none", "a\\nb"]:
    print(group, told(_cache.get_group_all(group)))
    named = _cache.get_group_named(group)
    print(list(named), told(named.values()), single(group))

from stevedore.extension import ExtensionManager
managed = ExtensionManager("doubled", on_load_failure_callback=lambda *_: None)
print(managed.names(), told(managed.list_entry_points()))
"""


def test_stevedore_tells_the_same_as_without_its_cache(
    interpreter: Path,
    stevedore: list[Path],
    reader: Reader,
    sync: Sync,
    environment: dict[str, str],
    tmp_path: Path,
    make_dist: MakeDist,
) -> None:
    doubled = "[doubled]\nx = json:dumps\nx = json:loads\ny = os:sep\ny = os:sep\nz = nowhere:x\n"
    own = tmp_path / "own"
    make_dist(own, "own-1.0", doubled)
    make_dist(own, "shadow-1.0")
    make_dist(tmp_path / "other", "shadow-2.0", doubled)
    make_dist(tmp_path / "other", "twice-2.0", doubled)
    path = [*stevedore, own, tmp_path / "other"]
    its_cache = Path(environment["XDG_CACHE_HOME"], "python-entrypoints")

    def survey(before: str = "") -> str:
        return reader(before + STEVEDORE_SURVEY, path, python=interpreter).stdout

    def without_its_cache() -> str:
        shutil.rmtree(its_cache, ignore_errors=True)
        return survey()

    if "cannot import" in reader(STEVEDORE_SURVEY, path, python=interpreter, check=False).stderr:
        pytest.skip("this stevedore is not for a Python that old")
    plain = without_its_cache()
    assert "oslo.messaging.drivers" in plain
    assert "'json:dumps'" in plain
    assert any(its_cache.iterdir()), "stevedore did not use its cache"

    # Nothing cached, then a fresh cache; the hook before and after the import.
    assert survey("epcache.patch()\n") == plain
    sync(path)
    assert survey("epcache.patch()\n") == plain
    assert survey("import stevedore._cache\nepcache.patch()\n") == plain

    # An edit that stevedore's own cache does not see: it compares times to two minutes or so.
    file = own / "own-1.0.dist-info/entry_points.txt"
    file.write_text(doubled.replace("json:dumps", "json:load"))
    now = without_its_cache()
    assert survey("epcache.patch()\n") == now != plain


def test_a_warm_cache_of_stevedores_own_is_not_read(
    stevedore: list[Path],
    reader: Reader,
    sync: Sync,
    environment: dict[str, str],
) -> None:
    reader(STEVEDORE_SURVEY, stevedore)
    its_cache = Path(environment["XDG_CACHE_HOME"], "python-entrypoints")
    for file in its_cache.iterdir():
        file.write_text(file.read_text().replace("oslo_messaging", "from_its_cache"))
    ask = """
sys.executable = "/opt/python"
from stevedore.extension import ExtensionManager
found = ExtensionManager("oslo.messaging.drivers", on_load_failure_callback=lambda *_: None)
print(found.list_entry_points())
"""
    sync(stevedore)

    assert "from_its_cache" in reader(ask, stevedore).stdout
    patched = reader("epcache.patch()\n" + ask, stevedore).stdout

    assert "oslo_messaging" in patched
    assert "from_its_cache" not in patched


# --- The backport ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def backport(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A path entry with the backport, and one with distributions."""
    directory = tmp_path_factory.mktemp("backport")
    pip_install("--target", directory / "backport", "importlib_metadata>=6")
    pip_install("--no-deps", "--target", directory / "dists", "pytest", "flake8")
    return [directory / "backport", directory / "dists"]


BACKPORT_SURVEY = """
import importlib.metadata, importlib_metadata
for module in (importlib.metadata, importlib_metadata):
    print([(type(d).__module__, str(d._path), [tuple(p._key()) if hasattr(p, "_key") else tuple(p)
        for p in d.entry_points]) for d in module.distributions()])
    print([(type(p).__module__, p.name, p.value) for p in module.entry_points(group="pytest11")])
from _frozen_importlib_external import PathFinder
print(hasattr(PathFinder, "find_distributions"))
"""


@pytest.mark.parametrize("before", ["import importlib_metadata\n", ""])
def test_the_backport_answers_as_without_the_patch(
    backport: list[Path], before: str, interpreters: list[Path], reader: Reader, sync: Sync
) -> None:
    sync(backport)
    # The backport of today needs a newer Python than the oldest that epcache is for.
    newest = interpreters[-1]
    plain = reader(BACKPORT_SURVEY, backport, python=newest).stdout
    patched = reader(f"{before}p = epcache.patch()\n{BACKPORT_SURVEY}", backport, python=newest)
    undone = reader(
        f"{before}p = epcache.patch()\nimport importlib_metadata\np.undo()\n{BACKPORT_SURVEY}",
        backport,
        python=newest,
    )

    assert "flake8" in plain
    # The backport removes what the standard library would answer with, and nobody brings it back.
    assert plain.splitlines()[-1] == "False"
    assert patched.stdout == plain
    assert undone.stdout == plain
