"""CPython, asked many times in one process: one JSON object a line in, one a line out.

`{"path": [HEX, ...], "cwd": HEX}` asks what `importlib.metadata` finds on that `sys.path`;
`{"zip": {...}}` has CPython's own `zipfile` write an archive. Paths are the hexadecimal digits
of their bytes, because JSON has no other way to hold a path that is not UTF-8.

The answer to a question is computed per distribution, from CPython's own pieces, because one
broken distribution makes `entry_points()` raise for all of them: what is left out then is the
least that is broken. Where nothing is broken, that computation is asserted to be what
`entry_points()` itself returns; where something is, that `entry_points()` does raise.
"""

import gc
import importlib
import importlib.metadata
import io
import itertools
import json
import os
import sys
import traceback
import zipfile
import zlib

# A question replaces sys.path by paths without a standard library: what CPython imports only
# when it needs it must be there before that.
import csv
import email
import email.parser
import encodings.cp437
import importlib.metadata._adapters
from importlib.metadata import FastPath, Sectioned

Pair = getattr(importlib.metadata, "Pair")

# Up to 3.11, entry_points() sorts by group: the reference is then computed from distributions().
HAS_FILE_ORDER = sys.version_info >= (3, 12)


def unhex(digits):
    return os.fsdecode(bytes.fromhex(digits))


def enhex(text):
    return os.fsencode(text).hex()


def forget():
    """Make CPython look again: it remembers listings by mtime for as long as a process lives."""
    FastPath.__new__.cache_clear()
    importlib.invalidate_caches()
    # An archive stays open for as long as anything in a reference cycle points to it.
    gc.collect(0)


def metadata_dir(dist):
    """The first path component, inside the path entry, of where the distribution was found."""
    path = dist._path
    return path.at.rstrip("/") if isinstance(path, zipfile.Path) else path.name


def normalized_name(dist):
    """The name that shadows and is shadowed, or what CPython raises when asked for it."""
    try:
        return dist._normalized_name, None
    except Exception as error:
        return None, error


def entry_points(dist):
    """What the distribution declares, in file order, and what CPython raises on."""
    try:
        text = dist.read_text("entry_points.txt") or ""
    except Exception as error:
        return [], [f"entry_points.txt: {error!r}"]
    declared, broken = [], []
    for group, line in Sectioned.read(text, filter_=Sectioned.valid):
        if group is None:
            continue
        try:
            name, value = Pair.parse(line)
        except TypeError:
            broken.append(f"line without '=': {line!r}")
        else:
            point = importlib.metadata.EntryPoint(name=name, value=value, group=group)
            declared.append(point)
    return declared, broken


def reference_of(point):
    """Module, attribute and extras as EntryPoint reads them; nothing if that is not possible."""
    try:
        # 3.10 gives the extras as match objects.
        extras = [getattr(extra, "group", lambda: extra)() for extra in point.extras]
        return point.module, point.attr, extras
    except Exception:
        return None, None, []


def answer(path):
    found = [
        (position, dist)
        for position, entry in enumerate(path)
        for dist in importlib.metadata.distributions(path=[entry])
    ]
    assert [str(dist._path) for _, dist in found] == [
        str(dist._path) for dist in importlib.metadata.distributions()
    ], "the path entries one by one give other distributions than all at once"

    seen = set()
    points, raises, hidden = [], [], []
    for position, dist in found:
        where = f"{path[position]!r}/{metadata_dir(dist)!r}"
        name, error = normalized_name(dist)
        declared, broken = entry_points(dist)
        if error is None and name in seen:
            hidden += [f"{where}: {what}" for what in broken]
            continue
        if error is None:
            seen.add(name)
        else:
            raises.append(f"{where}: name: {error!r}")
        raises += [f"{where}: {what}" for what in broken]
        points += [(position, dist, point) for point in declared]
    assert_what_cpython_answers(points, raises)
    return {"entry_points": [as_json(*point) for point in points], "raises": raises, "hidden": hidden}


def assert_what_cpython_answers(points, raises):
    if not HAS_FILE_ORDER:
        return
    try:
        theirs = [
            (point.group, point.name, point.value, str(point.dist._path))
            for point in importlib.metadata.entry_points()
        ]
    except Exception as error:
        assert raises, f"entry_points() raises {error!r} where nothing is known to be broken"
        return
    assert not raises, f"entry_points() does not raise on {raises!r}"
    ours = [
        (point.group, point.name, point.value, str(dist._path)) for _, dist, point in points
    ]
    assert ours == theirs, f"{ours!r} is not what entry_points() returns: {theirs!r}"


def as_json(position, dist, point):
    module, attr, extras = reference_of(point)
    return {
        "group": point.group,
        "name": point.name,
        "value": point.value,
        "module": module,
        "attr": attr,
        "extras": extras,
        "metadata_dir": enhex(metadata_dir(dist)),
        "position": position,
    }


def ask(question):
    path = [unhex(entry) for entry in question["path"]]
    before = sys.path
    os.chdir(unhex(question["cwd"]))
    forget()
    try:
        sys.path = path
        return answer(path)
    finally:
        sys.path = before
        os.chdir("/")
        forget()


def write_zip(request):
    """Write an archive as CPython writes it: members in the given order, repeated ones too."""
    before = bytes.fromhex(request["before"])
    buffer = io.BytesIO()
    if request["offsets_count_from_file_start"]:
        buffer.write(before)
        before = b""
    with zipfile.ZipFile(buffer, "a" if buffer.tell() else "w") as archive:
        for name, content, deflated in request["members"]:
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            archive.writestr(member, bytes.fromhex(content))
    with open(unhex(request["path"]), "wb") as file:
        file.write(before + buffer.getvalue())
    return {}


def serve():
    for line in sys.stdin.buffer:
        try:
            request = json.loads(line)
            reply = write_zip(request["zip"]) if "zip" in request else ask(request)
        except Exception:
            reply = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


serve()
