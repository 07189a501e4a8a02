"""One wheel, with module and command: built from the sdist, installed, used, uninstalled."""

import email
import email.message
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from conftest import (
    BUILD_PATIENCE,
    FOREIGN_VARIABLES,
    REPOSITORY,
    environment_of,
    missing,
    succeed,
)

PACKAGE = REPOSITORY / "python" / "epcache"

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def workspace_version() -> str:
    """The version that the wheel and the command have."""
    cargo_toml = (REPOSITORY / "Cargo.toml").read_text()
    match = re.search(r'^\[workspace\.package\]\nversion = "([^"]+)"$', cargo_toml, re.MULTILINE)
    assert match, "Cargo.toml: no version in [workspace.package]"
    return match[1]


def needs_module(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        missing(f"there is no {name} in {sys.prefix}")


@pytest.fixture(scope="session")
def build_environment() -> dict[str, str]:
    """The caller's, with what is installed beside this Python on PATH."""
    scripts = str(Path(sys.executable).parent)
    inherited = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    return {
        # What is compiled already, cargo need not compile again.
        "CARGO_TARGET_DIR": str(REPOSITORY / "target"),
        **inherited,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)]),
    }


@pytest.fixture(scope="session")
def sdist(build_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution of the working tree."""
    if shutil.which("cargo") is None:
        missing("there is no cargo to build a wheel with")
    needs_module("maturin")
    directory = tmp_path_factory.mktemp("sdist")
    succeed(
        [sys.executable, "-m", "maturin", "sdist", "--out", directory],
        build_environment,
        cwd=REPOSITORY,
    )
    (built,) = directory.iterdir()
    return built


@pytest.fixture(scope="session")
def wheel(
    sdist: Path, build_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A wheel that was built from the sdist, and so from nothing that is only in the repository."""
    needs_module("pip")
    directory = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            # In the archive all are of one old date: cargo would take what it compiled before, of
            # another version of the files, for newer.
            member.mtime = int(time.time())
        archive.extractall(sdist.parent, filter="data")
    source = sdist.parent / sdist.name.removesuffix(".tar.gz")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--quiet"]
    succeed(
        [*PIP, "wheel", *options, "--wheel-dir", directory, source],
        build_environment,
        cwd=directory,
        timeout=BUILD_PATIENCE,
    )
    (built,) = directory.iterdir()
    return built


class Venv:
    """A virtual environment with nothing in it, not even pip."""

    def __init__(self, directory: Path, python: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.python = directory / "bin" / "python"
        self._environment = environment
        succeed([python, "-m", "venv", "--without-pip", directory], environment)

    def run(self, *arguments: str | Path) -> str:
        """Run a program of the environment, from outside of the repository; what it prints."""
        program = self.directory / "bin" / arguments[0]
        return succeed([program, *arguments[1:]], self._environment, cwd=self.directory).stdout

    def pip(self, *arguments: str | Path) -> None:
        succeed([*PIP, "--quiet", "--python", self.python, *arguments], self._environment)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.directory)) for path in self.directory.rglob("*")}


@pytest.fixture
def venv(tmp_path: Path, interpreter: Path, environment: dict[str, str]) -> Venv:
    return Venv(tmp_path / "venv", interpreter, environment)


