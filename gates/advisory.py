"""What reports tell beside the verdict: calibration, and the class that lost most.

Nothing here decides. The calibration error is a biased estimate whose interval is a bootstrap's;
a class has a fraction of the images, so that its interval is wide. What shall be enforced is a
rule by the Brier score, or one for the classes that matter.

References:
    Guo et al. 2017, arXiv:1706.04599 (expected calibration error).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gates import betting, statistics
from gates.answers import Answers, check_classes, check_labelled
from gates.evidence import paired, paired_draws
from gates.inference import INTERVAL_CONFIDENCE
from gates.resampling import Floats, resampled_sums

BINS: Final = 15
"""Of confidence, equally wide: ((m - 1) / BINS, m / BINS]."""

# Confidences are summed as whole numbers of these steps. Such sums are exact in float64 in any
# order, so that every machine finds the same interval from the same answers.
_STEPS: Final = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far confidence is from accuracy: expected calibration errors, 0..1; less is better.

    Attributes:
        dense: of the dense model.
        pruned: of the pruned model.
        interval: of the growth, two-sided, of INTERVAL_CONFIDENCE; for reading only.
    """

    dense: float
    pruned: float
    interval: tuple[float, float]

    @property
    def growth(self) -> float:
        """Error of the pruned model minus that of the dense one; positive is worse."""
        return self.pruned - self.dense


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDrop:
    """The class that lost most.

    Attributes:
        name: of the class.
        drop: accuracy of the dense model minus that of the pruned one, on its images.
        interval: two-sided interval of the drop, so wide that with INTERVAL_CONFIDENCE the like
            of *every* class holds its own drop; so does that of the class which was picked.
        n: its images.
    """

    name: str
    drop: float
    interval: tuple[float, float]
    n: int


def calibration(dense: Answers, pruned: Answers, *, seed: int) -> Calibration:
    """Expected calibration errors of both models, from their answers of ANSWER [n draws].

    The error is the sum over bins of confidence of |sum of (confidence - right)| over the answers
    in the bin, per answer. The interval is a paired percentile bootstrap: what is drawn with
    replacement are images, each with all its draws and the answers of both models.

    Raises:
        ValueError: no images, answers that are not to the same ones, or confidences outside 0..1.
    """
    check_labelled(dense, pruned)
    gaps = np.hstack([_gaps(dense), _gaps(pruned)])
    first, second = _errors(gaps.sum(axis=0), answers=dense.size)
    resampled = _errors(resampled_sums(gaps, seed=seed), answers=dense.size)
    error = (1.0 - INTERVAL_CONFIDENCE) / 2
    low, high = np.quantile(resampled[:, 1] - resampled[:, 0], [error, 1.0 - error])
    return Calibration(dense=float(first), pruned=float(second), interval=(float(low), float(high)))


def worst_class(dense: Answers, pruned: Answers, *, classes: Sequence[str]) -> ClassDrop:
    """The class with the largest drop, of equals the first, from answers of ANSWER [n draws].

    Which class it is hangs on the data, so that its interval must hold for all k classes that have
    images at once: each is taken at 1 - (1 - INTERVAL_CONFIDENCE) / k (Bonferroni). It is Tango's
    score interval, an approximation, for one draw; with several it is the betting one, which
    approximates nothing and is wider.

    Raises:
        ValueError: no images, or answers that are not to the same ones.
    """
    check_labelled(dense, pruned)
    check_classes(dense, len(classes))
    labels, draws = dense["label"][:, 0], dense.shape[1]
    right, right_pruned = dense["rank"] == 0, pruned["rank"] == 0
    lost = right.sum(axis=1, dtype=np.int64) - right_pruned.sum(axis=1, dtype=np.int64)
    there, images = np.unique(labels, return_counts=True)
    drops = np.bincount(labels, weights=lost, minlength=len(classes))[there] / (images * draws)
    worst = int(there[drops.argmax()])
    mine = labels == worst
    return ClassDrop(
        name=classes[worst],
        drop=float(drops.max()),
        interval=_interval(
            right[mine],
            right_pruned[mine],
            confidence=1.0 - (1.0 - INTERVAL_CONFIDENCE) / len(there),
        ),
        n=int(np.count_nonzero(mine)),
    )


def _interval(
    dense: NDArray[np.bool_], pruned: NDArray[np.bool_], *, confidence: float
) -> tuple[float, float]:
    """Of the drop, from right answers [n draws]."""
    if dense.shape[1] == 1:
        counts = paired(dense[:, 0], pruned[:, 0])
        return statistics.drop_interval(counts, confidence=confidence)
    return betting.drop_interval(paired_draws(dense, pruned), confidence=confidence)


def _gaps(answers: Answers) -> Floats:
    """Sum of (confidence - right) of each image's answers in each bin [n BINS], in _STEPS."""
    confidence = answers["confidence"].astype(np.float64)
    if not ((confidence >= 0.0) & (confidence <= 1.0)).all():
        raise ValueError("confidences lie in 0..1, and some of these do not")
    bins = np.maximum(np.ceil(confidence * BINS).astype(np.int64) - 1, 0)
    sums = np.zeros((len(answers), BINS))
    gaps = np.rint((confidence - (answers["rank"] == 0)) * _STEPS)
    np.add.at(sums, (np.arange(len(answers))[:, None], bins), gaps)
    return sums


def _errors(sums: Floats, *, answers: int) -> Floats:
    """Expected calibration errors [... 2] from sums of gaps [... 2*BINS], dense model first."""
    by_model = np.abs(sums).reshape(*sums.shape[:-1], 2, BINS).sum(axis=-1)
    errors: Floats = by_model / (_STEPS * answers)
    return errors
