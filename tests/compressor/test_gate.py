"""What the gate looks at, in which order, and where it stops."""

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compressor.answers import Model
from compressor.files import sha256_of
from compressor.gate import REHEARSAL_IMAGES, Observed, Passes, Spent, describe, observe, rehearse
from compressor.runs import read_answers, read_evidence, write_evidence
from compressor.terminal import Silent
from compressor.trial import GATE_BATCH
from gates import Evidence, Outcome, judge_step
from gates.looks import reading_order
from gates.measure import Seconds
from policies import FolderRule, Method, Waiver
from tests.compressor.fake_trial import (
    CLASSES,
    DENSE,
    PRUNED,
    SEED,
    Killed,
    Stage,
    bare,
    drawn,
    late,
    policy,
    rule,
    staged,
)

COUNT = 1100
"""Images of the gate: looks at 275, 550, 825 and 1,100 of them, batches that end at 512 and 768."""

GATE = drawn(COUNT, seed=1)
TUNE = drawn(600, seed=2)

CLEAN, CONTRAST, BRIGHT = rule("clean"), rule("contrast"), rule("brightness")
DIM = rule("brightness", enforced=False)


def observed(stage: Stage, *before: Evidence) -> Observed:
    return observe(stage.trial, stage.subject, before=before, watch=Silent())


def measured(found: Observed) -> list[str]:
    return [item.shift for item in found.evidence]


def pair(stage: Stage) -> tuple[Model, Model]:
    dense, subject = stage.trial.dense, stage.subject
    return (
        Model(file=dense, sha256=sha256_of(dense), cached=True),
        Model(file=subject.file, sha256=subject.sha256, cached=False),
    )


# Order.


@pytest.mark.parametrize("method", ["looks", "anytime"])
@pytest.mark.parametrize(
    ("tune", "order"),
    [
        ({"contrast-2": 0.3, "brightness-2": 0.1}, ["contrast-2", "brightness-2", "clean"]),
        ({"brightness-2": 0.3, "clean": 0.1}, ["brightness-2", "clean", "contrast-2"]),
        # All fail for certain, the p-value is 1: the drop tells them apart.
        (
            {"clean": 0.5, "brightness-2": 0.7, "contrast-2": 0.6},
            ["brightness-2", "contrast-2", "clean"],
        ),
        ({}, ["clean", "contrast-2", "brightness-2"]),
    ],
)
def test_what_the_tune_split_speaks_against_the_most_is_measured_first(
    tmp_path: Path, method: Method, tune: dict[str, float], order: list[str]
) -> None:
    drops = {f"tune/{name}": share for name, share in tune.items()}
    rules = policy(CLEAN, CONTRAST, BRIGHT, method=method)
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE, drops=drops)
    found = observed(stage)
    assert stage.order(model=PRUNED) == stage.order(model=DENSE) == order
    # Whatever was measured first, the evidence is in the policy's order.
    assert measured(found) == ["clean", "contrast-2", "brightness-2"]
    assert read_evidence(stage.trial.run) == found.evidence


def test_the_tolerance_counts_in_what_is_hardest(tmp_path: Path) -> None:
    lax = rule("contrast", tolerance=0.6)
    drops = {"tune/contrast-2": 0.3, "tune/brightness-2": 0.1}
    stage = staged(tmp_path, policy(lax, BRIGHT), gate=GATE, tune=TUNE, drops=drops)
    observed(stage)
    assert stage.order(model=PRUNED) == ["brightness-2", "contrast-2"]


@pytest.mark.parametrize("how", ["advisory", "waived"])
def test_rules_that_decide_come_before_those_that_do_not(tmp_path: Path, how: str) -> None:
    waiver = Waiver(shift="brightness-2", expires=dt.date.max, reason="r", approver="Ada")
    rules = policy(DIM, CLEAN) if how == "advisory" else policy(BRIGHT, CLEAN, waivers=[waiver])
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE, drops={"tune/brightness-2": 0.9})
    assert measured(observed(stage)) == ["brightness-2", "clean"]
    assert stage.order(model=PRUNED) == ["clean", "brightness-2"]


