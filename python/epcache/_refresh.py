"""What happens after an answer that met stale or missing indexes: a refresh for the next start.

The core hands over the path entries once the answer is there; nothing here changes it or keeps it
waiting. The refresh is a detached `epcache sync` of those path entries, of which there is at most
one at a time per path entry however many processes start at once: whoever gets the lock on the
claim in the mirror starts it, and it inherits the lock, which so ends with it, whatever ends it.
`docs/format.md` specifies the claim.

A refresh that can't be started is no error: the sources have answered, and will.
"""

import os
import sys

from ._cache import DIRECTORY, LINK, REGULAR, TYPE, stamp_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CLAIM = ".refresh"

_MAGIC = ("epcache-refresh", "1")

# The length of what is in a claim, in bytes: always the same, so that it can be written over where
# the disk is full.
_LENGTH = 256

# After so many attempts in the same state the next has to wait, in seconds, and twice as long after
# each. One that was killed is tried again at once; one that ended says that it was enough. What no
# sync can make fresh (a time in the future, a disk that is full) is not tried at each start.
_ENOUGH = 2
_PAUSE = 30.0
_LONGEST_PAUSE = 3600.0

# How long one process lets a path entry be after it looked for the claim, in seconds: programs ask
# for many groups in a row.
_AT_REST = 1.0

# The most path entries in one refresh; the others are for the next start. Each takes a descriptor.
_MAX_AT_ONCE = 32

# How long to wait for the child that starts the refresh and ends, in seconds. It takes some 2 ms;
# then the host program has no child that it did not start.
_PATIENCE = 0.01

# How long to sleep at most before it is asked for again, in seconds.
_LONGEST_NAP = 0.001

# How many path entries are remembered. A process that meets more than that begins anew: it is a
# test suite, or a server that makes environments.
_MAX_REMEMBERED = 1000

# What a user has set for this process is not meant for that one, which is told all it needs.
_OWN_VARIABLES = ("EPCACHE_MODE", "EPCACHE_ON_STALE", "EPCACHE_PATH")

_STICKY = 0o1000
_WRITABLE_BY_OTHERS = 0o022

_warned: "dict[str, object]" = {}
_tried: "dict[str, float]" = {}

# Children that had not ended when they were last asked for, each with the process that has them.
_children: "list[tuple[int, int]]" = []

# Claims that this process has open, for a moment.
_open_claims: "set[int]" = set()

# Not empty once forks are watched.
_watched: "list[bool]" = []


def found_stale(
    root: "str | None", path_entries: "Iterable[tuple[str, bool]]", on_stale: str
) -> None:
    """Do about path entries that no fresh index answered for what the user wants done.

    `root` is the user's cache root, which need not exist. Each path entry comes with whether there
    was an index, a stale one. `on_stale` is `sync`, `warn` or `ignore`.

    Raises nothing but a `StaleCacheWarning` that a filter of the user's makes an error.
    """
    advice = "run 'epcache sync'"
    if on_stale == "sync":
        command = _find_command()
        if command is not None:
            if root is not None:
                _try_to_start(command, root, [path_entry for path_entry, _ in path_entries])
            return
        advice = "install the command 'epcache', which refreshes it"
    elif on_stale != "warn":
        return
    for path_entry, was_stale in path_entries:
        if was_stale:
            _warn_once(path_entry, advice)


def _find_command() -> "str | None":
    from ._command import find_command

    try:
        return find_command(trusted_only=True)
    except (OSError, ValueError):
        return None


def _warn_once(path_entry: str, advice: str) -> None:
    """Issue a `StaleCacheWarning`, the first time in a process."""
    mine = object()
    if len(_warned) >= _MAX_REMEMBERED:
        _warned.clear()
    if _warned.setdefault(path_entry, mine) is not mine:
        return
    from ._warn import StaleCacheWarning, warn

    warn(f"the cache of entry points is stale for {path_entry}; {advice}", StaleCacheWarning)


# --- Starting -------------------------------------------------------------------------------------


def _try_to_start(command: str, root: str, path_entries: "list[str]") -> None:
    """Start a refresh of those path entries that nobody else refreshes, if that can be done."""
    claims: dict[str, int] = {}
    try:
        if _looks_after_children():
            return
        due = [path_entry for path_entry in path_entries if _is_rested(path_entry)]
        if due and _is_writable_root(root):
            for path_entry, claim in _claim(root, due[:_MAX_AT_ONCE]):
                claims[path_entry] = claim
        if claims:
            _spawn(command, root, claims)
    # Whatever a full disk, a sandbox's hook or an end of the interpreter makes of it.
    except Exception:
        pass
    finally:
        for claim in claims.values():
            _close(claim)
        reap(_PATIENCE if claims and not _is_init() else 0.0)


