"""What the rivals do, asked of the rivals themselves: the evidence below the table of promises in
docs/benchmarks.md.

    pip install -r benches/python/requirements-rivals.txt
    python benches/python/rival_facts.py [PATTERN]

in a virtual environment outside of /tmp. Each fact is a small experiment with an outcome that the
document relies on: it is printed, and where it comes out otherwise, that is said and the exit
status is 1. The lines of source that the document names are compared, too.
Every question is asked in a new process, on path entries made for it (PYTHONPATH), with a cache
directory of its own. Run as root, it shows also what is believed of another user's. It needs
strace to count.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

# A whole number of 128 s, which is the step of a 32-bit float at times like these.
THEN = 1_700_000_000
SAME_STEP = THEN + 60
NEXT_STEP = THEN + 3600
NOBODY = 65534

# Prints the members of the group `g` as JSON: name and value, in the order of the answer.
ASK = {
    "importlib.metadata": """
from importlib.metadata import entry_points
found = [(e.name, e.value) for e in entry_points(group="g")]""",
    "importlib_metadata": """
from importlib_metadata import entry_points
found = [(e.name, e.value) for e in entry_points(group="g")]""",
    "stevedore": """
from stevedore import _cache
found = [(e.name, e.value) for e in _cache.get_group_all("g")]""",
    "entrypoints": """
import entrypoints
found = [(e.name, f"{e.module_name}:{e.object_name}") for e in entrypoints.get_group_all("g")]""",
    "pkg_resources": """
import pkg_resources
found = [
    (e.name, f"{e.module_name}:{'.'.join(e.attrs)}") for e in pkg_resources.iter_entry_points("g")
]""",
    "epi": """
import contextlib, io, json
from entry_point_inspector.app import main
out = io.StringIO()
with contextlib.redirect_stdout(out):
    main(["group", "show", "g", "-f", "json"])
found = [(e["Name"], e["Module"] + "." + e["Member"]) for e in json.loads(out.getvalue())]""",
}
# What can be asked of all; epi writes values another way, imports them, and has facts of its own.
ALIKE = [rival for rival in ASK if rival != "epi"]
# What ten more distributions cost each, five of which declare entry points.
CALLS = {
    "importlib.metadata": 10,
    "importlib_metadata": 20,
    "stevedore": 15,
    "entrypoints": 15,
    "pkg_resources": 85,
}

# Prints the name of the distribution of an entry point.
DIST = {
    "importlib.metadata": """
from importlib.metadata import entry_points
print(list(entry_points(group="g"))[0].dist.name)""",
    "importlib_metadata": """
from importlib_metadata import entry_points
print(list(entry_points(group="g"))[0].dist.name)""",
    "stevedore": """
from stevedore import _cache
print(_cache.get_group_all("g")[0].dist)""",
    "entrypoints": """
import entrypoints
print(entrypoints.get_group_all("g")[0].distro.name)""",
    "pkg_resources": """