def test_rules_that_the_tune_split_says_nothing_about_come_last_of_those_that_decide(
    tmp_path: Path,
) -> None:
    cars = rule("contrast", only=("car",), id="cars", tolerance=0.5)
    depot = FolderRule(id="depot", folder="x", labels="none", tolerance=0.1, reason="because")
    stage = staged(
        tmp_path,
        policy(DIM, depot, cars, CLEAN),
        gate=GATE,
        tune=drawn(600, seed=2, known=CLASSES.index("car")),
        fields={"depot": bare(300, seed=3)},
    )
    observed(stage)
    asked = list(dict.fromkeys(shown.place for shown in stage.shown if shown.model == PRUNED))
    assert asked == [
        "tune/brightness-2", "tune/clean",
        "gate/clean", "depot/depot", "gate/cars", "gate/brightness-2",
    ]  # fmt: skip


def test_without_images_of_the_tune_split_the_policys_order_is_kept(tmp_path: Path) -> None:
    stage = staged(tmp_path, policy(DIM, CONTRAST, CLEAN), gate=GATE)
    observed(stage)
    assert stage.order(model=PRUNED) == ["brightness-2", "contrast-2", "clean"]


def test_a_fixed_sample_has_the_policys_order_and_no_rehearsal(tmp_path: Path) -> None:
    rules = policy(DIM, CLEAN, CONTRAST, method="fixed")
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE, drops={"tune/contrast-2": 0.9})
    observed(stage)
    assert stage.order(model=PRUNED) == ["brightness-2", "clean", "contrast-2"]
    assert stage.order(model=PRUNED, images="tune") == []
    assert stage.passes(PRUNED) == 3 * COUNT


# Rehearsal.


def test_a_rehearsal_is_of_a_few_images_and_is_not_repeated(tmp_path: Path) -> None:
    group = rule("contrast", only=("cat",), id="cats", tolerance=0.5)
    rules = policy(CONTRAST, rule("contrast", metric="brier"), group)
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE)
    observed(stage)
    asked = stage.rows(model=PRUNED, place="tune/contrast-2")
    order = reading_order(TUNE.ids, seed=SEED)[:REHEARSAL_IMAGES]
    assert np.concatenate(asked).tolist() == order.tolist()
    stage.shown.clear()
    write_evidence(stage.trial.run, [])
    observed(stage)
    assert stage.shown == []


def test_a_rehearsal_counts_what_the_models_do_on_the_tune_split(tmp_path: Path) -> None:
    stage = staged(tmp_path, policy(CLEAN), gate=GATE, tune=TUNE, drops={"tune/clean": 0.25})
    models = pair(stage)
    counts, spent = rehearse(stage.trial, models, CLEAN, tune=TUNE, images=100)
    assert counts is not None
    assert (counts.n, counts.drop) == (100, 0.25)
    # Whole batches are shown, and both models see them.
    assert spent.passes == Passes(dense=GATE_BATCH, candidates=GATE_BATCH)


def test_a_group_that_the_tune_split_lacks_is_not_rehearsed(tmp_path: Path) -> None:
    cars = rule("clean", only=("car",), id="cars")
    tune = drawn(600, seed=2, known=CLASSES.index("car"))
    stage = staged(tmp_path, policy(cars), gate=GATE, tune=tune)
    assert rehearse(stage.trial, pair(stage), cars, tune=tune) == (None, Spent())
    assert stage.shown == []


# Where it stops.


