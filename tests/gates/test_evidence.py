"""Counts of images, and the rates that follow from them."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydantic import TypeAdapter

from gates import (
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    PairedCounts,
    ScoreCounts,
    flips,
    paired,
    paired_draws,
)
from gates.counts import STEPS

COUNTS = PairedCounts(both_right=70, only_dense=12, only_pruned=8, both_wrong=10)
DRAWS = DrawCounts(
    draws=2, differences=(1, 2, 12, 4, 1), dense_right=22, pruned_right=20, discordant=14
)
"""20 images: of the 12 whose net is 0, two have draws that cancel."""
FLIPS = FlipCounts(same=97, flipped=3)
SCORES = ScoreCounts(growths=((-STEPS // 4, 2), (0, 6), (STEPS // 2, 2)), dense_steps=2 * STEPS)
NOTHING = (
    PairedCounts(both_right=0, only_dense=0, only_pruned=0, both_wrong=0),
    DrawCounts(draws=2, differences=(0,) * 5, dense_right=0, pruned_right=0, discordant=0),
    FlipCounts(same=0, flipped=0),
    ScoreCounts(growths=(), dense_steps=0),
)
RATES = {
    "drop", "discordance", "dense_accuracy", "pruned_accuracy", "dense_score", "pruned_score",
}  # fmt: skip

Answers = NDArray[np.bool_]

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=50)
SHAPES = st.tuples(st.integers(0, 30), st.integers(2, 5))
DRAWN = SHAPES.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def test_rates_follow_from_the_counts() -> None:
    assert COUNTS.n == 100
    assert COUNTS.drop == pytest.approx(0.04)
    assert COUNTS.discordance == pytest.approx(0.20)
    assert COUNTS.dense_accuracy == pytest.approx(0.82)
    assert COUNTS.pruned_accuracy == pytest.approx(0.78)


def test_rates_of_draws_follow_from_the_counts() -> None:
    assert DRAWS.n == 20
    assert DRAWS.drop == pytest.approx(2 / 40)
    assert DRAWS.discordance == pytest.approx(14 / 40)
    assert DRAWS.dense_accuracy == pytest.approx(22 / 40)
    assert DRAWS.pruned_accuracy == pytest.approx(20 / 40)


def test_without_labels_the_flip_rate_stands_for_the_drop() -> None:
    assert FLIPS.n == 100
    assert FLIPS.drop == pytest.approx(0.03)


@pytest.mark.parametrize("nothing", NOTHING, ids=lambda counts: type(counts).__name__)
def test_no_images_have_no_rate(nothing: Counts) -> None:
    assert nothing.n == 0
    for rate in RATES & set(dir(nothing)):
        with pytest.raises(ValueError, match="no images were counted"):
            getattr(nothing, rate)


@pytest.mark.parametrize(
    ("counts", "field"),
    [(COUNTS, "only_dense"), (DRAWS, "discordant"), (FLIPS, "flipped"), (SCORES, "dense_steps")],
)
def test_counts_are_not_negative(counts: Any, field: str) -> None:  # noqa: ANN401 # any kind
    with pytest.raises(ValueError, match="cannot be negative"):
        replace(counts, **{field: -1})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"draws": 3}, "3 draws with 5 differences", id="other-number-of-draws"),
        pytest.param({"draws": 1, "differences": (2, 12, 4)}, "two or more", id="one-draw"),
        pytest.param({"dense_right": 23}, "do not differ by 2", id="other-accuracies"),
        pytest.param({"discordant": 13}, "that many discordant", id="odd-number-of-cancelling"),
        pytest.param({"discordant": 8}, "that many discordant", id="fewer-than-the-nets-have"),
        pytest.param({"discordant": 36}, "that many discordant", id="more-than-can-cancel"),
        pytest.param(
            {"dense_right": 3, "pruned_right": 1}, "that many discordant", id="both-right-below-0"
        ),
        pytest.param(
            {"dense_right": 38, "pruned_right": 36}, "that many discordant", id="both-wrong-below-0"
        ),
    ],
)
def test_counts_of_draws_that_no_images_can_have_are_refused(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(DRAWS, **change)


@given(ANSWERS)
def test_paired_counts_each_image_once(answers: list[tuple[bool, bool]]) -> None:
    dense = np.array([d for d, _ in answers], dtype=bool)
    pruned = np.array([p for _, p in answers], dtype=bool)
    assert paired(dense, pruned) == PairedCounts(
        both_right=answers.count((True, True)),
        only_dense=answers.count((True, False)),
        only_pruned=answers.count((False, True)),
        both_wrong=answers.count((False, False)),
    )


@given(ANSWERS, ANSWERS)
def test_counts_of_two_sets_add_up(
    first: list[tuple[bool, bool]], second: list[tuple[bool, bool]]
) -> None:
    def counts(answers: list[tuple[bool, bool]]) -> PairedCounts:
        right = np.array(answers, dtype=bool).reshape(-1, 2)
        return paired(right[:, 0], right[:, 1])

    assert counts(first) + counts(second) == counts(first + second)


@given(DRAWN)
def test_draws_count_each_image_once_by_its_net(answers: tuple[Answers, Answers]) -> None:
    dense, pruned = answers
    counts = paired_draws(dense, pruned)
    nets = Counter((dense.astype(int) - pruned.astype(int)).sum(axis=1).tolist())
    assert dict(zip(counts.nets, counts.differences, strict=True)) == {
        net: nets[net] for net in range(-dense.shape[1], dense.shape[1] + 1)
    }
    assert counts.n == len(dense)


@given(DRAWN)
def test_draws_have_the_rates_of_all_their_answers(answers: tuple[Answers, Answers]) -> None:
    dense, pruned = answers
    counts, flat = paired_draws(dense, pruned), paired(dense.ravel(), pruned.ravel())
    if counts.n:
        assert counts.drop == flat.drop
        assert counts.discordance == flat.discordance
        assert counts.dense_accuracy == flat.dense_accuracy
        assert counts.pruned_accuracy == flat.pruned_accuracy


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=50))
def test_no_drop_exceeds_the_flip_rate(images: list[tuple[int, int, int]]) -> None:
    label, dense, pruned = np.array(images).T
    rate = flips(dense, pruned).drop
    assert rate == np.mean(dense != pruned)
    assert abs(paired(dense == label, pruned == label).drop) <= rate


def evidence_of(counts: Counts, **changed: Any) -> Evidence:  # noqa: ANN401 # any field
    fields: dict[str, Any] = {
        "candidate": "c", "dense": "d", "name": "ratio 0.50", "position": 2, "ratio": 0.5,
        "shift": "fog-3", "images": "i", "look": 3,
    }  # fmt: skip
    return Evidence(counts=counts, **(fields | changed))


@pytest.mark.parametrize("ratio", [0.5, None])
@pytest.mark.parametrize(
    "counts", [COUNTS, DRAWS, FLIPS, SCORES], ids=lambda item: type(item).__name__
)
def test_evidence_comes_back_from_json_as_it_was(counts: Counts, ratio: float | None) -> None:
    evidence = evidence_of(counts, ratio=ratio)
    file = TypeAdapter(Evidence)
    assert file.validate_json(file.dump_json(evidence)) == evidence


@pytest.mark.parametrize(
    ("dense", "pruned", "complaint"),
    [
        (np.ones(3, bool), np.ones(4, bool), "same images"),
        (np.ones(3), np.ones(3), "not float64"),
        (np.ones((3, 1), bool), np.ones((3, 1), bool), r"not bool \(3, 1\)"),
    ],
)
def test_answers_that_cannot_be_paired_are_refused(
    dense: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    pruned: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    complaint: str,
) -> None:
    with pytest.raises(ValueError, match=complaint):
        paired(dense, pruned)


@pytest.mark.parametrize(
    ("dense", "pruned", "complaint"),
    [
        (np.ones((3, 2), bool), np.ones((2, 2), bool), "same images"),
        (np.ones((3, 2), bool), np.ones((3, 3), bool), "same images"),
        (np.ones((3, 2)), np.ones((3, 2)), "not float64"),
        (np.ones(3, bool), np.ones(3, bool), r"\[n draws\], not bool \(3,\)"),
        (np.ones((3, 1), bool), np.ones((3, 1), bool), "two or more"),
    ],
)
def test_draws_that_cannot_be_paired_are_refused(
    dense: Answers, pruned: Answers, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        paired_draws(dense, pruned)


@pytest.mark.parametrize(
    ("dense", "pruned", "complaint"),
    [
        (np.ones(3, int), np.ones(4, int), "same images"),
        (np.ones(3, bool), np.ones(3, bool), "integers .* not bool"),
        (np.ones(3), np.ones(3), "integers .* not float64"),
    ],
)
def test_classes_that_cannot_be_compared_are_refused(
    dense: NDArray[Any], pruned: NDArray[Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        flips(dense, pruned)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_is_a_share(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"lies in 0\.\.1"):
        evidence_of(COUNTS, ratio=ratio)


@pytest.mark.parametrize("change", [{"position": -1}, {"look": 0}])
def test_places_are_counted_from_zero_and_looks_from_one(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positions start at 0 and looks at 1"):
        evidence_of(COUNTS, **change)


def test_deciding_needs_no_framework() -> None:
    code = "import sys, gates; sys.exit(bool({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
