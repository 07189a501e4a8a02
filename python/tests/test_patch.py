"""`epcache.patch`: the same answers from `importlib.metadata` itself, and undone again.

What is compared is always two fresh processes that run the same program, one of them patched. That
the cache was asked at all is shown by an index that was tampered with.
"""

import itertools
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from conftest import MakeDist, Reader, Sync

# What asks and what it needs, imported while `sys.path` is still as it should be.
PRELUDE = """
import csv, email.parser, json, pathlib, warnings
import importlib.metadata._adapters
from importlib import metadata

warnings.simplefilter("ignore")

def told(question):
    try:
        answer = question()
    except Exception as error:
        answer = type(error), str(error)
    print(ascii(answer))

def of(points):
    return [
        (type(p), p.group, p.name, p.value, str(p.dist._path), type(p.dist)) for p in points
    ]

def flat(points):
    groups = dict.items(points) if isinstance(points, dict) else [("", points)]
    return type(points), [(key, type(of_key), of(of_key)) for key, of_key in groups]
"""

# Asks everything that importlib.metadata answers, and prints it.
SURVEY = """
told(lambda: flat(metadata.entry_points()))
for group in ("shapes", "colours", "none", " odd ", "a\\nb", ""):
    told(lambda: flat(metadata.entry_points(group=group)))
told(lambda: flat(metadata.entry_points(name="round")))
told(lambda: sorted(metadata.entry_points().select(group="shapes").names))
told(lambda: sorted(metadata.entry_points().groups))
told(lambda: metadata.packages_distributions())
found = []
told(lambda: found.extend(metadata.distributions()))
told(lambda: [(type(dist), type(dist._path), str(dist._path)) for dist in found])
for dist in found:
    told(lambda: dist._normalized_name)
    told(lambda: (type(dist.entry_points), of(dist.entry_points)))
    for name in ("entry_points.txt", "METADATA", "PKG-INFO", "top_level.txt", "absent", ""):
        told(lambda: dist.read_text(name))
    told(lambda: (dist.metadata["Name"], dist.version, dist.files, dist.requires))
    told(lambda: dist.locate_file("x"))
for name in ("alpha", "ALPHA", "odd-name", "absent", "", None):
    told(lambda: metadata.version(name))
    told(lambda: of(metadata.distribution(name).entry_points))
told(lambda: [str(d._path) for d in metadata.Distribution.discover(path=sys.path[:1])])
told(lambda: [str(d._path) for d in metadata.distributions(name="alpha", path=sys.path[:2])])
told(lambda: list(metadata.distributions(path=None)))
told(lambda: list(metadata.distributions(path=[None])))
told(lambda: of(metadata.Distribution.at(sys.path[0] + "/alpha-1.0.dist-info").entry_points))
"""

PATCHED = "patched = epcache.patch()\n"

# For a process that is patched, and in which the cache must have answered.
SERVED = """
from importlib import metadata
served = [d for d in metadata.distributions() if "_epcache" in vars(d)]
assert served, "the cache answered nothing"
"""

Cached = Literal["missing", "fresh", "stale"]


class Installed(NamedTuple):
    """Two path entries that hold what is usual and much of what is not."""

    first: Path
    second: Path

    @property
    def path(self) -> list[str]:
        return [str(self.first), str(self.second)]


