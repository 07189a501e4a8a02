"""`python -m epcache enable` and `disable`: what they write, and what it does to processes.

Each virtual environment is a real one with the package copied into it, as an installer would.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from conftest import PACKAGE_DIRECTORY, MakeDist, Sync, missing, succeed, version_of

FILE = "epcache-patch.pth"


class Environment:
    """A virtual environment that holds epcache and one distribution."""

    def __init__(self, directory: Path, interpreter: Path, variables: dict[str, str]) -> None:
        self.directory = directory
        self.python = directory / "bin/python"
        self.variables = variables
        succeed([interpreter, "-m", "venv", "--without-pip", directory], variables)
        if version_of(self.python) != version_of(interpreter):
            pytest.skip(f"{interpreter} is a script that sets up more than a link to it does")
        self.site = Path(self.run("import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        self.pth = self.site / FILE
        shutil.copytree(
            PACKAGE_DIRECTORY / "epcache",
            self.site / "epcache",
            ignore=shutil.ignore_patterns("__pycache__"),
        )

    def run(self, code: str, *flags: str, env: Mapping[str, str] | None = None) -> str:
        """Run code in it; anything on standard error is a failure."""
        output = succeed([self.python, *flags, "-c", code], {**self.variables, **(env or {})})
        assert output.stderr == ""
        return output.stdout

    def epcache(
        self, *arguments: str | Path, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return succeed(
            [self.python, "-m", "epcache", *arguments], self.variables, cwd="/", check=check
        )


@pytest.fixture
def environment_of(
    tmp_path: Path, interpreter: Path, environment: dict[str, str], make_dist: MakeDist
) -> Environment:
    return _environment(tmp_path / "venv", interpreter, environment, make_dist)


@pytest.fixture
def venv(
    tmp_path: Path, interpreters: list[Path], environment: dict[str, str], make_dist: MakeDist
) -> Environment:
    """One of the newest interpreter that there can be one of."""
    for number, interpreter in enumerate(reversed(interpreters)):
        try:
            return _environment(tmp_path / f"venv{number}", interpreter, environment, make_dist)
        except pytest.skip.Exception:
            continue
    pytest.skip("no interpreter makes a virtual environment")


def _environment(
    directory: Path, interpreter: Path, variables: dict[str, str], make_dist: MakeDist
) -> Environment:
    made = Environment(directory, interpreter, variables)
    make_dist(made.site, "alpha-1.0", "[shapes]\nround = alpha:Round\n")
    return made


def synced(environment: Environment, sync: Sync) -> None:
    """Refresh the cache, and have the index say what the source does not."""
    sync([environment.site])
    cache = environment.variables["XDG_CACHE_HOME"]
    index = Path(f"{cache}/epcache{environment.site}/.index")
    text = index.read_text()
    assert "=alpha:Round" in text
    index.write_text(text.replace("=alpha:Round", "=cached:Round"))


ASK = """
from importlib.metadata import entry_points
print([point.value for point in entry_points(group="shapes")])
"""

WHAT_IS_THERE = """
import sys
from _frozen_importlib_external import PathFinder
own = vars(PathFinder)["find_distributions"].__func__.__globals__.get("__name__")
print(own, len(sys.meta_path), *(name for name in sys.modules if "epcache" in name))
"""


def test_enabling_serves_every_process_and_disabling_serves_none(
    environment_of: Environment, sync: Sync
) -> None:
    venv = environment_of
    plain = venv.run(WHAT_IS_THERE)
    files = set(venv.site.iterdir())

    said = venv.epcache("enable")
    assert said.stdout.startswith(f"enabled by {venv.pth}\n")
    (line,) = venv.pth.read_text().splitlines()
    assert line.startswith("import ")
    assert line.isascii()
    synced(venv, sync)
    assert venv.run(ASK) == "['cached:Round']\n"
    assert venv.run(ASK, env={"EPCACHE_MODE": "off"}) == "['alpha:Round']\n"
    assert venv.run(ASK, "-I") == "['cached:Round']\n"
    assert venv.run(ASK, "-S", env={"PYTHONPATH": str(venv.site)}) == "['alpha:Round']\n"

    said = venv.epcache("disable")
    assert said.stdout == f"disabled: removed {venv.pth}\n"
    assert set(venv.site.iterdir()) == files
    assert venv.run(ASK) == "['alpha:Round']\n"
    assert venv.run(WHAT_IS_THERE) == plain


def test_an_enabled_process_that_never_asks_imports_nothing_of_it(
    environment_of: Environment,
) -> None:
    venv = environment_of
    modules = "import sys; print(*sorted(sys.modules))"
    # From CPython 3.13 on, `site` imports a codec for any file of this kind.
    venv.pth.write_text("#\n")
    plain = venv.run(modules)
    venv.pth.unlink()
    finders = venv.run("import sys; print(len(sys.meta_path))")

    venv.epcache("enable")

    assert venv.run(modules) == plain
    # `site` runs the line twice in a virtual environment; there is one finder.
    assert int(venv.run("import sys; print(len(sys.meta_path))")) == int(finders) + 1
    # And nothing is left in the namespace in which the line is run.
    names = "import site; print(sorted(vars(site)))"
    enabled = venv.run(names)
    venv.epcache("disable")
    assert enabled == venv.run(names)


def test_once_asked_nothing_of_the_line_is_left(environment_of: Environment, sync: Sync) -> None:
    venv = environment_of
    finders = venv.run("import sys; print(len(sys.meta_path))").strip()
    venv.epcache("enable")
    synced(venv, sync)

    said = venv.run(
        """
