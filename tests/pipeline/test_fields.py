"""A policy with every kind of rule, through the command line."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from compressor.report_schema import Report
from compressor.runs import RunFolder, read_evidence
from compressor.seal import seal
from gates import DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.answers import ANSWER, UNLABELLED_ANSWER, Answers
from gates.measure import labelled_answers, unlabelled_answers
from gates.shifts import definition
from policies import load_policy

Compress = Callable[..., Result]
Command = Callable[..., list[str]]
Draw = Callable[..., tuple[NDArray[np.uint8], NDArray[np.int64]]]

POLICY = """\
apiVersion: compress/v1
name: mixed
summary: For tests, every kind of rule.
alpha: 0.05
min_images: 200
shifts:
  - {id: weather, mixture: [brightness, contrast], severity: [1, 2], tolerance: 0.1, reason: a test}
  - {name: gaussian_noise, severity: [1, 2], draws: 2, tolerance: 0.1, reason: a test}
  - {id: site, folder: field/site, classes: field/classes.yaml, tolerance: 0.1, reason: a test}
  - id: depot
    folder: field/depot
    labels: none
    min_images: 100
    tolerance: 0.1
    reason: a test
"""

MAPPING = "red: r\ngreen: g\nyellow: y\nfence: null\n"

RULES = ("weather", "gaussian_noise-1to2x2", "site", "depot")


def save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def home(root: Path, images: Draw, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the other tests, with field folders and a policy that names them.

    The labelled folder lacks the class "b" and calls the others by other names.
    """
    folder = tmp_path_factory.mktemp("field") / "project"
    shutil.copytree(root, folder)
    pixels, labels = images(400, seed=3)
    names = ("red", "green", "fence", "yellow")
    for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        save(image, folder / "field" / "site" / names[label] / f"{index}.png")
    for index, image in enumerate(images(150, seed=4)[0]):
        save(image, folder / "field" / "depot" / f"day {index % 2}" / f"{index}.png")
    (folder / "field" / "classes.yaml").write_text(MAPPING)
    (folder / "mixed.yaml").write_text(POLICY)
    return folder


