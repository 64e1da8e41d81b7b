"""What was observed of one candidate on one shift, and how answers become counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gates.counts import STEPS, Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one candidate did on one shift, and of exactly which files and images this is true.

    Attributes:
        candidate: sha256 of the judged file.
        dense: sha256 of the dense model's file.
        name: what people call the candidate: ``ratio 0.50``, or the name of its file.
        position: the candidate's place in the fixed sequence, from 0; less risky ones come first.
        ratio: share of parameters asked to be removed, 0..1; None where nobody here pruned it.
        shift: the rule's ``id``, for example ``fog-3``.
        images: digest of the images: the gate's, or those of the rule's own folder.
        look: how many looks at the images had been taken, this one included.
        counts: the outcome on the images of that look and of all before it.
        chain: which of several sequences that share alpha it is in; None where there is one.

    Raises:
        ValueError: the ratio is not in 0..1, the position is negative, or the look is below one.
    """

    candidate: str
    dense: str
    name: str
    position: int
    ratio: float | None
    shift: str
    images: str
    look: int
    counts: Counts
    chain: str | None = None

    def __post_init__(self) -> None:
        if self.ratio is not None and not 0.0 <= self.ratio <= 1.0:
            raise ValueError(f"the ratio of a candidate lies in 0..1, not {self.ratio}")
        if self.position < 0 or self.look < 1:
            raise ValueError(
                f"positions start at 0 and looks at 1, not {self.position} and {self.look}"
            )


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


def grown(dense_score: NDArray[np.floating], pruned_score: NDArray[np.floating]) -> ScoreCounts:
    """The counts of two models' scores [n draws], each in 0..1 and less being better.

    Raises:
        ValueError: the arrays differ in shape, are not two-dimensional, are not floating-point
            numbers, or hold one outside 0..1.
    """
    _require_answers(dense_score, pruned_score, kinds="f", axes=("n", "draws"))
    dense, pruned = dense_score.astype(np.float64), pruned_score.astype(np.float64)
    for scores in (dense, pruned):
        if not ((scores >= 0.0) & (scores <= 1.0)).all():
            raise ValueError("scores lie in 0..1, and some of these do not")
    growth = np.ceil((pruned - dense).mean(axis=1) * STEPS).astype(np.int64)
    steps, images = np.unique(growth, return_counts=True)
    return ScoreCounts(
        growths=tuple(zip(steps.tolist(), images.tolist(), strict=True)),
        dense_steps=round(float(dense.mean(axis=1).sum()) * STEPS),
    )


def grown_errors(
    dense_wrong: NDArray[np.integer], pruned_wrong: NDArray[np.integer], *, of: NDArray[np.integer]
) -> ScoreCounts:
    """The counts of two models' wrong pixels [n draws], as shares ``of`` so many pixels [n].

    Integers to the end: a growth is rounded up to a whole step, and nothing else is rounded.

    Raises:
        ValueError: the arrays differ in shape, are not two-dimensional, are no integers, or hold
            more wrong pixels than there are.
    """
    _require_answers(dense_wrong, pruned_wrong, kinds="iu", axes=("n", "draws"))
    pixels = of.astype(np.int64) * dense_wrong.shape[1]
    for wrong in (dense_wrong, pruned_wrong):
        if not ((wrong >= 0) & (wrong <= of[:, None]) & (of[:, None] > 0)).all():
            raise ValueError("of each image's labelled pixels, at least one, none to all are wrong")
    lost = pruned_wrong.sum(axis=1, dtype=np.int64) - dense_wrong.sum(axis=1, dtype=np.int64)
    growth = -(-lost * STEPS // pixels)
    steps, images = np.unique(growth, return_counts=True)
    dense = dense_wrong.sum(axis=1, dtype=np.int64) / pixels
    return ScoreCounts(
        growths=tuple(zip(steps.tolist(), images.tolist(), strict=True)),
        dense_steps=round(float(dense.sum()) * STEPS),
        of="pixels",
    )


def _require_answers(
    dense: NDArray[Any], pruned: NDArray[Any], *, kinds: str, axes: Sequence[str]
) -> None:
    """Both are of one shape, with these axes and of one of these kinds of dtype."""
    for answers in (dense, pruned):
        if answers.dtype.kind not in kinds or answers.ndim != len(axes):
            wanted = {"b": "booleans", "iu": "integers", "f": "floating-point numbers"}[kinds]
            raise ValueError(
                f"answers are {wanted} [{' '.join(axes)}], not {answers.dtype} {answers.shape}"
            )
    if dense.shape != pruned.shape:
        raise ValueError(
            f"answers of shape {dense.shape} from the dense model and {pruned.shape} from the "
            "pruned: both must see the same images"
        )
