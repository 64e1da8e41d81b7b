"""From the answers of two models to the counts that a rule is judged by.

Needs no framework: whoever has the answers can count them again.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gates.answers import (
    UNLABELLED_ANSWER,
    Answers,
    check_classes,
    check_labelled,
    check_segmented,
    is_segmented,
)
from gates.counts import Counts, DrawCounts, PairedCounts, ScoreCounts
from gates.evidence import flips, grown, grown_errors, paired, paired_draws
from policies import FolderRule, Rule

_TOP: Final = 5


def counts_of(rule: Rule, dense: Answers, pruned: Answers, *, classes: Sequence[str]) -> Counts:
    """What the answers of the two models, image by image, amount to under a rule.

    Args:
        rule: says by which metric, on how many draws, and which classes' images count.
        dense: ANSWER or ``segmented_answer`` [n draws], or UNLABELLED_ANSWER [n], which flips
            alone can be counted from.
        pruned: the same of the other model, to the same images in the same order.
        classes: names of the model's classes; a label is a position in them.

    Raises:
        ValueError: the answers do not fit each other or the rule, or none of them counts.
    """
    metric = rule.metric
    if dense.dtype == UNLABELLED_ANSWER and pruned.dtype == UNLABELLED_ANSWER:
        if metric != "flips" or rule.only:
            raise ValueError(
                f"{rule.id} needs labels, for {'only' if rule.only else metric}, and these answers "
                "are to images without; judge them by flips"
            )
        return flips(dense["predicted"], pruned["predicted"])
    if is_segmented(dense):
        return _segmented_counts(rule, dense, pruned, classes=classes)
    check_labelled(dense, pruned)
    check_classes(dense, len(classes))
    _check_draws(rule, dense)
    mine = in_group(rule, dense["label"][:, 0], classes=classes)
    if rule.only and not mine.any():
        raise ValueError(f"{rule.id} is about {_listed(rule.only)}, of which there are no images")
    dense, pruned = dense[mine], pruned[mine]
    match metric:
        case "top1":
            return _right(dense["rank"] == 0, pruned["rank"] == 0)
        case "top5":
            check_metric(rule, classes)
            return _right(dense["rank"] < _TOP, pruned["rank"] < _TOP)
        case "brier":
            return grown(dense["score"], pruned["score"])
        case "flips":
            return flips(dense["predicted"][:, 0], pruned["predicted"][:, 0])


def _segmented_counts(
    rule: Rule, dense: Answers, pruned: Answers, *, classes: Sequence[str]
) -> ScoreCounts:
    """Growth of the share of wrong pixels, or of the Brier score, image by image.

    An image counts once, however many pixels it has: its pixels are no independent sample.
    """
    check_segmentable(rule)
    check_segmented(dense, pruned, classes=len(classes))
    _check_draws(rule, dense)
    if rule.metric == "brier":
        return grown(dense["score"], pruned["score"])
    pixels = dense["labelled"].sum(axis=-1, dtype=np.int64)
    wrong = [pixels - each["right"].sum(axis=-1, dtype=np.int64) for each in (dense, pruned)]
    return grown_errors(wrong[0], wrong[1], of=pixels[:, 0])


def check_segmentable(rule: Rule) -> None:
    """Whether a rule can be judged where the answer to an image is a class for every pixel.

    Raises:
        ValueError: it cannot.
    """
    remedy = "judge it by top1, the share of an image's pixels that are right, or by brier"
    own = isinstance(rule, FolderRule)
    if own:
        raise ValueError(
            f"{rule.id} brings images of its own without masks, and a segmentation is judged by "
            "masks: leave the rule out, or judge those images as data.gate"
        )
    if rule.metric in {"flips", "top5"}:
        raise ValueError(
            f"{rule.id} is judged by {rule.metric}, which is one answer to an image, and a "
            f"segmentation answers every pixel; {remedy}"
        )
    if rule.only:
        raise ValueError(
            f"{rule.id} is about images of {_listed(rule.only)}, and an image of a segmentation "
            "shows several classes; remove only"
        )


def in_group(
    rule: Rule, labels: NDArray[np.integer], *, classes: Sequence[str]
) -> NDArray[np.bool_]:
    """Which of the images with these ``labels`` [n] count for a rule: all, or those of its group.

    Raises:
        ValueError: the rule names a class that the model does not know.
    """
    if not rule.only:
        return np.ones(len(labels), dtype=np.bool_)
    if unknown := [name for name in rule.only if name not in classes]:
        raise ValueError(
            f"{rule.id} is about {_listed(unknown)}, which the model does not know; its "
            f"{len(classes)} classes are {_listed(classes)}"
        )
    return np.isin(labels, [classes.index(name) for name in rule.only])


def _right(dense: NDArray[np.bool_], pruned: NDArray[np.bool_]) -> PairedCounts | DrawCounts:
    """Counts of right answers [n draws]; a single draw is the plainer kind."""
    if dense.shape[1] == 1:
        return paired(dense[:, 0], pruned[:, 0])
    return paired_draws(dense, pruned)


def _check_draws(rule: Rule, answers: Answers) -> None:
    draws = 1 if isinstance(rule, FolderRule) else rule.draws
    if answers.shape[1] != draws:
        raise ValueError(
            f"{rule.id} is judged on {draws} draws of each image, and these answers are to "
            f"{answers.shape[1]}"
        )


def check_metric(rule: Rule, classes: Sequence[str]) -> None:
    """Whether the rule's metric can tell anything with so many ``classes``.

    Raises:
        ValueError: it cannot.
    """
    if rule.metric == "top5" and len(classes) <= _TOP:
        raise ValueError(
            f"{rule.id} is judged by top5, which is always right with {len(classes)} classes; "
            "judge it by top1"
        )


def _listed(names: Sequence[str]) -> str:
    """The names; of many the first."""
    few = ", ".join(map(repr, names[:8]))
    return few if len(names) <= 8 else f"{few} and {len(names) - 8} more"