@pytest.fixture(scope="module")
def run(
    home: Path, command: Command, compress: Compress, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """The folder and the output of the run under that policy."""
    folder = tmp_path_factory.mktemp("runs") / "mixed"
    result = compress(*command(folder, policy="mixed", home=home))
    assert result.exit_code == 0, result.output
    return folder, result


def plan_of(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((folder / "plan.lock").read_text())
    return plan


def right(answers: Answers) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = answers["predicted"] == answers["label"]
    return found


def test_every_kind_of_rule_is_judged_in_one_run(run: tuple[Path, Result], home: Path) -> None:
    folder, _ = run
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert report.verdict == "accepted"
    for step in report.steps:
        assert [cell.shift for cell in step.cells] == list(RULES)
        assert [cell.shift for cell in step.cells] == [
            rule.id for rule in load_policy(str(home / "mixed.yaml")).shifts
        ]


def test_counts_are_those_of_the_kept_answers_for_every_kind_of_rule(
    run: tuple[Path, Result],
) -> None:
    files = RunFolder(path=run[0])
    assert len(read_evidence(files)) == 2 * len(RULES)
    for item in read_evidence(files):
        dense = np.load(files.answers(item.dense, item.shift))
        pruned = np.load(files.answers(item.candidate, item.shift))
        match item.counts:
            case PairedCounts() as counts:
                assert dense.dtype == pruned.dtype == ANSWER
                assert dense.shape == pruned.shape == (counts.n, 1)
                assert counts.only_dense == int((right(dense) & ~right(pruned)).sum())
                assert counts.only_pruned == int((right(pruned) & ~right(dense)).sum())
            case DrawCounts() as counts:
                assert dense.dtype == pruned.dtype == ANSWER
                assert dense.shape == pruned.shape == (600, 2)
                nets = right(dense).sum(axis=1) - right(pruned).sum(axis=1, dtype=np.int64)
                assert counts.differences == tuple((nets == k).sum() for k in range(-2, 3))
            case FlipCounts() as counts:
                assert dense.dtype == pruned.dtype == UNLABELLED_ANSWER
                assert dense.shape == pruned.shape == (150,)
                assert counts.flipped == int((dense["predicted"] != pruned["predicted"]).sum())
                assert set(dense["predicted"].tolist()) == {0, 1, 2, 3}
            case ScoreCounts() as counts:
                pytest.fail(f"no rule of the policy is about scores: {counts}")


def test_a_run_of_every_kind_of_rule_is_verified_and_its_answers_are_recounted(
    run: tuple[Path, Result], compress: Compress, tmp_path: Path
) -> None:
    assert compress("verify", str(run[0])).exit_code == 0
    copied = RunFolder(path=Path(shutil.copytree(run[0], tmp_path / "run")))
    for rule in RULES:
        place = copied.answers(read_evidence(copied)[0].candidate, rule)
        answers = np.load(place)
        for forged, told in _forgeries(answers):
            np.save(place, forged)
            seal(copied, Report.model_validate_json(copied.report.read_bytes()))
            result = compress("verify", str(copied.path))
            assert result.exit_code == 3
            assert f"{place.relative_to(copied.path)}: {told}" in result.stdout
        np.save(place, answers)


def _forgeries(answers: Answers) -> Iterator[tuple[Answers, str]]:
    """Each answer given to the next image, with or without its label; and what is told of it."""
    moved = np.roll(answers, 1, axis=0)
    if answers.dtype == ANSWER:
        yield moved, "or answers/"
        moved["label"] = answers["label"]
    yield moved, "with answers/"


def test_draws_of_a_rule_are_different_images(run: tuple[Path, Result]) -> None:
    for file in run[0].glob("answers/*/gaussian_noise-1to2x2.npy"):
        first, second = np.load(file).T
        assert (first["label"] == second["label"]).all()
        assert (first["score"] != second["score"]).any()


def test_evidence_names_the_images_that_were_really_used(run: tuple[Path, Result]) -> None:
    plan = plan_of(run[0])
    expected = {
        "weather": plan["data"]["gate"],
        "gaussian_noise-1to2x2": plan["data"]["gate"],
        "site": plan["fields"]["site"]["digest"],
        "depot": plan["fields"]["depot"]["digest"],
    }
    assert {e.shift: e.images for e in read_evidence(RunFolder(path=run[0]))} == expected
    assert len(set(expected.values())) == 3


def test_the_plan_holds_every_rule_in_full(run: tuple[Path, Result], home: Path) -> None:
    plan = plan_of(run[0])
    assert plan["rules"] == list(RULES)
    assert list(plan["shifts"]) == ["gaussian_noise-1to2x2", "weather"]  # JSON keys are sorted
    weather = plan["shifts"]["weather"]
    assert [(c["name"], c["severity"]) for c in weather["components"]] == [
        ("brightness", 1),
        ("brightness", 2),
        ("contrast", 1),
        ("contrast", 2),
    ]
    assert plan["shifts"]["gaussian_noise-1to2x2"]["draws"] == 2
    kept = sum(
        1 for name in ("red", "green", "yellow") for _ in (home / "field/site" / name).iterdir()
    )
    assert plan["fields"]["site"]["images"] == kept
    assert plan["fields"]["site"]["classes"] == ["r", "g", "y"]
    assert plan["fields"]["depot"]["images"] == 150
    assert plan["fields"]["depot"]["classes"] is None
    assert str(home) not in (run[0] / "plan.lock").read_text()


def test_field_folders_are_told_with_their_numbers(run: tuple[Path, Result]) -> None:
    said = run[1].stderr
    assert re.search(r"rule site: \d{3} images of 3 of the 4 classes\n", said), said
    assert "rule depot: 150 images without labels\n" in said


def test_what_the_gate_spent_is_told_by_kind_of_work(run: tuple[Path, Result]) -> None:
    folder, result = run
    told = re.findall(
        r"ratio (0\.\d0): accepted \(dense saw ([\d,]+) images, candidate ([\d,]+), in \d+\.\d s: "
        r"load (\d+)%, shift (\d+)%, infer (\d+)%\)",
        result.stderr,
    )
    report = json.loads((folder / "report.json").read_text())
    (site,) = (cell["n"] for cell in report["steps"][0]["cells"] if cell["shift"] == "site")
    images = 600 + 2 * 600 + site + 150  # two draws of the noise
    assert [(ratio, dense, seen) for ratio, dense, seen, *_ in told] == [
        ("0.20", f"{images:,}", f"{images:,}"),
        ("0.40", "0", f"{images:,}"),
    ]
    assert report["forward_passes"] == {"dense": images, "candidates": 2 * images}
    assert all(98 <= sum(map(int, shares)) <= 102 for _, _, _, *shares in told)
    seconds = report["seconds"]
    parts = [seconds[f"gate: {work}"] for work in ("load", "shift", "infer")]
    assert all(part > 0.0 for part in parts)
    assert sum(parts) < seconds["gate"]


def test_a_finished_run_given_again_measures_nothing_and_changes_nothing(
    run: tuple[Path, Result],
    home: Path,
    command: Command,
    compress: Compress,
    tmp_path: Path,
) -> None:
    again = Path(shutil.copytree(run[0], tmp_path / "run"))
    lasting = [again / name for name in ("plan.lock", "evidence.jsonl", "dense.onnx", "model.onnx")]
    lasting += [path for path in again.glob("[ac]*/*/*") if path.is_file()]
    before = {path: path.read_bytes() for path in lasting}
    result = compress(*command(again, policy="mixed", home=home))
    assert result.exit_code == 0, result.output
    assert {path: path.read_bytes() for path in lasting} == before
    assert "ratio 0.40: accepted\n" in result.stderr
    report = json.loads((again / "report.json").read_text())
    assert report["forward_passes"] == {"dense": 0, "candidates": 0}
    seconds = report["seconds"]
    assert [seconds[f"gate: {work}"] for work in ("load", "shift", "infer")] == [0.0, 0.0, 0.0]


@pytest.fixture
def own(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one's own, to be spoilt; elsewhere than the run, for its cache may grow."""
    return Path(shutil.copytree(home, tmp_path_factory.mktemp("own") / "project"))


def test_each_model_is_asked_once_for_each_rule(
    run: tuple[Path, Result],
    own: Path,
    command: Command,
    compress: Compress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = Path(shutil.copytree(run[0], tmp_path / "run"))
    before = {path: path.read_bytes() for path in again.glob("answers/*/*")}
    shutil.rmtree(again / "answers")
    shutil.rmtree(own / ".compress-cache" / "answers")
    (again / "evidence.jsonl").unlink()
    spies = [Mock(wraps=labelled_answers), Mock(wraps=unlabelled_answers)]
    for name, spy in zip(("labelled_answers", "unlabelled_answers"), spies, strict=True):
        monkeypatch.setattr(f"compressor.answers.{name}", spy)
    result = compress(*command(again, policy="mixed", home=own))
    assert result.exit_code == 0, result.output
    assert [spy.call_count for spy in spies] == [3 * 3, 3]  # the dense model and two candidates
    assert {path: path.read_bytes() for path in again.glob("answers/*/*")} == before
    assert (again / "evidence.jsonl").read_bytes() == (run[0] / "evidence.jsonl").read_bytes()


def test_other_field_images_are_another_plan(
    run: tuple[Path, Result], own: Path, command: Command, compress: Compress, tmp_path: Path
) -> None:
    again = Path(shutil.copytree(run[0], tmp_path / "run"))
    (own / "field" / "depot" / "day 0" / "0.png").unlink()
    result = compress(*command(again, policy="mixed", home=own))
    assert result.exit_code == 2
    assert "belongs to another job: fields.depot.digest was" in result.stderr
    assert "fields.depot.images was 150 and is 149" in result.stderr


def test_another_strength_is_another_plan(
    run: tuple[Path, Result],
    home: Path,
    command: Command,
    compress: Compress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a later version of the tables, or of a bank, would be."""
    again = Path(shutil.copytree(run[0], tmp_path / "run"))
    monkeypatch.setattr(
        "compressor.distributions.definition",
        lambda *args, **kwargs: {**definition(*args, **kwargs), "bank": 7},
    )
    result = compress(*command(again, policy="mixed", home=home))
    assert result.exit_code == 2
    assert "shifts.weather.bank was null and is 7" in result.stderr


@pytest.mark.parametrize("rule, place", [("site", "site/red"), ("depot", "depot/day 1")])
def test_a_field_image_that_was_trained_on_is_refused(
    own: Path,
    refused: Callable[..., str],
    command: Command,
    tmp_path: Path,
    images: Draw,
    rule: str,
    place: str,
) -> None:
    save(images(1000, seed=1)[0][17], own / "field" / place / "known.png")
    said = refused(command(tmp_path / "run", policy="mixed", home=own), code=2)
    assert re.search(
        rf"1 of \d+ images of rule {rule} are training images too, pixel by pixel \(in rule "
        rf"{rule}: .*known\.png\); remove them there or from data\.train",
        said,
    )


def test_too_few_field_images_are_told_with_their_numbers_and_leave_nothing(
    own: Path, refused: Callable[..., str], command: Command, tmp_path: Path
) -> None:
    text = (own / "mixed.yaml").read_text().replace("min_images: 100", "min_images: 5_000")
    (own / "mixed.yaml").write_text(text.replace("min_images: 200", "min_images: 400"))
    said = refused(command(tmp_path / "run", policy="mixed", home=own), code=4)
    assert re.search(
        r"undecided: the folder of rule site has \d+ images, and the policy mixed asks for at "
        r"least 400, \d+ more; the folder of rule depot has 150 images, and the policy mixed asks "
        r"for at least 5,000, 4,850 more; add images, or choose another policy\n$",
        said,
    ), said
    assert "data.gate has" not in said.splitlines()[-1]


def test_too_few_images_of_an_advisory_folder_are_no_hindrance(
    own: Path, command: Command, compress: Compress, tmp_path: Path
) -> None:
    text = (own / "mixed.yaml").read_text()
    (own / "mixed.yaml").write_text(
        text.replace("min_images: 100", "min_images: 5_000\n    enforced: false")
    )
    result = compress(*command(tmp_path / "run", "search.ratios=[0.2]", policy="mixed", home=own))
    assert result.exit_code == 0, result.output


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda field: shutil.rmtree(field / "depot"), r"rule depot: no folder .*depot;"),
    "no images": (
        lambda field: list(map(shutil.rmtree, field.glob("depot/*"))),
        r"rule depot: no images in .*depot; allowed are",
    ),
    "unreadable": (
        lambda field: (field / "depot" / "day 0" / "0.png").write_bytes(b"no image"),
        r"rule depot: cannot decode .*0\.png",
    ),
    "no mapping": (
        lambda field: (field / "classes.yaml").unlink(),
        r"rule site: cannot read .*classes\.yaml: No such file",
    ),
    "another class": (
        lambda field: (field / "classes.yaml").write_text("red: r\nfence: null\nyellow: y\n"),
        r"rule site: the class folders green of .* are no classes of the model \(r, g, b, y\)",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_field_folder_that_cannot_be_used_is_explained_and_leaves_nothing(
    own: Path, refused: Callable[..., str], command: Command, tmp_path: Path, how: str
) -> None:
    spoil, told = SPOILT[how]
    spoil(own / "field")
    said = refused(command(tmp_path / "run", policy="mixed", home=own), code=2)
    assert re.search(told, said), said
