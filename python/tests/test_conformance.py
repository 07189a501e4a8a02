"""The conformance cases, `tests/conformance/`, put to the reader: whatever the state of the cache
roots, the answer is the one that stands in the case, and CPython's where the case says so.

The command's tests put the same cases to it.
"""

import ast
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY, Judge, Reader

# The builder of the cases, which all their runners use.
SCENE = REPOSITORY / "tests/conformance/scene.py"

# Each question is put to a process in which none was asked before: a child of the one that the
# interpreter was started for.
ASK = """
import os
import pathlib
import traceback


def row(point):
    return (point.group, point.name, point.value, *place(point))


def place(point):
    # The metadata directory, and the path entry as it stands on sys.path.
    if dist_of := getattr(point, "_dist_of", None):
        return dist_of.metadata_dir, dist_of.path_entry
    path = point.dist._path
    if hasattr(path, "root"):
        return path.at.rstrip("/"), path.root.filename
    return path.name, next(item for item in sys.path if pathlib.Path(item) == path.parent)


def answer(mode, params):
    cache = epcache.Cache(mode=mode, roots=roots, on_stale="ignore")
    print(ascii([row(point) for point in cache.entry_points(**params)]), flush=True)


for question in questions:
    if os.fork() == 0:
        try:
            answer(*question)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    if os.wait()[1] != 0:
        sys.exit(f"failed on {question}")
"""


def load_scene() -> Any:
    spec = importlib.util.spec_from_file_location("scene", SCENE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scene = load_scene()
NAMES: list[str] = [name for name, _ in scene.cases()]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All cases, by name; they are asked about and never changed."""
    directory = tmp_path_factory.mktemp("conformance")
    return {told["name"]: told for told in scene.build_all(directory)}


def params_of(question: dict[str, Any]) -> dict[str, str]:
    return {key: question[key] for key in ("group", "name") if question[key] is not None}


def shown(row: tuple[str, ...]) -> list[str]:
    """A row as the cases have it: what is not UTF-8 in a path is replaced."""
    *declared, metadata_dir, path_entry = row
    return [*declared, *(scene.shown(name) for name in (metadata_dir, path_entry))]


def in_order(question: dict[str, Any], rows: list[list[str]]) -> list[list[str]]:
    """Rows to be compared with those of the question, whose order may be that of a listing."""
    return sorted(rows) if question["any_order"] else rows


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_answers_every_conformance_case_as_it_says(
    name: str, interpreter: Path, built: dict[str, dict[str, Any]], reader: Reader, judge: Judge
) -> None:
    case = built[name]
    if reason := case.get("skip"):
        pytest.skip(reason)
    questions = case["questions"]
    asked = [(question["mode"], params_of(question)) for question in questions]
    output = reader(
        f"roots = {case['roots']!r}\nquestions = {asked!r}\n{ASK}",
        case["path"],
        python=interpreter,
        flags=["-W", "ignore"],
        cwd=case["directory"],
        launcher=case["launcher"],
    )
    lines = output.stdout.splitlines()
    assert len(lines) == len(questions), output
    wrong = [
        failure
        for question, line in zip(questions, lines, strict=True)
        for failure in failures(case, question, ast.literal_eval(line), judge)
    ]
    told = "\n".join([f"{name}: {case['about']}", *wrong])
    if wrong:
        pytest.fail(told.replace(case["directory"], "..."), pytrace=False)


def failures(
    case: dict[str, Any], question: dict[str, Any], rows: list[tuple[str, ...]], judge: Judge
) -> Iterator[str]:
    """What is wrong with an answer."""
    params = params_of(question)
    asked = f"asked in mode {question['mode']} for {params}"
    answer = [shown(row) for row in rows]
    if in_order(question, answer) != in_order(question, question["answer"]):
        yield f"{asked}, answered {answer}, expected {question['answer']}"
    if not question["cpython"]:
        return
    raises = judge.raises(case["path"], case["directory"])
    if bool(raises) != (question["cpython"] == "raises"):
        yield f"{asked}, CPython raises {raises}"
    truth = judge(case["path"], case["directory"])
    selected = [row for row in truth if all(getattr(row, key) == params[key] for key in params)]
    if answer != [shown(row) for row in selected]:
        yield f"{asked}, answered {answer}, CPython answers {selected}"


def test_there_are_cases_of_each_topic() -> None:
    topics = {os.path.dirname(name) for name in NAMES}
    assert topics >= {"damage", "indexes", "mirrors", "modes", "shadowing", "staleness", "trust"}
    assert len(NAMES) >= 80
