"""Reader and command in one loop: pip changes a virtual environment, and the answer is asked for.

Nobody ever runs `epcache sync` after a change. What is asked is what an application asks, in a
fresh process after each step; what is right is what `importlib.metadata` says in another one.
"""

import base64
import hashlib
import inspect
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import FOREIGN_VARIABLES, PACKAGE_DIRECTORY, missing, succeed

# What a refresh in the background takes, on a machine that does much else; then it does not come.
REFRESH_PATIENCE = 60.0

# A refresh that came too early, in the middle of a change, is made good by the next one who asks.
ASK_AGAIN_SECONDS = 4.0

# Prints all that a program can learn: everything, and group by group, with the dists. What
# `entry_points()` of 3.10 and 3.11 returns has another type and order: there the judge is made of
# the pieces that 3.12 puts together.
ASK = """
import json, sys
if sys.argv[1] == "epcache":
    from epcache import entry_points
    everything = entry_points()
else:
    from importlib.metadata import distributions, entry_points
    if sys.version_info >= (3, 12):
        everything = entry_points()
    else:
        first = {}
        for dist in distributions():
            first.setdefault(dist._normalized_name, dist)
        everything = [point for dist in first.values() for point in dist.entry_points]

def tell(points):
    return [
        (p.group, p.name, p.value, p.dist.metadata["Name"], p.dist.version, str(p.dist._path))
        for p in points
    ]

groups = sorted({point.group for point in everything} | {"no.such.group"})
by_group = {group: tell(entry_points(group=group)) for group in groups}
print(json.dumps({"everything": tell(everything), "by_group": by_group}))
"""


@dataclass(frozen=True)
class Asker:
    """One way in which a user can have epcache, with a cache of its own."""

    name: str
    mode: str
    on_stale: str
    # Whether there is an index to begin with, and then nothing but the reader to care for it.
    begins_with_sync: bool = False
    # Whether to wait for the refresh in the background: then each change meets a fresh index.
    waits: bool = False


ASKERS = [
    Asker("refreshes, and is changed meanwhile", "exact", "sync"),
    Asker("is fresh before each change", "exact", "sync", waits=True),
    Asker("stays as stale as it gets", "exact", "ignore", begins_with_sync=True),
    Asker("is fast, and fresh before each change", "fast", "sync", waits=True),
]


