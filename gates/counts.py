"""Counts of what two models did on the same images, in one kind for each way of measuring.

Integers only: every rate is computed from them, last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal


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


STEPS: Final = 4096
"""Steps in which a score between 0 and 1 is counted: fine enough that rounding costs no image."""


Score = Literal["brier", "pixels"]
"""What a score of an image, 0..1 and less being better, is: half the Brier score, or the share of
its labelled pixels that are named wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCounts:
    """By how much a score in 0..1, of which less is better, grew from dense to pruned.

    Each image counts once, by the growth of its score (of several draws, the mean) in STEPS to the
    unit, rounded up: what is shown to be below a tolerance is so without rounding too.

    Attributes:
        growths: how many images have which growth: pairs (steps, images), steps rising.
        dense_steps: sum of the dense model's scores over all images, in steps, rounded.
        of: which score.

    Raises:
        ValueError: the counts do not fit together; a rate is asked of no images at all.
    """

    growths: tuple[tuple[int, int], ...]
    dense_steps: int
    of: Score = "brier"

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.growths]
        _require_counts(self, self.dense_steps, *(images for _, images in self.growths))
        if steps != sorted(set(steps)) or (steps and not -STEPS <= steps[0] <= steps[-1] <= STEPS):
            raise ValueError(
                f"growths rise strictly from {-STEPS} to {STEPS} steps, not as {steps[:6]}"
            )
        if self.dense_steps > STEPS * self.n:
            raise ValueError(f"{self.n} scores cannot add up to {self.dense_steps} steps")

    @property
    def n(self) -> int:
        """Number of images."""
        return sum(images for _, images in self.growths)

    @property
    def drop(self) -> float:
        """Mean growth of the score, at most one step too large; positive is worse."""
        return _rate(sum(step * images for step, images in self.growths), STEPS * self.n)

    @property
    def dense_score(self) -> float:
        """Mean score of the dense model."""
        return _rate(self.dense_steps, STEPS * self.n)

    @property
    def pruned_score(self) -> float:
        """Mean score of the pruned model."""
        return self.dense_score + self.drop


Counts = PairedCounts | DrawCounts | FlipCounts | ScoreCounts
"""What was observed; each kind has ``n`` and ``drop``, of which the rule's metric says what it is.
"""


def _rate(count: int, total: int) -> float:
    if total == 0:
        raise ValueError("no images were counted, so there is no rate; measure some first")
    return count / total


def _require_counts(record: object, *counts: int) -> None:
    if min(counts) < 0:
        raise ValueError(f"counts of images cannot be negative: {record}")
