"""What a model's logits must be like to be counted, and what to say where they are not."""

import numpy as np
from numpy.typing import NDArray

from gates.answers import NOT_LABELLED
from gates.shifts import Component, Distribution

Labels = NDArray[np.int64] | NDArray[np.uint8]
"""Classes [n], or masks [n h w] of classes and NOT_LABELLED."""


class MeasureError(RuntimeError):
    """The model did not answer in a way that could be counted."""


def check_sizes(*sizes: int) -> None:
    """Raise ValueError unless there are as many images as labels and ids."""
    if len(set(sizes)) > 1:
        raise ValueError("images, labels and ids must be equally many, got {} {} {}".format(*sizes))


def check_rows(rows: NDArray[np.int64], total: int) -> None:
    """Raise ValueError unless ``rows`` are rows of ``total`` images; -1 is none."""
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(f"rows are integers [n], not {rows.dtype} {rows.shape}")
    if len(rows) and not 0 <= rows.min() <= rows.max() < total:
        raise ValueError(
            f"rows from {rows.min()} to {rows.max()} are asked about, of {total} images"
        )


def check_shape(logits: NDArray[np.float32], count: int) -> None:
    """Raise MeasureError unless ``logits`` [n classes] has a row for each of ``count`` images."""
    if logits.ndim != 2 or len(logits) != count:
        raise MeasureError(
            f"the model answered {count} images with logits of shape {list(logits.shape)};"
            " it must return [n classes]"
        )


def check_places(logits: NDArray[np.float32], masks: Labels, *, classes: int) -> None:
    """Raise MeasureError unless ``logits`` [n classes h w] answer every pixel of ``masks``."""
    wanted = (len(masks), classes, *masks.shape[1:])
    if logits.shape != wanted:
        raise MeasureError(
            f"the model answered {len(masks)} images with logits of shape {list(logits.shape)};"
            f" for these masks it must return {list(wanted)}, a number for each class and pixel"
        )
    check_labels(logits, masks[masks != NOT_LABELLED])


def check_labels(logits: NDArray[np.float32], labels: Labels) -> None:
    """Raise MeasureError unless ``logits`` [n classes] has a column for every label."""
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise MeasureError(
            f"the model knows {logits.shape[1]} classes, but the labels go from {labels.min()}"
            f" to {labels.max()}; give the data set that the model was trained for"
        )


def check_finite(logits: NDArray[np.float32], rows: NDArray[np.int64], *, under: str = "") -> None:
    """Raise MeasureError where ``logits`` hold NaN or infinity; an argmax would hide them."""
    broken = np.flatnonzero(~np.isfinite(logits).reshape(len(logits), -1).all(axis=1))
    if len(broken):
        raise MeasureError(
            f"the model's logits for image {rows[broken[0]]}{under} are not finite;"
            " check its weights and precision before judging it"
        )


def described(distribution: Distribution, draw: int) -> str:
    """What messages call one draw of a distribution."""
    names = [_component(item) for item in distribution.components]
    listed = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if distribution.draws == 1:
        return listed
    return f"{listed} (draw {draw + 1} of {distribution.draws})"


def _component(item: Component) -> str:
    strength = item.severity if item.level is None else item.level
    return item.name if strength is None else f"{item.name}-{strength}"