from importlib.metadata import entry_points
from _frozen_importlib_external import PathFinder
import sys
early = PathFinder.find_distributions
before = entry_points(group="shapes")
assert PathFinder.find_distributions.__self__.__class__.__module__ == "epcache._patch"
assert early is not PathFinder.find_distributions
# Who bound the placeholder is served too.
assert "cached" in repr([d.entry_points for d in early()])
import epcache
with epcache.patch():
    assert list(entry_points(group="shapes")) == list(before)
assert list(entry_points(group="shapes")) == list(before)
print(len([f for f in sys.meta_path if "<lambda>" not in repr(f)]) - 1)
"""
    )

    # The one that waits for stevedore is on the list; the line's own is not.
    assert said.strip() == finders


def test_an_enabled_process_answers_epcache_without_importlib_metadata(
    environment_of: Environment, sync: Sync
) -> None:
    venv = environment_of
    venv.epcache("enable")
    synced(venv, sync)

    said = venv.run(
        "import sys, epcache; print(epcache.entry_points(group='shapes')['round'].value, "
        "'importlib.metadata' in sys.modules)"
    )

    assert said == "cached:Round False\n"


def test_a_package_that_is_gone_or_broken_is_not_missed(
    environment_of: Environment, sync: Sync
) -> None:
    venv = environment_of
    venv.epcache("enable")
    synced(venv, sync)
    package = venv.site / "epcache"
    (venv.site / "stevedore").mkdir()
    (venv.site / "stevedore/__init__.py").touch()
    (venv.site / "stevedore/_cache.py").touch()
    stevedore = "import stevedore._cache\n"

    (package / "_patch.py").write_text("1/0")
    assert venv.run(stevedore + ASK + ASK + stevedore) == "['alpha:Round']\n" * 2
    (package / "__init__.py").write_text("this is no Python")
    assert venv.run(ASK + stevedore) == "['alpha:Round']\n"
    shutil.rmtree(package)
    assert venv.run(ASK + ASK + stevedore) == "['alpha:Round']\n" * 2
    assert venv.run(stevedore + ASK) == "['alpha:Round']\n"
    assert "epcache" not in venv.run(ASK + WHAT_IS_THERE)


def test_a_package_of_which_an_empty_directory_is_left_is_gone(
    environment_of: Environment, sync: Sync
) -> None:
    venv = environment_of
    venv.epcache("enable")
    synced(venv, sync)
    shutil.rmtree(venv.site / "epcache")
    (venv.site / "epcache").mkdir()

    assert venv.run(ASK) == "['alpha:Round']\n"
    assert "epcache" not in venv.run(ASK + WHAT_IS_THERE)


def test_what_is_on_meta_path_can_be_hashed_and_called_as_a_finder_is(
    environment_of: Environment,
) -> None:
    venv = environment_of
    venv.epcache("enable")
    call = """
import sys
names = "nothing_of_this_name", "stevedore._cache"
assert len(set(sys.meta_path)) == len(sys.meta_path)
for finder in sys.meta_path:
    for name in names:
        assert finder.find_spec(name, []) is None
        assert finder.find_spec(name, [], None) is None
        assert finder.find_spec(name, path=[], target=None) is None
        assert finder.find_spec(fullname=name, path=[]) is None
    assert finder.find_spec(names[0]) is None
