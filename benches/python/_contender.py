"""What all contenders share: the command line, the printing, and what a process tells of itself.

    python3 start.py NAME [STRATEGY] WORK --cache DIR --path P [--path P ...] [--group G]
    python3 start.py NAME [STRATEGY] [WORK] --promises

NAME is the module of a contender. It has

- `find(job)`, which gives the entry points of the job's group, or all if that is None;
- `build(job)`, if it has a cache to build;
- `STRATEGIES`, if it has several;
- `ORDERED`, the kinds of work whose answer is in CPython's order, unless these are all.

CPython keeps what it compiled of a module, but not of a script: one that held a contender would be
compiled by each process. So `start.py` is the script of all, and has three lines.

WORK is one of

- `build`: make the cache fresh, whatever is there;
- `find`: print the entry points of the group;
- `list`: print all.

An entry point is printed as `GROUP<tab>NAME<tab>VALUE`, in the order of the answer. The last line
on standard error is `ns=N peak=KIB rchar=N`: the time from the script's first line until the answer
was there, printing left out; the most memory that the process had; how much it read.

`--promises` prints whether the order of the answer is CPython's by design, as `{"order": bool}`:
for one kind of work, or for both.

The first path entry is the directory of the scripts, as that of an installed command is. It has no
dists.

Nothing is imported here that a bare interpreter has not loaded, so that what a contender costs is
its own. `pass` uses this module too.
"""

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

WORKS = ("build", "find", "list")

# What a process tells of itself, where there is such a file, is read at once: it is no longer.
_MAX_STATUS = 1 << 16


class Job:
    """What the command line asks for. `--path` has been appended to `sys.path`."""

    def __init__(self, arguments: "list[str]", strategies: "Sequence[str]") -> None:
        self.strategy = ""
        self.work = ""
        self.cache = ""
        self.group: str | None = None
        self.promises = False
        left = arguments[::-1]
        while left:
            word = left.pop()
            if word in WORKS and not self.work:
                self.work = word
            elif word in strategies and not self.strategy:
                self.strategy = word
            elif word == "--promises":
                self.promises = True
            elif word == "--cache" and left:
                self.cache = os.path.abspath(left.pop())
            elif word == "--path" and left:
                sys.path.append(left.pop())
            elif word == "--group" and left:
                self.group = left.pop()
            else:
                sys.exit(f"{word!r}: not understood here, or something is missing")
        if strategies and not self.strategy:
            sys.exit(f"no strategy; there are {', '.join(strategies)}")
        if not self.promises and not (self.work and self.cache):
            sys.exit("what is to be done, and --cache, must be given")
        if self.work == "find" and self.group is None and not self.promises:
            sys.exit("find needs a --group")


def run(start: int) -> None:
    """Does what the command line asks for.

    `start` is when the script began, by `time.perf_counter_ns`.
    """
    contender = __import__(sys.argv[1])
    job = Job(sys.argv[2:], getattr(contender, "STRATEGIES", ()))
    if job.promises:
        ordered = getattr(contender, "ORDERED", ("find", "list"))
        order = job.work in ordered if job.work else len(ordered) == 2
        print('{"order": true}' if order else '{"order": false}')
        return
    if job.work == "list":
        job.group = None
    found = []
    if job.work != "build":
        found = contender.find(job)
    elif hasattr(contender, "build"):
        contender.build(job)
    taken = time.perf_counter_ns() - start
    read = _number_in("/proc/self/io", b"rchar:")
    peak = max(_number_in("/proc/self/status", b"VmHWM:"), _peak_of_children)
    text = "".join([f"{group}\t{name}\t{value}\n" for group, name, value in found])
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()
    sys.stderr.write(f"ns={taken} peak={peak} rchar={read}\n")


_peak_of_children = 0


def wait_for(command: "list[str]") -> None:
    """Runs another program. Exits if it fails."""
    global _peak_of_children
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{command[0]} failed: {os.waitstatus_to_exitcode(status)}")
    _peak_of_children = max(_peak_of_children, usage.ru_maxrss)


def _number_in(path: str, word: bytes) -> int:
    """The number after a word in one of the files about this process; 0 where there is none."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    try:
        _, found, rest = os.read(file, _MAX_STATUS).partition(word)
    finally:
        os.close(file)
    return int(rest.split(maxsplit=1)[0]) if found else 0
