"""What a model answers on the gate's images, under one distribution.

The observing half of the gate. It knows neither networks nor files, only a function from pixels
to logits, and of the logits it keeps a record of ``gates.answers`` for each image and draw: what is
judged later are counts of these.

Which images are asked about, and in which order, the caller says by their rows, so that the gate
can look at a part of them first. Batches are ``batch_size`` of these rows each, and only the pixels
of one batch are in memory.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gates.answers import (
    ANSWER,
    UNLABELLED_ANSWER,
    Answers,
    labelled,
    segmented,
    segmented_answer,
    unlabelled,
)
from gates.replies import (
    Labels,
    MeasureError,
    check_finite,
    check_labels,
    check_places,
    check_rows,
    check_shape,
    check_sizes,
    described,
)
from gates.seconds import Clock, Seconds
from gates.shifts import Distribution, sample

__all__ = [
    "PIXELS_AT_ONCE",
    "GateImages",
    "MeasureError",
    "Measured",
    "Predict",
    "Seconds",
    "images_at_once",
    "labelled_answers",
    "segmented_answers",
    "unlabelled_answers",
]

PIXELS_AT_ONCE: Final = 2**21
"""Of the images of one batch, where every pixel is answered: a gigabyte or two of a ResNet-50's
features, and 0.2 of logits of 21 classes."""


class Predict(Protocol):
    """A model as the gate sees it; its preprocessing is inside.

    Takes pixels [n c h w], returns logits [n classes] or, for a segmentation, [n classes h w];
    answers for one image must not depend on the other images of the batch.
    """

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]: ...


class GateImages(Protocol):
    """Labelled images; they may be memory maps, and are only read, batch by batch."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """Pixels [n c h w]."""
        ...

    @property
    def labels(self) -> Labels:
        """Class indices [n], which are columns of the logits; or masks of them [n h w]."""
        ...

    @property
    def ids(self) -> NDArray[np.uint64]:
        """What names each image [n], so that its noise follows it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What a model answered, and how long it took."""

    answers: Answers
    """Records, in the order of the rows that were asked about."""
    seconds: Seconds


def labelled_answers(
    predict: Predict,
    images: GateImages,
    *,
    rows: NDArray[np.int64],
    distribution: Distribution,
    seed: int,
    profile: str,
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> Measured:
    """Answers of ANSWER [n draws] to the images of these ``rows`` [n], under each draw.

    ``on_batch`` is told after every batch how many of the rows are done, under all draws.

    Raises:
        ShiftError: A component does not exist, or the images do not fit it.
        MeasureError: Logits that are not finite, or of a shape that does not fit the labels.
        ValueError: ``batch_size`` below one, not one label and id per image, or a row that there
            is not.
    """

    def check(logits: NDArray[np.float32], labels: Labels) -> None:
        check_shape(logits, len(labels))
        check_labels(logits, labels)

    def record(logits: NDArray[np.float32], labels: Labels) -> Answers:
        return labelled(logits, labels.astype(np.int64))

    sampler = _Sampler(distribution=distribution, seed=seed, profile=profile)
    answers = np.empty((len(rows), distribution.draws), dtype=ANSWER)
    spent = _ask(
        predict, images, answers, rows=rows, sampler=sampler, batch_size=batch_size,
        check=check, record=record, on_batch=on_batch,
    )  # fmt: skip
    return Measured(answers=answers, seconds=spent.seconds())


def segmented_answers(
    predict: Predict,
    images: GateImages,
    *,
    classes: int,
    rows: NDArray[np.int64],
    distribution: Distribution,
    seed: int,
    profile: str,
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> Measured:
    """Answers of ``segmented_answer`` [n draws] to images whose labels are masks [n h w].

    Shifts change images alone, whatever they do: a pixel is judged by the mask where it is. Fewer
    images than ``batch_size`` are asked at once where they are large (``images_at_once``).

    Raises:
        ShiftError, MeasureError, ValueError: as for ``labelled_answers``.
    """

    def check(logits: NDArray[np.float32], masks: Labels) -> None:
        check_places(logits, masks, classes=classes)

    def record(logits: NDArray[np.float32], masks: Labels) -> Answers:
        return segmented(logits, masks.astype(np.uint8, copy=False))

    sampler = _Sampler(distribution=distribution, seed=seed, profile=profile)
    answers = np.empty((len(rows), distribution.draws), dtype=segmented_answer(classes))
    at_once = min(batch_size, images_at_once(images.labels.shape[1:], most=batch_size))
    spent = _ask(
        predict, images, answers, rows=rows, sampler=sampler, batch_size=at_once,
        check=check, record=record, on_batch=on_batch,
    )  # fmt: skip
    return Measured(answers=answers, seconds=spent.seconds())


def images_at_once(size: Sequence[int], *, most: int) -> int:
    """Images of ``size`` (h, w) that a network which answers every pixel is asked about at once.

    ``most``, halved until their pixels are few enough: batches of a power of two stay whole.
    """
    while most > 1 and most * math.prod(size) > PIXELS_AT_ONCE:
        most //= 2
    return most


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampler:
    """How pixels [n c h w] become what the model sees."""

    distribution: Distribution
    seed: int
    profile: str

    def __call__(
        self, pixels: NDArray[np.uint8], ids: NDArray[np.uint64], *, draw: int
    ) -> NDArray[np.uint8]:
        return sample(
            pixels,
            ids,
            distribution=self.distribution,
            seed=self.seed,
            draw=draw,
            profile=self.profile,
        )


def _ask(
    predict: Predict,
    images: GateImages,
    answers: Answers,
    *,
    rows: NDArray[np.int64],
    sampler: _Sampler,
    batch_size: int,
    check: Callable[[NDArray[np.float32], Labels], None],
    record: Callable[[NDArray[np.float32], Labels], Answers],
    on_batch: Callable[[int], None] | None,
) -> Clock:
    """Fill ``answers`` [n draws] with what ``record`` makes of logits that pass ``check``."""
    spent = Clock()
    check_sizes(len(images.images), len(images.labels), len(images.ids))
    check_rows(rows, len(images.images))
    for part in _parts(len(rows), batch_size):
        labels, ids = images.labels[rows[part]], images.ids[rows[part]]
        with spent.on("load"):
            pixels = np.asarray(images.images[rows[part]])
        for draw in range(answers.shape[1]):
            with spent.on("shift"):
                inputs = sampler(pixels, ids, draw=draw)
            with spent.on("infer"):
                logits = predict(inputs)
            check(logits, labels)
            under = f" under {described(sampler.distribution, draw)}"
            check_finite(logits, rows[part], under=under)
            answers[part, draw] = record(logits, labels)
        if on_batch is not None:
            on_batch(part.stop)
    return spent


def unlabelled_answers(
    predict: Predict,
    images: NDArray[np.uint8],
    *,
    rows: NDArray[np.int64],
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> Measured:
    """Answers of UNLABELLED_ANSWER [n] to these ``rows`` [n] of ``images`` [all c h w] as they are.

    ``on_batch`` is told after every batch how many of the rows are done.

    Raises:
        MeasureError: Logits that are not finite, or not [n classes].
        ValueError: ``batch_size`` below one, or a row that there is not.
    """
    spent = Clock()
    check_rows(rows, len(images))
    answers = np.empty(len(rows), dtype=UNLABELLED_ANSWER)
    for part in _parts(len(rows), batch_size):
        with spent.on("load"):
            pixels = np.asarray(images[rows[part]])
        with spent.on("infer"):
            logits = predict(pixels)
        check_shape(logits, len(pixels))
        check_finite(logits, rows[part])
        answers[part] = unlabelled(logits)
        if on_batch is not None:
            on_batch(part.stop)
    return Measured(answers=answers, seconds=spent.seconds())


def _parts(total: int, batch_size: int) -> Iterator[slice]:
    """Slices of ``batch_size`` numbers, the last one perhaps shorter, that cover ``total``."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    for start in range(0, total, batch_size):
        yield slice(start, min(start + batch_size, total))