def _looks_after_children() -> bool:
    """Whether this program is told of the end of each child, and might not know what to do with
    one that it did not start.
    """
    import _signal  # type: ignore[import-not-found]  # what `signal` makes enums of, which takes time

    return callable(_signal.getsignal(_signal.SIGCHLD))


def _is_init() -> bool:
    """Whether orphans become this process's children, as in a container that has no init."""
    return os.getpid() == 1


def _is_rested(path_entry: str) -> bool:
    """Whether this process has not tried just now."""
    import time

    now = time.monotonic()
    if now - _tried.get(path_entry, -_AT_REST) < _AT_REST:
        return False
    if len(_tried) >= _MAX_REMEMBERED:
        _tried.clear()
    _tried[path_entry] = now
    return True


def _spawn(command: str, root: str, claims: "dict[str, int]") -> None:
    """Run the command, which goes on in the background with the claims, and let go of it.

    Not by a fork, which a process with threads must not do. Nothing else is inherited: somebody
    may wait for the end of a pipe that the host program holds.
    """
    arguments = [command, "sync", "--quiet", f"--cache-dir={root}"]
    if not _is_init():
        arguments.insert(3, "--background")
    arguments += [f"--path={path_entry}" for path_entry in claims]
    environment = {k: v for k, v in os.environ.items() if k not in _OWN_VARIABLES}
    first_free = 3 + len(claims)
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    for number, claim in enumerate(claims.values(), 3):
        actions.append((os.POSIX_SPAWN_DUP2, claim, number))
    for inherited in _inheritable():
        if inherited >= first_free:
            actions.append((os.POSIX_SPAWN_CLOSE, inherited))
    pid = os.posix_spawn(command, arguments, environment, file_actions=actions, setsigmask=())
    _children.append((os.getpid(), pid))


def _inheritable() -> "Iterator[int]":
    """The descriptors that a program started from here would have."""
    try:
        names = os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    except OSError:
        return
    for name in names:
        try:
            if os.get_inheritable(int(name)):
                yield int(name)
        except (OSError, ValueError):
            pass


def reap(patience: float = 0.0) -> None:
    """Take note of children that have ended, which else stay as zombies.

    Nearly always done before `found_stale` returns; else by a later call, of this or of that.
    """
    try:
        _reap(patience)
    # A sandbox may forbid to ask, and a test may have put something else in the place of `sleep`.
    except Exception:
        pass


def _reap(patience: float) -> None:
    import time

    pause, deadline = _LONGEST_NAP / 4, time.monotonic() + patience
    while True:
        for child in list(_children):
            owner, pid = child
            if owner != os.getpid() or _has_ended(pid):
                try:
                    _children.remove(child)
                except ValueError:
                    pass  # another thread did
        left = deadline - time.monotonic()
        if not _children or left <= 0:
            return
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_NAP)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    # Somebody else took note: the host program, or the kernel where it is told to. Or one may not
    # ask, now or later.
    except OSError:
        return True


# --- Claims ---------------------------------------------------------------------------------------


def _claim(root: str, path_entries: "list[str]") -> "Iterator[tuple[str, int]]":
    """Those of the path entries whose refresh is this process's to start, each with its claim: a
    descriptor that holds the lock.
    """
    # The numbers below are for the claims where they are passed on.
    lowest = 3 + len(path_entries)
    for path_entry in path_entries:
        try:
            mirror = root + path_entry
            claim = _open(root, path_entry, lowest)
            if claim is None:
                continue
            try:
                mine = _lock(claim) and _is_due(claim, _state(mirror, path_entry))
            except BaseException:
                _close(claim)
                raise
        except OSError:
            continue
        if mine:
            yield path_entry, claim
        else:
            _close(claim)


def _open(root: str, path_entry: str, lowest: int) -> "int | None":
    """Open the claim of a path entry, whose number is at least `lowest`; make what is missing."""
    import fcntl

    if not _make_directories(root, path_entry):
        return None
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    _watch_forks()
    opened = os.open(f"{root}{path_entry}/{CLAIM}", flags, 0o600)
    _open_claims.add(opened)
    try:
        if not _is_ours(os.fstat(opened), REGULAR):
            return None
        claim = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, lowest)
        _open_claims.add(claim)
        return claim
    finally:
        _close(opened)


def _close(claim: int) -> None:
    """Close a claim, if it is this process's: in a child that was forked meanwhile, it is not."""
    if claim in _open_claims:
        _open_claims.discard(claim)
        os.close(claim)


def _watch_forks() -> None:
    """Have a child that another thread forks not keep the locks: it may run for days."""
    if not _watched:
        _watched.append(True)
        os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    while _open_claims:
        try:
            os.close(_open_claims.pop())
        except OSError:
            pass


