"""What is kept of a model's answer: one record for each image and draw, and no logits.

A record holds what every metric of a policy is counted from, so that another metric, or a look at
fewer images, asks no model again. Records are bytes of one layout on every machine.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Answers = NDArray[np.void]
"""Records of ANSWER [n draws], of UNLABELLED_ANSWER [n], or of ``segmented_answer`` [n draws]."""

ANSWER: Final = np.dtype(
    [
        # Column of the logits that is right.
        ("label", "<i4"),
        # Column of the largest logit; of equals the first.
        ("predicted", "<i4"),
        # How many logits come before the label's: larger ones, and equal ones of lower columns.
        # It is 0 exactly where the label was predicted.
        ("rank", "<i4"),
        # Half the multi-class Brier score of softmax(logits), 0..1; less is better.
        ("score", "<f4"),
        # The largest softmax(logits), 0..1.
        ("confidence", "<f4"),
    ]
)
"""An answer to an image whose label is known."""

UNLABELLED_ANSWER: Final = np.dtype([("predicted", "<i4"), ("confidence", "<f4")])
"""An answer to an image whose label nobody knows."""


NOT_LABELLED: Final = 255
"""What a mask holds where nobody says which class it is. Such pixels count for nothing."""


def segmented_answer(classes: int) -> np.dtype[np.void]:
    """The record of an answer for every pixel of an image: counts of its labelled pixels.

    Counts by class, so that the share of right pixels and every overlap follow from them: the
    intersection of a class is ``right``, its union ``predicted + labelled - right``.
    """
    return np.dtype(
        [
            # Pixels of the class that were named right.
            ("right", "<i4", (classes,)),
            # Labelled pixels, of whatever class, whose largest logit is the class's.
            ("predicted", "<i4", (classes,)),
            # Pixels that the mask says are of the class.
            ("labelled", "<i4", (classes,)),
            # Half the Brier score, its mean over the labelled pixels, 0..1; less is better.
            ("score", "<f4"),
        ]
    )


def is_segmented(answers: Answers) -> bool:
    """Whether these are records of ``segmented_answer``."""
    return answers.dtype.names == ("right", "predicted", "labelled", "score")


def labelled(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Answers:
    """The answers [n] that ``logits`` [n classes], finite, give to images of these ``labels`` [n].

    References:
        Brier 1950, Monthly Weather Review 78:1-3. The sum over classes of (p_k - y_k)^2 lies in
        0..2; half of it is kept.
    """
    chances, rows = _softmax(logits), np.arange(len(labels))
    own = logits[rows, labels][:, None]
    lower = np.arange(logits.shape[1]) < labels[:, None]
    distances = chances.copy()
    distances[rows, labels] -= 1.0
    answers = np.empty(len(labels), dtype=ANSWER)
    answers["label"] = labels
    answers["predicted"] = logits.argmax(axis=1)
    answers["rank"] = np.count_nonzero((logits > own) | ((logits == own) & lower), axis=1)
    answers["score"] = np.clip((distances**2).sum(axis=1) / 2, 0.0, 1.0)
    answers["confidence"] = np.clip(chances.max(axis=1), 0.0, 1.0)
    return answers


def unlabelled(logits: NDArray[np.float32]) -> Answers:
    """The answers [n] that ``logits`` [n classes], finite, give."""
    answers = np.empty(len(logits), dtype=UNLABELLED_ANSWER)
    answers["predicted"] = logits.argmax(axis=1)
    answers["confidence"] = np.clip(_softmax(logits).max(axis=1), 0.0, 1.0)
    return answers


def segmented(logits: NDArray[np.float32], masks: NDArray[np.uint8]) -> Answers:
    """The answers [n] that ``logits`` [n classes h w], finite, give to images of these masks.

    ``masks`` [n h w] hold classes, or NOT_LABELLED; each image has a labelled pixel.
    """
    answers = np.empty(len(masks), dtype=segmented_answer(logits.shape[1]))
    for index, mask in enumerate(masks):
        known = mask != NOT_LABELLED
        labels = mask[known].astype(np.int64)
        answers[index] = _segmented(logits[index][:, known].T, labels)
    return answers


def _segmented(
    logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], float]:
    """One record, from the logits [pixels classes] at an image's labelled pixels."""
    classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    distances = _softmax(logits)
    distances[np.arange(len(labels)), labels] -= 1.0
    return (
        np.bincount(labels[predicted == labels], minlength=classes),
        np.bincount(predicted, minlength=classes),
        np.bincount(labels, minlength=classes),
        float(np.clip((distances**2).sum(axis=1).mean() / 2, 0.0, 1.0)),
    )


def check_labelled(dense: Answers, pruned: Answers) -> None:
    """Whether both are answers of ANSWER to the same images, of which there are some.

    Raises:
        ValueError: saying what does not fit.
    """
    for answers in (dense, pruned):
        if answers.dtype != ANSWER or answers.ndim != 2:
            raise ValueError(
                f"answers to labelled images are records of {', '.join(ANSWER.names or ())} "
                f"[n draws], not {answers.dtype} {answers.shape}"
            )
    if dense.shape != pruned.shape or not np.array_equal(dense["label"], pruned["label"]):
        raise ValueError(
            f"answers {dense.shape} of the dense model and {pruned.shape} of the pruned are not to "
            "the same images with the same labels; measure both on the same rows"
        )
    if not dense.size:
        raise ValueError("no images were asked about, so nothing can be told; measure some first")


def check_segmented(dense: Answers, pruned: Answers, *, classes: int) -> None:
    """Whether both are answers to the same masks of so many classes, of which there are some.

    Raises:
        ValueError: saying what does not fit.
    """
    for answers in (dense, pruned):
        if answers.dtype != segmented_answer(classes) or answers.ndim != 2:
            raise ValueError(
                f"answers to images with masks of {classes} classes are counts of right, predicted "
                f"and labelled pixels by class [n draws], not {answers.dtype} {answers.shape}"
            )
    if dense.shape != pruned.shape or not np.array_equal(dense["labelled"], pruned["labelled"]):
        raise ValueError(
            f"answers {dense.shape} of the dense model and {pruned.shape} of the pruned are not to "
            "the same images with the same masks; measure both on the same rows"
        )
    if not dense.size:
        raise ValueError("no images were asked about, so nothing can be told; measure some first")
    for answers in (dense, pruned):
        right, all_there = answers["right"], np.minimum(answers["predicted"], answers["labelled"])
        pixels = answers["labelled"].sum(axis=-1)
        fits = (pixels == answers["predicted"].sum(axis=-1)) & (pixels == pixels[:, :1])
        if not (fits & (pixels > 0)).all() or not ((right >= 0) & (right <= all_there)).all():
            raise ValueError("counts of pixels do not fit together: these are no answers to masks")


def check_classes(answers: Answers, classes: int) -> None:
    """Whether every label of these answers of ANSWER is one of so many ``classes``.

    Raises:
        ValueError: one is not.
    """
    low, high = answers["label"].min(), answers["label"].max()
    if not 0 <= low <= high < classes:
        raise ValueError(f"labels from {low} to {high} do not go with {classes} classes")


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Chances [n classes]; the largest logit is taken off first, so that nothing overflows."""
    logits_64 = np.array(logits, dtype=np.float64, order="C")
    powers = np.exp(logits_64 - logits_64.max(axis=1, keepdims=True))
    chances: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return chances
