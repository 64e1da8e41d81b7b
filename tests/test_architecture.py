"""Promises about the code that no linter checks."""

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import pytest

from compressor.distributions import check_shifts
from gates.shifts import PROFILES
from policies import Policy, built_in, load_policy

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("compressor", "gates", "exporters", "policies")


def python_files(*folders: str) -> list[str]:
    found = (file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return sorted(file.relative_to(ROOT).as_posix() for file in found)


SOURCES: Final = python_files(*PACKAGES)
SHIPPED: Final = [*SOURCES, *python_files("benchmarks", "examples")]
EVERYTHING: Final = [*SHIPPED, *python_files("tests")]

MAX_LINES: Final = 300

# What a class may inherit from: a role, a record, a set of names, a hook of a framework. Besides
# these, an error may be a special case of another error.
BASES: Final = {
    "BaseModel",
    "Exception",
    "NamedTuple",
    "Protocol",
    "StrEnum",
    "Record",
    "TorchDispatchMode",
    "TorchFunctionMode",
    "_Record",
    "click.Group",
    "nn.Module",
}

PICKLES: Final = r"(?:pickle|cPickle|cloudpickle|dill|joblib|marshal|shelve)"

# Whoever reads such a file runs what its author wrote into it.
UNSAFE_LOADS: Final = {
    "weights_only": r"weights_only\s*=\s*(?!True)",
    "allow_pickle": r"allow_pickle\s*=\s*(?!False)",
    "a pickle": rf"\b{PICKLES}\.(?:loads?|open|Unpickler)\b|from {PICKLES} import|\bread_pickle\b",
    "TorchScript": r"\bjit\.load\b",
    "YAML tags": r"\byaml\.(?:load|load_all|full_load|unsafe_load)\b",
}

TORCH_LOAD: Final = re.compile(r"(?<![\w.])torch\.load\b|from torch import [^\n]*\bload\b")
BARE_COMMENT: Final = re.compile(r"noqa(?!: ?[A-Z]+\d+)|type: ?ignore(?!\[[a-z-]+[],])")

FRAMEWORKS: Final = {"onnx", "onnxruntime", "torch"}


def text_of(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def bases_in(file: str) -> set[str]:
    nodes = ast.walk(ast.parse(text_of(file)))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    return {ast.unparse(base) for found in classes for base in found.bases}


def comments_in(file: str) -> Iterator[str]:
    with tokenize.open(ROOT / file) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


def test_the_promises_are_about_files_that_exist() -> None:
    assert {file.split("/")[0] for file in SOURCES} == set(PACKAGES)


def test_a_file_can_be_read_in_one_sitting() -> None:
    lines = {file: len(text_of(file).splitlines()) for file in SOURCES}
    assert {file: count for file, count in lines.items() if count > MAX_LINES} == {}


def test_no_class_inherits_behaviour() -> None:
    inherited = {(file, base) for file in SOURCES for base in bases_in(file)}
    allowed = {found for found in inherited if found[1] in BASES or found[1].endswith("Error")}
    assert inherited - allowed == set()


@pytest.mark.parametrize("module", ["policies", "gates", "compressor", "compressor.cli"])
def test_importing_loads_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert FRAMEWORKS & set(child.stdout.split()) == set()


@pytest.mark.parametrize(
    "module",
    ["compressor.pipeline", "compressor.study.work", "gates.shifts", "exporters.paired"],
)
def test_a_run_begins_without_the_libraries_that_only_some_runs_need(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert {"torchvision", "scipy.stats", "torch_pruning"} & set(child.stdout.split()) == set()


def test_nothing_is_loaded_unsafely() -> None:
    found = {
        (file, what)
        for file in SHIPPED
        for what, pattern in UNSAFE_LOADS.items()
        if re.search(pattern, text_of(file))
    }
    # What a process hands to its children by itself is no file that somebody brought.
    assert found == {("compressor/training/together.py", "a pickle")}


def test_one_module_reads_weights() -> None:
    readers = [file for file in SHIPPED if TORCH_LOAD.search(text_of(file))]
    assert readers == ["compressor/models.py"]


def test_a_silenced_check_is_named() -> None:
    comments = {(file, comment) for file in EVERYTHING for comment in comments_in(file)}
    assert {found for found in comments if BARE_COMMENT.search(found[1])} == set()


@pytest.mark.parametrize("name", built_in())
@pytest.mark.parametrize("profile", PROFILES)
def test_every_shift_of_a_built_in_policy_exists(name: str, profile: str) -> None:
    policy = load_policy(name).model_copy(update={"profile": profile})
    check_shifts(policy, side=32)


def test_policies_and_shifts_know_the_same_profiles() -> None:
    assert get_args(Policy.model_fields["profile"].annotation) == PROFILES
