"""What was observed: which images the dense and the pruned model got right. Integers only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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

    statistic: ClassVar[Literal["drop"]] = "drop"

    def __post_init__(self) -> None:
        _require_counts(self, self.both_right, self.only_dense, self.only_pruned, self.both_wrong)

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
        return _rate(self.only_dense - self.only_pruned, self.n)

    @property
    def discordance(self) -> float:
        """Share of the images on which exactly one of the two models is right."""
        return _rate(self.only_dense + self.only_pruned, self.n)

    @property
    def dense_accuracy(self) -> float:
        return _rate(self.both_right + self.only_dense, self.n)

    @property
    def pruned_accuracy(self) -> float:
        return _rate(self.both_right + self.only_pruned, self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawCounts:
    """How the two models did on several independent draws of each of the same images.

    Images are the sample, not draws: ten draws of one image say less than one draw of ten images.
    So the decision reads ``differences`` alone, where each image counts once, by its net: the
    number of its draws on which only the dense model is right, minus the number on which only the
    pruned one is.

    Attributes:
        draws: draws of each image, at least two.
        differences: how many images have the net -draws, ..., 0, ..., draws, in this order.
        dense_right: answers of the dense model that are right, over all images and draws.
        pruned_right: answers of the pruned model that are right, over all images and draws.
        discordant: pairs of answers of which exactly one is right, over all images and draws.

    Raises:
        ValueError: the counts do not fit together; a rate is asked of no images at all.
    """

    draws: int
    differences: tuple[int, ...]
    dense_right: int
    pruned_right: int
    discordant: int

    statistic: ClassVar[Literal["drop"]] = "drop"

    def __post_init__(self) -> None:
        _require_counts(
            self, *self.differences, self.dense_right, self.pruned_right, self.discordant
        )
        if self.draws < 2 or len(self.differences) != 2 * self.draws + 1:
            raise ValueError(
                f"{self.draws} draws with {len(self.differences)} differences: draws are two or "
                "more, and there is one difference for each net from -draws to draws"
            )
        net = self._over_images(int)
        if self.dense_right - self.pruned_right != net:
            raise ValueError(
                f"{self.dense_right} right answers of the dense model and {self.pruned_right} of "
                f"the pruned do not differ by {net}, as the differences do"
            )
        # Of an image's discordant draws, those beyond its net cancel in pairs.
        least = self._over_images(abs)
        most = least + 2 * self._over_images(lambda net: (self.draws - abs(net)) // 2)
        both_right = (self.dense_right + self.pruned_right - self.discordant) // 2
        both_wrong = self.n * self.draws - both_right - self.discordant
        possible = range(least, most + 1, 2)
        if self.discordant not in possible or min(both_right, both_wrong) < 0:
            raise ValueError(f"that many discordant draws do not go with the others: {self}")

    @property
    def n(self) -> int:
        """Number of images."""
        return sum(self.differences)

    @property
    def nets(self) -> range:
        """The nets that ``differences`` counts, in its order."""
        return range(-self.draws, self.draws + 1)

    @property
    def drop(self) -> float:
        """Accuracy of the dense model minus accuracy of the pruned one; positive is worse."""
        return _rate(self.dense_right - self.pruned_right, self.n * self.draws)

    @property
    def discordance(self) -> float:
        """Share of the draws of all images on which exactly one of the two models is right."""
        return _rate(self.discordant, self.n * self.draws)

    @property
    def dense_accuracy(self) -> float:
        return _rate(self.dense_right, self.n * self.draws)

    @property
    def pruned_accuracy(self) -> float:
        return _rate(self.pruned_right, self.n * self.draws)

    def _over_images(self, term: Callable[[int], int]) -> int:
        """Sum of ``term`` of the net, over all images."""
        return sum(
            count * term(net) for net, count in zip(self.nets, self.differences, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipCounts:
    """On how many images without labels the two models answer the same, and on how many not.

    Raises:
        ValueError: a count is negative; a rate is asked of no images at all.
    """

    same: int
    flipped: int

    statistic: ClassVar[Literal["flip rate"]] = "flip rate"

    def __post_init__(self) -> None:
        _require_counts(self, self.same, self.flipped)

    @property
    def n(self) -> int:
        """Number of images."""
        return self.same + self.flipped

    @property
    def drop(self) -> float:
        """The flip rate, an upper bound of the drop: to be right alone is to answer differently.

        Flips that mend an error or change one for another count as well, so that the drop can be
        anything from minus the flip rate to the flip rate.
        """
        return _rate(self.flipped, self.n)


Counts = PairedCounts | DrawCounts | FlipCounts
"""What was observed; each kind has ``n``, ``drop``, and ``statistic``, the name of its ``drop``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one candidate did on one shift, and of exactly which files and images this is true.

    Attributes:
        candidate: sha256 of the judged file.
        dense: sha256 of the dense model's file.
        ratio: share of parameters asked to be removed, 0..1.
        shift: the rule's ``id``, for example ``fog-3``.
        images: digest of the images: the gate's, or those of the rule's own folder.
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
    counts: Counts

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio <= 1.0:
            raise ValueError(f"the ratio of a candidate lies in 0..1, not {self.ratio}")