import pkg_resources
print(next(pkg_resources.iter_entry_points("g")).dist.project_name)""",
}

# Distribution, version, module file, line, and what stands there.
SOURCES = [
    ("stevedore", "5.10.0", "stevedore/_cache.py", 69, "struct.Struct('f').pack(f)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 83, "h.update(sys.executable"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 87, "mtime = _get_mtime(entry)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 93, "'*.dist-info', 'entry_points.txt'"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 155, "os.replace(f.name, filename)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 178, "sys.executable[0:4] == '/tmp'"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 193, "with open(filename) as f"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 195, "except (OSError, json.JSONDecodeError)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 203, "except OSError"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 217, "EntryPoint(*vals)"),
    ("entrypoints", "0.4.2", "entrypoints.py", 191, "'*.dist-info', 'entry_points.txt'"),
    ("entrypoints", "0.4.2", "entrypoints.py", 198, "distro.name in distro_names_seen"),
    ("entrypoints", "0.4.2", "entrypoints.py", 203, "cp.read([path])"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 746, "dist.key in self.by_key"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 2090, "sorted(entries)"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 2862, "EntryPoint.parse_map"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 3261, "WorkingSet._build_master()"),
    ("importlib_metadata", "10.2.0", "importlib_metadata/__init__.py", 946, "os.stat(self.root)"),
    ("importlib_metadata", "10.2.0", "importlib_metadata/__init__.py", 1247, "dist.entry_points"),
    ("importlib_metadata", "10.2.0", "importlib_metadata/__init__.py", 1248, "_prefer_valid"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/group.py", 15, "distributions()"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/group.py", 39, "entry_points(group"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/group.py", 42, "ep.load()"),
]


class Place:
    """A directory with path entries and a cache directory, and a way to ask about them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / "cache"
        self.entries: list[Path] = []

    def path_entry(self, name: str = "site") -> Path:
        """A new path entry, which comes after those before."""
        path = self.root / name
        path.mkdir()
        self.entries.append(path)
        return path

    def python(self, code: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Runs the code in a new process that has the path entries on its sys.path."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "XDG_CACHE_HOME": str(self.cache),
            "PYTHONPATH": os.pathsep.join(map(str, self.entries)),
            "PYTHONWARNINGS": "ignore",
        }
        environment.update(options.pop("env", {}))  # type: ignore[call-overload]
        prefix = options.pop("prefix", [])
        command = [*prefix, sys.executable, "-c", code]  # type: ignore[misc]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, **options
        )  # type: ignore[call-overload]

    def ask(self, rival: str, **options: object) -> object:
        """The members of group `g`, or the name of the exception that was raised."""
        code = ASK[rival] + "\nimport json\nprint(json.dumps(found))"
        done = self.python(code, **options)
        if done.returncode != 0:
            raised = done.stderr.strip().splitlines()[-1]
            return "raises " + raised.split(":")[0].rpartition(".")[2]
        return [tuple(pair) for pair in json.loads(done.stdout)]

    def caches(self) -> list[Path]:
        """The files of stevedore's cache."""
        directory = self.cache / "python-entrypoints"
        return sorted(directory.iterdir()) if directory.is_dir() else []


def install(path_entry: Path, name: str, version: str, text: str | None, when: int = THEN) -> Path:
    """Makes a distribution with all times set, and returns its metadata directory."""
    directory = path_entry / f"{name}-{version}.dist-info"
    directory.mkdir(exist_ok=True)
    declared = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (directory / "METADATA").write_text(declared)
    if text is not None:
        (directory / "entry_points.txt").write_text(text)
        os.utime(directory / "entry_points.txt", (when, when))
    os.utime(directory, (when, when))
    os.utime(path_entry, (when, when))
    return directory


def one(value: str, name: str = "plugin") -> str:
    """A text that declares one entry point."""
    return f"[g]\n{name} = {value}\n"


def after_edit(place: Place, rival: str, when: int) -> object:
    """What is answered after an entry_points.txt was replaced by one with that time."""
    site = place.path_entry()
    install(site, "app", "1.0", one("old:x"))
    place.ask(rival)
    install(site, "app", "1.0", one("new:x"), when)
    return place.ask(rival)


def after_install(place: Place, rival: str) -> object:
    """What is answered after one more distribution was installed, within the same 128 s."""
    site = place.path_entry()
    install(site, "app", "1.0", one("old:x"))
    place.ask(rival)
    install(site, "late", "1.0", one("new:x", "other"), SAME_STEP)
    return sorted(place.ask(rival))  # type: ignore[call-overload]


def after_shadowing(place: Place, rival: str) -> object:
    """What is answered once a distribution that declares nothing came before one of its name."""
    first, second = place.path_entry("first"), place.path_entry("second")
    install(second, "app", "1.0", one("old:x"))
    os.utime(first, (THEN, THEN))
    place.ask(rival)
    install(first, "app", "2.0", None, SAME_STEP)
    return place.ask(rival)


def shadowed(place: Place, rival: str, first_name: str, first_text: str | None) -> object:
    """What is answered where two path entries hold a distribution of one name."""
    install(place.path_entry("first"), first_name, "2.0", first_text)
    install(place.path_entry("second"), "some_app", "1.0", one("second:x"))
    return place.ask(rival)


def empty_directory_first(place: Place, rival: str) -> object:
    """What is answered where an empty metadata directory comes before another."""
    first, second = place.path_entry("first"), place.path_entry("second")
    (first / "app-2.0.dist-info").mkdir()
    install(second, "app", "1.0", one("second:x"))
    return place.ask(rival)