@pytest.mark.parametrize("method", ["looks", "anytime"])
def test_a_violation_of_a_deciding_rule_ends_the_measuring(tmp_path: Path, method: Method) -> None:
    drops = {"tune/contrast-2": 0.6, "gate/contrast-2": 0.6}
    rules = policy(CLEAN, CONTRAST, BRIGHT, method=method)
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE, drops=drops)
    found = observed(stage)
    assert stage.order(model=PRUNED) == ["contrast-2"]
    assert measured(found) == ["contrast-2"]
    step = judge_step(rules, found.evidence)
    assert step.outcome is Outcome.VIOLATED
    assert step.not_measured == ("clean", "brightness-2")
    # The first look shows it; no second is taken.
    first = 2 * GATE_BATCH if method == "looks" else GATE_BATCH
    assert len(np.concatenate(stage.rows(model=PRUNED, place="gate/contrast-2"))) == first


def test_a_violation_by_a_fixed_sample_leaves_nothing_unmeasured(tmp_path: Path) -> None:
    rules = policy(CONTRAST, CLEAN, method="fixed")
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE, drops={"gate/contrast-2": 0.9})
    assert measured(observed(stage)) == ["contrast-2", "clean"]


def test_a_violation_that_decides_nothing_ends_nothing(tmp_path: Path) -> None:
    waiver = Waiver(shift="contrast-2", expires=dt.date.max, reason="r", approver="Ada")
    rules = policy(CLEAN, CONTRAST, DIM, waivers=[waiver])
    drops = {"gate/contrast-2": 0.9, "tune/contrast-2": 0.9}
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE, drops=drops)
    found = observed(stage)
    assert stage.order(model=PRUNED) == ["clean", "contrast-2", "brightness-2"]
    assert judge_step(rules, found.evidence).outcome is Outcome.ACCEPTED


def test_an_undecided_rule_ends_nothing(tmp_path: Path) -> None:
    # Ten per cent of the images at a tolerance of ten: neither shown below nor above.
    rules = policy(CLEAN, CONTRAST)
    drops = {"gate/clean": 0.1, "tune/clean": 0.9}
    stage = staged(tmp_path, rules, gate=GATE, tune=TUNE, drops=drops)
    found = observed(stage)
    assert stage.order(model=PRUNED) == ["clean", "contrast-2"]
    assert judge_step(rules, found.evidence).outcome is Outcome.UNDECIDED
    assert [(item.look, item.counts.n) for item in found.evidence] == [(4, COUNT), (1, 275)]


# Looks.


@pytest.mark.parametrize(
    ("least", "look", "n", "batches"),
    [
        (1, 1, 275, [256, 256]),
        (276, 2, 550, [256, 256, 256]),
        (551, 3, 825, [256, 256, 256, 256]),
        (826, 4, 1100, [256, 256, 256, 256, 76]),
    ],
)
def test_from_look_to_look_only_new_images_are_shown_in_whole_batches(
    tmp_path: Path, least: int, look: int, n: int, batches: list[int]
) -> None:
    stage = staged(tmp_path, policy(rule("clean", min_images=least)), gate=GATE)
    (item,) = observed(stage).evidence
    assert (item.look, item.counts.n) == (look, n)
    for model in (DENSE, PRUNED):
        asked = stage.rows(model=model, place="gate/clean")
        assert [len(rows) for rows in asked] == batches
        order = reading_order(GATE.ids, seed=SEED)[: sum(batches)]
        assert np.concatenate(asked).tolist() == order.tolist()


def test_evidence_is_what_is_seen_up_to_its_look_although_more_was_measured(
    tmp_path: Path,
) -> None:
    """Of the 275 images of the first look exactly one in five is wrong, later ones all."""
    stage = staged(tmp_path, policy(rule("clean", tolerance=0.4)), gate=GATE,
                   drops={"gate/clean": 0.2})  # fmt: skip
    (item,) = observed(stage).evidence
    kept = read_answers(stage.trial.run.answers(item.candidate, "clean"))
    assert kept is not None and len(kept) == 2 * GATE_BATCH
    assert item.counts.n == 275
    assert item.counts.drop == np.count_nonzero(kept["rank"][:275]) / 275 == 0.2