def _lock(claim: int) -> bool:
    """Whether nobody else refreshes. Where the file system has no locks, nobody does."""
    import fcntl

    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _state(mirror: str, path_entry: str) -> "tuple[str, str]":
    """By what is seen that nothing has changed since the last attempt: path entry and index."""
    try:
        index = stamp_of(os.lstat(f"{mirror}/.index"))
    except FileNotFoundError:
        index = "-"
    return stamp_of(os.stat(path_entry)), index


def _is_due(claim: int, state: "tuple[str, str]") -> bool:
    """Whether a refresh may help. If so, notes the attempt, in the claim that is locked."""
    import time

    attempts = _attempts(os.pread(claim, _LENGTH, 0), state)
    if attempts >= _ENOUGH:
        doublings = min(attempts - _ENOUGH, 16)
        pause = min(_PAUSE * 2**doublings, _LONGEST_PAUSE)
        # In the future, too: a clock was set back.
        if abs(time.time() - os.fstat(claim).st_mtime) < pause:
            return False
    words = (*_MAGIC, *state, str(min(attempts + 1, 99)))
    text = " ".join(words).ljust(_LENGTH - 1) + "\n"
    return os.pwrite(claim, text.encode("ascii"), 0) == _LENGTH


def _attempts(note: bytes, state: "tuple[str, str]") -> int:
    """How often a refresh was tried in this state."""
    words = note.decode("ascii", "replace").split()
    if tuple(words[:-1]) != (*_MAGIC, *state):
        return 0
    try:
        return max(int(words[-1]), 0)
    except ValueError:
        return 0


# --- What may be written --------------------------------------------------------------------------


def _is_writable_root(root: str) -> bool:
    """Whether this user may write this root, or make it, and nobody else could."""
    user = os.geteuid()
    # A program that runs for another than the one who started it leaves both alone.
    if user != os.getuid() or os.getegid() != os.getgid() or not os.path.isabs(root):
        return False
    above = os.path.realpath(root)
    if os.path.lexists(root):
        # The link, if it is one, and what it leads to.
        if os.lstat(root).st_uid not in (0, user) or not _is_ours(os.stat(root), DIRECTORY):
            return False
    else:
        # The cache directory that it is to be in can be missing, not so the home of that: where an
        # account has none, none is made.
        for _ in range(2):
            if not os.path.lexists(above):
                above = os.path.dirname(above)
    return _is_safe_below(above, user) and _is_own_way(root, user)


def _is_own_way(path: str, user: int) -> bool:
    """Whether no link on the way to it is somebody else's; and, if root asks, nobody else could put
    one there."""
    while path != os.path.dirname(path):
        if os.path.lexists(path):
            status = os.lstat(path)
            is_link = status.st_mode & TYPE == LINK
            if (is_link or user == 0) and status.st_uid not in (0, user):
                return False
            is_writable = status.st_mode & _WRITABLE_BY_OTHERS and not status.st_mode & _STICKY
            if user == 0 and not is_link and is_writable:
                return False
        path = os.path.dirname(path)
    return True


def _is_safe_below(directory: str, user: int) -> bool:
    """Whether nobody else can put another directory in the place of one that is made in this.

    Root, whose writing is worth an attack, asks so of each directory above.
    """
    while True:
        status = os.stat(directory)
        if status.st_uid not in (0, user):
            return False
        if user != 0:
            return True
        if status.st_mode & _WRITABLE_BY_OTHERS and not status.st_mode & _STICKY:
            return False
        if directory == os.path.dirname(directory):
            return True
        directory = os.path.dirname(directory)


def _make_directories(root: str, path_entry: str) -> bool:
    """Make the mirror, and what is missing on the way. Whether all on the way below the root is
    this user's alone, and no link.
    """
    _make_root(root)
    if not _is_ours(os.stat(root), DIRECTORY):
        return False  # another user was faster
    directory = root
    for part in path_entry[1:].split("/"):
        directory = f"{directory}/{part}"
        try:
            status = os.lstat(directory)
        except FileNotFoundError:
            _make(directory)
            status = os.lstat(directory)
        if not _is_ours(status, DIRECTORY):
            return False
    return True


def _make_root(root: str) -> None:
    if not os.path.isdir(root):
        _make_root(os.path.dirname(root))
        _make(root)


def _make(directory: str) -> None:
    """Make a directory with the mode of a user's root, whatever the umask is."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        return  # another process was faster
    os.chmod(directory, 0o700)


def _is_ours(status: os.stat_result, kind: int) -> bool:
    """Whether it is of that kind, and only this user can write it."""
    others = status.st_mode & _WRITABLE_BY_OTHERS
    return status.st_mode & TYPE == kind and status.st_uid == os.geteuid() and not others
