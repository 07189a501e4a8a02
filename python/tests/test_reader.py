"""The reader where programs and machines are odd: who asks, through which finders, in which locale.

What is asked is answered by a fresh process; what it should say, CPython tells, or the command, or
the test knows it beforehand. Cases that the command has too are in `test_conformance`.
"""

import ast
import os
import pickle
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import epcache
from conftest import (
    PACKAGE_DIRECTORY,
    Judge,
    MakeDist,
    Reader,
    Sync,
    answers,
    missing,
    succeed,
)
from epcache import _warn

# Users and groups that need not exist.
NOBODY, MEMBERS, OTHERS = 65534, 54321, 54322

# More path entries than a process remembers.
MANY = 300


def value_of(output: subprocess.CompletedProcess[str]) -> Any:
    """What a program printed as a literal in its last line."""
    return ast.literal_eval(output.stdout.splitlines()[-1])


@pytest.fixture
def site(tmp_path: Path, make_dist: MakeDist) -> Path:
    """A path entry with two distributions that declare something, and one that does not."""
    path_entry = tmp_path / "site"
    make_dist(path_entry, "alpha-1.0", "[g]\na = alpha:main\n[h]\nx = alpha\n")
    make_dist(path_entry, "beta-2.0", "[g]\nb = beta\n")
    make_dist(path_entry, "gamma-3")
    return path_entry


# --- Who asks -------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """An empty directory that every user can search."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        for parent in Path(directory).parents:
            if parent.stat().st_mode & 0o001 == 0:
                missing(f"other users can't search {parent}, where temporary files are")
        yield Path(directory)