def test_anytime_a_look_is_taken_after_every_batch(tmp_path: Path) -> None:
    rules = policy(rule("clean", min_images=700), method="anytime")
    stage = staged(tmp_path, rules, gate=GATE)
    (item,) = observed(stage).evidence
    assert (item.look, item.counts.n) == (3, 3 * GATE_BATCH)
    assert stage.passes(PRUNED) == 3 * GATE_BATCH


def test_looks_at_which_a_group_has_no_image_are_none(tmp_path: Path) -> None:
    gate = late(COUNT, label=CLASSES.index("car"), before=400, seed=1)
    cars = rule("clean", only=("car",), id="cars")
    stage = staged(tmp_path, policy(cars), gate=gate)
    (item,) = observed(stage).evidence
    assert (item.look, item.counts.n) == (2, 550 - 400)
    # Nor was anything shown for the first one alone: two batches would have done for it.
    assert stage.rows(model=PRUNED, place="gate/cars")[2:] != []


def test_a_rule_about_no_image_at_all_is_a_mistake(tmp_path: Path) -> None:
    cars = rule("clean", only=("car",), id="cars")
    gate = drawn(COUNT, seed=1, known=CLASSES.index("car"))
    stage = staged(tmp_path, policy(cars), gate=gate)
    with pytest.raises(ValueError, match="cars is about no image"):
        observed(stage)


# Sharing.


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_rules_that_differ_in_metric_or_group_alone_share_answers(
    tmp_path: Path, method: Method
) -> None:
    cats = rule("contrast", only=("cat",), id="cats", tolerance=0.5)
    rules = policy(CONTRAST, rule("contrast", metric="brier"), cats, CLEAN, method=method)
    stage = staged(tmp_path, rules, gate=GATE)
    found = observed(stage)
    assert measured(found) == ["contrast-2", "contrast-2-brier", "cats", "clean"]
    shown = {shown.place for shown in stage.shown}
    assert shown == {"gate/contrast-2", "gate/clean"}
    for model in (DENSE, PRUNED):
        asked = np.concatenate(stage.rows(model=model, place="gate/contrast-2"))
        assert len(set(asked.tolist())) == len(asked)
    files = sorted(path.stem for path in stage.trial.run.path.glob("answers/*/*"))
    assert files == ["clean", "clean", "contrast-2", "contrast-2"]
    assert found.spent.passes == Passes(dense=stage.passes(DENSE), candidates=stage.passes(PRUNED))


def test_a_rule_that_needs_more_continues_what_another_began(tmp_path: Path) -> None:
    brier = rule("contrast", metric="brier", min_images=600)
    stage = staged(tmp_path, policy(CONTRAST, brier), gate=GATE)
    found = observed(stage)
    assert [(item.look, item.counts.n) for item in found.evidence] == [(1, 275), (3, 825)]
    asked = stage.rows(model=PRUNED, place="gate/contrast-2")
    assert [len(rows) for rows in asked] == [256, 256, 256, 256]
    assert len(set(np.concatenate(asked).tolist())) == 1024


def test_draws_are_counted_in_what_was_spent(tmp_path: Path) -> None:
    noise = rule("gaussian_noise", draws=2, min_images=COUNT)
    stage = staged(tmp_path, policy(noise, method="fixed"), gate=GATE)
    assert observed(stage).spent.passes == Passes(dense=2 * COUNT, candidates=2 * COUNT)


# What an earlier invocation, or an earlier candidate, has found.


