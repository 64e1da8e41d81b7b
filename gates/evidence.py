"""What was observed: on which images the dense and the pruned model were right. Integers only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCounts:
    """How the dense and the pruned model did on the *same* images.

    The four counts are all that the decision reads; every rate is computed from them, last.

    Raises:
        ValueError: a count is negative; a rate is asked of no images at all.
    """

    both_right: int
    only_dense: int
    only_pruned: int
    both_wrong: int

    def __post_init__(self) -> None:
        if min(self.both_right, self.only_dense, self.only_pruned, self.both_wrong) < 0:
            raise ValueError(f"counts of images cannot be negative: {self}")

    def __add__(self, other: "PairedCounts") -> "PairedCounts":
        return PairedCounts(
            both_right=self.both_right + other.both_right,
            only_dense=self.only_dense + other.only_dense,
            only_pruned=self.only_pruned + other.only_pruned,
            both_wrong=self.both_wrong + other.both_wrong,
        )

    @property
    def n(self) -> int:
        """Number of images."""
        return self.both_right + self.only_dense + self.only_pruned + self.both_wrong

    @property
    def drop(self) -> float:
        """Accuracy of the dense model minus accuracy of the pruned one; positive is worse."""
        return self._share(self.only_dense - self.only_pruned)

    @property
    def discordance(self) -> float:
        """Share of the images on which exactly one of the two models is right."""
        return self._share(self.only_dense + self.only_pruned)

    @property
    def dense_accuracy(self) -> float:
        return self._share(self.both_right + self.only_dense)

    @property
    def pruned_accuracy(self) -> float:
        return self._share(self.both_right + self.only_pruned)

    def _share(self, images: int) -> float:
        if self.n == 0:
            raise ValueError("no images were counted, so there is no rate; measure some first")
        return images / self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one candidate did on one shift, and of exactly which files and images this is true.

    Attributes:
        candidate: sha256 of the judged file.
        dense: sha256 of the dense model's file.
        ratio: share of parameters asked to be removed, 0..1.
        shift: ``ShiftRule.id``, for example ``fog-3``.
        images: digest of the gate's images.
        counts: the outcome on those images.

    Raises:
        ValueError: the ratio is not in 0..1; ratios are judged in ascending order, so that a NaN
            would be no mere nuisance.
    """

    candidate: str
    dense: str
    ratio: float
    shift: str
    images: str
    counts: PairedCounts

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio <= 1.0:
            raise ValueError(f"the ratio of a candidate lies in 0..1, not {self.ratio}")


def paired(dense_right: NDArray[np.bool_], pruned_right: NDArray[np.bool_]) -> PairedCounts:
    """The counts of two models' right answers [n], image by image in the same order.

    Raises:
        ValueError: the arrays differ in length, are not one-dimensional, or are not boolean.
    """
    for right in (dense_right, pruned_right):
        if right.dtype != np.bool_ or right.ndim != 1:
            raise ValueError(f"right answers are booleans [n], not {right.dtype} {right.shape}")
    if len(dense_right) != len(pruned_right):
        raise ValueError(
            f"{len(dense_right)} answers of the dense model and {len(pruned_right)} of the pruned: "
            "both must see the same images"
        )
    both_right = int(np.count_nonzero(dense_right & pruned_right))
    only_dense = int(np.count_nonzero(dense_right)) - both_right
    only_pruned = int(np.count_nonzero(pruned_right)) - both_right
    return PairedCounts(
        both_right=both_right,
        only_dense=only_dense,
        only_pruned=only_pruned,
        both_wrong=len(dense_right) - both_right - only_dense - only_pruned,
    )