CREDENTIALS = """
    import importlib.metadata, email.parser, os
    from epcache import _source, _views
    caches = [epcache.Cache(roots=[{root!r}]), epcache.Cache(roots=["/nonexistent"]), epcache]
    def names():
        importlib.metadata.FastPath.__new__.cache_clear()
        asked = [*caches, importlib.metadata]
        return [sorted(point.name for point in one.entry_points(group="g")) for one in asked]
    os.setgroups({groups_before!r})
    os.setegid({group_before!r})
    os.seteuid({user_before!r})
    before = names()
    os.seteuid(0)
    os.setgroups({groups_after!r})
    os.setegid({group_after!r})
    os.seteuid({user_after!r})
    print((before, names()))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((0, 0, []), (NOBODY, OTHERS, [])),
        ((NOBODY, MEMBERS, []), (NOBODY, OTHERS, [])),
        ((NOBODY, OTHERS, [MEMBERS]), (NOBODY, OTHERS, [])),
    ],
    ids=["another user", "another group", "other supplementary groups"],
)
def test_what_a_process_remembers_is_not_told_to_who_may_not_read_it(
    public: Path,
    make_dist: MakeDist,
    sync: Sync,
    reader: Reader,
    before: tuple[int, int, list[int]],
    after: tuple[int, int, list[int]],
) -> None:
    if os.geteuid() != 0:
        missing("only root can become another user")
    site, root = public / "site", public / "root"
    make_dist(site, "open-1", "[g]\nopen = m\n")
    secret = make_dist(site, "secret-1", "[g]\nsecret = m\n") / "entry_points.txt"
    os.chown(secret, 0, MEMBERS)
    secret.chmod(0o640)
    sync([site], f"--cache-dir={root}")
    # What has the secret in it may be read by the same.
    for directory, _, files in os.walk(root):
        for path in (directory, *(os.path.join(directory, file) for file in files)):
            os.chown(path, 0, MEMBERS)
            os.chmod(path, 0o750 if path == directory else 0o640)
    code = CREDENTIALS.format(
        root=str(root),
        user_before=before[0],
        group_before=before[1],
        groups_before=before[2],
        user_after=after[0],
        group_after=after[1],
        groups_after=after[2],
    )
    # The environment's cache has no root that counts for all of them: it remembers sources.
    output = reader(code, [site], env={"EPCACHE_PATH": "/nonexistent"})
    assert value_of(output) == ([["open", "secret"]] * 4, [["open"]] * 4)


def test_an_index_that_was_read_by_root_is_not_asked_for_another_user(
    public: Path, make_dist: MakeDist, sync: Sync, reader: Reader
) -> None:
    if os.geteuid() != 0:
        missing("only root can become another user")
    site, root = public / "site", public / "root"
    secret = make_dist(site, "secret-1", "[g]\nsecret = m\n") / "entry_points.txt"
    sync([site], f"--cache-dir={root}")
    secret.chmod(0o600)
    # That there is an index all may know. Mode fast has no more checked than that and its stamp.
    for directory, _, _ in os.walk(root):
        os.chmod(directory, 0o711)
    code = f"""
        import os
        from epcache import _source, _views
        cache = epcache.Cache(mode="fast", roots=[{str(root)!r}])
        names = lambda: sorted(point.name for point in cache.entry_points())
        before = names()
        os.seteuid({NOBODY})
        after = names()
        os.seteuid(0)
        print((before, after, names()))
    """
    assert value_of(reader(code, [site])) == (["secret"], [], ["secret"])


# --- Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_home", ["", "relative/cache", "/named/cache/"])
@pytest.mark.parametrize("home", [None, "", "relative", "/", "/some/home/"])
def test_the_roots_are_those_of_the_command(
    home: str | None, cache_home: str, reader: Reader, environment: dict[str, str], command: Path
) -> None:
    env = {**environment, "HOME": home or "", "XDG_CACHE_HOME": cache_home}
    env["XDG_CONFIG_HOME"] = "/nonexistent"
    launcher = ["env", "--unset=HOME"] if home is None else ["env"]
    paths = succeed([*launcher, command, "paths", "--path=/nonexistent", "--format=plain"], env)
    rows = [line.split("\t") for line in paths.stdout.splitlines()]
    roots = [row[2] for row in rows if row[0].endswith(" root")]
    assert len(roots) >= 2
    code = "print([root for root, kind in epcache.Cache().roots])"
    assert value_of(reader(code, env=env, launcher=launcher)) == roots


@pytest.mark.parametrize("on_stale", ["ignore", "warn", "sync"])
@pytest.mark.parametrize("mode", ["exact", "fast", "only", "off"])
def test_roots_that_can_not_be_are_no_reason_to_fail(
    mode: str, on_stale: str, site: Path, reader: Reader, judge: Judge, command: Path
) -> None:
    code = f"""
        for roots in (["/a\\0b"], ["/a\\ud800b"], ["/a\\udcffb\\0"], [b"/a\\0"], ["", "rel\\0"]):
            show(epcache.Cache({mode!r}, roots, {on_stale!r}).entry_points())
    """
    output = reader(code, [site], env={"PATH": str(command.parent)})
    assert answers(output) == ([] if mode == "only" else judge([site]) * 5)
    assert output.stderr == ""


@pytest.mark.parametrize("path", ["/a\udcffb", "/\udced\udca0\udc80", "/a\udcff:/b"])
def test_a_root_in_the_environment_need_not_be_text(
    path: str, site: Path, reader: Reader, judge: Judge
) -> None:
    output = reader("show(epcache.entry_points())", [site], env={"EPCACHE_PATH": path})
    assert answers(output) == judge([site])
    assert output.stderr == ""


def configure(environment: Mapping[str, str], content: str | bytes) -> Path:
    """Writes the user's configuration file."""
    file = Path(environment["XDG_CONFIG_HOME"], "epcache", "epcache.ini")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    "content",
    [
        b"[epcache]\npath = /a\0b\n",
        b"[epcache]\npath = /a\xff\xfeb\n",
        b"[epcache]\npath = /\xed\xa0\x80\n",
        b"\xff\xfe[\0e\0p\0c\0a\0c\0h\0e\0]\0\n\0",
        b"\0" * 4096,
        b"[epcache\nmode=\n=only\n:\n[]\n",
    ],
)
def test_a_configuration_file_of_whatever_bytes_is_no_reason_to_fail(
    content: bytes, site: Path, environment: dict[str, str], reader: Reader, judge: Judge
) -> None:
    configure(environment, content)
    output = reader("show(epcache.entry_points())", [site])
    assert answers(output) == judge([site])


def test_a_path_in_the_configuration_file_is_the_same_in_every_locale(
    site: Path,
    tmp_path: Path,
    environment: dict[str, str],
    sync: Sync,
    judge: Judge,
    interpreter: Path,
) -> None:
    root = tmp_path / "ca\N{LATIN SMALL LETTER C WITH CEDILLA}he"
    sync([site], f"--cache-dir={root}")
    # In this mode nothing but an index in that root can answer.
    configure(environment, f"[epcache]\nmode = only\npath = {root}\n")
    program = f"""
import sys
sys.path.insert(0, {str(PACKAGE_DIRECTORY)!r})
import epcache
assert sys.getfilesystemencoding() != "utf-8", sys.getfilesystemencoding()
sys.path[:] = [{str(site)!r}]
print([(point.group, point.name, point.value) for point in epcache.entry_points()])
"""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    output = succeed([interpreter, "-S", "-c", program], {**environment, **locale})
    assert value_of(output) == [tuple(answer[:3]) for answer in judge([site])]
    assert output.stderr == ""


