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
from compressor.ledger import read_ledger
from compressor.pipeline import compress as compressed
from compressor.report_schema import Report
from compressor.runs import RunFolder, read_evidence
from compressor.terminal import Silent
from gates import Accepted, PairedCounts, judge
from gates.answers import ANSWER
from gates.measure import labelled_answers
from policies import load_policy

RATIOS = (0.2, 0.4)

TIMED = {"report.json", "report.md", "report.html", "junit.xml", "SHA256SUMS", "attestation.json"}
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
    assert [(e["position"], e["name"], e["ratio"], e["shift"]) for e in lines] == [
        (position, f"ratio {ratio:.2f}", ratio, shift)
        for position, ratio in enumerate(RATIOS)
        for shift in shifts
    ]
    assert {e["look"] for e in lines} == {1}
    assert {e["dense"] for e in lines} == {sha256_of(accepted / "dense.onnx")}


def test_counts_of_the_evidence_are_those_of_the_saved_answers(accepted: Path) -> None:
    run = RunFolder(path=accepted)
    for item in read_evidence(run):
        dense = np.load(run.answers(item.dense, item.shift))
        pruned = np.load(run.answers(item.candidate, item.shift))
        assert dense.dtype == pruned.dtype == ANSWER
        assert dense.shape == pruned.shape == (600, 1)
        assert np.array_equal(dense["label"], pruned["label"])
        dense_right, pruned_right = (a["predicted"] == a["label"] for a in (dense, pruned))
        assert isinstance(item.counts, PairedCounts)
        assert item.counts.only_dense == int((dense_right & ~pruned_right).sum())
        assert item.counts.only_pruned == int((pruned_right & ~dense_right).sum())
        assert item.counts.n == 600


def test_answers_are_kept_in_an_order_that_is_not_that_of_the_archive(
    accepted: Path, root: Path
) -> None:
    """Looks see a prefix of them, so that it must be a sample of all."""
    run = RunFolder(path=accepted)
    (item, *_) = read_evidence(run)
    kept = np.load(run.answers(item.dense, item.shift))["label"][:, 0]
    with np.load(root / "gate.npz") as archive:
        given, classes = archive["labels"], archive["classes"].tolist()
    assert classes == json.loads((accepted / "plan.lock").read_text())["classes"]
    assert np.bincount(kept).tolist() == np.bincount(given).tolist()
    assert kept.tolist() != given.tolist()


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


def test_plan_fixes_the_sequence_the_looks_and_the_classes(accepted: Path) -> None:
    plan = json.loads((accepted / "plan.lock").read_text())
    assert (plan["schema_version"], plan["job"], plan["method"]) == (3, "compress", "fixed")
    assert plan["sequence"] == [
        {"name": f"ratio {ratio:.2f}", "position": position, "ratio": ratio, "sha256": None}
        for position, ratio in enumerate(RATIOS)
    ]
    assert plan["looks"] == {"gate": [600]}
    assert plan["classes"] == ["r", "g", "b", "y"]


def test_the_use_of_the_gates_images_is_in_the_ledger_beside_them_and_in_the_report(
    accepted: Path, root: Path, report: Report
) -> None:
    lines = read_ledger(root / "holdout-ledger.jsonl")
    (use,) = [line for line in lines if line.entry.plan == report.plan_digest]
    plan = json.loads((accepted / "plan.lock").read_text())
    assert use.entry.images == {"gate": plan["data"]["gate"]}
    assert json.loads((accepted / "use.json").read_text()) == {"entry": use.digest}
    assert report.reuse is not None
    assert (report.reuse.entry, report.reuse.ordinal) == (use.digest, use.number)
    assert f"- gate images: {report.reuse.sentence}\n" in (accepted / "report.md").read_text()


def test_plan_and_use_are_written_before_the_gates_images_are_looked_at_whatever_the_run_is_called(
    accepted: Path, job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "quite another name"
    looked: list[bool] = []

    def spy(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401 # whatever it is called with
        looked.append((run / "plan.lock").exists() and (run / "use.json").exists())
        return labelled_answers(*args, **kwargs)

    monkeypatch.setattr("compressor.answers.labelled_answers", spy)
    report = compressed(job(run), Silent())
    # Two candidates under three shifts; what the dense model answers is known from the first run.
    assert looked == [True] * 6
    assert (report.forward_passes.dense, report.forward_passes.candidates) == (0, 6 * 600)
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
    assert "ratio 0.40: accepted\n" in result.stderr
    assert (report.forward_passes.dense, report.forward_passes.candidates) == (0, 0)
    assert {name: name.read_bytes() for name in names} == before
    assert compress("verify", str(again)).exit_code == 0


def test_nothing_of_the_machines_paths_is_in_what_is_released(accepted: Path, root: Path) -> None:
    for name in ("model.onnx", "evidence.jsonl", "plan.lock"):
        content = (accepted / name).read_bytes()
        assert str(root).encode() not in content
        assert not re.search(rb"site-packages", content)
