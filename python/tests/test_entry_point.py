"""`EntryPoint` and `EntryPoints` against those of `importlib.metadata`, on each interpreter.

This file is the tests and the program that they run: each `check_…` runs in a fresh process of the
interpreter in question, where there is no pytest, so nothing is imported above that needs it.
"""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent

PATIENCE = 120.0


# --- What an entry point is -----------------------------------------------------------------------


def check_that_it_is_made_and_shown_as_cpythons() -> None:
    from epcache import _entry_point as ours

    metadata = cpythons_own()
    several: list[Any] = [("n", "m:a", "g"), ("", "", ""), ("n'", 'v"', "g\n"), (None, "m", None)]
    for fields in several:
        cpythons, own = metadata.EntryPoint(*fields), ours.EntryPoint(*fields)
        assert repr(own) == repr(cpythons)
        assert hash(own) == hash(cpythons)
        assert (own.name, own.value, own.group) == fields
        assert own.dist is None
    named = ours.EntryPoint(group="g", value="m:a", name="n")
    assert named == ours.EntryPoint("n", "m:a", "g")
    assert ours.EntryPoint.dist is None
    for arguments in [(), ("n",), ("n", "v"), ("n", "v", "g", "d")]:
        assert outcome(ours.EntryPoint, *arguments)[0] == "TypeError"


def check_that_it_is_immutable() -> None:
    from epcache import _entry_point as ours

    metadata = cpythons_own()
    made = ours.EntryPoint._of("n", "m:a", "g", ours._Dist("/x", "y.dist-info"))
    for own in (ours.EntryPoint("n", "m:a", "g"), made):
        for field in ("name", "value", "group", "dist", "pattern", "brand_new"):
            changed = outcome(setattr, own, field, "other")
            assert changed == ("AttributeError", "EntryPoint objects are immutable.")
            if sys.version_info >= (3, 11):
                cpythons = metadata.EntryPoint("n", "m:a", "g")
                assert changed == outcome(setattr, cpythons, field, "other")
        assert (own.name, own.value, own.group) == ("n", "m:a", "g")


def check_that_it_equals_and_sorts_among_cpythons() -> None:
    from epcache import _entry_point as ours

    metadata = cpythons_own()
    keys = [(name, value, group) for name in "ab" for value in "xy" for group in "st"]
    for key in keys:
        for other in keys:
            own, cpythons = ours.EntryPoint(*key), metadata.EntryPoint(*other)
            assert (own == cpythons) is (cpythons == own) is (key == other)
            assert (own != cpythons) is (cpythons != own) is (key != other)
            assert (own < cpythons) is (cpythons > own) is (key < other)
            assert (own > cpythons) is (cpythons < own) is (key > other)
            assert (own == ours.EntryPoint(*other)) is (key == other)
            assert (own < ours.EntryPoint(*other)) is (key < other)
    mixed = [(ours, metadata)[index % 2].EntryPoint(*key) for index, key in enumerate(keys * 2)]
    random.Random(3).shuffle(mixed)
    assert [(point.name, point.value, point.group) for point in sorted(mixed)] == sorted(keys * 2)
    assert len(set(mixed)) == len(keys)


def check_that_it_equals_nothing_else() -> None:
    import operator

    from epcache import _entry_point as ours

    own = ours.EntryPoint("n", "m:a", "g")
    for other in (None, 1, "n", object(), ["n", "m:a", "g"]):
        assert own != other
        assert outcome(operator.lt, own, other)[0] == "TypeError"
        assert outcome(operator.lt, other, own)[0] == "TypeError"


def check_that_the_dist_does_not_count_when_comparing() -> None:
    from epcache import _entry_point as ours

    own = ours.EntryPoint("n", "m:a", "g")
    made = ours.EntryPoint._of("n", "m:a", "g", ours._Dist("/x", "y.dist-info"))
    assert made == own
    assert hash(made) == hash(own)
    assert repr(made) == repr(own)
    assert type(made) is type(own) is ours.EntryPoint


def check_that_it_can_be_referred_to_weakly() -> None:
    import weakref

    from epcache import _entry_point as ours

    own = ours.EntryPoint._of("n", "m:a", "g", None)
    assert weakref.ref(own)() is own


# --- The value ------------------------------------------------------------------------------------


