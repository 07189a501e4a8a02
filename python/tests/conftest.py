"""What the Python tests share: interpreters, the command, path entries, CPython's own answer.

Nothing here knows how the reader works. A test builds a path entry with `make_dist`, refreshes the
cache with `sync` if it wants one, asks with `reader` in a fresh process, and compares with `judge`.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Where `import epcache` is to find the package that is tested.
PACKAGE_DIRECTORY = REPOSITORY / "python"

# Whoever answers at all does so in far less: what takes this long hangs.
PATIENCE = 120.0

# Building the command from nothing, with its dependencies, on a slow machine.
BUILD_PATIENCE = 1200.0

# The versions of CPython that the reader is for.
MINOR_VERSIONS = range(10, 15)

# What a caller has set for own use must not decide what is tested.
FOREIGN_VARIABLES = (
    "EPCACHE_MODE",
    "EPCACHE_ON_STALE",
    "EPCACHE_PATH",
    "NO_COLOR",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "VIRTUAL_ENV",
)


class Answer(NamedTuple):
    """One entry point, with where it is declared. Equal to a plain tuple of the same strings."""

    group: str
    name: str
    value: str
    metadata_dir: str
    path_entry: str


def missing(what: str) -> NoReturn:
    """Skip the test because the machine lacks something; fail where it was promised to be there."""
    if os.environ.get("EPCACHE_TEST_REQUIRE") == "1":
        pytest.fail(f"EPCACHE_TEST_REQUIRE=1, but {what}")
    pytest.skip(what)


# --- Interpreters ---------------------------------------------------------------------------------


def version_of(python: Path) -> tuple[int, int, int] | None:
    """The version of an interpreter, if it is a CPython that runs."""
    question = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
    try:
        output = subprocess.run(
            [python, "-I", "-S", "-c", question],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.fullmatch(r"cpython (\d+) (\d+) (\d+)\n", output.stdout)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def find_interpreters() -> list[Path]:
    """The newest CPython of each minor version that is on PATH or among pyenv's, oldest first."""
    directories = [Path(item) for item in os.environ.get("PATH", "").split(os.pathsep) if item]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, timeout=PATIENCE)
        directories += sorted(Path(root.stdout.strip(), "versions").glob("*/bin"))
    names = ["python3", *(f"python3.{minor}" for minor in MINOR_VERSIONS)]
    candidates = {directory / name for directory in directories for name in names}
    candidates.add(Path(sys.executable))
    # A virtual environment's python is a link to the one that counts; a shim (of pyenv, say)
    # decides by its own name what to run, and keeps that.
    programs = {
        real if (real := Path(os.path.realpath(item))).name.startswith("python3") else item
        for item in candidates
        if os.path.isfile(item) and os.access(item, os.X_OK)
    }
    newest: dict[int, tuple[tuple[int, int, int], bool, Path]] = {}
    for program in sorted(programs):
        version = version_of(program)
        if version is None or version[0] != 3 or version[1] not in MINOR_VERSIONS:
            continue
        minor = version[1]
        # A shim takes its time before it runs what is another candidate.
        newest[minor] = max(
            newest.get(minor, ((0, 0, 0), False, program)),
            (version, not is_script(program), program),
        )
    return [program for _, (_, _, program) in sorted(newest.items())]


def is_script(program: Path) -> bool:
    with program.open("rb") as file:
        return file.read(2) == b"#!"