def paired(dense_right: NDArray[np.bool_], pruned_right: NDArray[np.bool_]) -> PairedCounts:
    """The counts of two models' right answers [n], image by image in the same order.

    Raises:
        ValueError: the arrays differ in length, are not one-dimensional, or are not boolean.
    """
    _require_answers(dense_right, pruned_right, kinds="b", axes=("n",))
    both_right = int(np.count_nonzero(dense_right & pruned_right))
    only_dense = int(np.count_nonzero(dense_right)) - both_right
    only_pruned = int(np.count_nonzero(pruned_right)) - both_right
    return PairedCounts(
        both_right=both_right,
        only_dense=only_dense,
        only_pruned=only_pruned,
        both_wrong=len(dense_right) - both_right - only_dense - only_pruned,
    )


def paired_draws(dense_right: NDArray[np.bool_], pruned_right: NDArray[np.bool_]) -> DrawCounts:
    """The counts of two models' right answers [n draws], draw by draw in the same order.

    Raises:
        ValueError: the arrays differ in shape, are not two-dimensional, are not boolean, or hold a
            single draw, which is for ``paired``.
    """
    _require_answers(dense_right, pruned_right, kinds="b", axes=("n", "draws"))
    draws = dense_right.shape[1]
    net = dense_right.sum(axis=1, dtype=np.int64) - pruned_right.sum(axis=1, dtype=np.int64)
    return DrawCounts(
        draws=draws,
        differences=tuple(np.bincount(net + draws, minlength=2 * draws + 1).tolist()),
        dense_right=int(np.count_nonzero(dense_right)),
        pruned_right=int(np.count_nonzero(pruned_right)),
        discordant=int(np.count_nonzero(dense_right != pruned_right)),
    )


def flips(dense_class: NDArray[np.int64], pruned_class: NDArray[np.int64]) -> FlipCounts:
    """The counts of two models' answers [n], as numbers of classes, image by image.

    Raises:
        ValueError: the arrays differ in length, are not one-dimensional, or are no integers.
    """
    _require_answers(dense_class, pruned_class, kinds="iu", axes=("n",))
    flipped = int(np.count_nonzero(dense_class != pruned_class))
    return FlipCounts(same=len(dense_class) - flipped, flipped=flipped)


def _rate(count: int, total: int) -> float:
    if total == 0:
        raise ValueError("no images were counted, so there is no rate; measure some first")
    return count / total


def _require_counts(record: object, *counts: int) -> None:
    if min(counts) < 0:
        raise ValueError(f"counts of images cannot be negative: {record}")


def _require_answers(
    dense: NDArray[Any], pruned: NDArray[Any], *, kinds: str, axes: Sequence[str]
) -> None:
    """Both are of one shape, with these axes and of one of these kinds of dtype."""
    for answers in (dense, pruned):
        if answers.dtype.kind not in kinds or answers.ndim != len(axes):
            wanted = "booleans" if kinds == "b" else "integers"
            raise ValueError(
                f"answers are {wanted} [{' '.join(axes)}], not {answers.dtype} {answers.shape}"
            )
    if dense.shape != pruned.shape:
        raise ValueError(
            f"answers of shape {dense.shape} from the dense model and {pruned.shape} from the "
            "pruned: both must see the same images"
        )
