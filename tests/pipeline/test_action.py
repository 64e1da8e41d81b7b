"""The action for GitHub: what reaches compress, and what comes of its exit code."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ACTION = Path(__file__).parents[2] / ".github" / "actions" / "compress-gate"

FAKE = """\
#!/usr/bin/env bash
printf '%s\\n' "$@" >"$TOLD"
[[ -z $VERDICT ]] || echo "verdict=$VERDICT" >>"$GITHUB_OUTPUT"
exit "$CODE"
"""

GATE = {"CANDIDATES": "small.onnx", "DENSE": "dense.onnx"}
PRUNE = {"MODEL": "model.pt"}

Ran = tuple[subprocess.CompletedProcess[str], list[str], str]
"""The process, the words that compress was given, and what is in GITHUB_OUTPUT."""


@pytest.fixture
def action(tmp_path: Path) -> Callable[..., Ran]:
    """Runs the script with a compress that writes down its words and ends as it is told."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "compress").write_text(FAKE)
    (tools / "compress").chmod(0o755)

    def run(
        job: Mapping[str, str] = GATE, *, code: int = 0, verdict: str = "accepted", **inputs: str
    ) -> Ran:
        told, output = tmp_path / "told", tmp_path / "output"
        environ = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "TOLD": str(told),
            "CODE": str(code),
            "VERDICT": verdict,
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(output),
        }
        done = subprocess.run(
            ["bash", str(ACTION / "run.sh")],
            env={**environ, "POLICY": "standard", **job, **inputs},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        words = told.read_text().splitlines() if told.exists() else []
        return done, words, output.read_text() if output.exists() else ""

    return run


@pytest.mark.parametrize("job", [GATE, PRUNE], ids=["gate", "prune"])
@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "accepted"), (3, "rejected"), (4, "undecided"), (1, ""), (2, ""), (5, ""), (130, "")],
)
def test_the_step_ends_as_compress_does(
    action: Callable[..., Ran], job: Mapping[str, str], code: int, verdict: str
) -> None:
    done, _, output = action(job, code=code, verdict=verdict)
    assert done.returncode == code
    assert output.splitlines()[-1] == f"exit-code={code}"


def test_undecided_passes_where_it_is_asked_to(action: Callable[..., Ran]) -> None:
    done, _, output = action(code=4, verdict="undecided", FAIL_ON_UNDECIDED="false")
    assert done.returncode == 0
    assert done.stdout.startswith("::warning title=compress-gate::undecided")
    assert output.splitlines()[-1] == "exit-code=4"


def test_undecided_without_a_report_fails_even_where_undecided_passes(
    action: Callable[..., Ran],
) -> None:
    done, _, output = action(code=4, verdict="", FAIL_ON_UNDECIDED="false")
    assert done.returncode == 4
    assert output.splitlines() == ["exit-code=4"]


def test_a_rejection_fails_even_where_undecided_passes(action: Callable[..., Ran]) -> None:
    assert action(code=3, verdict="rejected", FAIL_ON_UNDECIDED="false")[0].returncode == 3


def test_an_end_without_a_verdict_is_no_pass(action: Callable[..., Ran]) -> None:
    done, _, _ = action(code=0, verdict="", ARGUMENTS="--help")
    assert done.returncode == 2
    assert "gave no verdict" in done.stdout


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({**GATE, "POLICY": ""}, "the input policy is empty"),
        ({**PRUNE, "POLICY": ""}, "the input policy is empty"),
        ({**GATE, "FAIL_ON_UNDECIDED": "no"}, "the input fail-on-undecided is true or false"),
        ({}, "there is nothing to judge"),
        ({"CANDIDATES": "\n\n"}, "there is nothing to judge"),
        ({**GATE, "DENSE": ""}, "the input dense is empty"),
        ({**GATE, "CANDIDATES": ""}, "the input candidates is empty"),
        ({**GATE, "CANDIDATES": "\n\n"}, "the input candidates is empty"),
        ({**GATE, **PRUNE}, "the input model is to be pruned"),
        ({"CANDIDATES": "small.onnx", **PRUNE}, "the input model is to be pruned"),
        ({"DENSE": "dense.onnx", **PRUNE}, "the input model is to be pruned"),
    ],
)
def test_unusable_inputs_are_refused_before_anything_runs(
    action: Callable[..., Ran], inputs: Mapping[str, str], said: str
) -> None:
    done, words, output = action(inputs)
    assert done.returncode == 2
    assert done.stdout.startswith(f"::error title=compress-gate::{said}")
    assert (words, output) == ([], "")


def test_candidates_are_given_in_their_order_and_no_shell_reads_them(
    action: Callable[..., Ran], tmp_path: Path
) -> None:
    done, words, _ = action(
        CANDIDATES="$(touch pwned).onnx\n\n--help\na b*.onnx\n; touch pwned",
        DENSE="--set `touch pwned`",
        RUN="-a",
        ARGUMENTS="--set\nseed=5",
    )
    assert done.returncode == 0
    assert words == [
        "gate",
        "--dense=--set `touch pwned`",
        "--policy=standard",
        "--run=-a",
        "--set",
        "seed=5",
        "--",
        "$(touch pwned).onnx",
        "--help",
        "a b*.onnx",
        "; touch pwned",
    ]
    assert not (tmp_path / "pwned").exists()


