"""Drawn ice: crystals that grew like ferns from a few points of a cold window.

Its shapes are a choice; how bright, uneven and blue it is was measured on the photographs of ice
that the published benchmarks use, so that the same weights shift images about as much.
"""

import math
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

from gates.shifts.draws import Draws
from gates.shifts.tables import Parameters

_NUCLEI: Final = 12
"""Crystals in view or just beyond it."""

_STEMS: Final = 6
"""Ice is hexagonal."""

_SLANT: Final = 1.0 / math.sqrt(3.0)
"""So that barbs leave a stem at 60 degrees."""

# Per shorter side of the image, or parts of it.
_BARBS: Final = 34.0
_FIBRES: Final = 75.0
_STEM_WIDTH: Final = 0.009
_BARB_LENGTH: Final = 0.12
_BEND: Final = 0.04

# Of pieces of the photographs, in bytes.
_BRIGHTNESS: Final = (106.0, 214.0)
"""Mean: about the central 96 per cent of the pieces."""

_UNEVENNESS: Final = (12.0, 34.0)
"""Standard deviation within a piece: about the central 90 per cent."""

_BLUENESS: Final = (4.0, 51.0)
"""How far red lies below the brightness; one photograph has nearly all of it."""

_TINT: Final = (-1.0, 0.373, 0.7)
"""Red, green and blue of one byte of blueness; together they change no brightness."""


def ice(draws: Draws, *, size: tuple[int, int], parameters: Parameters) -> Tensor:
    """Pieces of ice in colour, bytes [n 3 h w]. No parameters."""
    del parameters
    relief = _relief(draws, size=size)
    relief -= relief.mean(dim=(1, 2), keepdim=True)
    relief /= relief.square().mean(dim=(1, 2), keepdim=True).sqrt()
    bright = _between(_BRIGHTNESS, draws.uniform(1, 1))
    uneven = _between(_UNEVENNESS, draws.uniform(1, 1))
    blue = _between(_BLUENESS, draws.uniform(1, 1) ** 3)
    shades = bright + uneven * relief
    tinted = torch.stack([shades + share * blue for share in _TINT], dim=1)
    return tinted.clamp_(0.0, 255.0).to(torch.uint8)


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def _relief(draws: Draws, *, size: tuple[int, int]) -> Tensor:
    """How thick the ice is, [n h w] in no unit: ferns, banks of mist and grains."""
    short = min(size)
    clouds = _waves(draws, size, cells=4)
    grains = _waves(draws, size, cells=short // 2, mode="bilinear")
    dust = draws.normal(*size)
    return (
        _ferns(draws, size=size)
        .add_(clouds, alpha=0.3)
        .add_(grains, alpha=0.25)
        .add_(dust, alpha=0.2)
    )


def _waves(
    draws: Draws,
    size: tuple[int, int],
    *,
    cells: int,
    mode: Literal["bilinear", "bicubic"] = "bicubic",
) -> Tensor:
    """Noise [n h w] with ``cells`` independent values along the shorter side."""
    lattice = draws.normal(*(math.ceil(cells * side / min(size)) for side in size))
    waves: Tensor = functional.interpolate(lattice[:, None], size=size, mode=mode)
    return waves[:, 0]


def _ferns(draws: Draws, *, size: tuple[int, int]) -> Tensor:
    """Six stems with barbs around each of the nuclei, up to where the next crystal begins."""
    # Lengths are in shorter sides of the image. Some crystals begin beyond the edge.
    down, right = (torch.arange(side, dtype=torch.float64) / min(size) for side in size)
    places = 1.4 * draws.uniform(_NUCLEI, 2) - 0.2
    from_y, from_x = places[..., 0] * down[-1], places[..., 1] * right[-1]
    turns = draws.uniform(_NUCLEI)
    owner = _nearest(down, right, from_y, from_x)

    def of_owner(values: Tensor) -> Tensor:
        return values.gather(1, owner.flatten(1)).reshape(owner.shape)

    y = down[:, None] - of_owner(from_y) + _BEND * _waves(draws, size, cells=4)
    x = right - of_owner(from_x) + _BEND * _waves(draws, size, cells=4)
    sector = torch.atan2(y, x).mul_(_STEMS / (2.0 * math.pi)).add_(of_owner(turns))
    aside = (sector - sector.round()).mul_(2.0 * math.pi / _STEMS)
    radius = torch.hypot(y, x)
    along, across = radius * aside.cos(), (radius * aside.sin()).abs()
    barbs = _ridges((along - _SLANT * across).mul_(_BARBS))
    fibres = _ridges((along + 0.3 * across).mul_(_FIBRES))
    stem = torch.exp(across / -_STEM_WIDTH)
    return 1.3 * stem + (barbs + 0.5 * fibres) * torch.exp(across / -_BARB_LENGTH)


def _nearest(down: Tensor, right: Tensor, from_y: Tensor, from_x: Tensor) -> Tensor:
    """Which of the places [n k] is nearest to each pixel, [n h w]."""
    distance = torch.full((len(from_y), len(down), len(right)), math.inf, dtype=down.dtype)
    owner = torch.zeros_like(distance, dtype=torch.int64)
    for number, (y, x) in enumerate(zip(from_y.T[..., None], from_x.T[..., None], strict=True)):
        mine = ((down - y) ** 2)[:, :, None] + ((right - x) ** 2)[:, None]
        owner.masked_fill_(mine < distance, number)
        torch.minimum(distance, mine, out=distance)
    return owner


def _ridges(phase: Tensor) -> Tensor:
    """A sharp ridge, one high, at every half of the phase."""
    return (1.0 - (2.0 * (phase - phase.floor()) - 1.0).abs()) ** 2
