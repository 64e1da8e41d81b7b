import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result

from compressor.files import digest, sha256_of
from compressor.inputs import Job
from compressor.pipeline import compress as compressed
from compressor.report import Report
from compressor.runs import RunFolder, read_evidence
from compressor.terminal import Silent
from gates import Accepted, PairedCounts, judge
from gates.measure import right_answers
from policies import load_policy

RATIOS = (0.2, 0.4)

TIMED = {"report.json", "report.md", "junit.xml", "SHA256SUMS", "attestation.json"}
"""What tells how long an invocation took, or has the digest of what does."""


@pytest.fixture(scope="module")
def report(accepted: Path) -> Report:
    return Report.model_validate_json((accepted / "report.json").read_text())


def test_report_and_released_file_carry_the_digest_of_the_plan(
    accepted: Path, report: Report
) -> None:
    plan = digest((accepted / "plan.lock").read_text())
    assert report.plan_digest == plan
    for name in ("model.onnx", "dense.onnx", "candidates/0.200/model.onnx"):
        metadata = {p.key: p.value for p in onnx.load(accepted / name).metadata_props}
        assert json.loads(metadata["compressor.plan"]) == plan


def test_released_file_carries_what_a_device_must_know(accepted: Path, root: Path) -> None:
    metadata = {p.key: p.value for p in onnx.load(accepted / "model.onnx").metadata_props}
    assert json.loads(metadata["compressor.classes"]) == ["r", "g", "b", "y"]
    assert json.loads(metadata["compressor.preprocessing"])["mean"] == [0.5, 0.5, 0.5]
    assert json.loads(metadata["compressor.dense"]) == sha256_of(root / "model.pt")
    assert json.loads(metadata["compressor.ratio"]) == 0.4


def test_released_file_is_the_judged_file_byte_for_byte(
    accepted: Path, report: Report, root: Path
) -> None:
    evidence = read_evidence(RunFolder(path=accepted))
    verdict = judge(load_policy(str(root / "lenient.yaml")), evidence)
    assert isinstance(verdict, Accepted)
    released = (accepted / "model.onnx").read_bytes()
    assert released == (accepted / "candidates" / "0.400" / "model.onnx").read_bytes()
    assert hashlib.sha256(released).hexdigest() == verdict.candidate == report.artifact_sha256


def test_evidence_has_one_line_per_ratio_and_shift(accepted: Path, root: Path) -> None:
    shifts = [rule.id for rule in load_policy(str(root / "lenient.yaml")).shifts]
    lines = [json.loads(line) for line in (accepted / "evidence.jsonl").read_text().splitlines()]
    assert [(e["ratio"], e["shift"]) for e in lines] == [(r, s) for r in RATIOS for s in shifts]
    assert {e["dense"] for e in lines} == {sha256_of(accepted / "dense.onnx")}


def test_counts_of_the_evidence_are_those_of_the_saved_answers(accepted: Path) -> None:
    run = RunFolder(path=accepted)
    for item in read_evidence(run):
        dense = np.load(run.answers(item.dense, item.shift))
        pruned = np.load(run.answers(item.candidate, item.shift))
        assert isinstance(item.counts, PairedCounts)
        assert item.counts.only_dense == int((dense & ~pruned).sum())
        assert item.counts.only_pruned == int((pruned & ~dense).sum())
        assert item.counts.n == len(dense) == 600


def test_report_says_what_each_cell_observed(accepted: Path, report: Report) -> None:
    observed = {
        (e.ratio, e.shift): (e.counts.only_dense, e.counts.only_pruned, e.counts.n)
        for e in read_evidence(RunFolder(path=accepted))
        if isinstance(e.counts, PairedCounts)
    }
    told = {
        (step.ratio, cell.shift): (cell.only_dense, cell.only_pruned, cell.n)
        for step in report.steps
        for cell in step.cells
    }
    assert told == observed


def test_reported_cost_is_near_the_ratio_that_was_asked(report: Report) -> None:
    for step in report.steps:
        assert 1 - step.params / report.dense.params == pytest.approx(step.ratio, abs=0.01)
    assert [step.ratio for step in report.steps] == list(RATIOS)


def test_plan_is_written_before_the_gates_images_are_looked_at_whatever_the_run_is_called(
    accepted: Path, job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "quite another name"
    looked: list[bool] = []

    def spy(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401 # whatever it is called with
        looked.append((run / "plan.lock").exists())
        return right_answers(*args, **kwargs)

    monkeypatch.setattr("compressor.gate.right_answers", spy)
    report = compressed(job(run), Silent())
    assert looked == [True] * 9  # dense and two candidates under three shifts
    assert report.exit_code == 0
    for name in ("plan.lock", "evidence.jsonl", "dense.onnx", "model.onnx"):
        assert (run / name).read_bytes() == (accepted / name).read_bytes(), name


def test_callers_model_file_is_left_as_it_was(accepted: Path, report: Report, root: Path) -> None:
    assert sha256_of(root / "model.pt") == report.dense.sha256
    assert not [p for p in root.iterdir() if p.suffix == ".onnx" or p.name.startswith("runs")]


def test_a_finished_run_given_again_as_json_prints_json_alone_and_changes_nothing(
    accepted: Path,
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    tmp_path: Path,
) -> None:
    again = Path(shutil.copytree(accepted, tmp_path / "run"))  # its latency is measured anew
    names = [p for p in again.rglob("*") if p.is_file() and p.name not in TIMED]
    before = {name: name.read_bytes() for name in names}
    result = compress("run", *command(again), "--json")
    assert result.exit_code == 0, result.output
    report = Report.model_validate(json.loads(result.stdout))
    assert report.verdict == "accepted"
    assert "ratio 0.40: accepted" in result.stderr
    assert {name: name.read_bytes() for name in names} == before
    assert compress("verify", str(again)).exit_code == 0


def test_nothing_of_the_machines_paths_is_in_what_is_released(accepted: Path, root: Path) -> None:
    for name in ("model.onnx", "evidence.jsonl", "plan.lock"):
        content = (accepted / name).read_bytes()
        assert str(root).encode() not in content
        assert not re.search(rb"site-packages", content)