@pytest.fixture(scope="session")
def installed(interpreter: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """A virtual environment with the wheel, for all tests that take nothing from it."""
    directory = tmp_path_factory.mktemp("installed")
    venv = Venv(directory / "venv", interpreter, environment_of(directory / "home"))
    venv.pip("install", "--no-index", wheel)
    return venv


def read_metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_module_has_the_version_of_the_workspace() -> None:
    text = (PACKAGE / "__init__.py").read_text()

    assert re.findall(r'^__version__ = "([^"]+)"$', text, re.MULTILINE) == [workspace_version()]


def test_the_wheel_holds_the_module_and_the_command_and_no_more(wheel: Path) -> None:
    version = workspace_version()
    module = {f"epcache/{path.name}" for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    dist_info = f"epcache-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        script = archive.getinfo(f"epcache-{version}.data/scripts/epcache")

    assert {name for name in names if name.startswith("epcache/")} == module
    assert {name for name in names if ".data/" in name} == {script.filename}
    assert script.external_attr >> 16 & 0o111 == 0o111
    assert {name for name in names if name.startswith(f"{dist_info}/")} == {
        f"{dist_info}/{name}"
        for name in (
            "METADATA",
            "RECORD",
            "WHEEL",
            "licenses/LICENSE-APACHE",
            "licenses/LICENSE-MIT",
        )
    }
    assert len(names) == len(module) + 1 + 5


def test_the_wheel_is_for_every_python_and_this_platform(wheel: Path) -> None:
    name, version, python, abi, platform = wheel.name.removesuffix(".whl").split("-")

    assert (name, version, python, abi) == ("epcache", workspace_version(), "py3", "none")
    assert platform != "any"


def test_the_metadata_tells_what_it_is_and_needs(wheel: Path) -> None:
    metadata = read_metadata(wheel)

    assert metadata["Name"] == "epcache"
    assert metadata["Version"] == workspace_version()
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata.get_all("Requires-Dist") is None
    assert str(metadata.get_payload()).lstrip().startswith("# epcache\n")


def test_nothing_in_the_wheel_names_the_directory_in_which_it_was_built(
    wheel: Path, sdist: Path
) -> None:
    places = [os.fsencode(place) for place in (REPOSITORY, sdist.parent.parent)]
    with zipfile.ZipFile(wheel) as archive:
        texts = {name: archive.read(name) for name in archive.namelist() if "/scripts/" not in name}

    assert [name for name, text in texts.items() if any(place in text for place in places)] == []


def test_the_sdist_holds_what_is_needed_to_build_and_no_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
    } <= names
    assert [name for name in names if name.startswith(("python/tests", "tests/", "benches/"))] == []
    assert [name for name in names if "__pycache__" in name] == []


def test_module_and_command_work_where_the_wheel_is_installed(installed: Venv) -> None:
    version = workspace_version()

    assert installed.run("python", "-c", "import epcache; print(epcache.__version__)") == (
        f"{version}\n"
    )
    assert installed.run("epcache", "--version") == f"epcache {version}\n"
    assert installed.run("python", "-m", "epcache", "--version") == f"epcache {version}\n"


def test_the_module_finds_the_command_that_came_with_it(installed: Venv) -> None:
    code = "from epcache._command import find_command; print(find_command())"

    assert installed.run("python", "-c", code) == f"{installed.directory}/bin/epcache\n"


def test_the_installed_module_answers_from_what_the_installed_command_has_written(
    installed: Venv,
) -> None:
    site_packages = installed.run(
        "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
    ).strip()
    metadata_dir = Path(site_packages, "plugin-1.0.dist-info")
    metadata_dir.mkdir()
    (metadata_dir / "entry_points.txt").write_text("[app.plugins]\nshout = plugin:Shout\n")
    installed.run("epcache", "sync")
    code = """
        import sys, epcache
        (point,) = epcache.entry_points(group="app.plugins")
        print(point, "importlib.metadata" in sys.modules)
    """

    output = installed.run("python", "-c", textwrap.dedent(code))

    assert output == ("EntryPoint(name='shout', value='plugin:Shout', group='app.plugins') False\n")


def test_uninstalling_leaves_nothing_behind(venv: Venv, wheel: Path) -> None:
    before = venv.files()
    venv.pip("install", "--no-index", wheel)
    venv.run("python", "-c", "import epcache; list(epcache.entry_points(group='console_scripts'))")
    venv.run("python", "-m", "epcache", "--version")
    assert venv.files() > before

    venv.pip("uninstall", "--yes", "epcache")

    assert venv.files() - before == set()
    assert before - venv.files() == set()


# What an application would write, and what mypy is to say about it.
GOOD_PROGRAM = """
import epcache


def plugins(group: str) -> dict[str, object]:
    found: epcache.EntryPoints = epcache.entry_points(group=group)
    return {point.name: point.load() for point in found}


def names() -> set[str]:
    return epcache.Cache(mode="off").entry_points(group="g").names


def versions(found: epcache.EntryPoints) -> list[str]:
    return [point.dist.version for point in found if point.dist is not None]


def first(found: epcache.EntryPoints) -> epcache.EntryPoint:
    return found["name"]


with epcache.patch():
    text: str = first(epcache.entry_points()).value
"""
BAD_LINES = [
    "number: int = epcache.entry_points(group='g')",
    "epcache.Cache(mode=3)",
    "flag: bytes = epcache.entry_points()['name'].value",
    "epcache.no_such_name",
]


def test_a_users_program_is_checked_against_the_installed_annotations(
    tmp_path: Path, interpreters: list[Path], environment: dict[str, str], wheel: Path
) -> None:
    needs_module("mypy")
    venv = Venv(tmp_path / "venv", interpreters[-1], environment)
    venv.pip("install", "--no-index", wheel)
    (tmp_path / "good.py").write_text(GOOD_PROGRAM)
    (tmp_path / "bad.py").write_text("\n".join(["import epcache", *BAD_LINES, ""]))

    def mypy(program: str) -> subprocess.CompletedProcess[str]:
        options = ["--strict", "--config-file=", "--no-pretty", "--python-executable"]
        return succeed(
            [sys.executable, "-m", "mypy", *options, venv.python, program],
            environment,
            cwd=tmp_path,
            check=False,
        )

    good = mypy("good.py")
    assert (good.returncode, good.stderr) == (0, ""), good.stdout
    complaints = re.findall(r"^bad\.py:(\d+): error:", mypy("bad.py").stdout, re.MULTILINE)
    assert [int(line) for line in complaints] == [2, 3, 4, 5]