@pytest.fixture
def installed(tmp_path: Path, make_dist: MakeDist) -> Installed:
    first, second = tmp_path / "first", tmp_path / "second"
    make_dist(first, "alpha-1.0", "[shapes]\nround = alpha:Round [x, y]\n[colours]\nred=alpha:r\n")
    make_dist(
        first, "mixed-1", "[z]\nx = m\n[shapes]\nx=m:x\n# c\n\n[z]\ny=m\n; k = v\n[ odd ]\na=b"
    )
    make_dist(
        first, "hard-2", "a=b\n[g] # no group\n[shapes]\n=v\nn=\n=\n[x = y [z\n[x]=[y]\nq=[r]\n"
    )
    make_dist(
        first, "marks-3", "[shapes]\r\nl = i\u2028m\u00a0= m\x0bn=\to \n[a][b]\nx=\t\ty\n[]\ne=e\n"
    )
    make_dist(first, "none-1")
    make_dist(first, "empty-1", "")
    make_dist(first, "Odd.Name-1", "[shapes]\nodd = odd:x\n", suffix=".DIST-INFO")
    make_dist(first, "nameless-1", "[shapes]\nno=name\n", suffix=".EGG-INFO", metadata=False)
    make_dist(first, "legacy-0.1", "[shapes]\nold = legacy\n", suffix=".egg-info")
    (first / "file-1.egg-info").write_text("Name: file\nVersion: 1\n")
    (first / "nameless-1.EGG-INFO/PKG-INFO").write_text("Name: late\n")
    make_dist(second, "alpha-2.0", "[shapes]\nround = shadowed:Round\n")
    make_dist(second, "none-2", "[shapes]\nshadowed = none\n")
    make_dist(second, "beta-2.0", "[shapes]\nbeta = beta:Beta\n")
    return Installed(first, second)


def cache(installed: Installed, state: Cached, sync: Sync, make_dist: MakeDist) -> None:
    if state == "missing":
        return
    sync(installed.path)
    if state == "stale":
        make_dist(installed.first, "new-1", "[shapes]\nnew = new:n\n")
        (installed.second / "beta-2.0.dist-info/entry_points.txt").write_text("[shapes]\nb=other\n")


@pytest.mark.parametrize("state", ["missing", "fresh", "stale"])
def test_every_answer_is_that_of_a_process_that_is_not_patched(
    interpreter: Path,
    installed: Installed,
    state: Cached,
    reader: Reader,
    sync: Sync,
    make_dist: MakeDist,
) -> None:
    cache(installed, state, sync, make_dist)

    plain = reader(PRELUDE + SURVEY, installed.path, python=interpreter)
    patched = reader(PATCHED + PRELUDE + SERVED + SURVEY, installed.path, python=interpreter)

    assert "alpha:Round" in plain.stdout
    assert patched.stdout.splitlines() == plain.stdout.splitlines()


def test_odd_items_of_sys_path_are_answered_as_without_the_patch(
    interpreter: Path, installed: Installed, reader: Reader, sync: Sync, make_dist: MakeDist
) -> None:
    egg = installed.first / "some-1.egg"
    make_dist(egg, "EGG-INFO", "[shapes]\negg = egg\n", suffix="")
    archive = installed.first / "some.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-1.dist-info/METADATA", "Name: zipped\nVersion: 1\n")
        file.writestr("zipped-1.dist-info/entry_points.txt", "[shapes]\nzip = zipped\n")
    sync([installed.first, installed.second, egg, archive])
    path = [
        *("", ".", "second", f"{installed.first}/", f"{installed.second}/../first", "/nowhere"),
        *(str(egg), f"{egg}/", str(archive), f"{archive}/sub", *installed.path, *installed.path),
    ]
    survey = "sys.path.insert(3, pathlib.Path(sys.path[0]))\n" + SURVEY
    parent = installed.first.parent

    plain = reader(PRELUDE + survey, path, python=interpreter, cwd=parent)
    patched = reader(PATCHED + PRELUDE + SERVED + survey, path, python=interpreter, cwd=parent)

    for found in ("egg = egg", "zip = zipped"):
        assert found in plain.stdout
    assert patched.stdout.splitlines() == plain.stdout.splitlines()


@pytest.mark.parametrize("item", ["None", "3", "b'/x'", "'a\\0b'"])
def test_what_raises_on_an_item_of_sys_path_raises_the_same(
    interpreter: Path, installed: Installed, item: str, reader: Reader, sync: Sync
) -> None:
    sync(installed.path)
    survey = f"{PRELUDE}\nsys.path.insert(1, {item})\n{SURVEY}"

    plain = reader(survey, installed.path, python=interpreter)
    patched = reader(PATCHED + survey, installed.path, python=interpreter)

    assert patched.stdout.splitlines() == plain.stdout.splitlines()