def check_that_any_value_is_taken_apart_as_cpython_does() -> None:
    from operator import attrgetter, methodcaller

    from epcache import _entry_point as ours

    metadata = cpythons_own()

    def matches(point: Any, **parameters: Any) -> bool:
        return bool(point.matches(**parameters))

    pieces = ["os", "path", "mod", "_x", "a1", ".", ".", ":", ":", " ", "\t", "[", "]", "[e]"]
    pieces += [",", "é", "٣", "0", "-", "\n", "\x1c", "\u3000", "=", ";", "\x00", "\udc80"]
    dice = random.Random("entry points")
    values: list[Any] = ["", "os", "os:path", "os:path.join", "m:a [x, y]", "m [x]", "m : a", None]
    values += ["m:a\n", "m:", ":a", "m:a:b", "..", "_", "m:.", "m:..a..b", "os:path..join", "m:a[]"]
    values += [1, b"m:a", ["m"], "os.path:join\n", "é:ü", "m:a [x] y", "m:a [[x]]", "ªº:²"]
    values += ["".join(dice.choices(pieces, k=dice.randrange(1, 9))) for _ in range(4000)]
    questions: list[tuple[Any, dict[str, Any]]] = [
        (attrgetter("module"), {}),
        (attrgetter("attr"), {}),
        (attrgetter("extras"), {}),
        (methodcaller("load"), {}),
        (matches, {"attr": "path", "value": "os:path"}),
        (matches, {"module": "os", "attr": None, "extras": []}),
        (matches, {"extras": ["e"]}),
    ]
    parsed = 0
    for value in values:
        cpythons = metadata.EntryPoint("n", value, "g")
        for own in (
            ours.EntryPoint("n", value, "g"),
            ours.EntryPoint._of("n", value, "g", ours._Dist("/x", "y.dist-info")),
        ):
            for method, parameters in questions:
                expected = outcome(method, cpythons, **parameters)
                assert outcome(method, own, **parameters) == expected, value
                parsed += expected[0] == "fine"
    assert parsed > 1000


def check_that_its_pattern_is_cpythons() -> None:
    from epcache import _entry_point as ours

    metadata = cpythons_own()
    own = ours.EntryPoint("n", "m:a", "g")
    assert own.pattern.pattern == metadata.EntryPoint.pattern.pattern
    assert own.pattern.flags == metadata.EntryPoint.pattern.flags
    assert ours.EntryPoint.pattern is own.pattern


def check_that_the_reader_and_the_pattern_agree_on_word_characters() -> None:
    import re

    from epcache import _entry_point as ours

    characters = list(map(chr, range(sys.maxunicode + 1)))
    plain = {character for character in characters if ours._is_of_word_characters(character)}
    assert plain | {".", "_"} == set(re.findall(r"[\w.]", "".join(characters)))


def check_that_it_loads_what_it_refers_to() -> None:
    import os.path

    from epcache import _entry_point as ours

    def load(value: str) -> Any:
        return ours.EntryPoint("n", value, "g").load()

    assert load("os.path") is os.path
    assert load("os:path.join") is os.path.join
    assert load("os : path.join [extra]") is os.path.join
    assert outcome(load, "os:nothing")[0] == "AttributeError"
    assert outcome(load, "no_such_module:x")[0] == "ModuleNotFoundError"


def check_that_parameters_are_compared_from_left_to_right() -> None:
    from epcache import _entry_point as ours

    class Wanted:
        def __eq__(self, other: object) -> bool:
            asked.append(other)
            return True

        __hash__ = None  # type: ignore[assignment]

    asked: list[object] = []
    own = ours.EntryPoint("n", "m:a", "g")
    assert own.matches()
    assert own.matches(name="n", value="m:a", group="g", module="m", attr="a", extras=[])
    assert own.matches(group=Wanted(), name=Wanted())
    assert asked == ["g", "n"]
    # What comes after the first difference is not looked at.
    assert not own.matches(name="other", nothing_of_that_name=1)
    assert outcome(own.matches, name="n", nothing=1)[0] == "AttributeError"
    broken = ours.EntryPoint("n", "no reference", "g")
    assert not broken.matches(group="other", module="m")
    assert outcome(broken.matches, group="g", module="m")[0] != "fine"


