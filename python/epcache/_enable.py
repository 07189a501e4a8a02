"""`python -m epcache enable` and `disable`: have a whole environment served, by a `.pth` file.

The `site` module runs the line in that file whenever an interpreter of the environment starts. So
it must be cheap, and must never fail. It imports nothing and looks for nothing, but leaves two
small things behind, one in the place of `PathFinder.find_distributions` and one on `sys.meta_path`,
which fetch `_patch.enabled` when somebody first asks for distributions or for stevedore's cache.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

FILE = "epcache-patch.pth"

# By which our own file is known, whatever version wrote it. `site` runs the line with it.
MARK = "# written by: python -m epcache enable"

# The largest file that is taken for ours, in bytes: some ten times what we write.
MAX_FILE = 16 << 10

# The line. In a virtual environment `site` runs it twice. What it costs is mostly the compiler's
# work, so what is not wanted each time is a string until it is.
LINE = """\
import sys,_frozen_importlib_external as b;o=vars(b.PathFinder).get("find_distributions");\
o is None or hasattr(o,"epcache")or \
exec({start!r},{{"__name__":"epcache._patch","sys":sys,"P":b.PathFinder,"o":o,\
"d":{directory},"s":{late!r}}})  {mark}
"""

# Run the first time: leaves behind what waits for somebody to ask, and stands for `o` until then.
# By the module's name, `epcache.entry_points` knows that PathFinder is still as CPython made it.
# The finder is a function that has itself as attribute: of what can be made in no time, functions
# alone can be hashed and take attributes.
START = """\
f=P.find_distributions=staticmethod(lambda*a,**k:exec(s,globals())or e.find_distributions(*a,**k))
f.epcache=1
w=w.find_spec=lambda fullname,path=None,target=None:\
fullname=="stevedore._cache"and(exec(s,globals())or e.find_spec(fullname,path,target))or None
sys.meta_path.insert(0,w)
"""

# Run when somebody asks. `sys.path` may be anything by then, so the package is loaded from where it
# was. If it is gone, or can't be loaded, all is as if there had been no line. Where only an empty
# directory is left, there is a spec, but without a loader.
LATE = """\
try:
 if"epcache"not in sys.modules:
  import _frozen_importlib
  m=P.find_spec("epcache",[d])
  m.loader.exec_module
  _frozen_importlib._load(m)
 from epcache._patch import enabled
 e=enabled(f,o,w)
except Exception:
 if vars(P).get("find_distributions")is f:P.find_distributions=o
 e=type("",(),{"find_distributions":o,"find_spec":lambda*a:None})
"""


class Refused(Exception):
    """What can't be done, with what to do instead."""


def main(argv: "list[str]") -> int:
    """Run `enable` or `disable` with its options; gives the exit status: 0 done, 2 an error."""
    arguments = _parse(argv)
    try:
        directory = _directory(arguments)
        done = enable(directory) if arguments.command == "enable" else disable(directory)
    except Refused as refused:
        print(f"epcache: {_printable(str(refused))}", file=sys.stderr)
        return 2
    print(_printable(done))
    return 0


def enable(directory: str) -> str:
    """Write the file into a site directory, if it is not there; says what was done."""
    path = os.path.join(directory, FILE)
    text = line(directory)
    found = _ours(path)
    if found == text:
        return f"already enabled by {path}"
    _write(path, text)
    if found is not None:
        return f"enabled again, by a new {path}"
    return (
        f"enabled by {path}\n"
        "From its next start, each program of this environment is answered from the cache.\n"
        "Before epcache is uninstalled, run: python -m epcache disable"
    )


def disable(directory: str) -> str:
    """Remove the file from a site directory, if it is there; says what was done."""
    path = os.path.join(directory, FILE)
    if _ours(path) is None:
        return f"not enabled: there is no {path}"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Refused(f"can't remove {path}: {error.strerror}{_advice(error)}") from error
    return f"disabled: removed {path}"


def line(directory: str) -> str:
    """The content of the file in a site directory: one line of code.

    The package beside it is found wherever the environment is moved to: `sitedir` is what `site`
    calls the directory that it is working on.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    is_beside = os.path.realpath(package) == os.path.realpath(directory)
    # The file's encoding depends on the Python that reads it, so it is ASCII.
    known = "sitedir" if is_beside else ascii(package)
    return LINE.format(start=START, directory=known, late=LATE, mark=MARK)


def _parse(argv: "list[str]") -> "Namespace":
    from argparse import ArgumentParser

    parser = ArgumentParser(
        prog="python -m epcache",
        description="Have all programs of an environment answered from the cache, unchanged.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help in (
        ("enable", f"write {FILE} into this environment"),
        ("disable", f"remove {FILE} from it"),
    ):
        command = commands.add_parser(name, help=help, description=help)
        command.add_argument(
            "--site",
            metavar="DIR",
            help="the site-packages directory to write to, instead of this environment's",
        )
        command.add_argument(
            "--system",
            action="store_true",
            help="also if this Python is not one of a virtual environment",
        )
    return parser.parse_args(argv)


def _directory(arguments: "Namespace") -> str:
    """The site directory that is meant: an absolute path."""
    if arguments.site is not None:
        directory: str = os.path.abspath(arguments.site)
        if not os.path.isdir(directory):
            raise Refused(f"{directory} is no directory; give an existing one with --site")
        return directory
    is_environment = sys.prefix != sys.base_prefix
    if arguments.command == "enable" and not is_environment and not arguments.system:
        raise Refused(
            f"{sys.executable} is not the Python of a virtual environment, and all who use it "
            "would be served; if you want that, add --system; or name a directory with --site"
        )
    from sysconfig import get_path

    return str(get_path("purelib"))


def _ours(path: str) -> "str | None":
    """The text of the file, if there is one; raises `Refused` if it is not ours."""
    try:
        # Whoever left something else there, a FIFO for one, must not be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"can't read {path}: {error.strerror}; look at it, and remove it") from error
    try:
        content = os.read(descriptor, MAX_FILE) if _is_regular(descriptor) else b""
    finally:
        os.close(descriptor)
    if MARK.encode() not in content:
        raise Refused(f"{path} is not what epcache wrote; look at it, and remove it")
    return content.decode("utf-8", "replace")


def _is_regular(descriptor: int) -> bool:
    from stat import S_ISREG

    return S_ISREG(os.fstat(descriptor).st_mode)


def _write(path: str, text: str) -> None:
    """Write the file whole, so that no interpreter starts with half of it."""
    # No name that `site` would read.
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "x", encoding="ascii") as file:
            file.write(text)
            # Whoever uses the environment is to be served, whatever the umask is.
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if not isinstance(error, FileExistsError):
            try:
                os.unlink(temporary)
            except OSError:
                pass
        raise Refused(f"can't write {path}: {error.strerror}{_advice(error)}") from error


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "; run this as the owner of the environment"
    return ""


def _printable(text: str) -> str:
    """The text without what a terminal would take for commands, or could not write."""
    lines = text.split("\n")
    return "\n".join(
        "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines
    )