def order(place: Place, rival: str) -> str:
    """Whether 40 distributions, some of them `.egg-info`, are answered in CPython's order."""
    site = place.path_entry()
    for number in range(40):
        made = install(site, f"d{number}", f"{number}.0", one("m:x", f"n{number}"))
        if number % 3 == 0:
            made.rename(made.with_suffix(".egg-info"))
            (made.with_suffix(".egg-info") / "METADATA").rename(
                made.with_suffix(".egg-info") / "PKG-INFO"
            )
    wanted, found = place.ask("importlib.metadata"), place.ask(rival)
    if found == wanted:
        return "CPython's"
    return "another" if sorted(found) == sorted(wanted) else "other members"  # type: ignore


def odd(place: Place, rival: str, text: str) -> object:
    """What is answered of a text that CPython accepts."""
    install(place.path_entry(), "app", "1.0", text)
    return place.ask(rival)


def operations(place: Place, rival: str) -> int:
    """File system calls that ten more distributions cost, five of which declare something."""
    counts = []
    for number in (100, 300):
        site = place.path_entry(f"site{number}")
        place.entries = [site]
        for each in range(number):
            install(site, f"d{each}", "1.0", one("m:x", f"n{each}") if each % 2 else None)
        place.ask(rival)
        trace = place.root / "trace"
        place.ask(rival, prefix=["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=file"])
        counts.append(trace.read_text().count(f"{site}/"))
    return round((counts[1] - counts[0]) * 10 / 200)


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


def stevedore_damaged(place: Place, damage: Callable[[bytes], bytes]) -> object:
    """What stevedore answers from a cache file with other bytes in it."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    place.ask("stevedore")
    (cache,) = place.caches()
    cache.write_bytes(damage(cache.read_bytes()))
    return place.ask("stevedore")


def stevedore_of_another(place: Place) -> object:
    """What stevedore answers from a cache file of another user's, which all may write."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    place.ask("stevedore")
    (cache,) = place.caches()
    cache.write_text(cache.read_text().replace('"m:x"', '"evil:x"'))
    os.chown(cache, NOBODY, NOBODY)
    cache.chmod(0o666)
    return place.ask("stevedore")


def stevedore_nowhere_to_write(place: Place) -> object:
    """What stevedore answers where no cache can be made, not even by root."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    return place.ask("stevedore", env={"XDG_CACHE_HOME": "/proc"})


def stevedore_files_left(place: Place) -> int:
    """How many cache files there are after three installs."""
    site = place.path_entry()
    for number in range(3):
        install(site, f"d{number}", "1.0", one("m:x"))
        place.ask("stevedore")
    return len(place.caches())


def stevedore_names(place: Place) -> str:
    """Whether the name of the cache file is known before the time of the install is."""
    site = place.path_entry()
    for when in (THEN, NEXT_STEP):
        install(site, "app", "1.0", one("m:x"), when)
        place.ask("stevedore")
    return "other names" if len(place.caches()) == 2 else "one name"


def dist(place: Place, question: str) -> str:
    """What an entry point says of its distribution."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    return place.python(question).stdout.strip()


def stevedore_path(place: Place) -> object:
    """What is answered for a `path` that is not sys.path: one empty directory."""
    install(place.path_entry(), "app", "1.0", one("m:x"))
    code = f'_cache.get_group_all("g", path=({str(place.root)!r},))'
    return int(place.python(f"from stevedore import _cache\nprint(len({code}))").stdout)


def imports(place: Place, rival: str) -> bool:
    """Whether asking for a group imports its members."""
    site = place.path_entry()
    install(site, "app", "1.0", one("witness:x"))
    mark = place.root / "imported"
    (site / "witness.py").write_text(f"open({str(mark)!r}, 'w')\nx = 1\n")
    place.ask(rival)
    return mark.exists()


def epi_caches(place: Place) -> int:
    """How many files of stevedore's cache epi leaves, which finds its subcommands so."""
    install(place.path_entry(), "app", "1.0", one("json:dumps"))
    place.ask("epi")
    return len(place.caches())


def epi_lists_shadowed(place: Place) -> bool:
    """Whether `group list` names a group that only a shadowed distribution has."""
    install(place.path_entry("first"), "app", "2.0", None)
    install(place.path_entry("second"), "app", "1.0", "[only_in_shadowed]\na = m:x\n")
    code = 'from entry_point_inspector.app import main\nmain(["group", "list", "-f", "value"])'
    return "only_in_shadowed" in place.python(code).stdout


