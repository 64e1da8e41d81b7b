"""Counts of images, and the rates that follow from them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates import Evidence, PairedCounts, paired

COUNTS = PairedCounts(both_right=70, only_dense=12, only_pruned=8, both_wrong=10)

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=50)


def test_rates_follow_from_the_counts() -> None:
    assert COUNTS.n == 100
    assert COUNTS.drop == pytest.approx(0.04)
    assert COUNTS.discordance == pytest.approx(0.20)
    assert COUNTS.dense_accuracy == pytest.approx(0.82)
    assert COUNTS.pruned_accuracy == pytest.approx(0.78)


@pytest.mark.parametrize("rate", ["drop", "discordance", "dense_accuracy", "pruned_accuracy"])
def test_no_images_have_no_rate(rate: str) -> None:
    nothing = PairedCounts(both_right=0, only_dense=0, only_pruned=0, both_wrong=0)
    with pytest.raises(ValueError, match="no images were counted"):
        getattr(nothing, rate)


def test_counts_are_not_negative() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        PairedCounts(both_right=1, only_dense=-1, only_pruned=0, both_wrong=0)


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


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_is_a_share(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"lies in 0\.\.1"):
        Evidence(candidate="c", dense="d", ratio=ratio, shift="clean", images="i", counts=COUNTS)


def test_deciding_needs_no_framework() -> None:
    code = "import sys, gates; sys.exit(bool({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