def check_that_usual_values_need_no_module() -> None:
    # The test has loaded modules itself, so it is another process that tells.
    program = f"""
import sys
sys.path.insert(0, {str(TESTS.parent / "epcache")!r})
before = set(sys.modules)
from _entry_point import EntryPoint, EntryPoints, _Dist
points = EntryPoints([
    EntryPoint("n", "sys:version_info.major", "g"),
    EntryPoint._of("o", "a_b.c1", "g", _Dist("/x", "y.dist-info")),
])
assert [p.module for p in points] == ["sys", "a_b.c1"]
assert [p.attr for p in points] == ["version_info.major", None]
assert [p.extras for p in points] == [[], []]
assert points.select(module="sys")["n"] == points.select(group="g")["n"]
assert points.names == {{"n", "o"}} and points.groups == {{"g"}} and repr(points)
assert len({{*points, *points}}) == 2 and sorted(points)
print(*sorted(set(sys.modules) - before))
"""
    output = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert output.stdout == "_entry_point\n"


# --- The distribution -----------------------------------------------------------------------------


def check_that_dists_are_those_that_cpython_gives() -> None:
    import os
    import shutil
    from importlib.machinery import PathFinder

    from epcache import _entry_point as ours

    metadata = cpythons_own()
    make_path_entry("site")
    make_path_entry("tool.egg", metadata_dirs=["EGG-INFO"])
    shutil.make_archive("archive", "zip", "site")
    shutil.make_archive("egg", "zip", "tool.egg")
    Path("egg.zip").rename("zipped.egg")
    here = os.getcwd()
    os.chdir("site")
    for item in (f"{here}/site", "", ".", "../site", f"{here}/../{Path(here).name}/site/",
                 f"{here}/tool.egg", f"{here}/archive.zip", "../archive.zip",
                 f"{here}/zipped.egg"):  # fmt: skip
        sys.path.insert(0, item)
        metadata.FastPath.__new__.cache_clear()
        context = metadata.DistributionFinder.Context(path=[item])
        found = list(PathFinder.find_distributions(context))
        assert len(found) == (1 if item.endswith(".egg") else 3), item
        cpythons: Any
        for cpythons in found:
            name = str(cpythons._path.name)
            own: Any = ours.EntryPoint._of("n", "m:a", "g", ours._Dist(item, name)).dist
            assert type(own) is type(cpythons) is metadata.PathDistribution
            assert type(own._path) is type(cpythons._path)
            assert str(own._path) == str(cpythons._path)
            assert own.metadata["Name"] == cpythons.metadata["Name"] is not None
            assert own.version == cpythons.version is not None
            assert dict(own.metadata) == dict(cpythons.metadata)
            assert own.read_text("entry_points.txt") == cpythons.read_text("entry_points.txt")
            assert [tuple_of(point) for point in own.entry_points] == [("n", "m:a", "g")]
        del sys.path[0]


def check_that_entry_points_of_one_dist_share_it() -> None:
    from epcache import _entry_point as ours

    make_path_entry("site")
    of_one = ours._Dist("site", "a_dist-1.dist-info")
    first, second = (ours.EntryPoint._of(name, "m", "g", of_one) for name in "ab")
    other = ours.EntryPoint._of("c", "m", "g", ours._Dist("site", "b_dist-2.dist-info"))
    assert first.dist is first.dist is second.dist is of_one.dist()
    assert other.dist is not first.dist
    assert first.dist is not None
    assert first.dist.version == "1"


def check_that_threads_get_the_same_dist() -> None:
    import threading

    from epcache import _entry_point as ours

    for _ in range(50):
        of_one = ours._Dist("site", "a_dist-1.dist-info")
        points = [ours.EntryPoint._of(str(index), "m", "g", of_one) for index in range(8)]
        start = threading.Barrier(len(points))
        got: list[object] = []

        def ask(
            point: ours.EntryPoint, start: threading.Barrier = start, got: list[object] = got
        ) -> None:
            start.wait(PATIENCE)
            got.append(point.dist)

        threads = [threading.Thread(target=ask, args=(point,)) for point in points]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(got) == len(points)
        assert {id(dist) for dist in got} == {id(of_one.dist())}


def check_that_a_dist_that_is_gone_is_no_error() -> None:
    from epcache import _entry_point as ours

    Path("no.zip").write_bytes(b"this is no archive")
    for item in ("nowhere", "no.zip", "/nowhere/at/all"):
        dist: Any = ours.EntryPoint._of("n", "m", "g", ours._Dist(item, "a-1.dist-info")).dist
        assert str(dist._path) == f"{item}/a-1.dist-info"
        assert dist.read_text("METADATA") is None


