"""Experiments with one rival each: a place is made, the rival is asked there, and what it said or
did is the outcome."""

import os
import re
from collections.abc import Callable

from _rivals import ASK, DIST, THEN, Place, install, one

# Times of a later change: those of the same 32-bit float, of the next, and of one far away.
SAME_STEP = THEN + 60
NEXT_STEP = THEN + 100
LATER = THEN + 3600

NOBODY = 65534

# What whoever forges a cache writes for what stood there. Without its subcommand, epi says nothing.
FORGED = {"stevedore": ('"m:x"', '"evil:x"'), "epi": ('"group_show"', '"group_shoo"')}


# --- After a change -------------------------------------------------------------------------------


def after_edit(place: Place, rival: str, when: int) -> object:
    """What is answered after an entry_points.txt was replaced by one with that time."""
    site = place.path_entry()
    install(site, "app", "1.0", one("old:x"))
    place.ask(rival)
    install(site, "app", "1.0", one("new:x"), when)
    return place.ask(rival)


def after_install(place: Place, rival: str) -> object:
    """What is answered after one more distribution was installed, within the same step."""
    site = place.path_entry()
    install(site, "app", "1.0", one("old:x"))
    place.ask(rival)
    install(site, "late", "1.0", one("new:x", "other"), SAME_STEP)
    return sorted(place.ask(rival))  # type: ignore[call-overload]


def after_shadowing(place: Place, rival: str, when: int) -> object:
    """What is answered once a distribution that declares nothing came before one of its name."""
    first, second = place.path_entry("first"), place.path_entry("second")
    install(second, "app", "1.0", one("old:x"))
    os.utime(first, (THEN, THEN))
    place.ask(rival)
    install(first, "app", "2.0", None, when)
    return place.ask(rival)


def same_process(place: Place, rival: str) -> object:
    """How many members of 2 a process sees that asked before the second came in the same tick."""
    site = place.path_entry()
    install(site, "app", "1.0", one("m:x"))
    late = place.root / "late"
    late.mkdir()
    install(late, "late", "1.0", one("m:x", "other"))
    code = f"""
{ASK[rival]}
import os
os.rename({str(late / "late-1.0.dist-info")!r}, {str(site / "late-1.0.dist-info")!r})
os.utime({str(site)!r}, ({THEN}, {THEN}))
{ASK[rival]}
print(len(found))"""
    return int(place.python(code).stdout)


# --- What is found --------------------------------------------------------------------------------


def shadowed(place: Place, rival: str, first_name: str, first_text: str | None) -> object:
    """What is answered where two path entries hold a distribution of one name."""
    install(place.path_entry("first"), first_name, "2.0", first_text)
    install(place.path_entry("second"), "some_app", "1.0", one("second:x"))
    return place.ask_cache(rival)


def empty_directory_first(place: Place, rival: str) -> object:
    """What is answered where an empty metadata directory comes before another."""
    first, second = place.path_entry("first"), place.path_entry("second")
    (first / "app-2.0.dist-info").mkdir()
    install(second, "app", "1.0", one("second:x"))
    return place.ask_cache(rival)


def order(place: Place, rival: str) -> str:
    """How 40 distributions, some of them `.egg-info`, are sorted."""
    site = place.path_entry()
    for number in range(40):
        made = install(site, f"d{number}", f"{number}.0", one("m:x", f"n{number}"))
        if number % 3 == 0:
            made.rename(made.with_suffix(".egg-info"))
            (made.with_suffix(".egg-info") / "METADATA").rename(
                made.with_suffix(".egg-info") / "PKG-INFO"
            )
    listed, by_name = (
        [(re.sub(r"d(\d+)-.*", r"n\1", name), "m:x") for name in names]
        for names in (os.listdir(site), sorted(os.listdir(site)))
    )
    found = place.ask_cache(rival)
    if found in (listed, by_name):
        return "as listed" if found == listed else "by file name"
    return "another" if sorted(found) == sorted(listed) else "other members"  # type: ignore


def without_metadata_first(place: Place, rival: str) -> object:
    """The names of two members in order, of which the first's distribution has no METADATA."""
    first, second = place.path_entry("first"), place.path_entry("second")
    (install(first, "bare", "1.0", one("m:x", "first")) / "METADATA").unlink()
    install(second, "app", "1.0", one("m:x", "second"))
    return [name for name, _ in place.ask_cache(rival)]  # type: ignore[attr-defined]