@pytest.mark.parametrize(
    "text", [b"[g]\na = b\nno equals sign\n", b"[g]\na = \xff\n", b"[shapes]\na = no reference !\n"]
)
def test_what_is_broken_raises_as_without_the_patch_or_does_not(
    interpreter: Path,
    installed: Installed,
    text: bytes,
    reader: Reader,
    sync: Sync,
    make_dist: MakeDist,
) -> None:
    make_dist(installed.second, "broken-1", text)
    sync(installed.path)

    plain = reader(PRELUDE + SURVEY, installed.path, python=interpreter)
    patched = reader(PATCHED + PRELUDE + SERVED + SURVEY, installed.path, python=interpreter)

    assert patched.stdout.splitlines() == plain.stdout.splitlines()


# --- The cache is what answers --------------------------------------------------------------------


def tamper(environment: dict[str, str], path_entry: Path) -> None:
    """Have the index say something that the source does not, so that one sees who answered."""
    index = Path(f"{environment['XDG_CACHE_HOME']}/epcache{path_entry}/.index")
    text = index.read_text()
    assert "=alpha:Round" in text
    index.write_text(text.replace("=alpha:Round", "=cached:Round"))


@pytest.fixture
def tampered(installed: Installed, sync: Sync, environment: dict[str, str]) -> Installed:
    sync(installed.path)
    tamper(environment, installed.first)
    return installed


def test_the_cache_answers_who_asks_for_entry_points_and_nobody_else(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        """
        from importlib.metadata import *
        from importlib import metadata
        from importlib.metadata import entry_points as bound_early

        with epcache.patch():
            for ask in (bound_early, metadata.entry_points):
                point, = [p for p in ask(group="shapes") if p.name == "round"]
                assert point.value == "cached:Round [x, y]", point
            dist = next(d for d in distributions() if d.version == "1.0")
            assert type(dist) is metadata.PathDistribution
            assert "cached:Round" in repr(dist.entry_points)
            assert "alpha:Round" in dist.read_text("entry_points.txt")
            assert "alpha:Round" in metadata.PathDistribution.read_text(dist, "entry_points.txt")
            # Of a single dist the cache is not asked.
            assert "alpha:Round" in repr(distribution("alpha").entry_points)
            assert "alpha:Round" in repr(Distribution.at(dist._path).entry_points)
        assert "alpha:Round" in repr(dist.entry_points)
        assert "alpha:Round" in repr(bound_early(group="shapes"))
        """,
        tampered.path,
        python=interpreter,
    )


REPLACING = [
    "metadata.Distribution.entry_points = property(lambda self: ['by:hand'])",
    "metadata.PathDistribution.entry_points = property(lambda self: ['by:hand'])",
    "dist.read_text = lambda name: '[shapes]\\nother = by:hand\\n'",
    "metadata.PathDistribution.read_text = lambda dist, name: '[shapes]\\nother = by:hand\\n'",
    "metadata.EntryPoints._from_text_for = lambda text, dist: ['by:hand']",
]


@pytest.mark.parametrize("replacing", REPLACING)
def test_what_is_replaced_while_a_distribution_is_served_is_respected(
    interpreter: Path, tampered: Installed, replacing: str, reader: Reader
) -> None:
    reader(
        f"""
        from importlib import metadata

        with epcache.patch():
            dist = next(d for d in metadata.distributions() if d.version == "1.0")
            assert "cached:Round" in repr(dist.entry_points)
            {replacing}
            assert "by:hand" in repr(dist.entry_points)
        assert "by:hand" in repr(dist.entry_points)
        """,
        tampered.path,
        python=interpreter,
    )


def test_whoever_asks_the_property_in_another_way_is_told_by_the_file(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        """
        import importlib
        from importlib import metadata
        from unittest import mock

        class Duck:
            def read_text(self, name):
                return "[shapes]\\nduck = by:hand"

        class Own(metadata.Distribution):
            entry_points = ["by:hand"]

        class Mixed(metadata.PathDistribution, Own):
            pass

        with epcache.patch():
            dist = next(d for d in metadata.distributions() if d.version == "1.0")
            assert "by:hand" in repr(metadata.Distribution.entry_points.fget(Duck()))
            assert Mixed(dist._path).entry_points == ["by:hand"]
            with mock.patch("importlib.metadata.PathDistribution"):
                assert ":Round" in repr(dist.entry_points)
            assert "cached:Round" in repr(dist.entry_points)
            importlib.reload(metadata)
            assert ":Round" in repr(dist.entry_points)
            assert ":Round" in repr(metadata.entry_points(group="shapes"))
        assert "alpha:Round" in repr(dist.entry_points)
        """,
        tampered.path,
        python=interpreter,
    )