class Site:
    """A virtual environment, and everybody who asks about it."""

    def __init__(self, directory: Path, python: Path, command: Path, *, pip: bool) -> None:
        self.directory = directory
        self.venv = directory / "venv"
        self.python = self.venv / "bin" / "python"
        self._command = command
        inherited = {
            key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES
        }
        commands = directory / "commands"
        commands.mkdir()
        # Found there as it would be where it is installed.
        (commands / "epcache").symlink_to(command)
        self.environment = {
            **inherited,
            "PATH": os.pathsep.join([str(commands), os.environ.get("PATH", os.defpath)]),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        options = [] if pip else ["--without-pip"]
        succeed([python, "-m", "venv", *options, self.venv], self.environment)
        (self.site_packages,) = self.venv.glob("lib/python*/site-packages")
        self._pip: list[str | Path] = [self.python, "-m", "pip"]
        if not pip:
            self._pip = [sys.executable, "-m", "pip", "--python", self.python]
        for asker in ASKERS:
            if asker.begins_with_sync:
                self._epcache(asker, "sync")

    def pip(self, *arguments: str | Path) -> None:
        options = ["--yes"] if arguments[0] == "uninstall" else ["--no-index", "--no-deps"]
        succeed([*self._pip, arguments[0], "--quiet", *options, *arguments[1:]], self.environment)

    def everybody_answers_right(self, after: str, *, exact_only: bool = False) -> dict[str, Any]:
        """Ask everybody, in a fresh process each, and compare with CPython; what that says."""
        judgement = self._ask("importlib.metadata", self.environment)
        for asker in ASKERS:
            if exact_only and asker.mode != "exact":
                continue
            answer = self._ask("epcache", self._environment_of(asker))
            assert answer == judgement, f"after {after}: the cache that {asker.name}"
        # Where nothing is installed, nobody needs a cache.
        if any(self.site_packages.glob("*.dist-info")):
            for asker in ASKERS:
                if asker.waits:
                    self._wait_until_fresh(asker, after)
        return judgement

    def _ask(self, module: str, environment: dict[str, str]) -> dict[str, Any]:
        environment = {**environment, "PYTHONPATH": str(PACKAGE_DIRECTORY)}
        output = succeed([self.python, "-c", ASK, module], environment, cwd=self.directory)
        # Nothing of it is to be seen: no warning, no trace of what runs in the background.
        assert output.stderr == ""
        answer: dict[str, Any] = json.loads(output.stdout)
        return answer

    def _environment_of(self, asker: Asker) -> dict[str, str]:
        home = self.directory / f"home {ASKERS.index(asker)}"
        return {
            **self.environment,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "EPCACHE_MODE": asker.mode,
            "EPCACHE_ON_STALE": asker.on_stale,
        }

    def _epcache(self, asker: Asker, subcommand: str) -> str:
        options = [f"--path={self.site_packages}", "--format=plain"]
        return succeed(
            [self._command, subcommand, *options], self._environment_of(asker), check=False
        ).stdout

    def is_fresh(self, asker: Asker) -> bool:
        return self._epcache(asker, "status").startswith("fresh\t")

    def _wait_until_fresh(self, asker: Asker, after: str) -> None:
        """Wait for what the question has started. It may have met a change that was too young."""
        deadline = time.monotonic() + REFRESH_PATIENCE
        asked = time.monotonic()
        while not self.is_fresh(asker):
            now = time.monotonic()
            status = self._epcache(asker, "status")
            assert now < deadline, f"after {after}: no refresh of what {asker.name}: {status}"
            if now - asked > ASK_AGAIN_SECONDS:
                asked = now
                self._ask("epcache", self._environment_of(asker))
            time.sleep(0.02)


@pytest.fixture(params=["oldest", "newest"])
def some_interpreter(request: pytest.FixtureRequest, interpreters: list[Path]) -> Path:
    if request.param == "newest" and len(interpreters) == 1:
        pytest.skip("the newest CPython here is the oldest, too")
    return interpreters[0 if request.param == "oldest" else -1]


@pytest.fixture
def make_site(tmp_path: Path, command: Path) -> Callable[..., Site]:
    def make(python: Path, *, pip: bool) -> Site:
        home_count = len(ASKERS)
        for number in range(home_count):
            (tmp_path / f"home {number}").mkdir(mode=0o700)
        return Site(tmp_path, python, command, pip=pip)

    return make


# --- Packages that the test makes -----------------------------------------------------------------

# A build backend of its own, so that an editable install needs nothing from anywhere. It says what
# `entry_points.txt` beside it says at the moment.
BACKEND = """
import base64, hashlib, os, zipfile
from pathlib import Path

{write_wheel}

def build_editable(directory, config_settings=None, metadata_directory=None):
    files = {{"demo-editable.pth": os.getcwd() + "\\n"}}
    text = Path("entry_points.txt").read_text()
    return write_wheel(Path(directory), "demo", "3.0", text, files).name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def write_wheel(
    directory: Path,
    name: str,
    version: str,
    entry_points_txt: str | None,
    files: dict[str, str] | None = None,
) -> Path:
    """Write a wheel as the specification says."""
    info = f"{name}-{version}.dist-info"
    texts = dict(files if files is not None else {f"{name}.py": ""})
    texts[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    texts[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if entry_points_txt is not None:
        texts[f"{info}/entry_points.txt"] = entry_points_txt
    record = ""
    for path, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    texts[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    directory.mkdir(parents=True, exist_ok=True)
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in texts.items():
            # The time that reproducible builds give.
            member = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            archive.writestr(member, text)
    return wheel


def names_of(judgement: dict[str, Any], group: str) -> list[str]:
    """The names in a group, as CPython has them; so that it is seen that a step did something."""
    return [name for _, name, *_ in judgement["by_group"].get(group, [])]


def test_every_step_of_pip_is_seen_by_the_next_process(
    some_interpreter: Path, make_site: Callable[..., Site], tmp_path: Path
) -> None:
    demo_1 = write_wheel(tmp_path / "a", "demo", "1.0", "[app]\none = demo:one\n[b]\nb = demo\n")
    demo_1_again = write_wheel(tmp_path / "b", "demo", "1.0", "[app]\nuno = demo:uno\n")
    demo_2 = write_wheel(tmp_path / "c", "demo", "2.0", "[a]\na = demo\n[app]\ntwo = demo:two\n")
    other = write_wheel(tmp_path / "d", "other", "1.0", "[app]\nother = other:main [x,y]\n")
    silent = write_wheel(tmp_path / "e", "silent", "1.0", None)
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "backend.py").write_text(BACKEND.format(write_wheel=inspect.getsource(write_wheel)))
    (source / "entry_points.txt").write_text("[app]\nthree = demo:three\n")
    site = make_site(some_interpreter, pip=False)

    def check(after: str, expected: list[str], *, exact_only: bool = False) -> None:
        judgement = site.everybody_answers_right(after, exact_only=exact_only)
        assert sorted(names_of(judgement, "app")) == sorted(expected), f"CPython, after {after}"

    check("nothing", [])
    site.pip("install", demo_1, silent)
    check("installing", ["one"])
    site.pip("install", other)
    check("installing another", ["one", "other"])
    site.pip("install", demo_2)
    check("upgrading", ["two", "other"])
    site.pip("install", demo_1)
    check("downgrading", ["one", "other"])
    site.pip("install", "--force-reinstall", demo_1_again)
    check("reinstalling the same version with other entry points", ["uno", "other"])
    site.pip("install", "--ignore-installed", demo_1)
    check("installing over the same version", ["one", "other"], exact_only=True)
    site.pip("uninstall", "other")
    check("uninstalling", ["one"])
    site.pip("install", "--editable", source)
    check("an editable install in its place", ["three"])
    (source / "entry_points.txt").write_text("[app]\nthree = demo:three\nfour = demo:four\n")
    site.pip("install", "--editable", source)
    check("another one, with one more entry point", ["three", "four"])
    assert not any(site.is_fresh(asker) for asker in ASKERS if asker.on_stale == "ignore")
    site.pip("uninstall", "demo", "silent")
    check("uninstalling all", [])


# --- Packages that people use ---------------------------------------------------------------------

# Two states of the same packages, all of them pure Python, with entry points of their own.
OLD = ["flake8==7.0.0", "pycodestyle==2.11.1", "pyflakes==3.2.0", "mccabe==0.7.0"]
NEW = ["flake8==7.1.1", "pycodestyle==2.12.1"]
MORE = ["stevedore==5.3.0", "pluggy==1.5.0"]


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of all that is installed, from the package index."""
    directory = tmp_path_factory.mktemp("wheelhouse")
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
    patience = ["--timeout=10", "--retries=2"]
    for packages in ([*OLD, *MORE], NEW):
        download = [sys.executable, "-m", "pip", "download", *options, *patience]
        output = succeed(
            [*download, "--dest", directory, *packages], os.environ, check=False, timeout=300
        )
        if output.returncode != 0:
            lines = [line for line in output.stderr.splitlines() if line.startswith("ERROR")]
            missing(f"{', '.join(packages)} can't be had from the package index: {lines[-1:]}")
    return directory


def test_real_packages_come_and_go_as_importlib_metadata_says(
    some_interpreter: Path, make_site: Callable[..., Site], wheelhouse: Path
) -> None:
    site = make_site(some_interpreter, pip=True)
    from_wheelhouse = f"--find-links={wheelhouse}"

    def check(after: str, expected: set[str]) -> None:
        judgement = site.everybody_answers_right(after)
        assert set(names_of(judgement, "flake8.extension")) == expected, f"CPython, after {after}"

    check("making the environment", set())
    site.pip("install", from_wheelhouse, *OLD)
    check("installing flake8", {"C90", "E", "F", "W"})
    site.pip("install", from_wheelhouse, *MORE)
    check("installing stevedore", {"C90", "E", "F", "W"})
    site.pip("uninstall", "mccabe")
    check("uninstalling mccabe", {"E", "F", "W"})
    site.pip("install", from_wheelhouse, "--upgrade", *NEW)
    check("upgrading flake8", {"E", "F", "W"})
    site.pip("install", from_wheelhouse, "mccabe")
    check("installing mccabe again", {"C90", "E", "F", "W"})
    site.pip("install", from_wheelhouse, *OLD)
    check("downgrading flake8", {"C90", "E", "F", "W"})
    site.pip("install", from_wheelhouse, "--force-reinstall", *OLD)
    check("reinstalling flake8", {"C90", "E", "F", "W"})
    site.pip("uninstall", "flake8", "pycodestyle", "pyflakes", "mccabe", "stevedore", "pluggy")
    check("uninstalling all", set())
