"""What the rivals do, asked of the rivals themselves: the evidence below the table of promises in
docs/benchmarks.md.

    pip install -r benches/python/requirements-rivals.txt
    python benches/python/rival_facts.py [PATTERN]

in a virtual environment outside of /tmp. Each fact is a small experiment with an outcome that the
document relies on: it is printed, and where it comes out otherwise, that is said and the exit
status is 1. The lines of source that the document names are compared, too.
Every question is asked in a new process, on path entries made for it (PYTHONPATH), with a cache
directory of its own. It needs strace to count, and root to show what is believed of another user's.
"""

import operator
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import _rival_experiments as experiments
from _rival_experiments import LATER, NEXT_STEP, SAME_STEP
from _rival_sources import check_sources
from _rivals import ASK, Place, one

OLD, NEW, SECOND = [("plugin", "old:x")], [("plugin", "new:x")], [("plugin", "second:x")]
RIGHT = [("plugin", "m:x")]

# What epi answers that does not find its own subcommand: no JSON.
NO_COMMAND = "raises JSONDecodeError"


@dataclass
class Fact:
    """What docs/benchmarks.md says of a rival, and how to find out."""

    name: str
    wanted: object
    find: Callable[[Place], object]


def fact(rival: str, what: str, wanted: object, experiment: Callable, *rest: object) -> Fact:
    """A fact about one rival."""
    return Fact(f"{rival}: {what}", wanted, lambda place: experiment(place, rival, *rest))


def of_each(what: str, wanted: object, *experiment: object, **other: object) -> Iterator[Fact]:
    """Facts about all rivals, some of which do other than the rest."""
    for rival in ASK:
        yield fact(rival, what, other.get(rival, wanted), *experiment)  # type: ignore[arg-type]


def of_changes() -> Iterator[Fact]:
    """Rows 3, 4 and 19."""
    edit, shadow = experiments.after_edit, experiments.after_shadowing
    yield from of_each("edited within 128 s, the same float", NEW, edit, SAME_STEP, stevedore=OLD)
    yield from of_each("edited within 128 s, the next float", NEW, edit, NEXT_STEP)
    yield from of_each("edited an hour later", NEW, edit, LATER)
    both = [("other", "new:x"), ("plugin", "old:x")]
    yield from of_each("one more installed", both, experiments.after_install)
    yield from of_each(
        "shadowed within 128 s, the same float",
        [],
        shadow,
        SAME_STEP,
        stevedore=OLD,
        entrypoints=OLD,
    )
    yield from of_each(
        "shadowed within 128 s, the next float", [], shadow, NEXT_STEP, entrypoints=OLD
    )
    yield from of_each(
        "same process, same tick: members of 2", 1, experiments.same_process, entrypoints=2
    )


def of_answers() -> Iterator[Fact]:
    """Rows 12 to 17."""
    yield from of_each(
        "order",
        "as listed",
        experiments.order,
        entrypoints="another",
        pkg_resources="by file name",
    )
    yield from of_each(
        "order, the first without METADATA",
        ["first", "second"],
        experiments.without_metadata_first,
        importlib_metadata=["second", "first"],
    )
    shadowed = experiments.shadowed
    yield from of_each("first declares nothing", [], shadowed, "some_app", None, entrypoints=SECOND)
    yield from of_each(
        "Some.App before some_app",
        NEW,
        shadowed,
        "Some.App",
        one("new:x"),
        entrypoints=[*NEW, *SECOND],
        pkg_resources=[*NEW, *SECOND],
    )
    yield from of_each(
        "empty metadata directory first",
        [],
        experiments.empty_directory_first,
        entrypoints=SECOND,
        pkg_resources=SECOND,
        importlib_metadata=SECOND,
    )
    yield from of_each(
        "a value with %",
        [("plugin", "m%s:x")],
        experiments.odd,
        one("m%s:x"),
        entrypoints="raises InterpolationSyntaxError",
        pkg_resources="raises ValueError",
    )
    yield from of_each(
        "a value with % in another group",
        RIGHT,
        experiments.odd,
        "[h]\nbad = m%s:x\n" + one("m:x"),
        pkg_resources="raises ValueError",
    )
    yield from of_each(
        "dist of an entry point",
        "app",
        experiments.dist,
        stevedore="None",
        entrypoints="app 1.0",
    )