def test_a_replacement_that_is_put_back_after_the_end_of_a_patch_serves_nobody(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        """
        from importlib import metadata
        from unittest import mock

        patched = epcache.patch()
        dist = next(d for d in metadata.distributions() if d.version == "1.0")
        with mock.patch.object(metadata.PathDistribution, "entry_points", ["by:hand"]):
            assert dist.entry_points == ["by:hand"]
            patched.undo()
            assert dist.entry_points == ["by:hand"]
        assert "alpha:Round" in repr(dist.entry_points)
        assert "alpha:Round" in repr(metadata.entry_points(group="shapes"))
        with epcache.patch():
            assert "alpha:Round" in repr(dist.entry_points)
            assert "cached:Round" in repr(metadata.entry_points(group="shapes"))
        assert "alpha:Round" in repr(metadata.entry_points(group="shapes"))
        """,
        tampered.path,
        python=interpreter,
    )


def test_a_subclass_with_its_own_way_to_read_is_left_alone(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        """
        from importlib import metadata
        epcache.patch()

        class Own(metadata.PathDistribution):
            pass

        dist = next(d for d in metadata.distributions() if d.version == "1.0")
        assert "alpha:Round" in repr(Own(dist._path).entry_points)
        """,
        tampered.path,
        python=interpreter,
    )


@pytest.mark.parametrize(
    "change",
    [
        "metadata.PathDistribution.read_text = lambda self, name: '[shapes]\\nother = by:hand\\n'",
        "metadata.Distribution.entry_points = property(lambda self: ['other = by:hand'])",
        "metadata.PathDistribution.entry_points = ['other = by:hand']",
        "metadata.EntryPoints._from_text_for = lambda text, dist: ['other = by:hand']",
        "metadata.MetadataPathFinder.find_distributions = lambda context: ['other = by:hand']",
        "metadata.MetadataPathFinder._search_paths = lambda name, path: [pathlib.Path('/by:hand')]",
        "metadata.FastPath.search = lambda self, name: [pathlib.Path('/by:hand')]",
        "metadata.FastPath.children = lambda self: ['by:hand-1.dist-info']",
    ],
)
def test_what_somebody_else_made_of_importlib_metadata_is_respected(
    interpreter: Path, tampered: Installed, change: str, reader: Reader
) -> None:
    show = f"import pathlib\nfrom importlib import metadata\n{change}\n" + (
        "for dist in metadata.distributions():\n"
        "    print(getattr(dist, '_path', None), getattr(dist, 'entry_points', dist))"
    )

    plain = reader(show, tampered.path, python=interpreter)
    patched = reader(PATCHED + show, tampered.path, python=interpreter)

    assert "by:hand" in plain.stdout
    assert patched.stdout == plain.stdout


def test_copies_and_pickles_read_the_source_also_where_there_is_no_epcache(
    interpreter: Path, tampered: Installed, reader: Reader, tmp_path: Path
) -> None:
    pickled = tmp_path / "pickled"
    reader(
        f"""
        import copy, pickle
        from importlib import metadata
        epcache.patch()
        dist = next(d for d in metadata.distributions() if d.version == "1.0")
        pickles = [pickle.dumps(dist, version) for version in range(pickle.HIGHEST_PROTOCOL + 1)]
        for copied in (copy.copy(dist), copy.deepcopy(dist), *map(pickle.loads, pickles)):
            assert type(copied) is metadata.PathDistribution
            assert copied._path == dist._path
            assert copied.version == "1.0"
            assert "alpha:Round" in copied.read_text("entry_points.txt")
        for copied in (copy.deepcopy(dist), *map(pickle.loads, pickles)):
            assert "alpha:Round" in repr(copied.entry_points)
        with open({str(pickled)!r}, "wb") as file:
            pickle.dump([dist, *dist.entry_points], file)
        """,
        tampered.path,
        python=interpreter,
    )

    load = f"import pickle; print(pickle.load(open({str(pickled)!r}, 'rb'))[0].entry_points)"
    output = subprocess.run(
        [interpreter, "-I", "-S", "-c", load], capture_output=True, text=True, check=True
    )

    assert "alpha:Round" in output.stdout


