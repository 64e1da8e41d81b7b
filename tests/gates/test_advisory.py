"""Calibration and the worst class, against hand-made cases, loops and scipy's bootstrap."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from gates import betting, paired, paired_draws, statistics
from gates.advisory import BINS, calibration, worst_class
from gates.answers import ANSWER


def answered(
    right: NDArray[np.bool_],
    *,
    confidence: NDArray[np.floating] | float = 0.9,
    labels: NDArray[np.int64] | None = None,
) -> NDArray[np.void]:
    """Answers [n draws] that are right where ``right`` [n] or [n draws] is."""
    right = right if right.ndim == 2 else right[:, None]
    answers = np.zeros(right.shape, dtype=ANSWER)
    answers["label"] = 0 if labels is None else labels[:, None]
    answers["rank"] = ~right
    answers["predicted"] = answers["label"] + answers["rank"]
    answers["confidence"] = np.broadcast_to(np.asarray(confidence).T, right.T.shape).T
    return answers


def reported(n: int, *, draws: int = 1, seed: int, excess: float) -> NDArray[np.void]:
    """A model whose confidence exceeds its accuracy by ``excess``."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.3, 1.0, (n, draws)).astype(np.float32)
    return answered(generator.random((n, draws)) < confidence - excess, confidence=confidence)


def error_of(answers: NDArray[np.void]) -> float:
    """Guo et al. 2017, equation 3, in their words: weighted |accuracy - confidence| of the bins."""
    confidence = answers["confidence"].ravel().astype(np.float64)
    right, total = (answers["rank"] == 0).ravel(), 0.0
    for number in range(BINS):
        inside = (number / BINS < confidence) & (confidence <= (number + 1) / BINS)
        if inside.any():
            gap = right[inside].mean() - confidence[inside].mean()
            total += inside.sum() / len(right) * abs(gap)
    return total


def test_a_calibration_error_computed_by_hand() -> None:
    """Three answers in (5/15, 6/15], one each in two bins next to each other, three in the last."""
    confidence = np.array([0.36, 0.34, 0.36, 0.65, 0.68, 0.98, 0.96, 1.0], dtype=np.float32)
    right = np.array([1, 0, 0, 1, 0, 1, 1, 0], dtype=np.bool_)
    answers = answered(right, confidence=confidence)
    by_hand = (3 * (1.06 / 3 - 1 / 3) + 0.35 + 0.68 + 3 * (2.94 / 3 - 2 / 3)) / 8
    assert calibration(answers, answers, seed=0).dense == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("confidence, error", [(1.0, 0.25), (0.75, 0.0), (0.5, 0.25), (0.0, 0.75)])
def test_confidence_that_is_the_accuracy_is_no_error(confidence: float, error: float) -> None:
    answers = answered(np.array([True, True, True, False]), confidence=confidence)
    assert calibration(answers, answers, seed=0).pruned == error


@pytest.mark.parametrize("draws", [1, 3])
def test_calibration_errors_are_those_of_the_definition(draws: int) -> None:
    dense = reported(500, draws=draws, seed=1, excess=0.0)
    pruned = reported(500, draws=draws, seed=2, excess=0.15)
    found = calibration(dense, pruned, seed=0)
    assert found.dense == pytest.approx(error_of(dense), abs=1e-6)
    assert found.pruned == pytest.approx(error_of(pruned), abs=1e-6)
    assert found.growth == found.pruned - found.dense


@pytest.mark.parametrize("draws", [1, 2])
def test_the_interval_is_scipys_paired_percentile_bootstrap(draws: int) -> None:
    dense = reported(300, draws=draws, seed=1, excess=0.0)
    pruned = reported(300, draws=draws, seed=2, excess=0.2)

    def growth(images: NDArray[np.int64]) -> float:
        return error_of(pruned[images]) - error_of(dense[images])

    reference = stats.bootstrap(
        (np.arange(300),), growth, vectorized=False, method="percentile", n_resamples=1000,
        rng=np.random.default_rng(7),
    )  # fmt: skip
    found = calibration(dense, pruned, seed=0)
    # Quantiles of 1,000 resamples are known to about a tenth of the standard error.
    near = 0.3 * float(reference.standard_error)
    assert found.interval == pytest.approx(tuple(reference.confidence_interval), abs=near)


def test_the_interval_hangs_on_the_seed_and_nothing_else() -> None:
    dense, pruned = reported(2000, seed=1, excess=0.0), reported(2000, seed=2, excess=0.1)
    first = calibration(dense, pruned, seed=3)
    assert calibration(dense, pruned, seed=3) == first
    other = calibration(dense, pruned, seed=4)
    assert other.interval != first.interval
    assert other.growth == first.growth


def test_a_model_that_answers_the_same_has_no_growth_whatever_is_drawn() -> None:
    dense = reported(200, seed=1, excess=0.1)
    found = calibration(dense, dense.copy(), seed=0)
    assert (found.growth, found.interval) == (0.0, (0.0, 0.0))


