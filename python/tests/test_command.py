"""`python -m epcache`, and where it looks for the command."""

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import PACKAGE_DIRECTORY, PATIENCE, missing, succeed, version_of

# What answers in the command's place: it tells its name and arguments, and ends as it is told.
STAND_IN = '#!/bin/sh\necho "$0" "$@"\n'


def stand_in(path: Path, text: str = STAND_IN, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def install(site_packages: Path) -> Path:
    """Copy the package to where an installer would have put it."""
    package = site_packages / "epcache"
    shutil.copytree(
        PACKAGE_DIRECTORY / "epcache", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    return package


def python_m(
    site_packages: Path,
    *arguments: str,
    env: dict[str, str],
    python: str,
    cwd: Path | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m epcache`, with the package from `site_packages`."""
    return succeed(
        [python, "-S", "-m", "epcache", *arguments],
        {**env, "PYTHONPATH": str(site_packages)},
        cwd=cwd,
        check=check,
    )


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Without any command on PATH that the test has not put there."""
    return {**environment, "PATH": str(tmp_path / "path" / "bin")}


@pytest.fixture
def bare_python(tmp_path: Path, interpreters: list[Path]) -> str:
    """An interpreter that has no command beside it."""
    python = tmp_path / "bare" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(interpreters[-1])
    return str(python)


@pytest.mark.parametrize(
    "site_packages",
    [
        "lib/python3.12/site-packages",
        "lib64/python3.12/site-packages",
        "lib/python3/dist-packages",
    ],
)
def test_the_command_of_the_same_installation_comes_first(
    tmp_path: Path, environment: dict[str, str], bare_python: str, site_packages: str
) -> None:
    prefix = tmp_path / "prefix"
    install(prefix / site_packages)
    own = stand_in(prefix / "bin" / "epcache")
    stand_in(Path(bare_python).parent / "epcache")
    stand_in(Path(environment["PATH"]) / "epcache")

    output = python_m(prefix / site_packages, "query", "g", env=environment, python=bare_python)

    assert output.stdout == f"{own} query g\n"


def test_the_command_beside_the_interpreter_comes_before_that_on_path(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "src")
    beside = stand_in(Path(bare_python).parent / "epcache")
    stand_in(Path(environment["PATH"]) / "epcache")

    output = python_m(tmp_path / "src", "sync", env=environment, python=bare_python)

    assert output.stdout == f"{beside} sync\n"


def test_the_command_in_a_target_directory_is_found(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "target")
    own = stand_in(tmp_path / "target" / "bin" / "epcache")

    output = python_m(tmp_path / "target", "sync", env=environment, python=bare_python)

    assert output.stdout == f"{own} sync\n"


def test_a_directory_that_is_no_prefix_is_not_looked_into(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "a" / "b" / "c")
    stand_in(tmp_path / "bin" / "epcache")

    output = python_m(
        tmp_path / "a" / "b" / "c", "sync", env=environment, python=bare_python, check=False
    )

    assert output.returncode == 2


def test_what_is_on_path_but_can_not_be_run_is_passed_over(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "src")
    stand_in(tmp_path / "first" / "epcache", mode=0o644)
    (tmp_path / "second" / "epcache").mkdir(parents=True)
    third = stand_in(tmp_path / "third" / "epcache")
    path = os.pathsep.join(str(tmp_path / name) for name in ("first", "second", "third"))

    output = python_m(
        tmp_path / "src", "sync", env={**environment, "PATH": path}, python=bare_python
    )

    assert output.stdout == f"{third} sync\n"


@pytest.mark.parametrize("path", ["", ".", "bin", ":", "bin:."])
def test_a_relative_item_of_path_is_passed_over(
    tmp_path: Path, environment: dict[str, str], bare_python: str, path: str
) -> None:
    install(tmp_path / "src")
    stand_in(tmp_path / "here" / "epcache")
    stand_in(tmp_path / "here" / "bin" / "epcache")

    output = python_m(
        tmp_path / "src",
        "sync",
        env={**environment, "PATH": path},
        python=bare_python,
        cwd=tmp_path / "here",
        check=False,
    )

    assert output.returncode == 2
    assert output.stdout == ""


@pytest.mark.parametrize("what", ["bin", "bin/epcache"])
@pytest.mark.parametrize("state", ["writable by all", "another user's", "writable by a group"])
def test_what_somebody_else_could_have_put_there_runs_only_where_it_is_asked_for(
    tmp_path: Path, environment: dict[str, str], bare_python: str, what: str, state: str
) -> None:
    install(tmp_path / "src")
    found = stand_in(Path(environment["PATH"]) / "epcache")
    changed = tmp_path / "path" / what
    if state == "another user's":
        if os.geteuid() != 0:
            missing("only root can give a file away")
        os.chown(changed, 65534, 65534)
    else:
        changed.chmod(0o777 if state == "writable by all" else 0o2775)
    ask = (
        "from epcache._command import find_command\n"
        "print(find_command(), find_command(trusted_only=True))"
    )

    output = succeed(
        [bare_python, "-S", "-c", ask], {**environment, "PYTHONPATH": str(tmp_path / "src")}
    )

    trusted = found if state == "writable by a group" else None
    assert output.stdout == f"{found} {trusted}\n"


def test_it_is_about_the_environment_of_the_python_that_runs_it_activated_or_not(
    tmp_path: Path, environment: dict[str, str], interpreter: Path, command: Path
) -> None:
    install(tmp_path / "src")
    stand_in(Path(environment["PATH"]) / "epcache", text='#!/bin/sh\necho "$VIRTUAL_ENV"\n')
    venv = tmp_path / "venv"
    succeed([interpreter, "-m", "venv", "--without-pip", venv], environment)
    if version_of(venv / "bin/python") != version_of(interpreter):
        pytest.skip(f"{interpreter} is a script that sets up more than a link to it does")
    other = {**environment, "PYTHONPATH": str(tmp_path / "src"), "VIRTUAL_ENV": "/other"}

    def ask(python: Path, *arguments: str) -> str:
        line: list[str | Path] = [python, "-m", "epcache", *arguments]
        return succeed(line, other, cwd=tmp_path).stdout

    assert ask(venv / "bin/python", "status") == f"{venv}\n"
    assert ask(venv / "bin/python", "--help").startswith(f"{venv}\n")
    assert ask(interpreter, "status") == "/other\n"

    stand_in(
        Path(environment["PATH"]) / "epcache",
        text=f'#!/bin/sh\nexec {shlex.quote(str(command))} "$@"\n',
    )
    assert f"{venv}/lib/" in ask(venv / "bin/python", "paths")
    assert f"{venv}/lib/" not in ask(venv / "bin/python", "paths", f"--python={interpreter}")


def test_a_missing_command_is_one_line_that_says_what_to_do(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "src")

    output = python_m(tmp_path / "src", "sync", env=environment, python=bare_python, check=False)

    assert output.returncode == 2
    assert output.stdout == ""
    assert output.stderr.count("\n") == 1
    assert output.stderr.startswith("epcache: the command 'epcache' is neither ")
    assert "pip install ." in output.stderr


def test_a_command_that_is_no_program_is_one_line_with_its_path(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "src")
    broken = stand_in(Path(environment["PATH"]) / "epcache", text="no program\n")

    output = python_m(tmp_path / "src", "sync", env=environment, python=bare_python, check=False)

    assert output.returncode == 2
    assert output.stderr == f"epcache: {broken}: Exec format error\n"


@pytest.mark.parametrize("status", [0, 1, 2, 77])
def test_the_exit_status_is_the_commands(
    tmp_path: Path, environment: dict[str, str], bare_python: str, status: int
) -> None:
    install(tmp_path / "src")
    stand_in(Path(environment["PATH"]) / "epcache", text=f"#!/bin/sh\nexit {status}\n")

    output = python_m(tmp_path / "src", "sync", env=environment, python=bare_python, check=False)

    assert output.returncode == status


def test_a_signal_ends_it_as_it_ends_the_command(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "src")
    stand_in(Path(environment["PATH"]) / "epcache", text="#!/bin/sh\nkill -TERM $$\n")

    output = python_m(tmp_path / "src", "sync", env=environment, python=bare_python, check=False)

    assert output.returncode == -signal.SIGTERM


def test_no_signal_is_ignored_in_the_command_that_was_not_before(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc/self/status to tell what is ignored")
    install(tmp_path / "src")
    tell = "while read -r line; do case $line in SigIgn*) echo $line;; esac; done"
    stand_in(Path(environment["PATH"]) / "epcache", text=f"#!/bin/sh\n{tell} </proc/self/status\n")

    output = python_m(tmp_path / "src", "sync", env=environment, python=bare_python)

    ignored = int(output.stdout.split()[1], 16)
    assert not [number for number in (signal.SIGPIPE, signal.SIGXFSZ) if ignored >> number - 1 & 1]


def test_arguments_reach_the_command_as_they_are(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "src")
    stand_in(
        Path(environment["PATH"]) / "epcache",
        text='#!/bin/sh\nfor argument; do printf "%s\\n" "<$argument>"; done\n',
    )
    arguments = ["query", "", "a b", "-v", "--", "*", "\udcff", "\U0001f40d"]

    output = python_m(tmp_path / "src", *arguments, env=environment, python=bare_python)

    assert output.stdout.splitlines() == [f"<{argument}>" for argument in arguments]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_the_commands_and_tells_of_what_only_python_can_do(
    tmp_path: Path, environment: dict[str, str], bare_python: str, command: Path, option: str
) -> None:
    install(tmp_path / "src")
    (tmp_path / "path" / "bin").mkdir(parents=True)
    (tmp_path / "path" / "bin" / "epcache").symlink_to(command)
    own = succeed([command, option], environment).stdout

    output = python_m(tmp_path / "src", option, env=environment, python=bare_python)

    assert output.stdout.startswith(own)
    rest = output.stdout[len(own) :]
    assert [line.split()[0] for line in rest.splitlines()[2:]] == ["enable", "disable"]


@pytest.mark.parametrize("word", ["enable", "disable"])
def test_what_only_python_can_do_needs_no_command(
    tmp_path: Path, environment: dict[str, str], bare_python: str, word: str
) -> None:
    install(tmp_path / "src")

    output = python_m(tmp_path / "src", word, "--help", env=environment, python=bare_python)

    assert output.stdout.startswith(f"usage: python -m epcache {word} ")


def test_a_reader_of_help_that_has_read_enough_is_no_error(
    tmp_path: Path, environment: dict[str, str], bare_python: str
) -> None:
    install(tmp_path / "src")
    stand_in(Path(environment["PATH"]) / "epcache", text="#!/bin/sh\nexit 0\n")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        output = subprocess.run(
            [bare_python, "-S", "-m", "epcache", "--help"],
            env={**environment, "PYTHONPATH": str(tmp_path / "src")},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
        )

    assert output.returncode == 0
    assert output.stderr == b""


def test_it_runs_on_every_version(
    tmp_path: Path, environment: dict[str, str], interpreter: Path, command: Path
) -> None:
    install(tmp_path / "src")
    (tmp_path / "path" / "bin").mkdir(parents=True)
    (tmp_path / "path" / "bin" / "epcache").symlink_to(command)

    output = succeed(
        [interpreter, "-S", "-m", "epcache", "--version"],
        {**environment, "PYTHONPATH": str(tmp_path / "src")},
        cwd=tmp_path,
    )

    assert output.stdout == succeed([command, "--version"], environment).stdout
