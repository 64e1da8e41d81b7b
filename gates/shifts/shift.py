"""What a shift is: a function on a batch of pixels, and what is known about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import torch
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters

# Bytes are cut off, not rounded, as in the generator's ``np.uint8(255 * x)``. In exact arithmetic
# many values are whole numbers (a flat area after a blur, an untouched pixel), and an error in the
# last place must not make them one less. float64 errs by less than 1e-12 here. A defocus kernel
# with a nearly hard edge (weights below 1e-11) leaves values within 3e-9 of whole ones; the slack
# lifts these too, so that none of them is decided by the order of a sum.
WHOLE_SLACK: Final = 1e-8


class OnBytes(Protocol):
    """Move images away from what the model was trained on.

    ``images`` [n c h w] are uint8 on any device, c is 1 or 3; as many bytes of the same shape come
    back, on the same device. ``draws`` are the only source of randomness. The given images are left
    alone.
    """

    def __call__(self, images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor: ...


class OnUnit(Protocol):
    """The same on float64 in [0, 1]; what comes back may lie beyond, and is clipped in place."""

    def __call__(self, images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Shift:
    """One line of the table of shifts."""

    apply: OnBytes
    family: Literal["none", "noise", "blur", "weather", "digital"]
    suite: Literal["benchmark", "extra", "ours"]
    """One of the 15 of the published benchmarks, of their 4 others, or of this package alone."""
    parameters: tuple[str, ...]
    """What the numbers of a table's row are, for people."""
    chance: Literal["none", "drawn", "banked"]
    """Whether an image has draws of its own, or one of a bank's."""
    materials: Callable[[], Mapping[str, str]] | None = None
    """What the shift needs that is not in this package: names and sha256 digests.

    Raises ShiftError where it is not installed.
    """
    together: int = 1
    """Images that are in work at a time, at least: they share the reading of something large."""


def on_unit(move: OnUnit) -> OnBytes:
    """``move`` on bytes: scaled to [0, 1] before, clipped and cut off to whole bytes after."""

    def apply(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
        # float64: sums in another order must not change a byte (see WHOLE_SLACK).
        moved = move(images.to(torch.float64).div_(255.0), parameters=parameters, draws=draws)
        whole = moved.clamp_(0.0, 1.0).mul_(255.0).add_(WHOLE_SLACK)
        # By way of int32: torch takes twice as long from float64 to uint8 at once.
        return whole.to(torch.int32).to(torch.uint8)

    return apply
