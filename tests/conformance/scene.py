"""Builds the conformance cases: turns the data files beside it into directories to be asked about.

The runners of all readers use this one builder, so that a case means the same to each of them.
README.md beside it specifies the data files. Run as a command, it builds every case below a
directory and prints one JSON object a line, which tells a runner what to ask:

    python3 scene.py DIRECTORY

Nothing here knows how a reader works: indexes are written out by hand in the data files, with
placeholders for what only the file system can tell.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CASES = Path(__file__).resolve().parent

# Where the roots lie whose kind is told by their place, and a path entry that comes behind the vendor
# root in the order of paths. A case's directory of such a name is to be mounted there.
WELL_KNOWN = {
    "system": "/var/cache/epcache",
    "vendor": "/usr/share/epcache",
    "behind": "/var/lib/behind",
}

# Mounts directories, given in pairs of source and target, then runs the rest of the arguments. What
# is beside a target vanishes, for this process and its children alone.
WITH_MOUNTS = """
while [ "$1" != -- ]; do
    mount -t tmpfs -o mode=755 none "${2%/*}" && mkdir "$2" && mount --bind "$1" "$2" || exit 1
    shift 2
done
shift
exec "$@"
"""

# A change shows after a tick of the clock, which is 10 ms at most; or, where a file system keeps
# whole seconds, after one.
PATIENCE_IN_SECONDS = 5.0

PLACEHOLDER = re.compile(
    r"\{(path|stamp|linked-stamp|mtime-seconds|hex|repeat):([^{}|]*)((?:\|[a-z]+(?:[-+]\d+|=))*)\}"
)
ADJUSTMENT = re.compile(r"\|([a-z]+)([-+=])(\d*)")

Node = str | dict[str, Any] | None


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """All cases with their names, `topic/name`."""
    for file in sorted(CASES.glob("*.json")):
        for case in json.loads(file.read_text(encoding="utf-8")):
            yield f"{file.stem}/{case['name']}", case


def build_all(directory: Path) -> list[dict[str, Any]]:
    """Builds every case that this user can, each in a directory of its own."""
    os.umask(0o022)
    directory.chmod(0o755)
    return [build(name, case, directory / name) for name, case in cases()]


def build(name: str, case: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Builds one case, and tells what there is to ask."""
    told = {"name": name, "about": case["about"], "directory": str(directory)}
    roots = case.get("roots", ["cache"])
    path = case.get("path", ["{path:site}"])
    mounted = [name for name, place in WELL_KNOWN.items() if name in roots or place in path]
    reason = reason_to_skip(case, mounted, directory)
    if reason is not None:
        return {**told, "skip": reason}
    scene = Scene(directory)
    for name in mounted:
        scene.make(f"{name}/", {})
    scene.apply(case.get("tree", {}))
    scene.apply(case.get("cache", {}))
    for change in case.get("then", []):
        scene.wait_until_a_change_shows()
        scene.apply(change)
    path = [scene.expanded(item) for item in path]
    return {
        **told,
        "path": path,
        "roots": [WELL_KNOWN.get(root, str(directory / root)) for root in roots],
        "launcher": launcher({WELL_KNOWN[name]: directory / name for name in mounted}),
        "questions": [
            {
                "mode": mode,
                "group": question.get("group"),
                "name": question.get("name"),
                "answer": [scene.answered(entry, path) for entry in question["answer"]],
                "any_order": question.get("any_order", False),
                "cpython": question.get("cpython", False),
            }
            for question in case["questions"]
            for mode in question["mode"].split()
        ],
    }


def reason_to_skip(case: dict[str, Any], mounted: list[str], directory: Path) -> str | None:
    """Why this user can't build or ask a case, if so."""
    if mounted and not can_mount():
        return "no root can be mounted at its well-known place: it takes a user root and unshare"
    if "vendor" in mounted and directory > Path(WELL_KNOWN["vendor"]):
        return f"{directory} comes behind the vendor root in the order of paths: set TMPDIR"
    if os.geteuid() == 0:
        return None
    mappings = [case.get("tree", {}), case.get("cache", {}), *case.get("then", [])]
    nodes = [node for mapping in mappings for node in mapping.values()]
    if any(isinstance(node, dict) and "owner" in node for node in nodes):
        return "only root can give files away"
    return None


def launcher(mounts: Mapping[str, Path]) -> list[str]:
    """The command that runs another with these mounts, by targets: nothing where there are none."""
    if not mounts:
        return []
    pairs = [str(path) for target, source in mounts.items() for path in (source, target)]
    return ["unshare", "--mount", "sh", "-c", WITH_MOUNTS, "sh", *pairs, "--"]