def facts() -> Iterator[tuple[str, object, Callable[[Place], object]]]:
    """What is asked: its name, what docs/benchmarks.md says of it, and how to find out."""
    old, new, second = [("plugin", "old:x")], [("plugin", "new:x")], [("plugin", "second:x")]
    for rival in ALIKE:
        cached = rival == "stevedore"

        def name(what: str, rival: str = rival) -> str:
            return f"{rival}: {what}"

        def call(function: Callable[..., object], *rest: object, rival: str = rival) -> Callable:
            return lambda place: function(place, rival, *rest)

        yield name("edited within 128 s"), old if cached else new, call(after_edit, SAME_STEP)
        yield name("edited an hour later"), new, call(after_edit, NEXT_STEP)
        yield (
            name("one more installed"),
            [("other", "new:x"), ("plugin", "old:x")],
            call(after_install),
        )
        unaware = rival in ("stevedore", "entrypoints")
        yield name("shadowed within 128 s"), old if unaware else [], call(after_shadowing)
        by_file = rival == "entrypoints"
        yield (
            name("first declares nothing"),
            second if by_file else [],
            call(shadowed, "some_app", None),
        )
        by_spelling = rival in ("entrypoints", "pkg_resources")
        yield (
            name("Some.App before some_app"),
            [*new, *second] if by_spelling else new,
            call(shadowed, "Some.App", one("new:x")),
        )
        lenient = rival in ("entrypoints", "pkg_resources", "importlib_metadata")
        yield (
            name("empty metadata directory first"),
            second if lenient else [],
            call(empty_directory_first),
        )
        own_order = rival in ("entrypoints", "pkg_resources")
        yield name("order"), "another" if own_order else "CPython's", call(order)
        accepted = {
            "entrypoints": "raises InterpolationSyntaxError",
            "pkg_resources": "raises ValueError",
        }
        yield (
            name("a value with %"),
            accepted.get(rival, [("plugin", "m%s:x")]),
            call(odd, one("m%s:x")),
        )
        yield name("ten more distributions, file system calls"), CALLS[rival], call(operations)
        members = 2 if rival == "entrypoints" else 1
        yield name("same process, same tick: members of 2"), members, call(same_process)
    right = [("plugin", "m:x")]
    damaged: list[tuple[str, object, Callable[[bytes], bytes]]] = [
        ("cut short", right, lambda text: text[: len(text) // 2]),
        ("empty", right, lambda text: b""),
        ("{}", [], lambda text: b"{}"),
        ("a list", "raises AttributeError", lambda text: b"[]"),
        ("not UTF-8", "raises UnicodeDecodeError", lambda text: b"\xff" + text),
    ]
    for what, wanted, damage in damaged:
        yield (
            f"stevedore: its file is {what}",
            wanted,
            lambda place, damage=damage: stevedore_damaged(place, damage),
        )
    if os.geteuid() == 0:
        yield "stevedore: another user's file", [("plugin", "evil:x")], stevedore_of_another
    yield "stevedore: nowhere to write", right, stevedore_nowhere_to_write
    yield "stevedore: files after three installs", 3, stevedore_files_left
    yield "stevedore: file names of two installs of the same", "other names", stevedore_names
    for rival, question in DIST.items():
        wanted = "None" if rival == "stevedore" else "app"
        yield (
            f"{rival}: dist of an entry point",
            wanted,
            lambda place, question=question: dist(place, question),
        )
    yield "stevedore: members for a path that has none", 1, stevedore_path
    for rival in ASK:
        wanted = rival == "epi"
        yield (
            f"{rival}: imports what is asked for",
            wanted,
            lambda place, rival=rival: imports(place, rival),
        )
    yield "epi: files of stevedore's cache", 1, epi_caches
    yield "epi: lists groups of shadowed distributions", True, epi_lists_shadowed


def check_sources() -> Iterator[str]:
    """The lines of source that docs/benchmarks.md names, and whether they say what it says."""
    for name, version, file, line, text in SOURCES:
        found = metadata.distribution(name)
        lines = Path(str(found.locate_file(file))).read_text().splitlines()
        said = found.version == version and text in lines[line - 1]
        mark = "" if said else f"  NOT SO ({found.version}: {lines[line - 1].strip()!r})"
        yield f"{name} {version}, {file}:{line}: {text}{mark}"


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
    for name, wanted, find in facts():
        if not chosen.search(name):
            continue
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            found = find(Place(Path(directory)))
        agrees = found == wanted
        failed += not agrees
        print(f"{name}: {found}" + ("" if agrees else f"  NOT SO, but {wanted}"), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