def test_inputs_are_given_as_they_are_and_no_shell_reads_them(
    action: Callable[..., Ran], tmp_path: Path
) -> None:
    done, words, _ = action(
        {"MODEL": "--help"},
        POLICY="$(touch pwned); 'a b'.yaml",
        PROJECT="`touch pwned`",
        RUN="a; touch pwned",
        ARGUMENTS="--set\nretrain.epochs=5\n\n--set\nx=* $HOME\n",
    )
    assert done.returncode == 0
    assert words == [
        "run",
        "--policy=$(touch pwned); 'a b'.yaml",
        "--project=`touch pwned`",
        "--run=a; touch pwned",
        "--set",
        "retrain.epochs=5",
        "--set",
        "x=* $HOME",
        "--",
        "--help",
    ]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (GATE, ["gate", "--dense=dense.onnx", "--policy=standard", "--", "small.onnx"]),
        (PRUNE, ["run", "--policy=standard", "--", "model.pt"]),
    ],
)
def test_empty_inputs_are_left_out(
    action: Callable[..., Ran], job: Mapping[str, str], words: list[str]
) -> None:
    empty = dict.fromkeys((*GATE, *PRUNE, "PROJECT", "RUN", "ARGUMENTS", "FAIL_ON_UNDECIDED"), "")
    assert action({**empty, **job})[1] == words


def test_no_step_pastes_an_input_into_a_script() -> None:
    content: dict[str, Any] = yaml.safe_load((ACTION / "action.yml").read_text())
    (step,) = content["runs"]["steps"]
    assert "${{" not in step["run"]
    handed = {f"${{{{ inputs.{name} }}}}" for name in content["inputs"]}
    assert set(step["env"].values()) == handed
    script = (ACTION / "run.sh").read_text()
    assert all(re.search(rf"\b{name}\b", script) for name in step["env"])


def test_every_output_of_the_action_is_one_of_its_step() -> None:
    content: dict[str, Any] = yaml.safe_load((ACTION / "action.yml").read_text())
    assert {name: output["value"] for name, output in content["outputs"].items()} == {
        name: f"${{{{ steps.gate.outputs.{name} }}}}"
        for name in ("verdict", "exit-code", "accepted-name", "accepted-ratio", "run")
    }


@pytest.fixture
def on_github(script: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Runs the script with the real compress, as GitHub does."""

    def run(**inputs: str) -> Ran:
        done = subprocess.run(
            ["bash", str(ACTION / "run.sh")],
            env={
                **os.environ,
                "PATH": f"{script.parent}:{os.environ['PATH']}",
                "GITHUB_ACTIONS": "true",
                "GITHUB_OUTPUT": str(tmp_path / "output"),
                "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
                **inputs,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, [], (tmp_path / "output").read_text()

    return run


def test_github_is_told_what_the_report_says(
    accepted: Path, root: Path, on_github: Callable[..., Ran], tmp_path: Path
) -> None:
    again = Path(shutil.copytree(accepted, tmp_path / "run"))  # so that there is little left to do
    done, _, output = on_github(
        MODEL=str(root / "model.pt"),
        POLICY=str(root / "lenient.yaml"),
        PROJECT=str(root / "compress.yaml"),
        RUN=str(again),
    )
    assert done.returncode == 0, done.stderr
    assert "::notice title=ACCEPTED at ratio 0.40 under lenient::Binding: " in done.stderr
    assert "::" not in done.stdout
    assert (tmp_path / "summary").read_text() == (again / "report.md").read_text()
    assert output.splitlines() == [
        "verdict=accepted", "exit-code=0", "accepted-name=ratio 0.40", "accepted-ratio=0.4",
        f"run={again}", "exit-code=0",
    ]  # fmt: skip


def test_files_from_anywhere_are_judged_in_a_sequence(
    accepted: Path, root: Path, on_github: Callable[..., Ran], tmp_path: Path
) -> None:
    for ratio in ("0.200", "0.400"):
        file = accepted / "candidates" / ratio / "model.onnx"
        shutil.copy(file, tmp_path / f"pruned {ratio}.onnx")
    done, _, output = on_github(
        CANDIDATES="pruned 0.200.onnx\npruned 0.400.onnx\n",
        DENSE=str(accepted / "dense.onnx"),
        POLICY=str(root / "lenient.yaml"),
        PROJECT=str(root / "compress.yaml"),
        RUN=str(tmp_path / "run"),
        ARGUMENTS=f"--set\ndata.ledger={tmp_path}/ledger/holdout-ledger.jsonl",
    )
    assert done.returncode == 0, done.stderr
    assert "::notice title=ACCEPTED%3A pruned 0.400.onnx under lenient::Binding: " in done.stderr
    assert output.splitlines() == [
        "verdict=accepted", "exit-code=0", "accepted-name=pruned 0.400.onnx", "accepted-ratio=",
        f"run={tmp_path / 'run'}", "exit-code=0",
    ]  # fmt: skip
    judged = tmp_path / "pruned 0.400.onnx"
    assert (tmp_path / "run" / "model.onnx").read_bytes() == judged.read_bytes()
    assert len((tmp_path / "ledger" / "holdout-ledger.jsonl").read_text().splitlines()) == 1
