"""The pictures of a run are what the models saw, and the answers beside them what they said."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from compressor import samples as samples_module
from compressor.data import ImageSet
from compressor.distributions import distribution_of
from compressor.gate import observe
from compressor.report import step_fields, verdict_fields
from compressor.report_schema import Report
from compressor.runs import read_answers
from compressor.samples import PER_RULE, keep_samples
from compressor.samples_file import SAMPLES, Sample, Samples
from compressor.terminal import Silent
from gates import judge
from gates.looks import reading_order
from gates.shifts import sample as shifted
from policies import FolderRule, Policy
from tests.compressor.fake_trial import CLASSES, SEED, Stage, bare, drawn, policy, rule, staged

GATE = drawn(600, seed=1)
CLEAN, NOISE = rule("clean"), rule("gaussian_noise", draws=3)
FIELD = FolderRule(id="tunnel", folder="tunnel", labels="none", tolerance=0.5, reason="because")
STREAM = bare(300, seed=5)


def report_of(stage: Stage) -> Report:
    """What a run on the stage would report."""
    seen = observe(stage.trial, stage.subject, before=(), watch=Silent())
    rules = stage.trial.policy
    verdict = judge(rules, seen.evidence)
    unknown = dict.fromkeys(("macs", "tune_accuracy", "self_test_difference", "parity"))
    own = {"file": "model.onnx", "params": 1, "size_bytes": 1, "precision": "fp32", "epochs": []}
    return Report(
        job="gate",
        **verdict_fields(rules, verdict),
        plan_digest="",
        artifact_sha256=None,
        ladder_end=None,
        dense={"source": "", "sha256": "", "params": 1, "macs": None, "size_bytes": 1}
        | {"tune_accuracy": None},
        steps=[{**step_fields(rules, step), **own, **unknown} for step in verdict.steps],
        left_alone=[],
        latency=[],
        forward_passes={"dense": 0, "candidates": 0},
        provider="",
        versions={},
        command="",
        seconds={},
    )


def kept(stage: Stage) -> Samples:
    found = keep_samples(stage.trial, report_of(stage))
    assert found is not None
    written = (stage.trial.run.path / SAMPLES).read_bytes()
    assert Samples.model_validate_json(written) == found
    return found


def pixels_of(one: Sample) -> NDArray[np.uint8]:
    """The pixels [c h w] of a picture."""
    content = base64.b64decode(one.picture.partition(",")[2])
    return np.moveaxis(np.asarray(Image.open(io.BytesIO(content))), -1, 0)


def stage_at(folder: Path, rules: Policy, **drops: float) -> Stage:
    """A pruned model that is wrong on these shares of the images, a dense one that is not."""
    places = {f"gate/{name.replace('__', '-')}": drop for name, drop in drops.items()}
    return staged(
        folder,
        rules,
        gate=GATE,
        fields={"tunnel": STREAM},
        drops=places | {"tunnel/tunnel": 0.1},
    )


def test_a_picture_is_what_the_models_saw_and_the_answers_are_theirs(tmp_path: Path) -> None:
    rules = policy(CLEAN, NOISE, FIELD, method="fixed")
    stage = stage_at(tmp_path, rules, clean=0.02, gaussian_noise__2x3=0.03)
    found = kept(stage)
    assert [item.shift for item in found.shifts] == ["clean", "gaussian_noise-2x3", "tunnel"]
    for item in found.shifts:
        images = STREAM if item.shift == "tunnel" else GATE
        rule_of = next(r for r in rules.shifts if r.id == item.shift)
        order = reading_order(images.ids, seed=SEED).tolist()
        answers = [
            read_answers(stage.trial.run.answers(sha, item.shift))
            for sha in (found.dense, found.candidate)
        ]
        assert len(item.samples) == PER_RULE
        for one in item.samples:
            row = int(one.image)
            seen = images.images[row : row + 1]
            if isinstance(images, ImageSet):
                seen = shifted(
                    seen, images.ids[row : row + 1], distribution=distribution_of(rule_of),
                    seed=SEED, draw=one.draw,
                )  # fmt: skip
                assert one.label == CLASSES[images.labels[row]]
            else:
                assert one.label is None
            assert np.array_equal(pixels_of(one), seen[0])
            place = (order.index(row), one.draw)
            for told, confidence, all_answers in zip(
                (one.dense, one.pruned),
                (one.dense_confidence, one.pruned_confidence),
                answers,
                strict=True,
            ):
                assert all_answers is not None
                answer = all_answers.reshape(len(all_answers), -1)[place]
                assert told == CLASSES[answer["predicted"]]
                assert confidence == pytest.approx(float(answer["confidence"]))


def test_how_many_answers_differ_is_counted_on_all_that_the_cell_was_decided_on(
    tmp_path: Path,
) -> None:
    found = kept(stage_at(tmp_path, policy(CLEAN, NOISE, method="fixed"), clean=0.02))
    clean, noise = found.shifts
    assert (clean.answers, clean.different) == (600, 12)
    assert (noise.answers, noise.different) == (1800, 0)


def test_what_was_lost_comes_first_then_what_was_gained(tmp_path: Path) -> None:
    stage = staged(
        tmp_path,
        policy(CLEAN, method="fixed"),
        gate=GATE,
        drops={"gate/clean": 0.05},
        dense_drops={"gate/clean": 0.03},
    )
    chosen = kept(stage).shifts[0].samples
    right = [(one.dense == one.label, one.pruned == one.label) for one in chosen]
    assert right == [(True, False)] * 2 + [(False, True)] * 2
    assert len({one.image for one in chosen}) == PER_RULE


def test_where_nothing_differs_one_image_shows_the_shift(tmp_path: Path) -> None:
    found = kept(stage_at(tmp_path, policy(rule("contrast"), method="fixed")))
    (only,) = found.shifts[0].samples
    assert not only.differs
    assert only.dense == only.pruned == only.label


def test_of_rules_that_share_their_answers_the_first_has_the_pictures(tmp_path: Path) -> None:
    rules = policy(CLEAN, rule("clean", id="cats", only=("cat",)), method="fixed")
    found = kept(stage_at(tmp_path, rules, clean=0.1))
    assert [item.shift for item in found.shifts] == ["clean"]


def test_a_rule_about_some_classes_shows_images_of_these(tmp_path: Path) -> None:
    rules = policy(rule("contrast", id="cats", only=("cat",)), method="fixed")
    found = kept(staged(tmp_path, rules, gate=GATE, drops={"gate/cats": 0.2}))
    assert {one.label for one in found.shifts[0].samples} == {"cat"}


def test_the_file_stays_small_and_every_shift_gets_a_picture_before_any_gets_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples_module, "BYTES", 900)  # of 8 x 8 pixels of noise four fit
    rules = policy(CLEAN, rule("contrast"), rule("brightness"), method="fixed")
    drops = {"clean": 0.05, "contrast__2": 0.05, "brightness__2": 0.05}
    counts = [len(item.samples) for item in kept(stage_at(tmp_path, rules, **drops)).shifts]
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1
    assert sum(counts) < 3 * PER_RULE


def test_an_earlier_choice_of_the_same_answers_is_taken_over(tmp_path: Path) -> None:
    stage = stage_at(tmp_path, policy(CLEAN, method="fixed"), clean=0.05)
    first = kept(stage)
    file = stage.trial.run.path / SAMPLES
    before = file.stat().st_mtime_ns, file.stat().st_ino
    assert kept(stage) == first
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    stage = stage_at(tmp_path, policy(CLEAN, method="fixed"), clean=0.05)
    first = kept(stage)
    (stage.trial.run.path / SAMPLES).write_text('{"schema_version": 1')
    assert kept(stage) == first


def test_where_nothing_was_judged_an_earlier_choice_goes(tmp_path: Path) -> None:
    stage = stage_at(tmp_path, policy(CLEAN, method="fixed"), clean=0.05)
    report = report_of(stage)
    keep_samples(stage.trial, report)
    nothing = report.model_copy(update={"steps": [], "accepted_position": None})
    assert keep_samples(stage.trial, nothing) is None
    assert not (stage.trial.run.path / SAMPLES).exists()


@pytest.mark.parametrize(
    ("shape", "kind", "size"),
    [
        ((3, 32, 32), "png", (32, 32)),
        ((1, 28, 28), "png", (28, 28)),
        ((3, 224, 224), "jpeg", (96, 96)),
        ((1, 64, 128), "jpeg", (96, 48)),
    ],
)
def test_a_large_image_is_shown_smaller_and_a_small_one_exactly(
    shape: tuple[int, int, int], kind: str, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    found, content = samples_module._encoded(pixels)
    picture = Image.open(io.BytesIO(content))
    assert (found, picture.size) == (kind, size)
    assert len(content) < 10_000
    if kind == "png":
        flat = np.asarray(picture)
        assert np.array_equal(flat if shape[0] == 1 else np.moveaxis(flat, -1, 0), pixels.squeeze())