"""

    venv.run(call + ASK + call)
    venv.run(ASK + call)
    shutil.rmtree(venv.site / "epcache")
    venv.run(call + ASK + call)


def test_whoever_uses_the_environment_can_read_the_file(venv: Environment) -> None:
    before = os.umask(0o077)
    try:
        said = venv.epcache("enable")
    finally:
        os.umask(before)

    assert venv.pth.stat().st_mode & 0o7777 == 0o644
    assert "\nFrom its next start, each program of this environment" in said.stdout


def test_an_environment_that_was_moved_is_still_served(venv: Environment, sync: Sync) -> None:
    venv.epcache("enable")
    moved = venv.directory.with_name("moved")
    venv.directory.rename(moved)
    venv.python = moved / "bin/python"
    venv.site = moved / venv.site.relative_to(venv.directory)
    synced(venv, sync)

    assert venv.run(ASK) == "['cached:Round']\n"


def test_a_package_elsewhere_is_found_where_it_was(
    venv: Environment, sync: Sync, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "else where's ü"
    elsewhere.mkdir()
    (venv.site / "epcache").rename(elsewhere / "epcache")

    said = succeed(
        [venv.python, "-m", "epcache", "enable"],
        {**venv.variables, "PYTHONPATH": str(elsewhere)},
    )

    assert "enabled" in said.stdout
    synced(venv, sync)
    assert venv.run(ASK) == "['cached:Round']\n"


def written(path: Path) -> tuple[int, int, int]:
    """What any change of a file changes. Not its whole stat: reading a file may change that."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def test_enabling_and_disabling_again_changes_nothing(venv: Environment) -> None:
    assert venv.epcache("disable").stdout == f"not enabled: there is no {venv.pth}\n"
    venv.epcache("enable")
    before = written(venv.pth)

    assert venv.epcache("enable").stdout == f"already enabled by {venv.pth}\n"

    assert written(venv.pth) == before
    assert [path.name for path in venv.site.glob("*.tmp")] == []
    venv.epcache("disable")
    assert venv.epcache("disable").stdout == f"not enabled: there is no {venv.pth}\n"


def test_the_line_of_another_version_is_replaced(venv: Environment) -> None:
    venv.epcache("enable")
    text = venv.pth.read_text()
    venv.pth.write_text("import sys  # written by: python -m epcache enable\n")

    assert venv.epcache("enable").stdout == f"enabled again, by a new {venv.pth}\n"

    assert venv.pth.read_text() == text


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_a_file_that_is_not_ours_is_left_alone(venv: Environment, command: str) -> None:
    venv.pth.write_text("import os\n")
    refused = venv.epcache(command, check=False)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"epcache: {venv.pth} is not what epcache wrote; look at it, and remove it\n"
    )
    assert venv.pth.read_text() == "import os\n"

    venv.pth.unlink()
    target = venv.site / "target"
    target.write_text("# written by: python -m epcache enable\n")
    # No FIFO: `site` itself would wait for it.
    for is_link in (True, False):
        if is_link:
            venv.pth.symlink_to(target)
        else:
            venv.pth.mkdir()
        refused = venv.epcache(command, check=False)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert str(venv.pth) in refused.stderr
        assert os.path.lexists(venv.pth)
        if is_link:
            venv.pth.unlink()
        else:
            venv.pth.rmdir()
    assert target.read_text() == "# written by: python -m epcache enable\n"


def test_an_interpreter_of_no_environment_needs_to_be_asked_for(
    interpreters: list[Path], environment: dict[str, str], tmp_path: Path
) -> None:
    enable: list[str | Path] = [interpreters[-1], "-I", "-c"]
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE_DIRECTORY)!r})\n"
        "from epcache._enable import main; sys.exit(main(sys.argv[1:]))"
    )

    refused = succeed([*enable, code, "enable"], environment, check=False)
    assert refused.returncode == 2
    assert "is not the Python of a virtual environment" in refused.stderr
    assert "--system" in refused.stderr

    elsewhere = code.replace(
        "main;", f"main; import sysconfig; sysconfig.get_path = lambda _: {str(tmp_path)!r};"
    )
    succeed([*enable, elsewhere, "enable", "--system"], environment)
    assert (tmp_path / FILE).exists()
    succeed([*enable, elsewhere, "disable"], environment)
    assert not (tmp_path / FILE).exists()
    succeed([*enable, elsewhere, "enable", "--system"], environment)
    succeed([*enable, elsewhere, "disable", "--system"], environment)
    assert not (tmp_path / FILE).exists()

    succeed([*enable, code, "enable", f"--site={tmp_path}"], environment)
    assert (tmp_path / FILE).exists()


def test_what_cannot_be_written_is_refused_with_the_reason(venv: Environment) -> None:
    refused = venv.epcache("enable", "--site", venv.site / "nowhere", check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"epcache: {venv.site}/nowhere is no directory; give an existing one with --site\n"
    )

    if os.geteuid() == 0:
        # Nothing is refused to root but this.
        refused = venv.epcache("enable", "--site", "/proc/self/fdinfo", check=False)
    else:
        venv.site.chmod(0o555)
        refused = venv.epcache("enable", check=False)
        venv.site.chmod(0o755)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("epcache: can't write /")
    assert refused.stderr.count("\n") == 1


def test_the_command_need_not_start_an_enabled_interpreter(
    venv: Environment, command: Path, tmp_path: Path
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        missing("there is no strace to see which programs are started")
    log = tmp_path / "log"
    paths: list[str | Path] = [strace, "-f", "-e", "trace=execve", "-o", log, command, "paths"]

    before = succeed([*paths, "--venv", venv.directory], venv.variables).stdout
    venv.epcache("enable")
    after = succeed([*paths, "--venv", venv.directory], venv.variables).stdout

    assert after == before
    assert log.read_text().count("execve(") == 1
