"""What a model answers on the gate's images, under one distribution.

The observing half of the gate. It knows neither networks nor files, only a function from pixels
to logits, and it keeps nothing but whether the answer was right, or, where nobody knows, what the
answer was: what is judged later are counts.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
    """Labelled images; they may be memory maps, and are only read, in order."""

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
    """Which images a model got right."""

    right: NDArray[np.bool_]
    """[n draws], whether the largest logit was the label's."""
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """What a model took images for."""

    classes: NDArray[np.int64]
    """[n], the column of the largest logit."""
    seconds: Seconds


def right_answers(
    predict: Predict,
    images: GateImages,
    *,
    distribution: Distribution,
    seed: int,
    profile: str,
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> Measured:
    """Whether the largest logit is the label's, for each image under each draw.

    ``on_batch`` is told after every batch how many images are done, under all draws.

    Raises:
        ShiftError: A component does not exist, or the images do not fit it.
        MeasureError: Logits that are not finite, or of a shape that does not fit the labels.
        ValueError: ``batch_size`` below one, or not one label and id per image.
    """
    total, spent = len(images.images), _Spent()
    _check_sizes(images)
    right = np.zeros((total, distribution.draws), dtype=np.bool_)
    for part in _parts(total, batch_size):
        labels, ids = images.labels[part], images.ids[part]
        with spent.on("load"):
            pixels = np.array(images.images[part])
        for draw in range(distribution.draws):
            with spent.on("shift"):
                inputs = sample(
                    pixels, ids, distribution=distribution, seed=seed, draw=draw, profile=profile
                )
            with spent.on("infer"):
                logits = predict(inputs)
            _check_shape(logits, len(labels))
            _check_labels(logits, labels)
            _check_finite(logits, first=part.start, under=f" under {_label(distribution, draw)}")
            right[part, draw] = logits.argmax(axis=1) == labels
        if on_batch is not None:
            on_batch(part.stop)
    return Measured(right=right, seconds=spent.seconds())


def predicted_classes(
    predict: Predict,
    images: NDArray[np.uint8],
    *,
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> Predicted:
    """The column of the largest logit for each of the images [n c h w], as they are.

    ``on_batch`` is told after every batch how many images are done.

    Raises:
        MeasureError: Logits that are not finite, or not [n classes].
        ValueError: ``batch_size`` below one.
    """
    spent = _Spent()
    classes = np.zeros(len(images), dtype=np.int64)
    for part in _parts(len(images), batch_size):
        with spent.on("load"):
            pixels = np.array(images[part])
        with spent.on("infer"):
            logits = predict(pixels)
        _check_shape(logits, len(pixels))
        _check_finite(logits, first=part.start)
        classes[part] = logits.argmax(axis=1)
        if on_batch is not None:
            on_batch(part.stop)
    return Predicted(classes=classes, seconds=spent.seconds())


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


def _check_finite(logits: NDArray[np.float32], *, first: int, under: str = "") -> None:
    """Raise MeasureError where ``logits`` hold NaN or infinity; an argmax would hide them."""
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise MeasureError(
            f"the model's logits for image {first + broken[0]}{under} are not finite;"
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
