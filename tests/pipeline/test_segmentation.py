"""Networks that answer every pixel, from the command line to the verdict and back."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from compressor.runs import RunFolder, read_evidence
from gates import ScoreCounts
from gates.answers import segmented_answer

SIDE = 16

USER_CODE = """
from collections import OrderedDict
from torch import nn
from torch.nn import functional

class Streets(nn.Module):
    '''As torchvision's: a dictionary, with an auxiliary head in it.'''

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        )
        self.classifier = nn.Conv2d(64, 3, 1)
        self.aux_classifier = nn.Conv2d(64, 3, 1)

    def forward(self, x):
        features = self.body(x)
        found = OrderedDict(out=self.read(self.classifier, features, x))
        if self.aux_classifier is not None:
            found["aux"] = self.read(self.aux_classifier, features, x)
        return found

    def read(self, head, features, x):
        return functional.interpolate(head(features), x.shape[-2:], mode="bilinear")

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 3, 3, stride=2, padding=1)

    def forward(self, x):
        return self.inner(x)

def streets():
    return Streets()

def small():
    return Small()

def classifier():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
"""

PROJECT = """\
model: {factory: "user_streets:streets"}
input: {size: [3, 16, 16], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
data:
  classes: [road, sky, car]
  train: {images: train/images, masks: train/masks}
  tune: {from: train, fraction: 0.25}
  gate: {images: gate/images, masks: gate/masks}
retrain: {epochs: 2, lr: 0.02, batch_size: 20, augment: [flip, crop]}
search: {ratios: [0.3], align: 1, importance: quadratic}
latency: {batches: [1], seconds: 0.2, provider: cpu}
"""

POLICY = """\
apiVersion: compress/v1
name: {name}
summary: For tests.
alpha: 0.05
min_images: 150
method: looks
shifts:
  - {{name: clean, tolerance: 0.08, reason: it is a test}}
  - {{name: gaussian_noise, severity: 1, draws: 2, tolerance: 0.08, accounted: true, reason: test}}
  - {{name: clean, metric: brier, tolerance: 0.08, reason: it is a test}}
{more}
"""

COLOURS = np.array([(70, 70, 75), (110, 150, 220), (200, 90, 60)])


def drawn(count: int, *, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [n h w c] of a road, the sky and a car, and masks; edges are not labelled."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    for mask in masks:
        horizon, left = rng.integers(4, 9), rng.integers(0, 9)
        mask[:horizon] = 1
        mask[horizon + 1 : horizon + 5, left : left + 7] = 2
        mask[horizon] = 255
    colours = COLOURS[np.minimum(masks, 2)] + rng.normal(0, 12, (count, 1, 1, 3))
    images = colours + rng.normal(0, 25, (count, SIDE, SIDE, 3))
    return images.clip(0, 255).astype(np.uint8), masks


def trained(root: Path) -> None:
    sys.path.insert(0, str(root))
    try:
        import user_streets  # type: ignore[import-not-found]  # written below
    finally:
        sys.path.remove(str(root))
    images, masks = drawn(200, seed=1)
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 * 4 - 2
    labels = torch.from_numpy(masks).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = user_streets.streets()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for step in range(30):
        chosen = slice(step % 10 * 20, step % 10 * 20 + 20)
        optimiser.zero_grad()
        found = network(inputs[chosen])["out"]
        functional.cross_entropy(found, labels[chosen], ignore_index=255).backward()
        optimiser.step()
    torch.save(network.state_dict(), root / "model.pt")
    torch.save(user_streets.small().state_dict(), root / "small.pt")
    torch.save(user_streets.classifier().state_dict(), root / "classifier.pt")


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project folder; no test changes what it holds."""
    folder = tmp_path_factory.mktemp("streets")
    for part, count, seed in (("train", 200, 1), ("gate", 200, 2)):
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
        images, masks = drawn(count, seed=seed)
        for index in range(count):
            Image.fromarray(images[index]).save(folder / part / "images" / f"{index}.png")
            Image.fromarray(masks[index]).save(folder / part / "masks" / f"{index}.png")
    (folder / "user_streets.py").write_text(USER_CODE)
    (folder / "compress.yaml").write_text(PROJECT)
    for name, more in {
        "lenient": "",
        "flips": "  - {name: fog, severity: 1, metric: flips, tolerance: 0.1, reason: a test}",
        "top5": "  - {name: fog, severity: 1, metric: top5, tolerance: 0.1, reason: a test}",
        "group": "  - {name: fog, severity: 1, only: [car], id: cars, tolerance: 0.1, reason: a}",
        "folder": "  - {id: yard, folder: yard, tolerance: 0.1, reason: a test}",
        "stream": "  - {id: yard, folder: yard, labels: none, tolerance: 0.1, reason: a test}",
    }.items():
        (folder / f"{name}.yaml").write_text(POLICY.format(name=name, more=more))
    trained(folder)
    yield folder
    sys.modules.pop("user_streets", None)


def words(root: Path, *settings: str, policy: str = "lenient", model: str = "model") -> list[str]:
    found = [str(root / f"{model}.pt"), "--policy", str(root / f"{policy}.yaml")]
    found += ["--project", str(root / "compress.yaml")]
    return [*found, *(word for setting in settings for word in ("--set", setting))]


@pytest.fixture(scope="module")
def run(streets: Path, compress: Callable[..., Result]) -> tuple[Path, Result]:
    folder = streets / "runs" / "first"
    return folder, compress(*words(streets), "--run", str(folder))


def report_of(folder: Path) -> Any:  # noqa: ANN401 # JSON
    return json.loads((folder / "report.json").read_text())


def test_the_whole_job_ends_in_a_file_that_keeps_the_pixels_right(
    run: tuple[Path, Result],
) -> None:
    folder, result = run
    assert result.exit_code == 0, result.output
    report = report_of(folder)
    (step,) = report["steps"]
    cells = {cell["shift"]: cell for cell in step["cells"]}
    assert cells["clean"]["statistic"] == cells["gaussian_noise-1x2"]["statistic"] == "pixel drop"
    assert cells["clean-brier"]["statistic"] == "Brier growth"
    assert 0.8 < cells["clean"]["dense_accuracy"] <= 1.0
    assert 0.8 < step["tune_accuracy"] <= 1.0
    assert step["parity"]["agreement"] >= 0.999
    assert "taken off: aux_classifier" in result.stderr
    assert "['out'] is taken" in result.stderr


def test_the_verdict_is_told_in_words_of_pixels_with_the_overlap_beside_it(
    run: tuple[Path, Result],
) -> None:
    folder, result = run
    (step,) = report_of(folder)["steps"]
    overlap = step["cells"][0]["overlap"]
    assert overlap["classes"] == 3
    assert overlap["drop"] == pytest.approx(overlap["dense"] - overlap["pruned"])
    assert overlap["interval"][0] <= overlap["drop"] <= overlap["interval"][1]
    assert overlap["worst_class"]["name"] in {"road", "sky", "car"}
    shown = f"{overlap['dense']:.2%} -> {overlap['pruned']:.2%}"
    for text in (result.stdout, (folder / "report.md").read_text()):
        assert "mIoU" in text and shown in text and "of pixels" in text
    assert "by the metric of each rule" in (folder / "report.md").read_text()


def test_the_answers_that_are_kept_are_counts_and_the_run_is_verified_from_them(
    run: tuple[Path, Result], compress: Callable[..., Result]
) -> None:
    folder, _ = run
    evidence = read_evidence(RunFolder(path=folder))
    assert {e.counts.of for e in evidence if isinstance(e.counts, ScoreCounts)} == {
        "brier",
        "pixels",
    }
    for item in evidence:
        if item.shift != "clean-brier":
            answers = np.load(RunFolder(path=folder).answers(item.candidate, item.shift))
            assert answers.dtype == segmented_answer(3)
    verified = compress("verify", str(folder))
    assert verified.exit_code == 0, verified.output


def test_a_run_of_forged_answers_does_not_hold(
    run: tuple[Path, Result], compress: Callable[..., Result], tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(run[0], tmp_path / "forged"))
    item = read_evidence(RunFolder(path=folder))[0]
    path = RunFolder(path=folder).answers(item.candidate, item.shift)
    answers = np.load(path)
    answers["right"][0, 0, 0] -= 1
    np.save(path, answers)
    verified = compress("verify", str(folder))
    assert verified.exit_code == 3
    assert f"{item.shift}.npy" in verified.output


def test_files_of_other_tools_are_judged_by_their_pixels(
    run: tuple[Path, Result], streets: Path, compress: Callable[..., Result]
) -> None:
    first, _ = run
    small = next((first / "candidates").glob("*/model.onnx"))
    command = ["gate", str(small), "--dense", str(first / "dense.onnx")]
    command += ["--policy", str(streets / "lenient.yaml")]
    command += ["--project", str(streets / "compress.yaml")]
    result = compress(*command, "--run", str(streets / "runs" / "gate"))
    assert result.exit_code == 0, result.output
    made = {c["shift"]: c["drop"] for c in report_of(first)["steps"][0]["cells"]}
    again = {
        c["shift"]: c["drop"] for c in report_of(streets / "runs" / "gate")["steps"][0]["cells"]
    }
    assert again == made


def test_a_model_with_a_dictionary_is_judged_as_it_is(
    streets: Path, compress: Callable[..., Result]
) -> None:
    model = str(streets / "model.pt")
    command = ["gate", model, "--dense", model, "--policy", str(streets / "lenient.yaml")]
    command += ["--project", str(streets / "compress.yaml")]
    result = compress(*command, "--run", str(streets / "runs" / "itself"))
    assert result.exit_code == 0, result.output
    assert {
        cell["drop"] for cell in report_of(streets / "runs" / "itself")["steps"][0]["cells"]
    } == {0.0}


def test_one_cut_by_itself_takes_masks(
    streets: Path, compress: Callable[..., Result], tmp_path: Path
) -> None:
    command = ["prune", str(streets / "model.pt"), "--ratio", "0.3", "--out", str(tmp_path / "cut")]
    command += ["--project", str(streets / "compress.yaml"), "--set", "search.importance=taylor"]
    command += ["--set", "retrain.epochs=1"]
    result = compress(*command)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "cut" / "prune.json").read_text())
    assert 0.5 < record["tune_accuracy"] <= 1.0


