"""Answers are measured once: kept in the run, continued, and those of the dense model for later."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compressor.answers import Model, Reading, judged_answers, rehearsed_answers
from compressor.files import sha256_of
from compressor.runs import RunError, RunFolder, read_answers
from compressor.trial import GATE_BATCH, Trial, looks
from gates.answers import ANSWER, UNLABELLED_ANSWER
from gates.looks import reading_order
from policies import FolderRule, Policy, Rule
from tests.compressor.fake_trial import (
    DENSE,
    PRUNED,
    SEED,
    Stage,
    bare,
    drawn,
    policy,
    rule,
    staged,
)

COUNT = 1100
GATE = drawn(COUNT, seed=1)
TUNE = drawn(600, seed=2)
ORDER = reading_order(GATE.ids, seed=SEED)

CONTRAST = rule("contrast")
DEPOT = FolderRule(id="depot", folder="x", labels="none", tolerance=0.1, reason="because")

WRONG = {"gate/contrast-2": 0.25}


def model_of(trial: Trial, name: str) -> Model:
    file = trial.dense.with_name(name)
    return Model(file=file, sha256=sha256_of(file), cached=name == DENSE)


def read(stage: Stage, name: str, *, count: int, of: Rule = CONTRAST) -> Reading:
    return judged_answers(stage.trial, model_of(stage.trial, name), of, count=count)


def in_another_run(stage: Stage, name: str, **changed: object) -> Stage:
    """The same project, some time later: another run folder, and perhaps other terms."""
    run = RunFolder(path=stage.trial.run.path.with_name(name))
    stage.trial = replace(stage.trial, run=run, **changed)  # type: ignore[arg-type]  # by name
    stage.shown.clear()
    return stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return staged(tmp_path, policy(CONTRAST), gate=GATE, tune=TUNE, drops=WRONG, dense_drops=WRONG)


# In the run.


def test_answers_are_those_of_the_rows_in_the_order_in_which_images_are_read(stage: Stage) -> None:
    found = read(stage, PRUNED, count=COUNT).answers
    assert (found.dtype, found.shape) == (ANSWER, (COUNT, 1))
    assert found["label"][:, 0].tolist() == GATE.labels[ORDER].tolist()
    # Wrong on every fourth image that is read.
    assert found["rank"][:, 0].astype(bool).tolist() == [k % 4 == 3 for k in range(COUNT)]


@pytest.mark.parametrize(
    ("counts", "batches"),
    [
        ([1], [256]),
        ([256], [256]),
        ([257], [256, 256]),
        ([100, 200, 256], [256]),
        ([275, 550, 825, 1100], [256, 256, 256, 256, 76]),
        ([1100, 275], [256, 256, 256, 256, 76]),
    ],
    ids=str,
)
def test_as_many_as_are_asked_for_in_whole_batches_and_each_once(
    stage: Stage, counts: Sequence[int], batches: Sequence[int]
) -> None:
    passes = 0
    for count in counts:
        reading = read(stage, PRUNED, count=count)
        assert len(reading.answers) >= count
        passes += reading.passes
    asked = stage.rows(model=PRUNED, place="gate/contrast-2")
    assert [len(rows) for rows in asked] == batches
    assert np.concatenate(asked).tolist() == ORDER[: sum(batches)].tolist()
    assert passes == sum(batches)


@pytest.mark.parametrize("name", [DENSE, PRUNED])
def test_answers_that_were_measured_in_parts_are_those_measured_at_once(
    stage: Stage, tmp_path: Path, name: str
) -> None:
    for count in (10, 300, 600, COUNT):
        read(stage, name, count=count)
    (tmp_path / "other").mkdir()
    other = staged(tmp_path / "other", policy(CONTRAST), gate=GATE, drops=WRONG, dense_drops=WRONG)
    read(other, name, count=COUNT)
    assert _kept(stage, name) == _kept(other, name)


def test_draws_of_an_image_are_side_by_side_and_all_are_counted(tmp_path: Path) -> None:
    noise = rule("gaussian_noise", draws=3)
    stage = staged(tmp_path, policy(noise), gate=GATE)
    reading = read(stage, PRUNED, count=300, of=noise)
    assert reading.answers.shape == (512, 3)
    assert reading.passes == 3 * 512
    assert (reading.answers["label"] == GATE.labels[ORDER[:512], None]).all()


def test_of_images_without_labels_there_are_answers_without(tmp_path: Path) -> None:
    images = bare(300, seed=3)
    stage = staged(tmp_path, policy(CONTRAST, DEPOT), gate=GATE, fields={"depot": images})
    found = read(stage, PRUNED, count=300, of=DEPOT).answers
    assert (found.dtype, found.shape) == (UNLABELLED_ANSWER, (300,))
    asked = np.concatenate(stage.rows(model=PRUNED, place="depot/depot"))
    assert asked.tolist() == reading_order(images.ids, seed=SEED).tolist()


def test_a_file_that_was_made_again_inherits_no_answers(stage: Stage) -> None:
    read(stage, PRUNED, count=300)
    stage.subject.file.write_text("another network\n")
    assert read(stage, PRUNED, count=300).passes == 512


def test_damaged_answers_are_told_and_not_counted(stage: Stage) -> None:
    read(stage, PRUNED, count=300)
    (place,) = stage.trial.run.path.glob("answers/*/*")
    place.write_bytes(place.read_bytes()[:-7])
    with pytest.raises(RunError, match=r"contrast-2\.npy is damaged .*; delete it, and it is"):
        read(stage, PRUNED, count=300)
    place.unlink()
    assert read(stage, PRUNED, count=300).passes == 512


def test_a_rehearsal_is_of_other_images_and_kept_apart(stage: Stage) -> None:
    model = model_of(stage.trial, DENSE)
    reading = rehearsed_answers(stage.trial, model, CONTRAST, tune=TUNE, count=300)
    assert len(reading.answers) == 512
    assert stage.rows(model=DENSE, place="gate/contrast-2") == []
    read(stage, DENSE, count=300)
    assert len(stage.rows(model=DENSE, place="gate/contrast-2")) == 2
    again = rehearsed_answers(stage.trial, model, CONTRAST, tune=TUNE, count=300)
    assert again.passes == 0
    assert again.answers.tobytes() == reading.answers.tobytes()
    # Only what is about the gate's images is kept for later runs.
    assert len(list(stage.trial.cache.rglob("*.npy"))) == 1


# For later runs.


@pytest.mark.parametrize(
    ("before", "now", "passes"),
    [
        (COUNT, COUNT, 0),
        (COUNT, 300, 0),
        (COUNT, 1, 0),
        (300, 300, 0),
        (300, 600, 256),
        (300, COUNT, COUNT - 512),
    ],
)
def test_a_later_run_has_what_it_would_have_measured_from_the_cache_byte_for_byte(
    stage: Stage, tmp_path: Path, before: int, now: int, passes: int
) -> None:
    read(stage, DENSE, count=before)
    later = in_another_run(stage, "later")
    found = read(later, DENSE, count=now)
    assert (found.passes, later.passes(DENSE)) == (passes, passes)
    (tmp_path / "cold").mkdir()
    cold = staged(tmp_path / "cold", policy(CONTRAST), gate=GATE, dense_drops=WRONG)
    read(cold, DENSE, count=now)
    assert _kept(later, DENSE) == _kept(cold, DENSE)
    assert len(found.answers) == min(COUNT, -(-now // GATE_BATCH) * GATE_BATCH)


def test_a_later_run_leaves_the_longer_answers_in_the_cache(stage: Stage) -> None:
    read(stage, DENSE, count=600)
    read(in_another_run(stage, "shorter"), DENSE, count=10)
    read(in_another_run(stage, "longer"), DENSE, count=900)
    assert read(in_another_run(stage, "last"), DENSE, count=900).passes == 0
    assert len(list(stage.trial.cache.rglob("*.npy"))) == 1


def test_a_run_that_goes_on_takes_what_another_has_measured_since(stage: Stage) -> None:
    read(stage, DENSE, count=10)
    first = stage.trial
    read(in_another_run(stage, "other"), DENSE, count=COUNT)
    stage.trial = first
    assert read(stage, DENSE, count=600).passes == 0


def test_candidates_neither_read_the_cache_nor_fill_it(stage: Stage) -> None:
    read(stage, PRUNED, count=300)
    assert not stage.trial.cache.exists()
    assert read(in_another_run(stage, "later"), PRUNED, count=300).passes == 512


def test_what_a_file_says_of_itself_does_not_matter_to_the_cache(stage: Stage) -> None:
    """Each run stamps its own plan on the dense model, which is then another file."""
    read(stage, DENSE, count=300)
    with stage.trial.dense.open("a") as file:
        file.write("another plan\n")
    assert read(in_another_run(stage, "later"), DENSE, count=300).passes == 0


def _relabelled(stage: Stage) -> Mapping[str, object]:
    labels = (GATE.labels + 1) % 3
    return {"judged": lambda rule: replace(GATE, labels=labels, digest="others")}


def _profile(stage: Stage) -> Mapping[str, object]:
    return {"policy": stage.trial.policy.model_copy(update={"profile": "tiny-imagenet-c"})}


CHANGES: Mapping[str, Callable[[Stage], Mapping[str, object]]] = {
    "another network": lambda _: {"network": lambda path: f"other {path}"},
    "other images": _relabelled,
    "another seed": lambda _: {"seed": SEED + 1},
    "another table of shifts": _profile,
    "other conditions": lambda _: {"conditions": {"provider": "none", "preprocessing": [0.5]}},
}


@pytest.mark.parametrize("how", CHANGES)
def test_under_other_terms_the_cache_is_not_read(stage: Stage, how: str) -> None:
    read(stage, DENSE, count=300)
    changed = CHANGES[how](stage)
    shown: list[int] = []

    def opened(path: Path) -> Callable[..., np.ndarray]:
        def predict(images: np.ndarray, /) -> np.ndarray:
            shown.append(len(images))
            return np.zeros((len(images), 3), dtype=np.float32)

        return predict

    later = in_another_run(stage, "later", open=opened, **changed)
    assert read(later, DENSE, count=300).passes == sum(shown) == 512
    assert len(list(stage.trial.cache.rglob("*.npy"))) == 2


@pytest.mark.parametrize("other", ["severity", "draws", "save_jpeg", "name"])
def test_another_distribution_is_never_read_from_the_cache(tmp_path: Path, other: str) -> None:
    value: object = {"severity": 3, "draws": 2, "save_jpeg": 50, "name": "fog"}[other]
    noise = rule("gaussian_noise", id="a")
    second = rule(**{"name": "gaussian_noise", "id": "b", other: value})  # type: ignore[arg-type]  # by name
    for item in (noise, second):
        stage = staged(tmp_path, policy(item), gate=GATE)
        assert read(stage, DENSE, count=300, of=item).passes == 512 * item.draws
    for item in (noise, second):
        stage = in_another_run(staged(tmp_path, policy(item), gate=GATE), f"later {item.id}")
        assert read(stage, DENSE, count=300, of=item).passes == 0


def test_a_rule_by_another_name_is_read_from_the_cache_all_the_same(tmp_path: Path) -> None:
    """What is asked counts, not what it is called."""
    stage = staged(tmp_path, policy(CONTRAST), gate=GATE)
    read(stage, DENSE, count=300)
    renamed = rule("contrast", id="night", metric="brier", tolerance=0.2)
    stage = in_another_run(stage, "later", policy=policy(renamed))
    assert read(stage, DENSE, count=300, of=renamed).passes == 0


def test_a_damaged_cache_is_told_with_its_place(stage: Stage) -> None:
    read(stage, DENSE, count=300)
    (file,) = stage.trial.cache.rglob("*.npy")
    file.write_bytes(b"no answers")
    with pytest.raises(RunError, match=rf"{file.name} is damaged .*; delete it, and it is"):
        read(in_another_run(stage, "later"), DENSE, count=300)


def test_looks_are_told_for_each_set_of_images() -> None:
    rules: Policy = policy(CONTRAST, DEPOT, rule("clean"))
    images = {"depot": bare(300, seed=3)}
    found = looks(rules, lambda rule: images.get(rule.id, GATE))
    assert found == {"gate": [275, 550, 825, 1100], "depot": [75, 150, 225, 300]}


def _kept(stage: Stage, name: str) -> bytes:
    place = stage.trial.run.answers(sha256_of(stage.trial.dense.with_name(name)), "contrast-2")
    assert read_answers(place) is not None
    return place.read_bytes()
