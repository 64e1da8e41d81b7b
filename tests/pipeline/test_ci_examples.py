"""The examples of docs/ci.md are jobs that the action and the command would take."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from compressor.cli_gate import gate

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "compress-gate"


@pytest.fixture(scope="module")
def documented() -> str:
    """What docs/ci.md says."""
    return (ROOT / "docs" / "ci.md").read_text()


def _examples(text: str) -> list[Any]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_documented_steps_use_the_action_as_it_is(documented: str) -> None:
    content: dict[str, Any] = yaml.safe_load((ACTION / "action.yml").read_text())
    inputs = content["inputs"]
    required = {name for name, said in inputs.items() if said.get("required")}
    workflow, job, *_ = _examples(documented)
    steps = [*workflow["jobs"]["gate"]["steps"], *job]
    used = [step for step in steps if step.get("uses") == f"./.github/actions/{ACTION.name}"]
    given = [step["with"].keys() for step in used]
    jobs = [names & {"candidates", "dense", "model"} for names in given]
    assert jobs == [{"candidates", "dense"}, {"model"}]
    assert all(required <= names <= inputs.keys() for names in given)
    read = set(re.findall(r"steps\.gate\.outputs\.([\w-]+)", documented))
    assert read <= content["outputs"].keys()


def test_the_documented_gitlab_job_gives_the_command_what_it_takes(documented: str) -> None:
    gitlab = _examples(documented)[-1]["gate"]
    (line,) = [line for line in gitlab["script"] if line.startswith("compress gate")]
    words = shlex.split(line)[2:]
    folder = gate.make_context("gate", words).params["folder"]
    assert gitlab["artifacts"]["reports"]["junit"] == f"{folder}/junit.xml"
    assert str(folder) in gitlab["artifacts"]["paths"]