def check_that_vars_has_what_cpythons_has() -> None:
    from epcache import _entry_point as ours

    metadata = cpythons_own()
    make_path_entry("site")
    sys.path.insert(0, str(Path("site").absolute()))
    cpythons = next(iter(metadata.distribution("a_dist").entry_points))
    of_one = ours._Dist(sys.path[0], "a_dist-1.dist-info")
    own: Any = ours.EntryPoint._of("n", "m:a", "g", of_one)
    if sys.version_info >= (3, 11):  # 3.10's are tuples
        assert list(vars(own)) == list(vars(cpythons)) == ["name", "value", "group", "dist"]
        plain = metadata.EntryPoint("n", "m", "g")
        assert vars(ours.EntryPoint("n", "m", "g")) == vars(plain)
    assert vars(own) == {"name": "n", "value": "m:a", "group": "g", "dist": of_one.dist()}
    assert vars(own)["dist"] is own.dist
    # CPython's own way to write to it, which other libraries use as well.
    vars(own).update(dist="other", more=1)
    assert (own.dist, own.more) == ("other", 1)


def check_that_another_dist_can_be_set_as_cpython_does() -> None:
    from epcache import _entry_point as ours

    metadata = cpythons_own()
    make_path_entry("site")
    dist = metadata.PathDistribution(Path("site", "b_dist-2.dist-info"))
    own: Any = ours.EntryPoint._of("n", "m:a", "g", ours._Dist("site", "a_dist-1.dist-info"))
    assert own._for(dist) is own
    assert own.dist is dist
    fresh = ours.EntryPoint("n", "m:a", "g")
    assert fresh._for(dist).dist is dist


# --- Copies ---------------------------------------------------------------------------------------


def check_that_it_survives_pickling_and_copying() -> None:
    import copy
    import pickle
    import shutil

    from epcache import _entry_point as ours

    make_path_entry("site")
    shutil.make_archive("archive", "zip", "site")
    ways: list[Any] = [copy.copy, copy.deepcopy]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        ways.append(lambda it, protocol=protocol: pickle.loads(pickle.dumps(it, protocol)))
    for way in ways:
        for item in ("site", "archive.zip"):
            there: Any = ours._Dist(item, "a_dist-1.dist-info").dist()
            for asked_before in (False, True):
                of_one = ours._Dist(item, "a_dist-1.dist-info")
                points: Any = ours.EntryPoints(
                    ours.EntryPoint._of(name, "m:a", "g", of_one) for name in "ab"
                )
                if asked_before:
                    assert points["a"].dist is of_one.dist()
                again: Any = way(points)
                assert type(again) is ours.EntryPoints
                assert again == points
                assert [type(point) for point in again] == [ours.EntryPoint] * 2
                assert [tuple_of(point) for point in again] == [tuple_of(point) for point in points]
                assert again["a"].dist is again["b"].dist
                dist: Any = again["a"].dist
                assert str(dist._path) == str(there._path)
                assert dist.version == "1"
                assert outcome(setattr, again["a"], "name", "x")[0] != "fine"
        bare = way(ours.EntryPoint("n", "m:a [x]", "g"))
        assert (bare.dist, bare.extras) == (None, ["x"])
        assert vars(bare) == vars(ours.EntryPoint("n", "m:a [x]", "g"))


def check_that_a_dist_that_was_set_is_pickled_with_it() -> None:
    import pickle

    from epcache import _entry_point as ours

    metadata = cpythons_own()
    make_path_entry("site")
    dist = metadata.PathDistribution(Path("site", "b_dist-2.dist-info"))
    again = pickle.loads(pickle.dumps(ours.EntryPoint("n", "m:a", "g")._for(dist)))
    assert again.dist.version == "2"


# --- Many of them ---------------------------------------------------------------------------------


def check_that_entry_points_are_a_tuple_with_names_as_cpythons() -> None:
    from epcache import _entry_point as ours

    keys = [("a", "m:x", "g"), ("b", "m:y", "g"), ("a", "n:z", "h"), ("a", "m:x", "g")]
    points = ours.EntryPoints(ours.EntryPoint(*key) for key in keys)
    listed = [ours.EntryPoint(*key) for key in keys]
    assert points == tuple(listed)
    assert list(points) == listed
    assert len(points) == 4
    assert isinstance(points, tuple)
    assert listed[1] in points
    assert points.names == {"a", "b"}
    assert points.groups == {"g", "h"}
    assert points["a"] is next(iter(points))
    assert points.select() == points
    assert points.select(group="g").select(name="a") == (listed[0], listed[3])
    assert points.select(module="n", group="h") == (listed[2],)
    assert type(points.select(name="none")) is ours.EntryPoints
    assert not points.select(name="none")
    assert ours.EntryPoints().names == ours.EntryPoints().groups == set()
    for missing in ("c", 0, slice(0, 1), None):
        assert outcome(points.__getitem__, missing) == ("KeyError", repr(missing))
    assert outcome(setattr, points, "other", 1)[0] == "AttributeError"
    assert not hasattr(points, "__dict__")
    assert outcome(points.select, nothing=1)[0] == "AttributeError"