@pytest.mark.parametrize(
    "policy, said",
    [
        ("flips", "fog-1-flips is judged by flips"),
        ("top5", "fog-1-top5 is judged by top5"),
        ("group", "cars is about images of 'car'"),
        ("folder", "yard brings images of its own without masks"),
        ("stream", "yard brings images of its own without masks"),
    ],
)
def test_a_rule_that_wants_one_answer_an_image_is_refused_before_any_compute(
    policy: str, said: str, streets: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    told = refused([*words(streets, policy=policy), "--run", str(tmp_path / "run")], code=2)
    assert said in told


@pytest.mark.parametrize(
    "settings, model, said",
    [
        (["model.factory=user_streets:classifier"], "classifier", "for the images have masks"),
        (["model.factory=user_streets:small"], "small", "answers at 8 x 8 places of images of 16"),
        (["model.output=masks"], "model", "model.output 'masks' names no one"),
        (["data.classes=[road, sky]"], "model", "holds the class 2, and there are 2 (road, sky)"),
        (["data.classes=[road, sky, car, tram]"], "model", "has 3 outputs, and the images 4"),
    ],
)
def test_what_does_not_fit_the_masks_is_said_before_any_compute(
    settings: list[str], model: str, said: str, streets: Path, refused: Callable[..., str],
    tmp_path: Path,
) -> None:  # fmt: skip
    code = 5 if "model.output" in settings[0] else 2
    command = [*words(streets, *settings, model=model), "--run", str(tmp_path / "run")]
    assert said in refused(command, code=code)


def test_a_plan_says_what_it_needs_where_nothing_can_be_assumed(
    streets: Path, refused: Callable[..., str]
) -> None:
    command = ["plan", "--policy", str(streets / "lenient.yaml")]
    told = refused([*command, "--project", str(streets / "compress.yaml")], code=2)
    assert "give --candidate" in told and "--from RUN" in told


def test_a_plan_expects_what_an_earlier_run_saw(
    run: tuple[Path, Result], streets: Path, compress: Callable[..., Result]
) -> None:
    command = ["plan", "--policy", str(streets / "lenient.yaml"), "--from", str(run[0])]
    result = compress(*command, "--project", str(streets / "compress.yaml"))
    assert result.exit_code in {0, 4}, result.output
    assert "clean" in result.stdout
