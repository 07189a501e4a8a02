"""The rivals, and places in which they are asked: each time in a new process, on path entries made
for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

# A whole number of 128 s, which is the step of a 32-bit float at times like these.
THEN = 1_700_000_000

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
found = [
    (e["Name"], ".".join(filter(None, [e["Module"], e["Member"]])))
    for e in json.loads(out.getvalue())
]""",
}

# Prints what an entry point tells of its distribution.
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
distro = entrypoints.get_group_all("g")[0].distro
print(distro.name, distro.version)""",
    "pkg_resources": """
import pkg_resources
print(next(pkg_resources.iter_entry_points("g")).dist.project_name)""",
    "epi": """
from entry_point_inspector.app import main
main(["group", "show", "g", "-f", "value", "-c", "Distribution"])""",
}


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

    def ask_cache(self, rival: str) -> object:
        """The same, but from the rival's cache if it has one."""
        if rival == "stevedore":
            self.ask(rival)
        return self.ask(rival)

    def calls(self, rival: str, **options: object) -> list[str]:
        """The calls that name a file, one a line, of a process that asks."""
        trace = self.root / "trace"
        strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=file"]
        self.ask(rival, prefix=strace, **options)
        return trace.read_text().splitlines()

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