def test_epcache_itself_answers_a_patched_process_from_its_index(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        """
        patched = epcache.patch()
        assert "cached:Round" in repr(epcache.entry_points(group="shapes"))
        for module in ("importlib.metadata", "pathlib", "re", "warnings.x"):
            assert module not in sys.modules, module
        """,
        tampered.path,
        python=interpreter,
    )


def test_a_cache_that_fails_is_no_reason_to_fail(
    interpreter: Path, installed: Installed, reader: Reader
) -> None:
    broken = """
    class Broken(epcache.Cache):
        asked = 0

        def dists(self, path_entry):
            self.asked += 1
            if self.asked % 2:
                raise RuntimeError("broken")
            return [None]

    patched = epcache.patch(Broken())
    """

    plain = reader(PRELUDE + SURVEY, installed.path, python=interpreter)
    patched = reader(
        "\n".join(line[4:] for line in broken.splitlines()) + PRELUDE + SURVEY,
        installed.path,
        python=interpreter,
    )

    assert patched.stdout == plain.stdout


def test_a_warning_that_is_made_an_error_is_no_reason_to_fail(
    interpreter: Path, tampered: Installed, reader: Reader, make_dist: MakeDist
) -> None:
    make_dist(tampered.first, "new-1", "[shapes]\nnew = new:n\n")

    output = reader(
        PATCHED + "from importlib import metadata\nprint(metadata.entry_points(group='shapes'))",
        tampered.path,
        python=interpreter,
        env={"EPCACHE_ON_STALE": "warn"},
        flags=["-W", "error"],
    )

    assert "alpha:Round" in output.stdout
    assert "new:n" in output.stdout


def test_each_cache_answers_its_own_patch(
    interpreter: Path, tampered: Installed, reader: Reader, tmp_path: Path
) -> None:
    reader(
        f"""
        from importlib import metadata
        empty = epcache.Cache(roots=[{str(tmp_path / "empty")!r}], on_stale="ignore")
        with epcache.patch(empty):
            assert "alpha:Round" in repr(metadata.entry_points(group="shapes"))
            with epcache.patch(epcache.Cache()):
                assert "cached:Round" in repr(metadata.entry_points(group="shapes"))
            assert "alpha:Round" in repr(metadata.entry_points(group="shapes"))
        """,
        tampered.path,
        python=interpreter,
    )


def test_mode_only_answers_for_a_path_entry_that_is_gone(
    interpreter: Path, reader: Reader, tmp_path: Path, make_dist: MakeDist, sync: Sync
) -> None:
    path_entry = tmp_path / "site"
    make_dist(path_entry, "alpha-1.0", "[shapes]\nround = alpha:Round\n")
    sync([path_entry])
    path_entry.rename(tmp_path / "gone")

    reader(
        """
        from importlib import metadata
        with epcache.patch(epcache.Cache(mode="only")):
            assert "alpha:Round" in repr(metadata.entry_points(group="shapes"))
        assert "alpha:Round" not in repr(metadata.entry_points(group="shapes"))
        """,
        [path_entry],
        python=interpreter,
    )


# --- Patching and undoing -------------------------------------------------------------------------

RAW = """
from importlib import metadata
from _frozen_importlib_external import PathFinder

def raw():
    return vars(PathFinder).get("find_distributions")

original = raw()
finders = sys.meta_path[:]

def answer():
    return repr(metadata.entry_points(group="shapes"))

declares = vars(metadata.Distribution)["entry_points"]

def declaring():
    return vars(metadata.Distribution)["entry_points"]
"""


