"""How long a layer takes at widths that were not measured, from those that were. Plain data in."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_EIGHT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """Microseconds of one layer, measured on a grid of widths."""

    dims: tuple[int, ...]
    """Dimensions of the layer's weight that are widths: (1, 0) for one that reads and makes."""
    widths: tuple[tuple[int, ...], ...]
    """Per dimension, the measured sizes of the weight along it, rising."""
    us: tuple[float, ...]
    """Median time at each choice of widths, the last dimension fastest."""

    def __post_init__(self) -> None:
        if len(self.us) != math.prod(map(len, self.widths)) or len(self.dims) != len(self.widths):
            raise ValueError(
                f"{len(self.us)} times for {len(self.dims)} dimensions with "
                f"{' x '.join(str(len(w)) for w in self.widths)} widths; one for each choice"
            )


LatencyTable = Mapping[str, LayerTimes]
"""By qualified module name."""


def monotone(times: LayerTimes) -> NDArray[np.float64]:
    """The measured grid, made to rise with every width: [widths of dim 0, widths of dim 1, ...].

    The mean of the least rising grid above the measurements and of the greatest below them; where
    the measurements rise already, it is they themselves.
    """
    grid = np.array(times.us, dtype=np.float64).reshape([len(w) for w in times.widths])
    above, below = grid, grid
    for axis in range(grid.ndim):
        above = np.maximum.accumulate(above, axis=axis)
        below = np.flip(np.minimum.accumulate(np.flip(below, axis), axis=axis), axis)
    return np.asarray((above + below) / 2.0)


def interpolated(times: LayerTimes, grid: NDArray[np.float64], at: Sequence[int]) -> float:
    """Microseconds at these widths, one for each of ``dims``: linear between the measured ones.

    Kernels compute channels in eights or sixteens and throw away what is too much, so a width that
    was not measured counts as the next multiple of eight, or as the next measured one where that
    is nearer: nobody saw that 12 channels take less than 16. Beyond the measured widths the nearest
    one counts: a narrower layer is never assumed to be slower, nor one below all measurements to be
    faster.
    """
    value = grid
    for now, widths in zip(at, times.widths, strict=True):
        above = min(bisect_left(widths, now), len(widths) - 1)
        size = max(min(-(-now // _EIGHT) * _EIGHT, widths[above]), widths[0])
        if size == widths[above]:
            value = value[above]
            continue
        share = (size - widths[above - 1]) / (widths[above] - widths[above - 1])
        value = (1.0 - share) * value[above - 1] + share * value[above]
    return float(value)