SETTINGS = "cache = epcache.Cache(); print((cache.mode, [path for path, kind in cache.roots]))"


def test_the_environment_comes_before_the_configuration_file_and_arguments_before_both(
    environment: dict[str, str], reader: Reader
) -> None:
    configure(environment, "[epcache]\nmode = fast\npath = /from/file:/other\n")
    assert value_of(reader(SETTINGS)) == ("fast", ["/from/file", "/other"])
    assert value_of(reader(SETTINGS, env={"EPCACHE_MODE": "off"}))[0] == "off"
    assert value_of(reader(SETTINGS, env={"EPCACHE_PATH": "/named"})) == ("fast", ["/named"])
    code = SETTINGS.replace("Cache()", "Cache(mode='only', roots=['/given'])")
    both = {"EPCACHE_MODE": "off", "EPCACHE_PATH": "/named"}
    assert value_of(reader(code, env=both)) == ("only", ["/given"])


def test_what_the_configuration_file_says_to_other_subcommands_is_nothing_to_the_reader(
    environment: dict[str, str], reader: Reader, site: Path, sync: Sync, tmp_path: Path
) -> None:
    root = str(tmp_path / "cache")
    text = f"""
        [watch]
        venvs = /srv/a:/srv/b
        path-entries = /opt/app:
        [epcache]
        mode = fast
        path = {root}
        [system]
        path-entries = /opt/app
    """
    configure(environment, text)
    sync([site])  # which fails if the command finds an error in it
    output = reader(SETTINGS)
    assert value_of(output) == ("fast", [root])
    assert output.stderr == ""
    # Nor where these come last, and have names that it knows elsewhere.
    configure(environment, "[epcache]\nmode = fast\n[watch]\nmode = off\npath = /no\n")
    assert value_of(reader(SETTINGS))[0] == "fast"


def test_the_users_configuration_file_comes_before_the_systems(
    environment: dict[str, str], reader: Reader, tmp_path: Path
) -> None:
    file = configure(environment, "[epcache]\nmode = fast\n")
    system = tmp_path / "system.ini"
    system.write_text("[epcache]\nmode = off\npath = /of/system\n")
    # There is one system to a machine: what opens its file is shown another.
    code = f"""
        import os
        def elsewhere(call):
            def at(path, *arguments, **others):
                path = {str(system)!r} if path == "/etc/epcache/epcache.ini" else path
                return call(path, *arguments, **others)
            return at
        os.open, os.path.exists = elsewhere(os.open), elsewhere(os.path.exists)
        {SETTINGS}
    """
    assert value_of(reader(code)) == ("fast", ["/of/system"])
    file.unlink()
    assert value_of(reader(code)) == ("off", ["/of/system"])


def test_a_configuration_file_that_others_can_write_is_passed_over(
    environment: dict[str, str], reader: Reader
) -> None:
    file = configure(environment, "[epcache]\nmode = only\npath = /planted\n")
    assert value_of(reader(SETTINGS))[0] == "only"
    file.chmod(0o666)
    output = reader(SETTINGS)
    assert value_of(output)[0] == "exact"
    assert "/planted" not in output.stdout
    file.unlink()
    os.mkfifo(file)
    assert value_of(reader(SETTINGS))[0] == "exact"


