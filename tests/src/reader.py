"""The Python reader, asked many times in one process: one JSON object a line in, one a line out.

`{"path": [HEX, ...], "cwd": HEX, "cache": HEX, "mode": ..., "questions": [...]}` asks
`epcache.Cache(mode, [cache]).entry_points(**parameters)` for each question, which is a list of
parameters `[NAME, VALUE]` in order, on that `sys.path`; `{"forget": true}` has the reader start
anew, as in a fresh process. Paths are the hexadecimal digits of their bytes, because JSON has no
other way to hold a path that is not UTF-8.

The process lives long, and a `Cache` as long as its cache root is asked, so that what the reader
keeps from one call to the next is put to the test.
"""

import json
import os
import pathlib
import sys
import traceback
import warnings
import zipfile
from importlib.machinery import PathFinder


def unhex(digits):
    return os.fsdecode(bytes.fromhex(digits))


def enhex(text):
    return os.fsencode(text).hex()


class Importer:
    """Finds the reader and the standard library while `sys.path` has nothing but what is asked.

    So nothing needs to be imported for the reader in advance. It finds no distributions.
    """

    path = [unhex(sys.argv[1]), *sys.path]

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return PathFinder.find_spec(name, cls.path if path is None else path, target)


sys.meta_path.append(Importer)
import epcache  # noqa: E402

caches = {}


def forget():
    """Begin anew, with a reader that has seen nothing."""
    global epcache
    for name in [name for name in sys.modules if name.partition(".")[0] == "epcache"]:
        del sys.modules[name]
    caches.clear()
    import epcache

    return {}


def cache_of(root, mode):
    """The one `Cache` of that root and mode, for as long as no other root is asked."""
    if any(known != root for known, _ in caches):
        caches.clear()
    if (root, mode) not in caches:
        caches[root, mode] = epcache.Cache(mode=mode, roots=[root], on_stale="ignore")
    return caches[root, mode]


def origin(dist):
    """The metadata directory's name, and the path entry as `pathlib` spells it."""
    path = dist._path
    if isinstance(path, zipfile.Path):
        return path.at.rstrip("/"), str(pathlib.Path(path.root.filename))
    return path.name, str(path.parent)


def reference_of(point):
    """Module, attribute and extras; nothing if the value is no object reference."""
    try:
        return point.module, point.attr, point.extras
    except Exception:
        return None, None, []


def as_json(point):
    module, attr, extras = reference_of(point)
    metadata_dir, path_entry = origin(point.dist)
    return {
        "group": point.group,
        "name": point.name,
        "value": point.value,
        "module": module,
        "attr": attr,
        "extras": extras,
        "metadata_dir": enhex(metadata_dir),
        "path_entry": enhex(path_entry),
    }


def answer(cache, question):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        points = [as_json(point) for point in cache.entry_points(**dict(question))]
    return {
        "entry_points": points,
        "warnings": [[each.category.__name__, ascii(str(each.message))] for each in caught],
    }


def ask(request):
    cache = cache_of(unhex(request["cache"]), request["mode"])
    before = sys.path
    os.chdir(unhex(request["cwd"]))
    try:
        sys.path = [unhex(entry) for entry in request["path"]]
        return {"answers": [answer(cache, question) for question in request["questions"]]}
    finally:
        sys.path = before
        os.chdir("/")


def serve():
    for line in sys.stdin.buffer:
        try:
            request = json.loads(line)
            reply = forget() if "forget" in request else ask(request)
        except Exception:
            reply = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


serve()