def test_evidence_that_is_there_is_taken_over(tmp_path: Path) -> None:
    stage = staged(tmp_path, policy(CLEAN, CONTRAST), gate=GATE, tune=TUNE)
    first = observed(stage)
    stage.shown.clear()
    for folder in ("answers", "cache"):
        for file in tmp_path.rglob(f"{folder}/**/*.npy"):
            file.unlink()
    again = observed(stage)
    assert again.evidence == first.evidence
    assert again.spent == Spent()
    assert stage.shown == []
    assert describe(again.spent) == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"candidate": "0" * 64},
        {"dense": "0" * 64},
        {"images": "0" * 64},
        {"name": "other.onnx"},
        {"position": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_evidence_about_anything_else_is_measured_anew(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    stage = staged(tmp_path, policy(CLEAN), gate=GATE)
    (honest,) = observed(stage).evidence
    (tmp_path / "run" / "answers").rename(tmp_path / "elsewhere")
    other = replace(honest, look=3, **changed)  # type: ignore[arg-type]  # fields by their names
    write_evidence(stage.trial.run, [other])
    stage.shown.clear()
    assert observed(stage).evidence == (honest,)
    assert stage.passes(PRUNED) == 2 * GATE_BATCH


def test_evidence_of_the_candidates_before_is_kept(tmp_path: Path) -> None:
    stage = staged(tmp_path, policy(CLEAN, CONTRAST), gate=GATE)
    (one, two) = observed(stage).evidence
    earlier = [replace(item, name="first.onnx", candidate="f" * 64) for item in (one, two)]
    stage.subject = replace(stage.subject, position=1)
    found = observed(stage, *earlier)
    assert read_evidence(stage.trial.run) == (*earlier, *found.evidence)


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_a_gate_killed_at_any_batch_goes_on_and_asks_for_nothing_that_is_there(
    tmp_path: Path, method: Method
) -> None:
    rules = policy(
        rule("clean", min_images=600), CONTRAST, rule("contrast", metric="brier"), method=method
    )
    drops = {"gate/clean": 0.02, "gate/contrast-2": 0.01, "tune/contrast-2": 0.1}
    make = _stages(
        tmp_path, lambda folder: staged(folder, rules, gate=GATE, tune=TUNE, drops=drops)
    )
    whole = make("whole")
    expected = observed(whole).evidence
    assert len(whole.shown) >= 10
    for batches in range(len(whole.shown)):
        stage = make(f"killed at {batches}")
        stage.batches = batches
        with pytest.raises(Killed):
            observed(stage)
        there = _rows_there(stage)
        stage.batches = math.inf
        stage.shown.clear()
        assert observed(stage).evidence == expected
        asked = {(s.model, s.place, row) for s in stage.shown for row in s.rows}
        assert not asked & there
        assert asked | there == _rows_there(stage) == _rows_there(whole)
        assert _files(stage) == _files(whole)


def _stages(folder: Path, make: Callable[[Path], Stage]) -> Callable[[str], Stage]:
    def made(name: str) -> Stage:
        (folder / name).mkdir()
        return make(folder / name)

    return made


def _rows_there(stage: Stage) -> set[tuple[str, str, int]]:
    """Model, place and row of every answer that is kept."""
    run, trial = stage.trial.run, stage.trial
    there: set[tuple[str, str, int]] = set()
    for model, file in ((DENSE, trial.dense), (PRUNED, stage.subject.file)):
        for kind, images, place in (("gate", GATE, run.answers), ("tune", TUNE, run.rehearsal)):
            order = reading_order(images.ids, seed=SEED)
            for name in ("clean", "contrast-2"):
                kept = read_answers(place(sha256_of(file), name))
                rows = order[: 0 if kept is None else len(kept)]
                there |= {(model, f"{kind}/{name}", row) for row in rows.tolist()}
    return there


def _files(stage: Stage) -> dict[str, bytes]:
    folder = stage.trial.run.path
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# Words.


def test_what_was_spent_is_told_with_the_images_of_either_model() -> None:
    spent = Spent(
        seconds=Seconds(load=1.0, shift=2.0, infer=1.0), passes=Passes(dense=1, candidates=2500)
    )
    assert describe(spent) == (
        " (dense saw 1 images, candidate 2,500, in 4.0 s: load 25%, shift 50%, infer 25%)"
    )
    assert describe(spent + spent).startswith(" (dense saw 2 images, candidate 5,000, in 8.0 s")