def test_what_is_no_setting_raises() -> None:
    with pytest.raises(TypeError, match="list"):
        epcache.Cache(roots="/one")
    with pytest.raises(TypeError, match="list"):
        epcache.Cache(roots=Path("/one"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'exakt'.*exact, fast, only, off"):
        epcache.Cache(mode="exakt")
    with pytest.raises(ValueError, match=r"'later'.*sync, warn, ignore"):
        epcache.Cache(on_stale="later")
    with pytest.raises(ValueError, match="none of"):
        epcache.Cache(mode="")


# --- Warnings -------------------------------------------------------------------------------------

# The third line of caller.py is the one that a warning has to point to.
CALLER = """
    import warnings
    text = "import epcache\\nfor _ in range(2):\\n    {call}\\n"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(text, "caller.py", "exec"), {{"__name__": "caller"}})
    print([(w.category.__name__, w.filename, w.lineno, str(w.message)) for w in caught])
"""


def told(
    reader: Reader,
    sys_path: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
    call: str = "epcache.entry_points()",
) -> list[tuple[str, str]]:
    """Category and text of each warning that a program gets that asks twice in the same line."""
    warned = value_of(reader(CALLER.format(call=call), sys_path, env=env))
    assert [place for _, *place, _ in warned] == [["caller.py", 3]] * len(warned)
    return [(category, text) for category, *_, text in warned]


def test_a_wrong_word_in_the_environment_is_told_once_to_who_asked(reader: Reader) -> None:
    for variable in ("EPCACHE_MODE", "EPCACHE_ON_STALE"):
        [(category, text)] = told(reader, env={variable: "wrong"})
        assert category == "UserWarning"
        assert text.startswith(f"{variable}='wrong'")


def test_a_path_that_is_not_absolute_is_told_and_none_of_the_list_counts(
    reader: Reader, site: Path, sync: Sync, tmp_path: Path
) -> None:
    sync([site], f"--cache-dir={tmp_path / 'root'}")
    env = {"EPCACHE_PATH": f"{tmp_path / 'root'}:relative"}
    [(category, text)] = told(reader, [site], env)
    assert category == "UserWarning"
    assert text.startswith("EPCACHE_PATH=")
    code = "import warnings; warnings.simplefilter('ignore')\n" + SETTINGS
    roots = value_of(reader(code, env=env))[1]
    assert roots == value_of(reader(SETTINGS))[1]


def test_a_wrong_word_in_the_configuration_file_is_told_once_to_who_asked(
    reader: Reader, environment: dict[str, str]
) -> None:
    file = configure(environment, "[epcache]\nmode = wrong\npath = relative\n")
    warned = told(reader)
    assert [category for category, _ in warned] == ["UserWarning"] * 2
    assert all(text.startswith(f"{file}: ") for _, text in warned)
    assert "'wrong'" in warned[0][1]
    assert "'relative'" in warned[1][1]


def test_a_stale_cache_is_told_once_to_who_asked(
    reader: Reader, site: Path, sync: Sync, make_dist: MakeDist
) -> None:
    sync([site])
    make_dist(site, "delta-1", "[g]\nd = delta\n")
    for call in (
        "epcache.entry_points(group='g')",
        "epcache.Cache().entry_points(name='d')",
        "epcache.Cache().dists(__import__('sys').path[0])",
    ):
        [(category, text)] = told(reader, [site], {"EPCACHE_ON_STALE": "warn"}, call)
        assert category == "StaleCacheWarning"
        assert str(site) in text


def test_what_is_broken_is_told_once_to_who_asked_with_its_path_and_line(
    reader: Reader, site: Path, make_dist: MakeDist, judge: Judge
) -> None:
    broken = make_dist(site, "broken-1", "[g]\nok = m\n\nno reference\n") / "entry_points.txt"
    assert len(judge.raises([site])) == 1
    [(category, text)] = told(reader, [site])
    assert category == "BrokenMetadataWarning"
    assert text.startswith(f"{broken}:4: ")
    output = reader(
        "import warnings; warnings.simplefilter('ignore')\nshow(epcache.entry_points())", [site]
    )
    assert answers(output) == judge([site])


def test_the_warnings_are_names_of_the_package(reader: Reader) -> None:
    assert epcache.StaleCacheWarning is _warn.StaleCacheWarning
    assert epcache.BrokenMetadataWarning is _warn.BrokenMetadataWarning
    for category in (epcache.StaleCacheWarning, epcache.BrokenMetadataWarning):
        assert issubclass(category, UserWarning)
        assert pickle.loads(pickle.dumps(category)) is category
        assert str(pickle.loads(pickle.dumps(category("told")))) == "told"
        assert category.__module__ == "epcache"
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = epcache.Missing  # type: ignore[attr-defined]
    code = "exec('from epcache import *'); print(BrokenMetadataWarning.__name__, patch.__name__)"
    assert reader(code).stdout == "BrokenMetadataWarning patch\n"


# --- Finders --------------------------------------------------------------------------------------

FINDERS = """
    import csv, email.parser, importlib.metadata, json, pathlib, zipfile
    from importlib.metadata import DistributionFinder, MetadataPathFinder, PathDistribution
    from epcache import _finders, _source, _views
    PathFinder = sys.modules["_frozen_importlib_external"].PathFinder
    class Found:
        "Has two dists of its own, one of which is on sys.path too."
        @staticmethod
        def find_spec(*_): return None
        @staticmethod
        def find_distributions(context):
            assert isinstance(context, DistributionFinder.Context)
            assert context.name is None and context.path is sys.path
            return iter([PathDistribution(pathlib.Path(path)) for path in OWN])
    class Asked(Found):
        @staticmethod
        def find_distributions(context):
            act()
            return []
"""

FINDER_CASES = {
    "one before": "sys.meta_path.insert(0, Found)",
    "one after": "sys.meta_path.append(Found)",
    "an instance": "sys.meta_path.insert(0, Found())",
    "before and after": "sys.meta_path.insert(0, Found); sys.meta_path.append(Found)",
    "false": "sys.meta_path.append(type('F', (), {'find_distributions': False}))",
    "none": "sys.meta_path.insert(0, type('F', (), {'find_distributions': None})())",
    "false, another before": """
sys.meta_path.append(type('F', (), {'find_distributions': False}))
sys.meta_path.insert(0, Found)""",
    "falsy but callable": """
class Falsy:
    __call__ = staticmethod(Found.find_distributions)
    def __bool__(self): return False
sys.meta_path.insert(0, type('F', (), {'find_distributions': Falsy()}))
sys.meta_path.append(Found)""",
    "appends a finder when asked": """
def act():
    if Found not in sys.meta_path: sys.meta_path.append(Found)
sys.meta_path.insert(0, Asked)""",
    "appends a finder when asked last": """
def act():
    if Found not in sys.meta_path: sys.meta_path.append(Found)
sys.meta_path.append(Asked)""",
    "removes PathFinder when asked": """
def act():
    if PathFinder in sys.meta_path: sys.meta_path.remove(PathFinder)
sys.meta_path.insert(0, Asked)""",
    "appends to sys.path when asked": """
def act():
    if MORE not in sys.path: sys.path.append(MORE)
sys.meta_path.insert(0, Asked)""",
    "PathFinder twice": "sys.meta_path.append(PathFinder)",
    "PathFinder twice, one between": "sys.meta_path += [Found, PathFinder]",
    "PathFinder missing": "sys.meta_path.remove(PathFinder)",
    "PathFinder missing, another there": """
sys.meta_path[sys.meta_path.index(PathFinder)] = Found""",
    "no finders": "sys.meta_path.clear()",
    "attribute deleted": "del PathFinder.find_distributions",
    "attribute none": "PathFinder.find_distributions = None",
    # As the backport does it when it is imported.
    "attribute deleted, successor": """
del PathFinder.find_distributions
class Successor(MetadataPathFinder):
    find_spec = Found.find_spec
sys.meta_path.append(Successor())""",
    "attribute replaced": """
original = PathFinder.find_distributions
PathFinder.find_distributions = staticmethod(lambda *a, **k: list(original(*a, **k))[::-1])""",
    "a subclass before": "sys.meta_path.insert(0, type('Sub', (PathFinder,), {}))",
    "a subclass instead": """
class Reversed(PathFinder):
    @classmethod
    def find_distributions(cls, *a, **k): return list(super().find_distributions(*a, **k))[::-1]
sys.meta_path[sys.meta_path.index(PathFinder)] = Reversed""",
}

WITHOUT_ANSWER = {
    "PathFinder missing",
    "removes PathFinder when asked",
    "no finders",
    "attribute deleted",
    "attribute none",
}


@pytest.mark.parametrize("case", FINDER_CASES)
def test_finders_are_asked_as_cpython_asks_them(
    case: str, site: Path, tmp_path: Path, make_dist: MakeDist, sync: Sync, reader: Reader
) -> None:
    elsewhere, more = tmp_path / "elsewhere", tmp_path / "more"
    own = [
        make_dist(elsewhere, "beta-9", "[g]\nb = of.finder\n"),
        make_dist(elsewhere, "omega-1", "[g]\no = of.finder\n[h]\no = of.finder\n"),
    ]
    make_dist(more, "delta-1", "[g]\nd = delta\n")
    make_dist(more, "omega-2", "[g]\nhidden = omega\n")
    sync([site, more])
    setup = FINDERS + "".join(
        f"    {line}\n"
        for line in (
            f"OWN, MORE = {list(map(str, own))!r}, {str(more)!r}",
            *FINDER_CASES[case].strip().splitlines(),
        )
    )
    for parameters in ("group='g'", ""):
        question = f"    show({{}}.entry_points({parameters}))\n"
        expected = answers(reader(setup + question.format("importlib.metadata"), [site]))
        found = answers(reader(setup + question.format("epcache"), [site]))
        assert found == expected
    assert (expected == []) == (case in WITHOUT_ANSWER)


@pytest.mark.parametrize(
    "change",
    [
        "PathFinder.find_distributions = staticmethod(lambda *a, **k: original(*a, **k))",
        "sys.meta_path[sys.meta_path.index(PathFinder)] = type('Sub', (PathFinder,), {})",
    ],
    ids=["wrapped", "subclass"],
)
def test_a_finder_made_of_cpythons_parts_sees_what_came_without_a_new_time(
    change: str, site: Path, reader: Reader
) -> None:
    code = f"""
        import os, shutil
        PathFinder = sys.modules["_frozen_importlib_external"].PathFinder
        original = PathFinder.find_distributions
        {change}
        names = lambda: sorted(point.value for point in epcache.entry_points(group="g"))
        os.utime({str(site)!r}, (1000, 1000))
        before = names()
        shutil.copytree({str(site / "beta-2.0.dist-info")!r}, {str(site / "new-1.dist-info")!r})
        os.utime({str(site)!r}, (1000, 1000))
        print((before, names()))
    """
    assert value_of(reader(code, [site])) == (
        ["alpha:main", "beta"],
        ["alpha:main", "beta", "beta"],
    )


@pytest.mark.parametrize("mode", ["exact", "fast", "off"])
def test_a_process_that_asked_sees_what_is_installed_in_the_same_tick(
    mode: str, site: Path, tmp_path: Path, make_dist: MakeDist, sync: Sync, reader: Reader
) -> None:
    sync([site])
    late = make_dist(tmp_path / "elsewhere", "late-1", "[g]\nlate = late\n")
    # Changed, asked about, changed once more, and the modification time put back; all that by a
    # clock that ticks every 10 ms, as slow kernels' do, so that in most rounds no time tells of it.
    code = f"""
        import os
        class Coarse:
            def __init__(self, found): self.found = found
            def __getattr__(self, name):
                value = getattr(self.found, name)
                return value // 10**7 * 10**7 if name.endswith("time_ns") else value
        stat = os.stat
        os.stat = lambda *arguments, **others: Coarse(stat(*arguments, **others))
        times = lambda: [getattr(os.stat({str(site)!r}), f"st_{{kind}}time_ns") for kind in "mc"]
        names = lambda: sorted(point.name for point in epcache.entry_points(group="g"))
        late, installed = {str(late)!r}, {str(site / late.name)!r}
        answers, ticks = [], []
        for _ in range(50):
            os.utime({str(site)!r})
            before, first = times(), names()
            os.rename(late, installed)
            os.utime({str(site)!r}, ns=(before[0], before[0]))
            ticks.append(times() == before)
            answers.append((first, names()))
            os.rename(installed, late)
        print((any(ticks), answers))
    """
    output = reader(code, [site], env={"EPCACHE_MODE": mode})
    assert value_of(output) == (True, [(["a", "b"], ["a", "b", "late"])] * 50)


# --- Names in METADATA ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "Name: Fold{}\r\n er\r\nVersion: 1\r\n",
        "Name: Fold{}\r er\rVersion: 1\r",
        "Version: 1\r\nName:\r\n\tFold{} er\r\n",
        "Name: Fold{}\n er\r\n",
        "Name: Fold{} er\r\n\r\nName: other\r\n",
    ],
)
def test_a_folded_name_is_the_same_whatever_the_line_ends_are(
    header: str, tmp_path: Path, make_dist: MakeDist, reader: Reader, judge: Judge
) -> None:
    first, second, plain = tmp_path / "first", tmp_path / "second", tmp_path / "plain"
    # A suffix that is not in lower case leaves the name to METADATA.
    metadata = header.format("")
    make_dist(first, "x", "[g]\nfirst = m\n", ".DIST-info", metadata)
    unix = metadata.replace("\r\n", "\n").replace("\r", "\n")
    make_dist(second, "y", "[g]\nsecond = m\n", ".DIST-info", unix)
    make_dist(plain, "z", "[g]\nother = m\n", ".DIST-info", header.format("another"))
    expected = judge([first, second, plain])
    assert [answer.name for answer in expected] == ["first", "other"]
    assert answers(reader("show(epcache.entry_points())", [first, second, plain])) == expected


