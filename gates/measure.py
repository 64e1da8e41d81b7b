"""What a model answers on the gate's images, under one distribution.

The observing half of the gate. It knows neither networks nor files, only a function from pixels
to logits, and of the logits it keeps a record of ``gates.answers`` for each image and draw: what is
judged later are counts of these.

Which images are asked about, and in which order, the caller says by their rows, so that the gate
can look at a part of them first. Batches are ``batch_size`` of these rows each, and only the pixels
of one batch are in memory.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gates.answers import ANSWER, UNLABELLED_ANSWER, Answers, labelled, unlabelled
from gates.shifts import Component, Distribution, sample


class MeasureError(RuntimeError):
    """The model did not answer in a way that could be counted."""


class Predict(Protocol):
    """A model as the gate sees it; its preprocessing is inside.

    Takes pixels [n c h w], returns logits [n classes]; answers for one image must not depend on
    the other images of the batch.
    """

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]: ...


class GateImages(Protocol):
    """Labelled images; they may be memory maps, and are only read, batch by batch."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """Pixels [n c h w]."""
        ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices [n]: columns of the logits."""
        ...

    @property
    def ids(self) -> NDArray[np.uint64]:
        """What names each image [n], so that its noise follows it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Wall time by what it was spent on."""

    load: float = 0.0
    """Reading pixels into memory."""
    shift: float = 0.0
    """Moving them away from what the model was trained on."""
    infer: float = 0.0
    """Asking the model."""

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(
            load=self.load + other.load,
            shift=self.shift + other.shift,
            infer=self.infer + other.infer,
        )

    @property
    def total(self) -> float:
        return self.load + self.shift + self.infer


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
    spent = _Spent()
    _check_sizes(images)
    _check_rows(rows, len(images.images))
    answers = np.empty((len(rows), distribution.draws), dtype=ANSWER)
    for part in _parts(len(rows), batch_size):
        labels, ids = images.labels[rows[part]], images.ids[rows[part]]
        with spent.on("load"):
            pixels = np.asarray(images.images[rows[part]])
        for draw in range(distribution.draws):
            with spent.on("shift"):
                inputs = sample(
                    pixels, ids, distribution=distribution, seed=seed, draw=draw, profile=profile
                )
            with spent.on("infer"):
                logits = predict(inputs)
            _check_shape(logits, len(labels))
            _check_labels(logits, labels)
            _check_finite(logits, rows[part], under=f" under {_label(distribution, draw)}")
            answers[part, draw] = labelled(logits, labels)
        if on_batch is not None:
            on_batch(part.stop)
    return Measured(answers=answers, seconds=spent.seconds())


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
    spent = _Spent()
    _check_rows(rows, len(images))
    answers = np.empty(len(rows), dtype=UNLABELLED_ANSWER)
    for part in _parts(len(rows), batch_size):
        with spent.on("load"):
            pixels = np.asarray(images[rows[part]])
        with spent.on("infer"):
            logits = predict(pixels)
        _check_shape(logits, len(pixels))
        _check_finite(logits, rows[part])
        answers[part] = unlabelled(logits)
        if on_batch is not None:
            on_batch(part.stop)
    return Measured(answers=answers, seconds=spent.seconds())


class _Spent:
    """A clock for each kind of work."""

    def __init__(self) -> None:
        self._seconds = {"load": 0.0, "shift": 0.0, "infer": 0.0}

    @contextmanager
    def on(self, work: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[work] += time.perf_counter() - start

    def seconds(self) -> Seconds:
        return Seconds(**self._seconds)


def _parts(total: int, batch_size: int) -> Iterator[slice]:
    """Slices of ``batch_size`` numbers, the last one perhaps shorter, that cover ``total``."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    for start in range(0, total, batch_size):
        yield slice(start, min(start + batch_size, total))


def _check_sizes(images: GateImages) -> None:
    """Raise ValueError unless there is one label and id per image."""
    sizes = len(images.images), len(images.labels), len(images.ids)
    if len(set(sizes)) > 1:
        raise ValueError("images, labels and ids must be equally many, got {} {} {}".format(*sizes))


def _check_rows(rows: NDArray[np.int64], total: int) -> None:
    """Raise ValueError unless ``rows`` are rows of ``total`` images; -1 is none."""
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(f"rows are integers [n], not {rows.dtype} {rows.shape}")
    if len(rows) and not 0 <= rows.min() <= rows.max() < total:
        raise ValueError(
            f"rows from {rows.min()} to {rows.max()} are asked about, of {total} images"
        )


def _check_shape(logits: NDArray[np.float32], count: int) -> None:
    """Raise MeasureError unless ``logits`` [n classes] has a row for each of ``count`` images."""
    if logits.ndim != 2 or len(logits) != count:
        raise MeasureError(
            f"the model answered {count} images with logits of shape {list(logits.shape)};"
            " it must return [n classes]"
        )


def _check_labels(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """Raise MeasureError unless ``logits`` [n classes] has a column for every label."""
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise MeasureError(
            f"the model knows {logits.shape[1]} classes, but the labels go from {labels.min()}"
            f" to {labels.max()}; give the data set that the model was trained for"
        )


def _check_finite(logits: NDArray[np.float32], rows: NDArray[np.int64], *, under: str = "") -> None:
    """Raise MeasureError where ``logits`` hold NaN or infinity; an argmax would hide them."""
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise MeasureError(
            f"the model's logits for image {rows[broken[0]]}{under} are not finite;"
            " check its weights and precision before judging it"
        )


def _label(distribution: Distribution, draw: int) -> str:
    names = [_component(item) for item in distribution.components]
    listed = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if distribution.draws == 1:
        return listed
    return f"{listed} (draw {draw + 1} of {distribution.draws})"


def _component(item: Component) -> str:
    strength = item.severity if item.level is None else item.level
    return item.name if strength is None else f"{item.name}-{strength}"
