"""The main job in other precisions: which file is judged, which released, and why."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest
from click.testing import Result

from compressor.pruning.importance import score
from compressor.report_schema import Report
from compressor.runs import RunFolder, read_evidence
from exporters.latency import Comparison, Latency

Compress = Callable[..., Result]
Command = Callable[..., list[str]]

ONE_RATIO = "search.ratios=[0.2]"

FAST = """\
apiVersion: compress/v1
name: fast
summary: For tests.
extends: %s
min_speedup: {times: %s, batch: 1}
"""


NARROW = """\
apiVersion: compress/v1
name: narrow
summary: For tests.
extends: %s
ratios: {smallest: 0.2, largest: 0.26}
"""


def report_of(run: Path) -> Report:
    return Report.model_validate_json((run / "report.json").read_bytes())


@pytest.fixture(scope="module")
def auto(command: Command, compress: Compress, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tried all precisions that can be faster on a CPU."""
    run = tmp_path_factory.mktemp("precisions") / "auto"
    result = compress(*command(run, ONE_RATIO), "--precision", "auto")
    assert result.exit_code == 0, result.output
    assert "fp16 is left out: the CPU provider computes" in result.stderr
    return run


@pytest.fixture(scope="module")
def int8(command: Command, compress: Compress, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in int8 alone, under a policy that asks for a speed-up that none can have."""
    run = tmp_path_factory.mktemp("precisions") / "int8"
    words = command(run, ONE_RATIO, policy="lenient")
    words[words.index("--policy") + 1] = str(fast_policy(words, run.with_name("fast.yaml")))
    result = compress(*words, "--precision", "int8")
    assert result.exit_code == 3, result.output
    return run


def fast_policy(words: list[str], path: Path, *, times: float = 50) -> Path:
    """The policy that is named, and a speed-up beside."""
    path.write_text(FAST % (words[words.index("--policy") + 1], times))
    return path


def test_every_precision_is_judged_at_its_share_and_the_fastest_is_released(auto: Path) -> None:
    report = report_of(auto)
    assert [(c.name, c.precision) for c in report.chains] == [("fp32", "fp32"), ("int8", "int8")]
    assert [c.alpha for c in report.chains] == [0.025, 0.025]
    assert {cell.alpha for step in report.steps for cell in step.cells} == {0.025}
    speeds = {c.precision: c.speedup for c in report.chains}
    released = next(s for s in report.steps if s.position == report.accepted_position)
    assert released.precision == max(speeds, key=lambda name: speeds[name] or 0.0)
    assert (auto / "model.onnx").read_bytes() == (auto / released.file).read_bytes()
    assert set(report.left_out) == {"fp16"}


def test_weights_are_made_once_for_all_precisions(auto: Path) -> None:
    report = report_of(auto)
    assert len({step.params for step in report.steps}) == 1
    assert len(list((auto / "candidates").iterdir())) == 1
    folder = auto / "candidates" / "0.200"
    assert {file.name for file in folder.glob("*.onnx")} == {"model.onnx", "model.int8.onnx"}
    assert {item.chain for item in read_evidence(RunFolder(path=auto))} == {"fp32", "int8"}


def test_files_take_pixels_and_say_what_they_are(auto: Path) -> None:
    precisions = {
        "dense.onnx": "fp32",
        "candidates/0.200/model.onnx": "fp32",
        "candidates/0.200/model.int8.onnx": "int8",
    }
    for name, precision in precisions.items():
        opened = onnxruntime.InferenceSession(auto / name, providers=["CPUExecutionProvider"])
        (source,) = opened.get_inputs()
        assert (source.type, source.shape) == ("tensor(uint8)", ["batch", 12, 12, 3])
        (logits,) = opened.run(None, {source.name: np.zeros((3, 12, 12, 3), np.uint8)})
        assert logits.shape == (3, 4)
        said = opened.get_modelmeta().custom_metadata_map
        assert json.loads(said["compressor.precision"]) == precision
        assert json.loads(said["compressor.preprocessing"])["inside"] is True


def test_a_run_with_several_precisions_verifies_and_names_what_was_changed(
    auto: Path, compress: Compress, tmp_path: Path
) -> None:
    assert compress("verify", str(auto)).exit_code == 0
    run = Path(shutil.copytree(auto, tmp_path / "run"))
    speeds = json.loads((run / "speeds.json").read_text())
    for timed in speeds:
        for found in timed["comparisons"]:
            found["speedup"] = 1 / found["speedup"]
    (run / "speeds.json").write_text(json.dumps(speeds))
    told = compress("verify", str(run)).stdout
    assert "speeds.json: its sha256 is not the one in SHA256SUMS" in told
    assert "report.json: chains[0].speedup is" in told


def test_a_finished_run_given_again_measures_nothing_anew(
    auto: Path, command: Command, compress: Compress
) -> None:
    names = ("evidence.jsonl", "speeds.json", "model.onnx", "plan.lock")
    before = [(auto / name).read_bytes() for name in names]
    result = compress(*command(auto, ONE_RATIO), "--precision", "auto")
    assert result.exit_code == 0, result.output
    assert "measuring latency" not in result.stderr
    assert [(auto / name).read_bytes() for name in names] == before


def test_a_model_that_passes_and_is_not_fast_enough_is_rejected(int8: Path) -> None:
    report = report_of(int8)
    assert (report.verdict, report.exit_code, report.artifact_sha256) == ("rejected", 3, None)
    assert [step.outcome for step in report.steps] == ["accepted"]
    (reason,) = report.reasons
    asked = r"ratio 0\.20 keeps every tolerance, but .* less than the 50 times"
    assert re.match(asked, reason)
    assert report.min_speedup is not None
    assert report.min_speedup.outcome == "violated"
    assert not (int8 / "model.onnx").exists()
    assert "not shown to be 50 times as fast" in (int8 / "report.md").read_text()
    junit = (int8 / "junit.xml").read_text()
    assert 'name="min_speedup"' in junit
    assert junit.count("<failure") == 1


def test_that_a_model_is_too_slow_can_be_verified(int8: Path, compress: Compress) -> None:
    result = compress("verify", str(int8))
    assert result.exit_code == 0, result.output


def test_int8_alone_has_all_of_alpha_and_tells_its_distance(int8: Path) -> None:
    report = report_of(int8)
    (step,) = report.steps
    assert (step.chain, step.precision, step.name) == (None, "int8", "ratio 0.20")
    assert {cell.alpha for cell in step.cells} == {0.05}
    assert step.parity is not None
    assert 1e-4 < step.parity["max_relative_error"] < 0.5


@pytest.mark.parametrize(
    "settings, told",
    [
        (("export.precision=int4",), "export.precision"),
        (("export.calibration_images=0",), "export.calibration_images"),
        (("search.target_latency=fast",), "write milliseconds and batch as 2.0ms@batch=8"),
        (("search.target_latency=0ms@batch=8",), "write milliseconds and batch"),
        (
            ("search.target_latency=900ms@batch=1",),
            "meets 900ms@batch=1 already: there is nothing to remove",
        ),
    ],
)
def test_what_cannot_be_exported_or_reached_is_refused_before_anything_is_written(
    command: Command,
    refused: Callable[..., str],
    tmp_path: Path,
    settings: tuple[str, ...],
    told: str,
) -> None:
    assert told in refused(command(tmp_path / "run", *settings), code=2)


@pytest.mark.parametrize("times, code", [(50, 3), (0.001, 0)])
def test_a_file_from_elsewhere_must_be_fast_enough_too(
    auto: Path, root: Path, compress: Compress, tmp_path: Path, times: float, code: int
) -> None:
    words = ["--policy", str(root / "lenient.yaml")]
    policy = fast_policy(words, tmp_path / "fast.yaml", times=times)
    files = [str(auto / "model.onnx"), "--dense", str(auto / "dense.onnx")]
    where = ["--project", str(root / "compress.yaml"), "--run", str(tmp_path / "run")]
    result = compress("gate", *files, "--policy", str(policy), *where)
    assert result.exit_code == code, result.output
    report = report_of(tmp_path / "run")
    assert report.min_speedup is not None
    assert report.min_speedup.outcome == ("accepted" if code == 0 else "violated")
    assert report.latency[0]["batch"] == 1
    assert compress("verify", str(tmp_path / "run")).exit_code == 0


def narrowed(words: list[str], folder: Path) -> list[str]:
    """The same under a policy with few ratios."""
    place = words.index("--policy") + 1
    policy = folder / "narrow.yaml"
    policy.write_text(NARROW % words[place])
    return [*words[:place], str(policy), *words[place + 1 :]]


def by_size(dense: Path, pruned: Path, **circumstances: object) -> tuple[Comparison, ...]:
    """A machine on which a file takes a microsecond for each of its kilobytes."""
    times = dense.stat().st_size / pruned.stat().st_size
    took = Latency(median_ms=dense.stat().st_size / 1e6, p95_ms=None, runs=20)
    return (
        Comparison(
            batch=1,
            dense=took,
            pruned=Latency(median_ms=took.median_ms / times, p95_ms=None, runs=20),
            speedup=times,
            speedup_interval=(times, times),
            noise=(1.0, 1.0),
            distinguishable=times != 1.0,
            provider="CPUExecutionProvider",
            device="cpu: made of paper, 1 thread",
            threads=1,
            runtime="none",
        ),
    )


def test_a_target_is_met_by_the_smallest_ratio_that_is_fast_enough(
    auto: Path,
    command: Command,
    compress: Compress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("compressor.latency_target.compare_latency", by_size)
    scored = Mock(wraps=score)
    monkeypatch.setattr("compressor.pruning.candidate.score", scored)
    limit = 0.78 * (auto / "dense.onnx").stat().st_size / 1e6
    run, target = tmp_path / "run", f"search.target_latency={limit:.6f}ms@batch=1"
    words = narrowed(command(run, target, "retrain.epochs=1"), tmp_path)
    result = compress(*words)
    report, plan = report_of(run), json.loads((run / "plan.lock").read_text())
    found = plan["latency_target"]["fp32"]
    assert [step.ratio for step in report.steps] == [found["ratio"]]
    times = {float(ratio): ms for ratio, ms in found["tried"].items() if ms is not None}
    assert times[found["ratio"]] == found["median_ms"] <= limit
    assert all(ms > limit for ratio, ms in times.items() if ratio < found["ratio"])
    assert len(found["tried"]) > 1
    # Once for all that was tried, once for the candidate.
    assert scored.call_count == 2
    assert report.latency_target is not None
    assert report.latency_target.batch == 1
    assert result.exit_code == report.exit_code
    assert compress("verify", str(run)).exit_code == 0
    monkeypatch.setattr("compressor.latency_target.compare_latency", None)  # the plan has it
    assert compress(*words).exit_code == report.exit_code
    assert json.loads((run / "plan.lock").read_text()) == plan


def test_a_target_that_no_ratio_comes_to_is_refused(
    command: Command, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compressor.latency_target.compare_latency", by_size)
    words = command(tmp_path / "run", "search.target_latency=0.0001ms@batch=1")
    told = refused(narrowed(words, tmp_path), code=2)
    assert "no ratio of 0.2 to 0.26 comes to 0.0001ms@batch=1: the fastest took" in told
