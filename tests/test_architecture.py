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

from gates.shifts import PROFILES, parameters
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
    "_Record",
    "click.Group",
    "nn.Module",
}

# Whatever unpickles runs code of the file's author; the one safe way is spelt in full.
UNSAFE_LOADS: Final = {
    "weights_only": r"weights_only\s*=\s*(?!True)",
    "allow_pickle": r"allow_pickle\s*=\s*(?!False)",
    "pickle": r"\b(?:pickle|cPickle|cloudpickle|dill|joblib|marshal|shelve)\.(?:loads?|open|Unpickler)\b",
    "import of pickle's functions": r"from (?:pickle|dill|joblib|marshal|shelve) import",
    "read_pickle": r"\bread_pickle\b",
    "TorchScript": r"\bjit\.load\b",
    "yaml": r"\byaml\.(?:load|load_all|full_load|unsafe_load)\b",
}

TORCH_LOAD: Final = re.compile(r"(?<![\w.])torch\.load\b|from torch import [^\n]*\bload\b")
BARE_COMMENT: Final = re.compile(r"noqa(?!: ?[A-Z]+\d+)|type: ?ignore(?!\[[a-z-]+[],])")


def text_of(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def comments(file: str) -> Iterator[str]:
    with tokenize.open(ROOT / file) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.COMMENT:
                yield f"{file}:{token.start[0]} {token.string}"


def test_the_promises_are_kept_by_files_that_exist() -> None:
    assert {file.split("/")[0] for file in SOURCES} == set(PACKAGES)


@pytest.mark.parametrize("file", SOURCES)
def test_a_file_can_be_read_in_one_sitting(file: str) -> None:
    assert len(text_of(file).splitlines()) <= MAX_LINES


@pytest.mark.parametrize("file", SOURCES)
def test_no_class_inherits_behaviour(file: str) -> None:
    classes = [
        node for node in ast.walk(ast.parse(text_of(file))) if isinstance(node, ast.ClassDef)
    ]
    bases = {ast.unparse(base) for found in classes for base in found.bases}
    assert {base for base in bases if not base.endswith("Error")} <= BASES


@pytest.mark.parametrize("module", ["policies", "gates", "compressor", "compressor.cli"])
def test_importing_loads_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{'torch', 'onnx', 'onnxruntime'}} & {{*sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("file", SHIPPED)
def test_nothing_is_loaded_unsafely(file: str) -> None:
    text = text_of(file)
    assert [name for name, pattern in UNSAFE_LOADS.items() if re.search(pattern, text)] == []


def test_one_module_reads_weights() -> None:
    readers = [file for file in SHIPPED if TORCH_LOAD.search(text_of(file))]
    assert readers == ["compressor/models.py"]


@pytest.mark.parametrize("file", EVERYTHING)
def test_a_silenced_check_is_named(file: str) -> None:
    assert [comment for comment in comments(file) if BARE_COMMENT.search(comment)] == []


@pytest.mark.parametrize("name", built_in())
@pytest.mark.parametrize("profile", PROFILES)
def test_every_shift_of_a_built_in_policy_exists(name: str, profile: str) -> None:
    for rule in load_policy(name).shifts:
        parameters(rule.name, severity=rule.severity, profile=profile, side=32)


def test_policies_and_shifts_know_the_same_profiles() -> None:
    assert get_args(Policy.model_fields["profile"].annotation) == PROFILES