def odd(place: Place, rival: str, text: str) -> object:
    """What is answered of a text that CPython accepts."""
    install(place.path_entry(), "app", "1.0", text)
    return place.ask_cache(rival)


def dist(place: Place, rival: str) -> str:
    """What an entry point says of its distribution."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    return place.python(DIST[rival]).stdout.strip()


# --- What is done for it --------------------------------------------------------------------------


def operations(place: Place, rival: str) -> tuple[int, int]:
    """What ten more distributions cost, five of which declare something: calls that name a file
    of theirs, and those of them that open one."""
    counts = []
    for number in (50, 150):
        site = place.path_entry(f"site{number}")
        place.entries = [site]
        for each in range(number):
            install(site, f"d{each}", "1.0", one("m:x", f"n{each}") if each % 2 else None)
        place.ask(rival)
        calls = [call for call in place.calls(rival) if f"{site}/" in call]
        counts.append((len(calls), len([call for call in calls if opens(call)])))
    (few, few_opened), (many, many_opened) = counts
    return round((many - few) / 10), round((many_opened - few_opened) / 10)


def opens(call: str) -> bool:
    """Whether a line of strace's opens a file."""
    return "open" in call.split("(")[0] and "O_DIRECTORY" not in call and " = -1 " not in call


def reads_again(place: Place, rival: str, **options: object) -> int:
    """How often an entry_points.txt is opened by a process that asks what another asked before."""
    text = install(place.path_entry(), "app", "1.0", one("m:x")) / "entry_points.txt"
    place.ask(rival, **options)
    return len(
        [call for call in place.calls(rival, **options) if str(text) in call and opens(call)]
    )


def imports(place: Place, rival: str) -> tuple[object, bool]:
    """The members of a group, and whether asking for it imported them."""
    site = place.path_entry()
    install(site, "app", "1.0", one("witness:x"))
    mark = place.root / "imported"
    (site / "witness.py").write_text(f"open({str(mark)!r}, 'w')\nx = 1\n")
    return place.ask(rival), mark.exists()


# --- stevedore's cache, which epi has for its subcommands -----------------------------------------


def damaged(place: Place, rival: str, damage: Callable[[bytes], bytes]) -> object:
    """What is answered from a cache file with other bytes in it."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    place.ask(rival)
    (cache,) = place.caches()
    cache.write_bytes(damage(cache.read_bytes()))
    return place.ask(rival)


def of_another_user(place: Place, rival: str) -> object:
    """What is answered from a cache file of another user's, which all may write."""
    old, new = FORGED[rival]
    install(place.path_entry(), "app", "1.0", one("m:x"))
    place.ask(rival)
    (cache,) = place.caches()
    cache.write_text(cache.read_text().replace(old, new))
    os.chown(cache, NOBODY, NOBODY)
    cache.chmod(0o666)
    return place.ask(rival)


def nowhere_to_write(place: Place, rival: str) -> object:
    """What is answered where no cache can be made, not even by root."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    return place.ask(rival, env={"XDG_CACHE_HOME": "/proc"})


def files_left(place: Place, rival: str) -> int:
    """How many cache files there are after three installs."""
    site = place.path_entry()
    for number in range(3):
        install(site, f"d{number}", "1.0", one("m:x"))
        place.ask(rival)
    return len(place.caches())


def file_names(place: Place, rival: str) -> str:
    """Whether the name of the cache file is known before the time of the install is."""
    site = place.path_entry()
    for when in (THEN, LATER):
        install(site, "app", "1.0", one("m:x"), when)
        place.ask(rival)
    return "other names" if len(place.caches()) == 2 else "one name"


def stevedore_path(place: Place) -> object:
    """How many are answered for a `path` that is not sys.path: one empty directory."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    code = f'_cache.get_group_all("g", path=({str(place.root)!r},))'
    return int(place.python(f"from stevedore import _cache\nprint(len({code}))").stdout)


def epi_lists_shadowed(place: Place) -> bool:
    """Whether `group list` names a group that only a shadowed distribution has."""
    install(place.path_entry("first"), "app", "2.0", None)
    install(place.path_entry("second"), "app", "1.0", "[only_in_shadowed]\na = m:x\n")
    code = 'from entry_point_inspector.app import main\nmain(["group", "list", "-f", "value"])'
    return "only_in_shadowed" in place.python(code).stdout
