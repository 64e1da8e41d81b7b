"""Does a network give the same answer twice? A random one cannot be judged image by image."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from exporters.runtime import Predict

# A share of the range of the logits. On a CPU a batch repeats to the bit, so any difference is
# the network's own; a GPU may sum in another order, which moves float32 logits by some 1e-6 and
# those of half precision, where one rounding is 2^-11 of a number, by about one unit, 2^-10.
# Dropout left active, or noise in the graph, moves them by percents.
TOLERANCE: Final = 1e-3

_ADVICE: Final = "; export the network in evaluation mode, without dropout or noise"


class NotRepeatableError(RuntimeError):
    """The same images get different answers."""


def check_repeatable(
    predict: Predict, images: NDArray[np.uint8], *, tolerance: float = TOLERANCE
) -> None:
    """Ask for the same images [n c h w] twice.

    Raises:
        NotRepeatableError: The logits differ by more than ``tolerance`` of their range.
    """
    first, second = (predict(images).astype(np.float64) for _ in range(2))
    if np.array_equal(first, second, equal_nan=True):
        return
    finite = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        raise NotRepeatableError(
            f"two runs on the same {len(images)} images differ in where logits are infinite "
            f"or not a number{_ADVICE}"
        )
    difference = float(np.abs(first[finite] - second[finite]).max())
    extent = float(np.ptp(first[finite]))
    if difference > tolerance * extent:
        raise NotRepeatableError(
            f"two runs on the same {len(images)} images differ by up to {difference:.2g} in logits "
            f"whose range is {extent:.2g} (limit {tolerance:.0e} of it){_ADVICE}"
        )
