"""What the tests of measuring share: images, distributions, and a model of three lines."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gates.measure import Measured, Predict, labelled_answers
from gates.shifts import Component, Distribution

CLASSES = 4

CLEAN = Distribution(components=(Component(name="clean"),))
NOISE = Distribution(components=(Component(name="gaussian_noise", severity=2),))
DRAWN = Distribution(
    components=(
        Component(name="gaussian_noise", severity=2),
        Component(name="uniform_noise", level=0.07),
        Component(name="contrast", severity=4),
    ),
    draws=3,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.uint64]


def some_set(n: int = 23) -> Set:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    images.setflags(write=False)
    return Set(
        images=images,
        labels=rng.integers(0, CLASSES, n),
        ids=rng.integers(0, 2**64, n, dtype=np.uint64),
    )


def by_sum(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A model that says: the sum of the pixels modulo the number of classes."""
    answers = images.sum(axis=(1, 2, 3), dtype=np.int64) % CLASSES
    logits = np.zeros((len(images), CLASSES), np.float32)
    logits[np.arange(len(images)), answers] = 1.0
    return logits


ALL = np.arange(23)


def measured(
    predict: Predict,
    images: Set,
    *,
    rows: NDArray[np.int64] | None = None,
    distribution: Distribution = CLEAN,
    batch_size: int = 256,
) -> Measured:
    return labelled_answers(
        predict,
        images,
        rows=np.arange(len(images.images)) if rows is None else rows,
        distribution=distribution,
        seed=5,
        profile="auto",
        batch_size=batch_size,
    )