def test_patching_imports_nothing_but_the_patch(interpreter: Path, reader: Reader) -> None:
    reader(
        """
        before = set(sys.modules)
        epcache.patch()
        new = set(sys.modules) - before
        assert new <= {"epcache._patch", "epcache._config"}, new
        """,
        python=interpreter,
    )


def test_undoing_leaves_everything_as_it_was(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        RAW
        + """
patched = epcache.patch()
assert raw() is not original
assert isinstance(raw(), staticmethod)
assert "cached:Round" in answer()
assert declaring() is not declares
assert isinstance(declaring(), property)
patched.undo()
assert raw() is original
assert declaring() is declares
assert sys.meta_path == finders
assert "alpha:Round" in answer()
patched.undo()
assert raw() is original

with epcache.patch() as patched:
    assert "cached:Round" in answer()
assert raw() is original

try:
    with epcache.patch():
        raise KeyError("x")
except KeyError:
    pass
assert raw() is original
""",
        tampered.path,
        python=interpreter,
    )


def test_mode_off_patches_nothing(interpreter: Path, tampered: Installed, reader: Reader) -> None:
    code = RAW + (
        "patched = epcache.patch({})\n"
        "assert raw() is original and sys.meta_path == finders\n"
        "assert 'alpha:Round' in answer()\n"
        "patched.undo()\n"
    )
    reader(code.format("epcache.Cache(mode='off')"), tampered.path, python=interpreter)
    reader(code.format(""), tampered.path, python=interpreter, env={"EPCACHE_MODE": "off"})


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_nested_patches_are_undone_in_any_order(
    tampered: Installed, reader: Reader, order: Sequence[int]
) -> None:
    reader(
        RAW
        + f"""
patches = [epcache.patch() for _ in range(3)]
values = []
for number in {list(order)}:
    assert "cached:Round" in answer()
    patches[number].undo()
assert raw() is original
assert declaring() is declares
assert sys.meta_path == finders
assert "alpha:Round" in answer()
from epcache._patch import _Replacement
assert not _Replacement.known
""",
        tampered.path,
    )


def test_what_somebody_else_put_in_its_place_since_stays(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        RAW
        + """
patched = epcache.patch()
ours = PathFinder.find_distributions
wrapper = staticmethod(lambda *a: ours(*a))
PathFinder.find_distributions = wrapper
assert "cached:Round" in answer()
# What is not CPython's own is not replaced.
nested = epcache.patch()
assert raw() is wrapper
nested.undo()
patched.undo()
assert raw() is wrapper
# The wrapper still calls ours, which only hands on.
assert "alpha:Round" in answer()
""",
        tampered.path,
        python=interpreter,
    )


def test_what_was_removed_since_stays_removed(
    interpreter: Path, tampered: Installed, reader: Reader
) -> None:
    reader(
        RAW
        + """
first, second = epcache.patch(), epcache.patch()
del PathFinder.find_distributions
first.undo()
second.undo()
assert raw() is None
with epcache.patch():
    assert raw() is None
assert raw() is None
""",
        tampered.path,
        python=interpreter,
    )


def test_other_finders_keep_their_places(
    interpreter: Path, tampered: Installed, reader: Reader, tmp_path: Path, make_dist: MakeDist
) -> None:
    other = tmp_path / "other"
    make_dist(other, "mixed-9", "[shapes]\nother = other:o\n")
    code = f"""
import pathlib
from importlib import metadata

class Finder:
    @staticmethod
    def find_spec(*_):
        return None

    @staticmethod
    def find_distributions(context):
        return map(metadata.PathDistribution, pathlib.Path({str(other)!r}).iterdir())

for position in (0, len(sys.meta_path)):
    sys.meta_path.insert(position, Finder)
    print(metadata.entry_points(group="shapes"))
    sys.meta_path.remove(Finder)
"""

    plain = reader(code, tampered.path, python=interpreter)
    patched = reader(PATCHED + code, tampered.path, python=interpreter)

    assert plain.stdout.count("other:o") == 1
    assert patched.stdout == plain.stdout.replace("alpha:Round", "cached:Round")


