"""Which of the gate's images a model gets right under one shift.

The observing half of the gate. It knows neither networks nor files, only a function from pixels
to logits, and it keeps nothing but whether the answer was right: what is judged later are counts.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gates.shifts import shifted


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


def right_answers(
    predict: Predict,
    images: GateImages,
    *,
    shift: str,
    severity: int | None,
    seed: int,
    profile: str,
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.bool_]:
    """Whether the largest logit is the label's, for each image [n] under the shift.

    ``on_batch`` is told after every batch how many images are done.

    Raises:
        ShiftError: The shift does not exist, or the images do not fit it.
        MeasureError: Logits that are not finite, or of a shape that does not fit the labels.
        ValueError: ``batch_size`` below one, or not one label and id per image.
    """
    total = len(images.images)
    _check_sizes(images, batch_size=batch_size)
    right = np.zeros(total, dtype=np.bool_)
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        labels = images.labels[start:stop]
        inputs = shifted(
            images.images[start:stop],
            images.ids[start:stop],
            name=shift,
            severity=severity,
            seed=seed,
            profile=profile,
        )
        logits = predict(inputs)
        _check_shape(logits, labels)
        _check_finite(logits, first=start, shift=_label(shift, severity))
        right[start:stop] = logits.argmax(axis=1) == labels
        if on_batch is not None:
            on_batch(stop)
    return right


def _check_sizes(images: GateImages, *, batch_size: int) -> None:
    """Raise ValueError unless there is one label and id per image, and a batch to fill."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    sizes = len(images.images), len(images.labels), len(images.ids)
    if len(set(sizes)) > 1:
        raise ValueError("images, labels and ids must be equally many, got {} {} {}".format(*sizes))


def _check_shape(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """Raise MeasureError unless ``logits`` [n classes] has a row and a column for every label."""
    if logits.ndim != 2 or len(logits) != len(labels):
        raise MeasureError(
            f"the model answered {len(labels)} images with logits of shape {list(logits.shape)};"
            " it must return [n classes]"
        )
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise MeasureError(
            f"the model knows {logits.shape[1]} classes, but the labels go from {labels.min()}"
            f" to {labels.max()}; give the data set that the model was trained for"
        )


def _check_finite(logits: NDArray[np.float32], *, first: int, shift: str) -> None:
    """Raise MeasureError where ``logits`` hold NaN or infinity; an argmax would hide them."""
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise MeasureError(
            f"the model's logits for image {first + broken[0]} under {shift} are not finite;"
            " check its weights and precision before judging it"
        )


def _label(shift: str, severity: int | None) -> str:
    return shift if severity is None else f"{shift}-{severity}"