# --- Processes that live long ---------------------------------------------------------------------


def test_what_is_remembered_of_path_entries_is_bounded(
    tmp_path: Path, make_dist: MakeDist, sync: Sync, reader: Reader
) -> None:
    entries = [tmp_path / "many" / str(number) for number in range(MANY)]
    for number, path_entry in enumerate(entries):
        make_dist(path_entry, "a-1", f"[g]\na = m{number}\n")
    sync(entries[::2])
    code = f"""
        from epcache import _cache
        cache, rest = epcache.Cache(), sys.path[:]
        def ask(number):
            sys.path[:] = [f"{tmp_path}/many/{{number}}", *rest]
            [point] = cache.entry_points(group="g")
            assert point.value == f"m{{number}}", (number, point)
        for _ in range(2):
            for number in range({MANY}):
                ask(number)
        ask(0), ask({MANY - 1})
        print((len(cache._indexes), len(cache._sources), _cache.MAX_REMEMBERED))
    """
    indexes, sources, bound = value_of(reader(code))
    assert 0 < indexes <= bound
    assert 0 < sources <= bound
    assert bound < MANY // 2


THREADS = """
    import os, threading
    site, aside = {site!r}, {aside!r}
    {cache}
    from epcache import _source, _views
    sys.setswitchinterval(1e-5)
    def told():
        return sorted((point.name, point.value) for point in cache.entry_points(group="g"))
    def is_true(found):
        names = [name for name, _ in found]
        values = dict(found)
        return (
            names in (["a", "b", "c"], ["a", "c"])
            and values["a"] == "alpha:main"
            and values["c"] in ("c:1", "c:22")
        )
    wrong, count, done = [], [0] * 4, threading.Event()
    def ask(number):
        while not done.is_set():
            try:
                found = told()
                if not is_true(found):
                    wrong.append(found)
            except BaseException as error:
                wrong.append(repr(error))
            count[number] += 1
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    children = []
    round = 0
    while round < 60 or (min(count) < 10 and round < 100_000):
        os.rename(f"{{site}}/beta-2.0.dist-info", f"{{aside}}/beta")
        with open(f"{{aside}}/new", "w") as file:
            file.write(f"[g]\\nc = c:{{(1, 22)[round % 2]}}\\n")
        os.rename(f"{{aside}}/new", f"{{site}}/c-1.dist-info/entry_points.txt")
        if round % 10 == 0 and len(children) < 6:
            child = os.fork()
            if child == 0:
                try:
                    os._exit(not is_true(told()))
                finally:
                    os._exit(2)
            children.append(child)
        os.rename(f"{{aside}}/beta", f"{{site}}/beta-2.0.dist-info")
        round += 1
    done.set()
    for thread in threads:
        thread.join()
    exits = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print((wrong[:3], min(count) >= 10, exits, told()))
"""