def test_wrong_calls_fail_as_without_the_patch(interpreter: Path, reader: Reader) -> None:
    code = """
from importlib.machinery import PathFinder
from importlib.metadata import DistributionFinder
context = DistributionFinder.Context()
for arguments in ((1, 2), (context, context), (None,), (1,), ()):
    for keywords in ({}, {"context": context}, {"other": context}, {"context": None}):
        try:
            print(len(list(PathFinder.find_distributions(*arguments, **keywords))))
        except Exception as error:
            print(type(error), error)
"""

    plain = reader(code, python=interpreter)
    patched = reader(PATCHED + code, python=interpreter)

    assert "TypeError" in plain.stdout
    assert patched.stdout == plain.stdout


def test_threads_that_ask_while_it_is_patched_and_undone_get_the_one_or_the_other_answer(
    tampered: Installed, reader: Reader
) -> None:
    reader(
        """
        import threading
        from importlib import metadata

        sys.setswitchinterval(1e-5)
        wrong, done = [], threading.Event()

        def ask():
            while not done.is_set():
                try:
                    found = [p.value for p in metadata.entry_points(group="shapes", name="round")]
                    if found not in (["alpha:Round [x, y]"], ["cached:Round [x, y]"]):
                        wrong.append(found)
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            with epcache.patch():
                metadata.entry_points(group="shapes")
        done.set()
        for thread in threads:
            thread.join()
        assert not wrong, wrong
        """,
        tampered.path,
    )


# --- stevedore's cache, seen from the import system -----------------------------------------------

# What stevedore's module is like in all versions that have it, as far as matters here.
STEVEDORE = """
class Cache:
    def get_group_all(self, group, path=None):
        return [group, path, "stevedore's own"]

    def get_group_named(self, group, path=None):
        return {getattr(p, "name", p): p for p in self.get_group_all(group, path=path)}

_c = Cache()
get_group_all = _c.get_group_all
get_group_named = _c.get_group_named
"""


@pytest.fixture
def with_stevedore(tampered: Installed, tmp_path: Path) -> list[str]:
    """A path entry with a stand-in for stevedore, before the others."""
    package = tmp_path / "modules/stevedore"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_cache.py").write_text(STEVEDORE)
    return [str(package.parent), *tampered.path]


ROUND = """
def is_served(module):
    values = [getattr(p, "value", p) for p in module.get_group_all("shapes")]
    named = list(module.get_group_named("shapes"))
    assert ("cached:Round [x, y]" in values) == ("round" in named)
    assert ("round" in named) != ("stevedore's own" in named)
    return "round" in named
"""


def test_stevedore_is_served_when_it_is_imported_and_nothing_shows_it(
    interpreter: Path, with_stevedore: list[str], reader: Reader
) -> None:
    reader(
        RAW
        + ROUND
        + """
with epcache.patch():
    assert sys.meta_path != finders
    import importlib.util
    assert importlib.util.find_spec("stevedore._nothing") is None
    import stevedore._cache as module
    assert sys.meta_path == finders
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__.loader is module.__loader__
    assert "exec_module" not in vars(module.__loader__)
    assert is_served(module)
    assert module.get_group_all("shapes", ("/x",)) == ["shapes", ("/x",), "stevedore's own"]
    assert module.Cache().get_group_all("shapes")[-1] == "stevedore's own"
assert not is_served(module)
assert "get_group_all" not in vars(module._c)
assert module.get_group_all == module._c.get_group_all

with epcache.patch():
    assert is_served(module)
    assert sys.meta_path == finders
assert not is_served(module)
""",
        with_stevedore,
        python=interpreter,
    )