def of_work() -> Iterator[Fact]:
    """Rows 1, 5, 7 and 18."""
    yield from of_each("sources read by the next process", 1, experiments.reads_again, stevedore=0)
    costs = {
        "importlib.metadata": (10, 5),
        "importlib_metadata": (20, 5),
        "stevedore": (15, 0),
        "entrypoints": (15, 5),
        "pkg_resources": (85, 5),
    }
    for rival, wanted in costs.items():
        what = "ten more distributions: calls, files opened"
        yield fact(rival, what, wanted, experiments.operations)
    # How many more is up to the libraries that it imports, which look for things of their own.
    yield Fact(
        "epi: ten more distributions: 25 calls and 5 files opened, or more",
        (True, True),
        lambda place: tuple(map(operator.ge, experiments.operations(place, "epi"), (25, 5))),
    )
    yield from of_each(
        "imports what is asked for",
        ([("plugin", "witness:x")], False),
        experiments.imports,
        epi=([("plugin", "witness:x")], True),
    )


def of_stevedores_cache() -> Iterator[Fact]:
    """Rows 7 to 11, of stevedore and of epi, whose subcommands it finds."""
    damages: list[tuple[str, object, object, Callable[[bytes], bytes]]] = [
        ("cut short", RIGHT, RIGHT, lambda text: text[: len(text) // 2]),
        ("empty", RIGHT, RIGHT, lambda text: b""),
        ("{}", [], NO_COMMAND, lambda text: b"{}"),
        ("a list", "raises AttributeError", "raises AttributeError", lambda text: b"[]"),
        (
            "not UTF-8",
            "raises UnicodeDecodeError",
            "raises UnicodeDecodeError",
            lambda text: b"\xff" + text,
        ),
        (
            "changed in a name",
            [("plugim", "m:x")],
            NO_COMMAND,
            lambda text: text.replace(b'"plugin"', b'"plugim"').replace(
                b"group_show", b"group_shoo"
            ),
        ),
    ]
    for what, wanted, of_epi, damage in damages:
        yield fact("stevedore", f"its file is {what}", wanted, experiments.damaged, damage)
        yield fact("epi", f"stevedore's file is {what}", of_epi, experiments.damaged, damage)
    nowhere = {"XDG_CACHE_HOME": "/proc"}
    yield fact("stevedore", "nowhere to write", RIGHT, experiments.nowhere_to_write)
    yield Fact(
        "stevedore: nowhere to write: sources read by the next process",
        1,
        lambda place: experiments.reads_again(place, "stevedore", env=nowhere),
    )
    yield fact("epi", "nowhere to write", RIGHT, experiments.nowhere_to_write)
    if os.geteuid() == 0:
        another = experiments.of_another_user
        yield fact("stevedore", "another user's file", [("plugin", "evil:x")], another)
        yield fact("epi", "another user's file", NO_COMMAND, another)
    else:
        print("skipped: another user's file: only root can make one")
    for rival in ("stevedore", "epi"):
        yield fact(rival, "cache files after three installs", 3, experiments.files_left)
    other = "other names"
    yield fact("stevedore", "file names of two installs of the same", other, experiments.file_names)
    yield Fact("stevedore: members for a path that has none", 1, experiments.stevedore_path)
    yield Fact("epi: lists groups of shadowed dists", True, experiments.epi_lists_shadowed)


def facts() -> Iterator[Fact]:
    """All that is asked."""
    yield from of_changes()
    yield from of_answers()
    yield from of_work()
    yield from of_stevedores_cache()


def find_out(asked: Fact) -> object:
    """How it comes out, in a place of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        return asked.find(Place(Path(directory)))


def main() -> int:
    """Prints all facts; 1 if one is not as the document says."""
    if sys.executable.startswith("/tmp"):
        sys.exit("stevedore keeps no cache for a Python below /tmp; use one elsewhere")
    if not shutil.which("strace"):
        sys.exit("strace is needed, to count file system calls")
    chosen = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    failed = 0
    for line in check_sources():
        failed += "NOT SO" in line
        print(line)
    asked = [each for each in facts() if chosen.search(each.name)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(find_out, asked)
    for each, found in zip(asked, answers, strict=True):
        agrees = found == each.wanted
        failed += not agrees
        told = "" if agrees else f"  NOT SO, but {each.wanted}"
        print(f"{each.name}: {found}{told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
