import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from compressor.report_schema import Report
from compressor.verify import verify

Compress = Callable[..., Result]

POLICY = """\
apiVersion: compress/v1
name: {name}
summary: For tests.
alpha: 0.05
min_images: 100
method: {method}
shifts:
  - {{name: clean, tolerance: {tolerance}, reason: it is a test}}
  - {{name: gaussian_noise, severity: 1, tolerance: {tolerance}, reason: a test}}
  - {{name: brightness, severity: 2, tolerance: {tolerance}, enforced: false, reason: a test}}
"""


@pytest.fixture(scope="module")
def home(root: Path, accepted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with gate images, models of several kinds and policies; no pruning anywhere."""
    folder = tmp_path_factory.mktemp("release")
    for name in ("gate.npz", "train.npz", "compress.yaml"):
        shutil.copy(root / name, folder / name)
    shutil.copy(accepted / "dense.onnx", folder / "dense.onnx")
    for ratio in ("0.200", "0.400"):
        file = accepted / "candidates" / ratio / "model.onnx"
        shutil.copy(file, folder / f"pruned-{ratio}.onnx")
    for method in ("fixed", "looks", "anytime"):
        text = POLICY.format(name=method, method=method, tolerance=0.1)
        (folder / f"{method}.yaml").write_text(text)
    strict = POLICY.format(name="strict", method="looks", tolerance=0.008)
    (folder / "strict.yaml").write_text(strict)
    (folder / "broken.onnx").write_bytes(_renumbered(folder / "dense.onnx", blur=3.0))
    return folder


def _renumbered(path: Path, *, blur: float = 0.0, order: Sequence[int] = ()) -> bytes:
    """The network with noise on its last layer, or with its classes in another order."""
    model = onnx.load(path)
    del model.metadata_props[:]
    # The last layer's weight and bias are the ones with as many rows as there are classes.
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.shape[:1] != (4,) or values.dtype != np.float32:
            continue
        if blur:
            rng = np.random.default_rng(0)
            values = values + blur * rng.standard_normal(values.shape).astype(values.dtype)
        if order:
            values = values[list(order)]
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture(scope="module")
def judged(
    home: Path, compress: Compress, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Result]]:
    """The run folder and the output of ``compress gate`` on candidates of ``home``."""

    def run(
        *candidates: str, policy: str = "looks", settings: Sequence[str] = ()
    ) -> tuple[Path, Result]:
        folder = tmp_path_factory.mktemp("runs") / "run"
        words = ["gate", *(str(home / name) for name in candidates)]
        words += ["--dense", str(home / "dense.onnx"), "--policy", str(home / f"{policy}.yaml")]
        words += ["--project", str(home / "compress.yaml"), "--run", str(folder)]
        words += [word for setting in settings for word in ("--set", setting)]
        return folder, compress(*words)

    return run


Judged = Callable[..., tuple[Path, Result]]


def _report(folder: Path) -> Report:
    return Report.model_validate_json((folder / "report.json").read_text())


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_a_good_candidate_is_accepted_and_released_byte_for_byte(
    judged: Judged, home: Path, method: str
) -> None:
    folder, result = judged("pruned-0.200.onnx", policy=method)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"ACCEPTED: pruned-0.200.onnx under {method}\n")
    assert (folder / "model.onnx").read_bytes() == (home / "pruned-0.200.onnx").read_bytes()


def test_a_broken_candidate_is_rejected_and_measured_no_further_than_the_violation(
    judged: Judged,
) -> None:
    folder, result = judged("broken.onnx")
    report = _report(folder)
    assert result.exit_code == 3, result.output
    assert not (folder / "model.onnx").exists()
    (step,) = report.steps
    assert [cell.outcome for cell in step.cells] == ["violated"]
    assert step.cells[0].n == 150
    assert len(step.not_measured) == 2
    assert "not measured" in (folder / "junit.xml").read_text()


def test_a_fixed_sample_measures_everything_whatever_it_shows(judged: Judged) -> None:
    folder, result = judged("broken.onnx", policy="fixed")
    assert result.exit_code == 3, result.output
    assert [cell.n for cell in _report(folder).steps[0].cells] == [600, 600, 600]


def test_a_tolerance_too_small_for_the_images_leaves_it_undecided(judged: Judged) -> None:
    folder, result = judged("pruned-0.400.onnx", policy="strict")
    assert result.exit_code == 4, result.output
    assert "images would decide" in result.stdout or "promise no acceptance" in result.stdout
    assert _report(folder).verdict == "undecided"


def test_candidates_are_one_sequence_that_ends_at_the_first_that_is_not_accepted(
    judged: Judged, home: Path
) -> None:
    names = ["pruned-0.200.onnx", "broken.onnx", "pruned-0.400.onnx"]
    folder, result = judged(*names)
    report = _report(folder)
    assert result.exit_code == 0, result.output
    assert [step.name for step in report.steps] == names[:2]
    assert report.accepted_name == names[0]
    assert (folder / "model.onnx").read_bytes() == (home / names[0]).read_bytes()


def test_looks_show_a_clear_candidate_to_be_safe_on_a_quarter_of_the_images(
    judged: Judged,
) -> None:
    looks, _ = judged("dense.onnx", policy="looks", settings=["seed=7"])
    report = _report(looks)
    assert {cell.look for cell in report.steps[0].cells} == {1}
    assert {cell.n for cell in report.steps[0].cells} == {150}
    assert {cell.alpha for cell in report.steps[0].cells} == {0.05 * 0.2}


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_a_run_is_verified_from_its_folder_alone(judged: Judged, method: str) -> None:
    folder, _ = judged("pruned-0.200.onnx", "broken.onnx", policy=method)
    assert not verify(folder).findings


def test_a_candidate_that_was_swapped_is_found(judged: Judged, home: Path) -> None:
    folder, _ = judged("pruned-0.200.onnx")
    shutil.copy(home / "pruned-0.400.onnx", folder / "candidates" / "01" / "model.onnx")
    files = {finding.file for finding in verify(folder).findings}
    assert "candidates/01/model.onnx" in files


def test_the_dense_model_is_asked_once_for_all_runs(judged: Judged) -> None:
    first, _ = judged("pruned-0.200.onnx", policy="fixed")
    second, _ = judged("pruned-0.400.onnx", policy="fixed")
    assert _report(second).forward_passes.dense == 0
    assert _report(second).forward_passes.candidates >= 1800
    clean = "clean.npy"
    (one,) = [p for p in first.glob(f"answers/*/{clean}") if _is_dense(first, p)]
    (other,) = [p for p in second.glob(f"answers/*/{clean}") if _is_dense(second, p)]
    assert one.read_bytes() == other.read_bytes()


def _is_dense(folder: Path, answers: Path) -> bool:
    dense: str = json.loads((folder / "evidence.jsonl").read_text().splitlines()[0])["dense"]
    return answers.parent.name == dense[:16]


def test_every_run_is_in_the_ledger_once(judged: Judged, home: Path, compress: Compress) -> None:
    ledger = home / "holdout-ledger.jsonl"
    before = len(ledger.read_text().splitlines()) if ledger.exists() else 0
    folder, _ = judged("pruned-0.200.onnx", settings=["seed=11"])
    words = ["gate", str(home / "pruned-0.200.onnx"), "--dense", str(home / "dense.onnx")]
    words += ["--policy", str(home / "looks.yaml"), "--project", str(home / "compress.yaml")]
    again = compress(*words, "--run", str(folder), "--set", "seed=11")
    assert again.exit_code == 0, again.output
    lines = ledger.read_text().splitlines()
    assert len(lines) == before + 1
    assert json.loads(lines[-1])["seed"] == 11
    other, _ = judged("pruned-0.200.onnx", settings=["seed=12"])
    assert "another seed" in (_report(other).reuse or pytest.fail("no use")).sentence


def test_spent_images_leave_a_run_undecided_and_nothing_behind(
    home: Path, compress: Compress, tmp_path: Path
) -> None:
    for name in ("gate.npz", "compress.yaml", "dense.onnx", "pruned-0.200.onnx"):
        shutil.copy(home / name, tmp_path / name)
    (tmp_path / "train.npz").write_bytes((home / "train.npz").read_bytes())
    text = (home / "looks.yaml").read_text() + "reuse: {releases: 2}\n"
    (tmp_path / "looks.yaml").write_text(text)
    results = []
    for seed in range(3):
        words = ["gate", str(tmp_path / "pruned-0.200.onnx"), "--dense"]
        words += [str(tmp_path / "dense.onnx"), "--policy", str(tmp_path / "looks.yaml")]
        words += ["--project", str(tmp_path / "compress.yaml"), "--set", f"seed={seed}"]
        results.append(compress(*words, "--run", str(tmp_path / f"run-{seed}")))
    assert [result.exit_code for result in results] == [0, 0, 4]
    assert "have served 2 releases" in results[-1].stderr
    assert not (tmp_path / "run-2").exists()


def test_an_edited_ledger_stops_the_run(
    judged: Judged, home: Path, refused: Callable[..., str]
) -> None:
    judged("pruned-0.200.onnx")
    ledger = home / "holdout-ledger.jsonl"
    kept = ledger.read_text()
    edited = kept.replace('"seed": 0', '"seed": 9', 1)
    assert edited != kept
    ledger.write_text(edited)
    try:
        message = refused(_words(home, "pruned-0.200.onnx", "--set", "seed=21"), code=2)
    finally:
        ledger.write_text(kept)
    assert "holdout-ledger.jsonl" in message


def _words(home: Path, *words: str, dense: str = "dense.onnx") -> list[str]:
    own = ["gate", str(home / words[0]), "--dense", str(home / dense)]
    own += ["--policy", str(home / "looks.yaml"), "--project", str(home / "compress.yaml")]
    return [*own, *words[1:], "--run", str(home / "never")]


def _replaced(home: Path, name: str, content: bytes) -> str:
    (home / name).write_bytes(content)
    return name


def _gather(path: Path, keep: Sequence[int]) -> bytes:
    """The network with only these of its classes."""
    model = onnx.load(path)
    del model.metadata_props[:]
    output = model.graph.output[0]
    inner = f"{output.name}_all"
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output.name:
                node.output[index] = inner
    model.graph.initializer.append(
        numpy_helper.from_array(np.array(keep, dtype=np.int64), "kept_classes")
    )
    model.graph.node.append(
        helper.make_node("Gather", [inner, "kept_classes"], [output.name], axis=1)
    )
    output.type.tensor_type.shape.dim[1].dim_value = len(keep)
    content: bytes = model.SerializeToString()
    return content


def test_another_number_of_classes_is_refused(home: Path, refused: Callable[..., str]) -> None:
    name = _replaced(home, "three.onnx", _gather(home / "dense.onnx", [0, 1, 2]))
    assert "3 classes" in refused(_words(home, name), code=2)


def test_an_order_of_classes_that_metadata_deny_is_refused(
    home: Path, refused: Callable[..., str]
) -> None:
    model = onnx.load(home / "pruned-0.200.onnx")
    for entry in model.metadata_props:
        entry.value = entry.value.replace('["r", "g", "b", "y"]', '["g", "r", "b", "y"]')
    name = _replaced(home, "renamed.onnx", model.SerializeToString())
    assert "g / r" in refused(_words(home, name), code=2)


def test_an_order_of_classes_that_only_answers_betray_is_refused(
    home: Path, refused: Callable[..., str]
) -> None:
    content = _gather(home / "dense.onnx", [1, 2, 3, 0])
    message = refused(_words(home, _replaced(home, "turned.onnx", content)), code=2)
    assert "classes in another order" in message


def test_a_network_that_rolls_dice_is_refused(home: Path, refused: Callable[..., str]) -> None:
    model = onnx.load(home / "dense.onnx")
    output = model.graph.output[0]
    inner = f"{output.name}_sure"
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output.name:
                node.output[index] = inner
    model.graph.node.append(helper.make_node("RandomNormalLike", [inner], ["dice"], scale=0.5))
    model.graph.node.append(helper.make_node("Add", [inner, "dice"], [output.name]))
    name = _replaced(home, "dice.onnx", model.SerializeToString())
    assert "two runs" in refused(_words(home, name), code=5)


def test_answers_that_are_not_finite_are_refused(home: Path, refused: Callable[..., str]) -> None:
    name = _replaced(home, "infinite.onnx", _renumbered(home / "dense.onnx", blur=np.inf))
    assert "not finite" in refused(_words(home, name), code=5)


def test_gate_images_that_were_trained_on_are_refused(
    home: Path, refused: Callable[..., str]
) -> None:
    words = _words(home, "pruned-0.200.onnx", "--set", "data.train={npz: gate.npz}")
    assert "data.gate" in refused(words, code=2)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            "{name: clean, id: one, only: [violet], min_images: 50, tolerance: 0.1, reason: x}",
            "violet",
        ),
        ("{name: clean, metric: top5, tolerance: 0.1, reason: x}", "top5"),
    ],
)
def test_a_rule_that_these_images_cannot_answer_is_refused(
    home: Path, refused: Callable[..., str], rule: str, told: str
) -> None:
    (home / "odd.yaml").write_text((home / "fixed.yaml").read_text() + f"  - {rule}\n")
    words = _words(home, "pruned-0.200.onnx")
    words[words.index("--policy") + 1] = str(home / "odd.yaml")
    message = refused(words, code=2)
    assert told in message
    assert "data.gate" in message


def test_a_class_group_is_a_cell_of_its_own_on_its_own_images(
    home: Path, compress: Compress, tmp_path: Path
) -> None:
    rule = "{name: clean, id: reds, only: [r], min_images: 50, tolerance: 0.2, reason: x}"
    (tmp_path / "group.yaml").write_text((home / "fixed.yaml").read_text() + f"  - {rule}\n")
    words = ["gate", str(home / "pruned-0.200.onnx"), "--dense", str(home / "dense.onnx")]
    words += ["--policy", str(tmp_path / "group.yaml"), "--project", str(home / "compress.yaml")]
    result = compress(*words, "--run", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    reds = int((np.load(home / "gate.npz")["labels"] == 0).sum())
    assert _report(tmp_path / "run").steps[0].cells[-1].n == reds
    assert not (list((tmp_path / "run" / "answers").glob("*/reds.npy")))
    assert not verify(tmp_path / "run").findings


def test_scores_flips_and_top1_are_counted_from_one_measurement(
    home: Path, compress: Compress, tmp_path: Path
) -> None:
    rules = [
        f"{{name: clean, metric: {metric}, tolerance: 0.2, reason: x}}"
        for metric in ("brier", "flips")
    ]
    text = (home / "fixed.yaml").read_text() + "".join(f"  - {rule}\n" for rule in rules)
    (tmp_path / "scores.yaml").write_text(text)
    words = ["gate", str(home / "pruned-0.400.onnx"), "--dense", str(home / "dense.onnx")]
    words += ["--policy", str(tmp_path / "scores.yaml"), "--project", str(home / "compress.yaml")]
    result = compress(*words, "--run", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    report = _report(tmp_path / "run")
    by_name = {cell.shift: cell for cell in report.steps[0].cells}
    assert by_name["clean-brier"].statistic == "Brier growth"
    assert by_name["clean"].drop <= by_name["clean-flips"].drop
    assert report.forward_passes.candidates == 3 * 600
    assert not verify(tmp_path / "run").findings


def test_another_size_of_images_is_refused(home: Path, refused: Callable[..., str]) -> None:
    model = onnx.load(home / "dense.onnx")
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 16
    del model.metadata_props[:]
    name = _replaced(home, "larger.onnx", model.SerializeToString())
    assert "16" in refused(_words(home, name), code=5)


def test_the_same_candidate_twice_is_refused(home: Path, refused: Callable[..., str]) -> None:
    words = _words(home, "pruned-0.200.onnx", str(home / "pruned-0.200.onnx"))
    assert "twice" in refused(words, code=2)


def test_a_missing_candidate_is_named(home: Path, refused: Callable[..., str]) -> None:
    assert "absent.onnx" in refused(_words(home, "absent.onnx"), code=5)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    def __init__(self, name: str, images: NDArray[np.uint8]) -> None:
        self._batches = iter([{name: images[k : k + 50]} for k in range(0, len(images), 50)])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)


def test_an_int8_model_of_another_tool_is_judged_like_any_other(home: Path, judged: Judged) -> None:
    train = np.load(home / "train.npz")["images"][:200]
    name = onnx.load(home / "dense.onnx").graph.input[0].name
    quantize_static(
        home / "dense.onnx", home / "int8.onnx", _Calibration(name, train),
        quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    folder, result = judged("int8.onnx")
    report = _report(folder)
    assert result.exit_code == 0, result.output
    assert report.steps[0].precision == "int8"
    assert report.steps[0].params == report.dense.params
    assert report.steps[0].size_bytes < report.dense.size_bytes


def test_a_whole_pytorch_model_is_exported_and_the_export_is_judged(
    root: Path, home: Path, judged: Judged
) -> None:
    shutil.copy(root / "model.pt", home / "model.pt")
    folder, result = judged("model.pt")
    assert result.exit_code == 0, result.output
    assert _report(folder).steps[0].parity is not None
    assert (folder / "candidates" / "01" / "model.onnx").exists()


def test_the_preprocessing_comes_from_the_file_where_the_project_is_silent(
    home: Path, compress: Compress, tmp_path: Path
) -> None:
    project = tmp_path / "compress.yaml"
    project.write_text(f"data: {{gate: {{npz: {home / 'gate.npz'}}}}}\n")
    words = ["gate", str(home / "pruned-0.200.onnx"), "--dense", str(home / "dense.onnx")]
    words += ["--policy", str(home / "looks.yaml"), "--project", str(project)]
    result = compress(*words, "--run", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