def test_stevedore_in_a_zip_is_served_too(
    interpreter: Path, with_stevedore: list[str], reader: Reader, tmp_path: Path
) -> None:
    archive = tmp_path / "stevedore.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("stevedore/__init__.py", "")
        file.writestr("stevedore/_cache.py", STEVEDORE)
        file.writestr("stevedore/other.py", "")

    reader(
        ROUND
        + """
epcache.patch()
import importlib.util
assert importlib.util.find_spec("stevedore._cache")
import stevedore.other
import stevedore._cache as module
assert is_served(module)
assert "exec_module" not in vars(module.__loader__)
""",
        [str(archive), *with_stevedore[1:]],
        python=interpreter,
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_stevedore_is_hooked_by_nested_patches_and_released_in_any_order(
    with_stevedore: list[str], reader: Reader, order: Sequence[int]
) -> None:
    reader(
        RAW
        + ROUND
        + f"""
patches = [epcache.patch(), epcache.patch()]
import stevedore._cache as module
for number in {list(order)}:
    assert is_served(module)
    patches[number].undo()
assert not is_served(module)
assert sys.meta_path == finders
""",
        with_stevedore,
    )


def test_a_module_of_that_name_that_is_something_else_is_left_alone(
    with_stevedore: list[str], reader: Reader
) -> None:
    path = Path(with_stevedore[0], "stevedore/_cache.py")
    path.write_text("_c = None\nget_group_all = len\n")

    reader(
        """
        with epcache.patch():
            import stevedore._cache as module
            assert module.get_group_all is len
        assert module.get_group_all is len
        """,
        with_stevedore,
    )


def test_an_import_of_stevedore_that_fails_is_tried_again(
    with_stevedore: list[str], reader: Reader
) -> None:
    reader(
        ROUND
        + f"""
import os
path = os.path.join({with_stevedore[0]!r}, "stevedore", "_cache.py")
text = open(path).read()
epcache.patch()
os.rename(path, path + ".away")
try:
    import stevedore._cache
except ImportError:
    pass
else:
    assert False
with open(path, "w") as file:
    file.write("1/0")
__import__("importlib").invalidate_caches()
try:
    import stevedore._cache
except ZeroDivisionError:
    pass
else:
    assert False
os.rename(path + ".away", path)
import stevedore._cache as module
assert is_served(module)
""",
        with_stevedore,
    )


def test_what_stevedore_was_told_holds_as_long_as_sys_path(
    with_stevedore: list[str], reader: Reader, tampered: Installed, make_dist: MakeDist
) -> None:
    make_dist(tampered.first.parent / "third", "third-1", "[shapes]\nthird = third:t\n")
    reader(
        f"""
        epcache.patch()
        import stevedore._cache as module

        def names():
            return [point.name for point in module.get_group_all("shapes")]

        first = names()
        assert "round" in first
        del sys.path[1]
        second = names()
        assert "round" in second and "beta" in second and second != first
        sys.path.append({str(tampered.first.parent / "third")!r})
        assert names() == [*second, "third"]
        """,
        with_stevedore,
    )


def test_stevedore_asks_the_cache_for_a_few_groups_and_once_for_all_others(
    interpreter: Path, with_stevedore: list[str], reader: Reader, make_dist: MakeDist
) -> None:
    # What stevedore shows once: a combination of name and value that two dists declare.
    for name in ("twin-1", "other_twin-1"):
        make_dist(Path(with_stevedore[1]), name, "[twins]\ntwin = twin:t\n")
    reader(
        """
        class Counting(epcache.Cache):
            asked = 0

            def entry_points(self, **params):
                self.asked += 1
                return super().entry_points(**params)

        cache = Counting()
        epcache.patch(cache)
        import stevedore._cache as module

        def told(group):
            return [(p.name, p.value, p.group) for p in module.get_group_all(group)]

        def declared(group):
            return [(p.name, p.value, p.group) for p in epcache.entry_points(group=group)]

        groups = sorted(epcache.entry_points().groups) + ["nothing"] * 300
        assert {"shapes", "colours", " odd ", ""} < set(groups)
        for group in groups:
            assert told(group) == list(dict.fromkeys(declared(group))), group
        assert told("twins") == [("twin", "twin:t", "twins")] != declared("twins")
        # The first few by themselves, and all others together.
        assert cache.asked == 3
        sys.path.append("/nowhere")
        assert told("shapes") and told("colours")
        assert cache.asked == 5
        del sys.path[-1]
        assert told("shapes") and told("colours")
        assert cache.asked == 5
        """,
        with_stevedore,
        python=interpreter,
    )