FOUND = pytest.StashKey[list[Path]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = find_interpreters()


def pytest_report_header(config: pytest.Config) -> list[str]:
    found = {version_of(python): python for python in config.stash[FOUND]}
    lines = [f"CPython {'.'.join(map(str, version or ()))}: {at}" for version, at in found.items()]
    minors = {version[1] for version in found if version}
    if absent := [f"3.{minor}" for minor in MINOR_VERSIONS if minor not in minors]:
        lines.append(f"skipped: CPython {', '.join(absent)}: not on PATH, and not among pyenv's")
    return lines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `interpreter` runs once on each."""
    if "interpreter" in metafunc.fixturenames:
        found = metafunc.config.stash[FOUND]
        names = [".".join(map(str, (version_of(python) or (0, 0))[:2])) for python in found]
        metafunc.parametrize("interpreter", found, ids=names, scope="session")


@pytest.fixture(scope="session")
def interpreters(pytestconfig: pytest.Config) -> list[Path]:
    """One CPython of each minor version from 3.10 to 3.14 that the machine has, oldest first."""
    return pytestconfig.stash[FOUND]


# --- The command ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def command() -> Path:
    """The `epcache` executable: EPCACHE_TEST_BINARY, or the workspace's own, built here."""
    if chosen := os.environ.get("EPCACHE_TEST_BINARY"):
        return Path(chosen).absolute()
    cargo = shutil.which("cargo")
    if cargo is None:
        missing("there is no cargo to build the command with, and no EPCACHE_TEST_BINARY")
    build = [cargo, "build", "--quiet", "--release", "--package=epcache-cli"]
    output = subprocess.run(
        [*build, "--message-format=json"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=BUILD_PATIENCE,
    )
    messages = [json.loads(line) for line in output.stdout.splitlines()]
    return next(Path(message["executable"]) for message in messages if message.get("executable"))


class Sync(Protocol):
    def __call__(
        self,
        path_entries: Iterable[str | os.PathLike[str]],
        *arguments: str,
        env: Mapping[str, str] | None = None,
    ) -> str: ...


@pytest.fixture
def sync(command: Path, environment: dict[str, str]) -> Sync:
    """`sync(path_entries, *arguments, env=None)` runs `epcache sync` for them; gives its report."""

    def run(
        path_entries: Iterable[str | os.PathLike[str]],
        *arguments: str,
        env: Mapping[str, str] | None = None,
    ) -> str:
        paths: list[str | os.PathLike[str]] = [
            f"--path={os.fspath(path_entry)}" for path_entry in path_entries
        ]
        return succeed([command, "sync", *paths, *arguments], {**environment, **(env or {})}).stdout

    return run


# --- Path entries ---------------------------------------------------------------------------------


class MakeDist(Protocol):
    def __call__(
        self,
        path_entry: str | os.PathLike[str],
        name_version: str,
        entry_points_txt: str | bytes | None = None,
        suffix: str = ".dist-info",
        metadata: str | bytes | Literal[False] | None = None,
    ) -> Path: ...


def _make_dist(
    path_entry: str | os.PathLike[str],
    name_version: str,
    entry_points_txt: str | bytes | None = None,
    suffix: str = ".dist-info",
    metadata: str | bytes | Literal[False] | None = None,
) -> Path:
    metadata_dir = Path(path_entry, name_version + suffix)
    metadata_dir.mkdir(parents=True, exist_ok=True)
    if metadata is None:
        name, _, version = name_version.partition("-")
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version or '1.0'}\n"
    if metadata is not False:
        is_egg = suffix.lower() != ".dist-info"
        _write(metadata_dir / ("PKG-INFO" if is_egg else "METADATA"), metadata)
    if entry_points_txt is not None:
        _write(metadata_dir / "entry_points.txt", entry_points_txt)
    return metadata_dir


def _write(path: Path, content: str | bytes) -> None:
    # A text is written with the line ends that it has.
    path.write_bytes(content if isinstance(content, bytes) else os.fsencode(content))


@pytest.fixture(scope="session")
def make_dist() -> MakeDist:
    """Makes a metadata directory, and its path entry where there is none; gives its path.

    `name_version` is what is before the suffix ("six-1.16.0"; "EGG-INFO" with the suffix "").
    `entry_points_txt` is written as it is, None: there is none. `metadata` is the METADATA (or
    PKG-INFO), None: one that says the name and version; False: there is none.
    """
    return _make_dist


# --- Asking ---------------------------------------------------------------------------------------


class Judge:
    """CPython, as the answer to compare with: `judge(sys_path)`.

    One process of the newest CPython is asked many times, with CPython's own caches cleared before
    each question (see the program itself, `tests/src/oracle.py`, which the Rust tests ask too).
    """

    def __init__(self, python: Path) -> None:
        flags = ["-I", "-S", "-B", "-W", "ignore", "-X", "utf8"]
        self._process = subprocess.Popen(
            [python, *flags, REPOSITORY / "tests/src/oracle.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, sys_path: Sequence[str | os.PathLike[str]], cwd: str | os.PathLike[str] = "/"
    ) -> list[Answer]:
        """All entry points of a fresh process that has this `sys.path`, in CPython 3.12's order.

        Where CPython raises, what it raises on is left out, and `raises` tells it.
        """
        path = [os.fspath(item) for item in sys_path]
        return [
            Answer(
                point["group"],
                point["name"],
                point["value"],
                os.fsdecode(bytes.fromhex(point["metadata_dir"])),
                path[point["position"]],
            )
            for point in self._ask(path, cwd)["entry_points"]
        ]

    def raises(
        self, sys_path: Sequence[str | os.PathLike[str]], cwd: str | os.PathLike[str] = "/"
    ) -> list[str]:
        """What makes `entry_points()` raise, in words; nothing if it does not."""
        return list(self._ask([os.fspath(item) for item in sys_path], cwd)["raises"])

    def _ask(self, path: list[str], cwd: str | os.PathLike[str]) -> dict[str, Any]:
        digits = [os.fsencode(item).hex() for item in path]
        question = {"path": digits, "cwd": os.fsencode(cwd).hex()}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, f"the oracle failed on {question}:\n{answer['error']}"
        return answer

    def close(self) -> None:
        with self._process:
            self._process.kill()


@pytest.fixture(scope="session")
def judge(interpreters: list[Path]) -> Iterator[Judge]:
    """`judge(sys_path)`: the entry points that CPython finds, each an `Answer`."""
    chosen = os.environ.get("EPCACHE_TEST_PYTHON")
    oracle = Judge(Path(chosen) if chosen else interpreters[-1])
    yield oracle
    oracle.close()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has nothing yet; home, cache and settings are the test's."""
    return environment_of(tmp_path / "home")


def environment_of(home: Path) -> dict[str, str]:
    """The environment of a user with this home, which is made if there is none.

    A stale cache is let be, so that nothing runs in the background but where a test asks for it.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    home.mkdir(mode=0o700, exist_ok=True)
    return {
        **inherited,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "EPCACHE_ON_STALE": "ignore",
    }


@pytest.fixture
def root(environment: dict[str, str]) -> Path:
    """The user's cache root, which `sync` writes."""
    return Path(environment["XDG_CACHE_HOME"], "epcache")


class Reader(Protocol):
    def __call__(
        self,
        code: str,
        sys_path: Iterable[str | os.PathLike[str]] | None = None,
        *,
        python: Path | None = None,
        env: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        cwd: str | os.PathLike[str] | None = None,
        standard_library: bool = True,
        check: bool = True,
        launcher: Sequence[str | os.PathLike[str]] = (),
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def reader(interpreters: list[Path], environment: dict[str, str]) -> Reader:
    """Runs code in a fresh interpreter in which `epcache` is imported, and asked about `sys_path`.

    `code` is dedented; `show(entry_points)` in it prints what `answers` reads. `sys_path` comes
    before the standard library (which holds no dist), or stands for all of `sys.path` if not
    `standard_library`; None: the standard library alone. The interpreter is isolated and has no
    site-packages; `python` is the newest unless said otherwise. `env` comes on top of the fixture
    `environment`. `launcher` is what runs the interpreter (strace, say). A failure fails the test,
    if `check`.
    """

    def run(
        code: str,
        sys_path: Iterable[str | os.PathLike[str]] | None = None,
        *,
        python: Path | None = None,
        env: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        cwd: str | os.PathLike[str] | None = None,
        standard_library: bool = True,
        check: bool = True,
        launcher: Sequence[str | os.PathLike[str]] = (),
    ) -> subprocess.CompletedProcess[str]:
        path = [os.fspath(item) for item in sys_path or ()]
        rest = "sys.path" if standard_library else "[]"
        lines = [
            "import sys",
            f"sys.path.insert(0, {str(PACKAGE_DIRECTORY)!r})",
            "import epcache",
            "del sys.path[0]",
            f"sys.path[:] = {path!r} + {rest}",
            SHOW,
            textwrap.dedent(code),
        ]
        program: list[str | os.PathLike[str]] = [python or interpreters[-1], "-I", "-S"]
        return succeed(
            [*launcher, *program, "-X", "utf8", *flags, "-c", "\n".join(lines)],
            {**environment, **(env or {})},
            cwd=cwd,
            check=check,
        )

    return run


# Escaped, so that what no terminal shows and what is not UTF-8 arrives as it was.
SHOW = """
def show(entry_points):
    for point in entry_points:
        path = point.dist._path
        where = (path.name, str(path.parent))
        print(ascii((point.group, point.name, point.value, *where)))
"""


def answers(output: subprocess.CompletedProcess[str] | str) -> list[Answer]:
    """What `show` printed, as `judge` answers it (of path entries that are directories)."""
    text = output if isinstance(output, str) else output.stdout
    return [Answer(*ast.literal_eval(line)) for line in text.splitlines()]


def succeed(
    arguments: Sequence[str | os.PathLike[str]],
    env: Mapping[str, str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    check: bool = True,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, without any input. If `check`, a failure fails the test."""
    output = subprocess.run(
        arguments,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=timeout,
    )
    if check and output.returncode != 0:
        line = " ".join(os.fspath(argument) for argument in arguments)
        pytest.fail(
            f"exit status {output.returncode}: {line}\n{output.stdout}\n{output.stderr}",
            pytrace=False,
        )
    return output