def test_a_clear_growth_is_told_from_none() -> None:
    dense, pruned = reported(2000, seed=1, excess=0.0), reported(2000, seed=2, excess=0.2)
    low, high = calibration(dense, pruned, seed=0).interval
    assert 0.1 < low < 0.17 < high < 0.25


@pytest.mark.parametrize("broken", [np.nan, -0.1, 1.1])
def test_confidence_outside_0_to_1_is_refused(broken: float) -> None:
    dense = answered(np.array([True, False]), confidence=np.array([0.5, broken]))
    with pytest.raises(ValueError, match=r"confidences lie in 0\.\.1"):
        calibration(dense, dense, seed=0)


NAMES = ("car", "bus", "lorry", "ship")
LABELS = np.array([0] * 50 + [1] * 40 + [3] * 30)
RIGHT = np.ones(120, dtype=np.bool_)
LOST = RIGHT.copy()
LOST[[0, 1, 51, 60, 70, 80, 95, 96]] = False  # 2 of car, 4 of bus, 2 of ship


def test_the_worst_class_is_that_of_the_largest_drop_with_an_interval_for_all_at_once() -> None:
    dense, pruned = answered(RIGHT, labels=LABELS), answered(LOST, labels=LABELS)
    counts = paired(RIGHT[50:90], LOST[50:90])
    found = worst_class(dense, pruned, classes=NAMES)
    assert (found.name, found.drop, found.n) == ("bus", 4 / 40, 40)
    # Three classes have images; the lorry, that has none, is not counted.
    interval = statistics.drop_interval(counts, confidence=1 - 0.05 / 3)
    assert found.interval == pytest.approx(interval, abs=1e-9)


def test_of_several_draws_the_interval_is_that_of_bets() -> None:
    generator = np.random.default_rng(0)
    right, lost = (generator.random((120, 3)) < share for share in (0.95, 0.85))
    found = worst_class(
        answered(right, labels=LABELS), answered(lost, labels=LABELS), classes=NAMES
    )
    drops = {
        name: right[mine].mean() - lost[mine].mean()
        for name, mine in ((name, np.equal(LABELS, NAMES.index(name))) for name in NAMES)
        if mine.any()
    }
    assert found.name == max(drops, key=lambda name: float(drops[name]))
    assert found.drop == pytest.approx(drops[found.name])
    mine = np.equal(LABELS, NAMES.index(found.name))
    counts = paired_draws(right[mine], lost[mine])
    assert found.interval == pytest.approx(
        betting.drop_interval(counts, confidence=1 - 0.05 / 3), abs=1e-9
    )
    assert found.interval[0] < found.drop < found.interval[1]


def test_of_equal_drops_it_is_the_first_class() -> None:
    none = answered(RIGHT, labels=LABELS)
    found = worst_class(none, none, classes=NAMES)
    assert (found.name, found.drop, found.n) == ("car", 0.0, 50)


@pytest.mark.parametrize("dense, pruned, drop", [(True, False, 1.0), (False, True, -1.0)])
def test_a_class_of_one_image_has_an_interval_too(dense: bool, pruned: bool, drop: float) -> None:
    label = np.array([3])
    found = worst_class(
        answered(np.array([dense]), labels=label),
        answered(np.array([pruned]), labels=label),
        classes=NAMES,
    )
    assert (found.name, found.drop, found.n) == ("ship", drop, 1)
    low, high = found.interval
    assert -1.0 <= low <= drop <= high <= 1.0
    assert low < high


@pytest.mark.statistical
def test_the_worst_classs_interval_holds_though_the_class_was_picked() -> None:
    """Twenty classes, all with a true drop of 2 %: the one that looks worst does not mislead."""
    generator, runs = np.random.default_rng(0), 400
    labels = np.repeat(np.arange(20), 150)
    names = [str(number) for number in range(20)]
    missed = naive = 0
    for _ in range(runs):
        event = generator.random(len(labels))  # 6 % only dense, 4 % only pruned, 90 % both
        dense, pruned = event < 0.96, (event < 0.90) | (event >= 0.96)
        found = worst_class(
            answered(dense, labels=labels), answered(pruned, labels=labels), classes=names
        )
        missed += not found.interval[0] <= 0.02 <= found.interval[1]
        mine = labels == int(found.name)
        low, high = statistics.drop_interval(paired(dense[mine], pruned[mine]), confidence=0.95)
        naive += not low <= 0.02 <= high
    assert missed <= stats.binom.ppf(0.999, runs, 0.05)
    assert naive > 3 * stats.binom.ppf(0.999, runs, 0.05)


def test_no_images_tell_nothing() -> None:
    none = answered(np.zeros(0, dtype=np.bool_))
    with pytest.raises(ValueError, match="no images were asked about"):
        calibration(none, none, seed=0)
    with pytest.raises(ValueError, match="no images were asked about"):
        worst_class(none, none, classes=NAMES)


def test_labels_beyond_the_classes_are_refused() -> None:
    answers = answered(RIGHT, labels=LABELS)
    with pytest.raises(ValueError, match="labels from 0 to 3 do not go with 3 classes"):
        worst_class(answers, answers, classes=NAMES[:3])