@pytest.mark.parametrize(
    "cache",
    ["cache = epcache", "cache = epcache.Cache()", "cache = epcache.Cache(roots=['/nonexistent'])"],
    ids=["of the environment", "explicit", "without index"],
)
def test_threads_and_forks_that_ask_while_all_changes_get_true_answers(
    cache: str, site: Path, tmp_path: Path, make_dist: MakeDist, sync: Sync, reader: Reader
) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    make_dist(site, "c-1", "[g]\nc = c:1\n")
    sync([site])
    code = THREADS.format(site=str(site), aside=str(aside), cache=cache)
    wrong, asked, exits, last = value_of(reader(code, [site], flags=["-W", "ignore"]))
    assert wrong == []
    assert asked
    assert exits == [0] * 6
    text = (site / "c-1.dist-info" / "entry_points.txt").read_text()
    value = text.rpartition(" ")[2].strip()
    assert last == [("a", "alpha:main"), ("b", "beta"), ("c", value)]


# --- Programs that have little --------------------------------------------------------------------


WITHOUT_LIBRARY = """
    for _ in range(2):
        print(sorted(point.name for point in epcache.entry_points(group="g")))
"""


@pytest.fixture
def needy(site: Path, make_dist: MakeDist, sync: Sync) -> list[Path]:
    """Path entries of which CPython's own parts are needed to tell all, and that are stale."""
    sync([site])
    make_dist(site, "delta-1", "[g]\nd = delta\n")
    make_dist(site, "named-1", "[g]\nn = m\n", ".DIST-info")
    archive = site.parent / "x.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("z-1.dist-info/METADATA", "Name: z\n")
        file.writestr("z-1.dist-info/entry_points.txt", "[g]\nz = m\n")
    return [site, archive]