def check_that_entry_points_answer_as_cpythons_do() -> None:
    from epcache import _entry_point as ours

    metadata = cpythons_own()

    def selected(points: Any, **parameters: Any) -> list[tuple[str, str, str]]:
        return [tuple_of(point) for point in points.select(**parameters)]

    dice = random.Random(12)
    keys = [
        (
            dice.choice("abc"),
            dice.choice(["m:x", "m", "n:y [e]", "no reference"]),
            dice.choice("gh"),
        )
        for _ in range(60)
    ]
    own = ours.EntryPoints(ours.EntryPoint(*key) for key in keys)
    cpythons = metadata.EntryPoints(metadata.EntryPoint(*key) for key in keys)
    questions: list[dict[str, Any]] = [
        {}, {"group": "g"}, {"name": "a", "group": "h"}, {"value": "m"}, {"module": "m"},
        {"value": "m:x", "attr": "x"}, {"name": 1}, {"value": "n:y [e]", "extras": ["e"]},
        {"dist": None}, {"unknown": 1},
    ]  # fmt: skip
    for question in questions:
        expected = outcome(selected, cpythons, **question)
        assert outcome(selected, own, **question) == expected, question
    assert (own.names, own.groups) == (cpythons.names, cpythons.groups)
    assert tuple_of(own["b"]) == tuple_of(cpythons["b"])
    assert outcome(own.__getitem__, "z") == outcome(cpythons.__getitem__, "z")
    if sys.version_info >= (3, 13):  # before, it shows itself as a plain tuple or list
        assert repr(own) == repr(cpythons)
        assert repr(ours.EntryPoints()) == repr(metadata.EntryPoints())
    assert tuple(own) == tuple(cpythons)
    assert own == cpythons


# --- What the checks share ------------------------------------------------------------------------


def cpythons_own() -> Any:
    import importlib.metadata

    return importlib.metadata


def outcome(question: Any, *arguments: Any, **parameters: Any) -> tuple[str, Any]:
    """What came of a call: ("fine", the value), or the error's class and text."""
    try:
        return "fine", question(*arguments, **parameters)
    except Exception as error:
        return type(error).__name__, str(error)


def tuple_of(point: Any) -> tuple[str, str, str]:
    return point.name, point.value, point.group


def make_path_entry(
    name: str, metadata_dirs: tuple[str, ...] | list[str] = (
        "a_dist-1.dist-info", "b_dist-2.dist-info", "c.egg-info")
) -> None:  # fmt: skip
    for number, metadata_dir in enumerate(metadata_dirs, start=1):
        directory = Path(name, metadata_dir)
        directory.mkdir(parents=True)
        project = metadata_dir.partition("-")[0]
        text = f"Metadata-Version: 2.1\nName: {project}\nVersion: {number}\n"
        is_dist_info = metadata_dir.endswith(".dist-info")
        (directory / ("METADATA" if is_dist_info else "PKG-INFO")).write_text(text)
        (directory / "entry_points.txt").write_text("[g]\nn = m:a\n")


CHECKS = [name for name in list(globals()) if name.startswith("check_")]


def pytest_generate_tests(metafunc: Any) -> None:
    if "check" in metafunc.fixturenames:
        metafunc.parametrize("check", CHECKS)


def test_entry_points_behave(interpreter: Path, check: str, tmp_path: Path) -> None:
    run_check(interpreter, check, tmp_path)


def test_broken_values_raise_what_cpython_raises_also_when_optimized(
    interpreter: Path, tmp_path: Path
) -> None:
    run_check(interpreter, "check_that_any_value_is_taken_apart_as_cpython_does", tmp_path, "-O")


def run_check(interpreter: Path, check: str, directory: Path, *flags: str) -> None:
    output = subprocess.run(
        [interpreter, "-I", "-S", "-X", "utf8", *flags, __file__, check],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert output.returncode == 0, output.stderr


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS.parent))
    globals()[sys.argv[1]]()
