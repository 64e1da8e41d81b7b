"""What a gate expects to count before it has: counts as large as one likes, of what is assumed.

They are counts like any others, so that whatever the gate says of counts can be asked of them.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from gates.counts import STEPS, Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from policies import FolderRule, Rule

ASSUMED_IMAGES: Final = 1_000_000
"""Of assumed counts: rates come out as assumed to a millionth."""

PERSISTENCE: Final = 0.12
"""Share of the discordance that does not average out over the draws of an image.

Measured for Gaussian noise and a ResNet-20 on CIFAR-10: variances of d of 0.041, 0.023, 0.017 and
0.011 at 1, 2, 3 and 6 draws."""

SCORE_VARIANCE: Final = 1 / 4.2
"""Variance of the growth of half the Brier score, as a share of the discordance; as measured."""


def assumed(
    rule: Rule, *, discordance: float, drop: float = 0.0, persistence: float = PERSISTENCE
) -> Counts:
    """What a rule would count if its images were so.

    Of flips the rate is the discordance, since they cannot be fewer; a drop is then not asked for.

    Args:
        rule: says which kind of counts.
        discordance: share of draws that one model alone gets right, 0..1.
        drop: of what the rule's metric loses.
        persistence: with several draws, share of the discordance that is the same at all of them.

    Raises:
        ValueError: the drop does not go with the discordance.
    """
    most = discordance * (SCORE_VARIANCE**0.5 if rule.metric == "brier" else 1.0)
    if not abs(drop) <= most <= 1.0 and rule.metric != "flips":
        raise ValueError(f"a discordance of {discordance} does not go with a drop of {drop}")
    match rule.metric:
        case "flips":
            flipped = round(discordance * ASSUMED_IMAGES)
            return FlipCounts(same=ASSUMED_IMAGES - flipped, flipped=flipped)
        case "brier":
            return _scores(discordance, drop)
        case "top1" | "top5":
            if draws_of(rule) == 1:
                return _paired(discordance, drop)
            return drawn(draws_of(rule), discordance, drop=drop, persistence=persistence)


def drawn(draws: int, discordance: float, *, drop: float, persistence: float) -> DrawCounts:
    """Counts of several draws of an image, which are alike in a share of the discordance.

    In the persistent share all draws of an image do the same; the others are independent.
    """
    worse, better = (discordance + drop) / 2, (discordance - drop) / 2
    # Of the images that are not in the persistent share, so that all together have the discordance.
    rest = 1 - persistence * discordance
    scale = (1 - persistence) / rest
    one = np.array([better * scale, 1 - discordance * scale, worse * scale])
    chances = np.full(1, rest)
    for _ in range(draws):
        chances = np.convolve(chances, one)
    chances[0] += persistence * better
    chances[-1] += persistence * worse
    images = np.round(chances * ASSUMED_IMAGES).astype(np.int64)
    nets = np.arange(-draws, draws + 1)
    net, least = int(nets @ images), int(abs(nets) @ images)
    most = least + 2 * int((draws - abs(nets)) // 2 @ images)
    answers = draws * int(images.sum())
    # Of an image's discordant draws, those beyond its net cancel in pairs.
    wanted = min(max(round(discordance * answers), least), most)
    discordant = wanted - (wanted - least) % 2
    return DrawCounts(
        draws=draws,
        differences=tuple(images.tolist()),
        dense_right=answers - discordant + (discordant + net) // 2,
        pruned_right=answers - discordant + (discordant - net) // 2,
        discordant=discordant,
    )


def planned(counts: Counts) -> Counts:
    """The counts that are planned with: the given ones, without what the candidate gained."""
    return counts if counts.drop > 0.0 else without_drop(counts)


def without_drop(counts: Counts) -> Counts:
    """The same disagreements, as often to the one side as to the other; of flips, none."""
    match counts:
        case FlipCounts(n=n):
            return FlipCounts(same=n, flipped=0)
        case PairedCounts():
            discordant = counts.only_dense + counts.only_pruned
            return PairedCounts(
                both_right=2 * counts.both_right,
                only_dense=discordant,
                only_pruned=discordant,
                both_wrong=2 * counts.both_wrong,
            )
        case DrawCounts():
            right = counts.dense_right + counts.pruned_right
            mirrored = zip(counts.differences, reversed(counts.differences), strict=True)
            return replace(
                counts,
                differences=tuple(one + other for one, other in mirrored),
                dense_right=right,
                pruned_right=right,
                discordant=2 * counts.discordant,
            )
        case ScoreCounts():
            images: dict[int, int] = {}
            for step, number in counts.growths:
                for mirrored_step in (step, -step):
                    images[mirrored_step] = images.get(mirrored_step, 0) + number
            return replace(
                counts,
                growths=tuple(sorted(images.items())),
                dense_steps=2 * counts.dense_steps,
            )


def agreeing(counts: Counts, n: int) -> Counts:
    """Counts of that kind of ``n`` images on which both models do the same."""
    match counts:
        case FlipCounts():
            return FlipCounts(same=n, flipped=0)
        case PairedCounts():
            return PairedCounts(both_right=n, only_dense=0, only_pruned=0, both_wrong=0)
        case DrawCounts(draws=draws):
            none = (0,) * draws
            return DrawCounts(
                draws=draws,
                differences=(*none, n, *none),
                dense_right=n * draws,
                pruned_right=n * draws,
                discordant=0,
            )
        case ScoreCounts(of=of):
            return ScoreCounts(growths=((0, n),), dense_steps=0, of=of)


def variance(counts: Counts) -> float:
    """Of the difference d that an image gives; images needed grow in proportion to it.

    Raises:
        ValueError: no images.
    """
    match counts:
        case PairedCounts(discordance=discordance, drop=drop):
            return discordance - drop**2
        case FlipCounts(drop=rate):
            return rate - rate**2
        case DrawCounts(draws=draws):
            pairs = zip(counts.nets, counts.differences, strict=True)
            square = sum(net**2 * images for net, images in pairs) / draws**2
            return square / counts.n - counts.drop**2
        case ScoreCounts():
            square = sum(step**2 * images for step, images in counts.growths) / STEPS**2
            return square / counts.n - counts.drop**2


def persistence_of(counts: Counts) -> float | None:
    """Share of the discordance that is the same at all draws; None where one draw was seen."""
    if not isinstance(counts, DrawCounts) or counts.discordant == 0:
        return None
    square = variance(counts) + counts.drop**2
    share = (counts.draws * square / counts.discordance - 1) / (counts.draws - 1)
    return min(1.0, max(0.0, share))


def fits(rule: Rule, counts: Counts) -> bool:
    """Whether the rule would count what was counted."""
    match rule.metric:
        case "flips":
            return isinstance(counts, FlipCounts)
        case "brier":
            return isinstance(counts, ScoreCounts) and counts.of == "brier"
        case "top1" if isinstance(counts, ScoreCounts):
            return counts.of == "pixels"
        case "top1" | "top5":
            draws = counts.draws if isinstance(counts, DrawCounts) else 1
            kinds = PairedCounts | DrawCounts
            return isinstance(counts, kinds) and draws == draws_of(rule)


def draws_of(rule: Rule) -> int:
    """Draws of each image under the rule."""
    return 1 if isinstance(rule, FolderRule) else rule.draws


def _paired(discordance: float, drop: float) -> PairedCounts:
    shares = np.array([0.0, (discordance + drop) / 2, discordance, 1.0])
    ends = np.round(shares * ASSUMED_IMAGES).astype(int).tolist()
    worse, better, same = (high - low for low, high in pairwise(ends))
    return PairedCounts(both_right=same, only_dense=worse, only_pruned=better, both_wrong=0)


def _scores(discordance: float, drop: float) -> ScoreCounts:
    """Scores that move by one and the same amount, up or down, where the models disagree."""
    move = round(STEPS * SCORE_VARIANCE**0.5)
    moved = discordance * ASSUMED_IMAGES
    lead = drop * ASSUMED_IMAGES * STEPS / move
    worse, better = round((moved + lead) / 2), round((moved - lead) / 2)
    growths = ((-move, better), (0, ASSUMED_IMAGES - worse - better), (move, worse))
    return ScoreCounts(growths=growths, dense_steps=move * better)