# A name that can't be read shadows nothing, but what is declared under it is there.
WITHOUT_LIBRARY_FOUND = [["a", "b", "d", "n"]] * 2


@pytest.mark.parametrize("on_stale", ["ignore", "warn", "sync"])
def test_what_needs_the_standard_library_is_told_once_and_left_out_without_it(
    on_stale: str, needy: list[Path], reader: Reader, interpreter: Path
) -> None:
    # What shows warnings was there before the library went.
    output = reader(
        "del sys.path[2:]" + WITHOUT_LIBRARY.replace("\n    ", "\n"),
        needy,
        python=interpreter,
        env={"EPCACHE_ON_STALE": on_stale, "PATH": "/nonexistent"},
        flags=["-W", "always"],
    )
    assert [ast.literal_eval(line) for line in output.stdout.splitlines()] == WITHOUT_LIBRARY_FOUND
    assert output.stderr.count("METADATA can't be read") == 1
    assert output.stderr.count(f"{needy[1]}: not read") == 1
    assert output.stderr.count("StaleCacheWarning") == (on_stale != "ignore")


@pytest.mark.parametrize("on_stale", ["ignore", "warn", "sync"])
def test_without_the_standard_library_nothing_raises_where_nothing_can_be_told(
    on_stale: str, needy: list[Path], reader: Reader, interpreter: Path
) -> None:
    output = reader(
        WITHOUT_LIBRARY,
        needy,
        python=interpreter,
        env={"EPCACHE_ON_STALE": on_stale, "PATH": "/nonexistent"},
        standard_library=False,
    )
    assert [ast.literal_eval(line) for line in output.stdout.splitlines()] == WITHOUT_LIBRARY_FOUND


