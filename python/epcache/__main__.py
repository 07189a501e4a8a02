"""`python -m epcache`: the `epcache` command; and `enable` and `disable`, which only Python can."""

import os
import sys

# What the command itself returns when it can't do what it is asked to.
ERROR = 2

HELP = """
And, of 'python -m epcache' alone:
  enable   Serve all programs of this virtual environment from the cache
  disable  Let them ask importlib.metadata as before
"""


def main(arguments: "list[str]") -> int:
    """Do what the arguments say; the exit status, if no other program has taken over."""
    if arguments[:1] in (["enable"], ["disable"]):
        from ._enable import main as enable

        return enable(arguments)
    from ._command import find_command

    command = find_command()
    if command is None:
        return _fail(
            "the command 'epcache' is neither beside this Python nor on PATH; "
            "install the wheel that it comes with, as with 'pip install .' in a checkout of epcache"
        )
    try:
        if arguments in (["--help"], ["-h"], []):
            return _help(command, arguments)
        return _become(command, arguments)
    except OSError as error:
        return _fail(f"{command}: {error.strerror}")


def _become(command: str, arguments: "list[str]") -> int:
    """Run the command in this process's place: exit status, signals and terminal are its own."""
    import signal

    # Python ignores these for itself, and what is ignored stays so in the program that takes over.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execve(command, [command, *arguments], _environment())


def _environment() -> "dict[str, str]":
    """The environment of the command, to which the environment of this Python is the active one.

    Options that name another still win.
    """
    variables = dict(os.environ)
    if os.path.isfile(os.path.join(sys.prefix, "pyvenv.cfg")):
        variables["VIRTUAL_ENV"] = sys.prefix
    return variables


def _help(command: str, arguments: "list[str]") -> int:
    """Print the command's own help, and what it can't know."""
    status = os.spawnve(os.P_WAIT, command, [command, *arguments], _environment())
    stream = 2 if status else 1
    try:
        os.write(stream, HELP.encode())
    except OSError:
        # Whoever reads has read enough.
        pass
    return status


def _fail(message: str) -> int:
    sys.stderr.write(f"epcache: {message}\n")
    return ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
