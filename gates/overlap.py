"""Mean overlap of segmentations, told beside the verdict and deciding nothing.

The overlap of a class is its intersection over its union, over all pixels of all images together
(Everingham et al. 2010, IJCV 88:303-338, section 4.3): no mean over images, so that no bound for a
finite sample goes with it, and the interval is a bootstrap's. What shall be enforced is a rule by
top1, the share of an image's pixels that are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gates.answers import Answers, check_segmented
from gates.inference import INTERVAL_CONFIDENCE
from gates.resampling import Floats, resampled_sums


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOverlap:
    """The class whose overlap fell most.

    Attributes:
        name: of the class.
        dense: intersection over union, 0..1, of the dense model.
        pruned: of the pruned one.
        interval: of the drop, two-sided, a bootstrap's; so wide that with INTERVAL_CONFIDENCE the
            like of *every* class holds its own drop (Bonferroni).
        n: images that show the class.
    """

    name: str
    dense: float
    pruned: float
    interval: tuple[float, float]
    n: int

    @property
    def drop(self) -> float:
        """Overlap of the dense model minus that of the pruned one; positive is worse."""
        return self.dense - self.pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Mean intersection over union (mIoU) of both models.

    Attributes:
        dense: of the dense model, 0..1.
        pruned: of the pruned one.
        interval: of the drop, two-sided, of INTERVAL_CONFIDENCE; for reading only.
        classes: that have a labelled pixel; the mean is over these.
        worst: the class that lost most, of equals the first.
    """

    dense: float
    pruned: float
    interval: tuple[float, float]
    classes: int
    worst: ClassOverlap

    @property
    def drop(self) -> float:
        """Mean overlap of the dense model minus that of the pruned one; positive is worse."""
        return self.dense - self.pruned


def overlap(dense: Answers, pruned: Answers, *, classes: Sequence[str], seed: int) -> Overlap:
    """Mean overlap of both models, from their answers of ``segmented_answer`` [n draws].

    A class that no mask shows is left out for both models. The intervals are a paired percentile
    bootstrap: what is drawn with replacement are images, each with all its draws and the answers
    of both models. A resample without a class leaves it out of its mean.

    Raises:
        ValueError: no images, or answers that are not to the same ones.
    """
    check_segmented(dense, pruned, classes=len(classes))
    counts = np.hstack([_counts(dense), _counts(pruned)])
    found, there = _overlaps(counts.sum(axis=0)[None], len(classes))
    resampled, shown = _overlaps(resampled_sums(counts, seed=seed), len(classes))
    means, drawn_means = _mean(found, there), _mean(resampled, shown)
    drops = np.where(there[0], found[0, 0] - found[0, 1], -np.inf)
    worst = int(drops.argmax())
    of_worst = (resampled[:, 0, worst] - resampled[:, 1, worst])[shown[:, worst]]
    error = (1.0 - INTERVAL_CONFIDENCE) / 2
    return Overlap(
        dense=float(means[0, 0]),
        pruned=float(means[0, 1]),
        interval=_interval(drawn_means[:, 0] - drawn_means[:, 1], error=error),
        classes=int(there.sum()),
        worst=ClassOverlap(
            name=classes[worst],
            dense=float(found[0, 0, worst]),
            pruned=float(found[0, 1, worst]),
            interval=_interval(of_worst, error=error / int(there.sum())),
            n=int(np.count_nonzero(dense["labelled"][:, 0, worst])),
        ),
    )


def _counts(answers: Answers) -> Floats:
    """Of each image and all its draws: intersections, unions and labelled pixels [n 3*classes]."""
    right, predicted, labelled = (
        answers[name].sum(axis=1, dtype=np.int64) for name in ("right", "predicted", "labelled")
    )
    return np.hstack([right, predicted + labelled - right, labelled]).astype(np.float64)


def _overlaps(sums: Floats, classes: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Overlaps [m 2 classes], dense first, and which classes there are [m classes]; 0 elsewhere."""
    by_model = sums.reshape(-1, 2, 3, classes)
    there = by_model[:, 0, 2] > 0
    unions = np.maximum(by_model[:, :, 1], 1.0)  # that of a class that is there is 1 or more
    return np.where(there[:, None], by_model[:, :, 0] / unions, 0.0), there


def _mean(overlaps: Floats, there: NDArray[np.bool_]) -> Floats:
    """Means [m 2] over the classes that there are."""
    means: Floats = overlaps.sum(axis=-1) / there.sum(axis=-1, keepdims=True)
    return means


def _interval(values: Floats, *, error: float) -> tuple[float, float]:
    low, high = np.quantile(values, [error, 1.0 - error])
    return float(low), float(high)