WITHOUT_FILE = """
    import importlib.machinery, importlib.util, os, types
    from epcache import _command
    for name in [name for name in sys.modules if name.partition(".")[0] == "epcache"]:
        del sys.modules[name]
    class Importer:
        "Has the modules of one package, and no files of them."
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "epcache":
                is_package = name == "epcache"
                return importlib.machinery.ModuleSpec(name, self, is_package=is_package)
        def create_module(self, spec):
            return None
        def exec_module(self, module):
            last = module.__name__.rpartition(".")[2]
            file = "__init__" if last == "epcache" else last
            with open({package!r} + f"/{{file}}.py") as source:
                exec(compile(source.read(), last, "exec"), module.__dict__)
    sys.meta_path.insert(0, Importer())
    import epcache
    assert not hasattr(epcache, "__file__") and not hasattr(epcache._cache, "__file__")
    from epcache import _command, _refresh
    assert not hasattr(_command, "__file__") and not hasattr(_refresh, "__file__")
    sys.executable = ""
    print(_command.find_command())
    show(epcache.entry_points())
"""


@pytest.mark.parametrize("on_stale", ["warn", "sync"])
def test_a_package_without_files_answers_and_has_no_command_of_its_own(
    on_stale: str,
    site: Path,
    tmp_path: Path,
    make_dist: MakeDist,
    sync: Sync,
    reader: Reader,
    judge: Judge,
) -> None:
    sync([site])
    make_dist(site, "delta-1", "[g]\nd = delta\n")
    # Neither is one that lies where the program happens to be.
    planted = tmp_path / "cwd" / "bin" / "epcache"
    planted.parent.mkdir(parents=True)
    shutil.copy("/bin/sh", planted)
    output = reader(
        WITHOUT_FILE.format(package=str(PACKAGE_DIRECTORY / "epcache")),
        [site],
        env={"EPCACHE_ON_STALE": on_stale, "PATH": "bin:/nonexistent"},
        cwd=tmp_path / "cwd",
    )
    first, _, rest = output.stdout.partition("\n")
    assert first == "None"
    assert answers(rest) == judge([site])
    assert output.stderr.count("StaleCacheWarning") == 1


def test_an_entry_point_is_no_tuple() -> None:
    fields = ("name", "module:attr", "group")
    point = epcache.EntryPoint(*fields)
    assert point != fields
    assert fields != point
    assert point not in [fields, list(fields), None]
    assert point == epcache.EntryPoint(*fields)
    with pytest.raises(TypeError):
        _ = point < fields
    with pytest.raises(TypeError):
        _ = fields > point
