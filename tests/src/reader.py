"""The Python reader, asked many times in one process: one JSON object a line in, one a line out.

`{"path": [HEX, ...], "cwd": HEX, "cache": HEX, "mode": ..., "questions": [...]}` asks
`epcache.Cache(mode, [cache]).entry_points(**parameters)` for each question, which is a list of
parameters `[NAME, VALUE]` in order, on that `sys.path`. `{"forget": true}` has the reader start
anew, as in a fresh process. `{"patched": {...}}`, of the same without questions, asks what
`importlib.metadata` answers differently in a process in which `epcache.patch()` was called. Paths
are the hexadecimal digits of their bytes, because JSON has no other way to hold a path that is not
UTF-8.

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


def outcome(function):
    """What a function gives, or the type of what it raises: messages may be worded otherwise."""
    try:
        return function()
    except Exception as error:
        return f"raises {type(error).__name__}"


def listed(points):
    """Entry points as tuples, with where they are from; 3.10 and 3.11 have groups of them."""
    if hasattr(points, "items"):
        return [(group, listed(members)) for group, members in points.items()]
    return [(*point_key(point), str(point.dist._path)) for point in points]


def point_key(point):
    return point.group, point.name, point.value


def described(dist):
    """All that programs ask of a distribution."""
    import importlib.metadata

    return (
        isinstance(dist, importlib.metadata.PathDistribution),
        repr(dist._path),
        outcome(lambda: [point_key(point) for point in dist.entry_points]),
        outcome(lambda: dist.read_text("entry_points.txt")),
        outcome(lambda: dist.metadata["Name"]),
        outcome(lambda: dist._normalized_name),
    )


def answers_of_cpython():
    """What `importlib.metadata` answers, as if asked for the first time, by what is asked."""
    # Not at the start: that it is not there yet is a state in which the reader is tried.
    import importlib.metadata

    importlib.metadata.FastPath.__new__.cache_clear()
    importlib.invalidate_caches()
    entry_points = importlib.metadata.entry_points
    distributions = importlib.metadata.distributions
    return {
        "distributions()": outcome(lambda: [described(dist) for dist in distributions()]),
        "entry_points()": outcome(lambda: listed(entry_points())),
        "entry_points(group='g')": outcome(lambda: listed(entry_points(group="g"))),
        "entry_points(group='no-such-group')": outcome(
            lambda: listed(entry_points(group="no-such-group"))
        ),
    }


def differences(request):
    """What a patch changes while it is in place, and after it was undone: nothing, it should be."""
    sys.path = [unhex(entry) for entry in request["path"]]
    os.chdir(unhex(request["cwd"]))
    warnings.simplefilter("ignore")
    cache = epcache.Cache(request["mode"], [unhex(request["cache"])], on_stale="ignore")
    true = answers_of_cpython()
    with epcache.patch(cache):
        patched = answers_of_cpython()
        again = answers_of_cpython()
    undone = answers_of_cpython()
    return [
        ascii(f"{question} {when}: {true[question]} became {answers[question]}")
        for when, answers in (("patched", patched), ("again", again), ("undone", undone))
        for question in true
        if answers[question] != true[question]
    ]


def in_a_process_of_its_own(function, *arguments):
    """What a function gives in a copy of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with open(writing, "w") as pipe:
            try:
                reply = {"differences": function(*arguments)}
            except BaseException:
                reply = {"error": traceback.format_exc()}
            json.dump(reply, pipe)
            pipe.flush()
            os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)


def reply_to(request):
    if "forget" in request:
        return forget()
    if "patched" in request:
        return in_a_process_of_its_own(differences, request["patched"])
    return ask(request)


def serve():
    for line in sys.stdin.buffer:
        try:
            reply = reply_to(json.loads(line))
        except Exception:
            reply = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


serve()