@functools.cache
def can_mount() -> bool:
    """Whether this user can mount things where nobody else sees it."""
    command = launcher(dict.fromkeys(WELL_KNOWN.values(), CASES))
    try:
        return subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Scene:
    """The directory of one case."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)

    def apply(self, mapping: dict[str, Node]) -> None:
        """Makes what a mapping of names to nodes says. Then, from the inside out, gives each its
        owner, mode and time: none is changed any more by what is made in it."""
        for name, node in mapping.items():
            self.make(name, node)
        for name, node in reversed(mapping.items()):
            if isinstance(node, dict):
                give_attributes(self.place(name), node)

    def make(self, name: str, node: Node) -> None:
        place = self.place(name)
        if node is None:
            remove(place)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(node, str):
            node = {"text": node}
        if "moved_from" in node:
            self.place(node["moved_from"]).rename(place)
        elif name.endswith("/"):
            place.mkdir(exist_ok=True)
        elif "link" in node:
            place.symlink_to(self.expanded(node["link"]))
        elif "hard_link" in node:
            place.hardlink_to(self.place(node["hard_link"]))
        elif "fifo" in node:
            os.mkfifo(place)
        elif "zip" in node:
            write_zip(place, node["zip"], bytes(node.get("before", ""), "utf-8"))
        elif node.keys() & {"text", "hex", "lines"}:
            place.write_bytes(self.content(node))
        else:
            assert node.keys() <= {"mode", "owner", "mtime"}, f"{name}: no such node: {node}"

    def content(self, node: dict[str, Any]) -> bytes:
        if "hex" in node:
            return bytes.fromhex(node["hex"])
        if "text" in node:
            return bytes(node["text"], "utf-8")
        text = "".join(f"{self.expanded(line)}\n" for line in node["lines"])
        content = os.fsencode(text)
        return content[: len(content) - node.get("cut", 0)]

    def place(self, name: str) -> Path:
        """Where a name is. The root plus a placeholder for a path entry's own path is a mirror."""
        return Path(f"{self.directory}/{self.expanded(name)}")

    def answered(self, entry: list[str], path: list[str]) -> list[str]:
        """The five columns of an answer; of one path entry, the last need not be said."""
        group, name, value, metadata_dir, *path_entry = entry
        metadata_dir = self.expanded(metadata_dir)
        where = self.expanded(path_entry[0]) if path_entry else path[0]
        assert path_entry or len(path) == 1, f"of several path entries, which one? {entry}"
        return [group, name, value, shown(metadata_dir), shown(where)]

    def expanded(self, text: str) -> str:
        """The text with all placeholders replaced."""
        return PLACEHOLDER.sub(self.replacement, text)

    def replacement(self, placeholder: re.Match[str]) -> str:
        kind, what, adjusted = placeholder.groups()
        adjustments = ADJUSTMENT.findall(adjusted)
        if kind == "hex":
            return os.fsencode(what).hex()
        if kind == "repeat":
            part, times = what.rsplit("*", 1)
            return part * int(times)
        place = self.directory / what if what else self.directory
        if kind == "path":
            return str(place)
        stat = place.stat()
        if kind == "mtime-seconds":
            fields = adjust({"mtime": stat.st_mtime_ns // 1_000_000_000}, adjustments)
            return str(fields["mtime"])
        fields = {"inode": stat.st_ino, "size": stat.st_size, "mtime": stat.st_mtime_ns}
        if kind == "stamp":
            fields["ctime"] = stat.st_ctime_ns
            return "{inode}:{size}:{mtime}:{ctime}".format(**adjust(fields, adjustments))
        fields |= {"mode": stat.st_mode, "uid": stat.st_uid, "gid": stat.st_gid}
        fields |= birth_time(place)
        fields = adjust(fields, adjustments)
        born = f".{fields['born']}" if "born" in fields else ""
        return "{inode}:{size}:{mtime}:p{mode:o}.{uid}.{gid}".format(**fields) + born

    def wait_until_a_change_shows(self) -> None:
        """Waits until what is changed from now on has later times than what there is."""
        last = max(place.lstat().st_ctime_ns for place in self.directory.rglob("*"))
        probe = self.directory / "probe"
        deadline = time.monotonic() + PATIENCE_IN_SECONDS
        while True:
            probe.touch()
            if probe.stat().st_ctime_ns > last:
                break
            assert time.monotonic() < deadline, f"the clock of {self.directory} stands still"
            time.sleep(0.001)
        probe.unlink()


def adjust(fields: dict[str, int], adjustments: list[tuple[str, str, str]]) -> dict[str, int]:
    """The fields with `|field+1` added, `|field-1` subtracted, and `|field=` left out."""
    adjusted = dict(fields)
    for field, sign, number in adjustments:
        if sign == "=":
            adjusted.pop(field, None)
        else:
            adjusted[field] += int(sign + number)
    return adjusted


def birth_time(place: Path) -> dict[str, int]:
    """In nanoseconds since 1970, if the file system tells. Python can't ask, but coreutils can."""
    command = ["stat", "--dereference", "--format=%.9W", str(place)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    born = int(output.strip().replace(".", ""))
    return {"born": born} if born else {}


def give_attributes(place: Path, node: dict[str, Any]) -> None:
    if "owner" in node:
        os.chown(place, node["owner"], -1, follow_symlinks=False)
    if "mode" in node:
        place.chmod(int(node["mode"], 8))
    if "mtime" in node:
        os.utime(place, ns=(node["mtime"], node["mtime"]))


def remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def write_zip(place: Path, members: Mapping[str, str], before: bytes) -> None:
    """An archive, with its members in the order given, and perhaps something in front of it."""
    with place.open("wb") as file:
        file.write(before)
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in members.items():
                archive.writestr(zipfile.ZipInfo(name), text)


def shown(text: str) -> str:
    """A name as an answer shows it: what is not UTF-8 in it is replaced."""
    return os.fsencode(text).decode("utf-8", "replace")


def main(directory: str) -> None:
    for told in build_all(Path(directory)):
        # Not every language's strings can hold a name that is not UTF-8.
        path = [os.fsencode(item).hex() for item in told.get("path", [])]
        print(json.dumps({**told, "path": path}))


if __name__ == "__main__":
    main(sys.argv[1])
