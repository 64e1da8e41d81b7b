"""The table of all shifts, and how one is applied to images."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gates.shifts.blur import defocus_blur, gaussian_blur
from gates.shifts.digital import brightness, contrast, jpeg_compression, pixelate, saturate
from gates.shifts.draws import Draws, draws_for
from gates.shifts.elastic import elastic_transform
from gates.shifts.fog import fog
from gates.shifts.frost import frost, frost_synthetic, textures
from gates.shifts.glass import glass_blur
from gates.shifts.motion import motion_blur
from gates.shifts.noise import (
    gaussian_noise,
    impulse_noise,
    shot_noise,
    speckle_noise,
    uniform_noise,
)
from gates.shifts.shift import Shift, on_unit
from gates.shifts.snow import snow
from gates.shifts.spatter import spatter
from gates.shifts.tables import AUTO, CLEAN, Parameters, ShiftError, parameters
from gates.shifts.zoom import zoom_blur

SMALLEST_SIDE: Final = 8
"""Pixels. A JPEG block; on less than that no table says anything."""

_CHUNK_VALUES: Final = 2**17
"""Values that are in work at a time: 1 MiB as float64, whatever the caller's batch."""

_CHUNK_VALUES_OFF_CPU: Final = 2**24
"""The same on another device, which has no such cache but a price for every operation: 128 MiB."""


def clean(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """The images as they are. No parameters."""
    del parameters, draws
    return images


SHIFTS: Final[Mapping[str, Shift]] = {
    CLEAN: Shift(clean, "none", "ours", (), "none"),
    "gaussian_noise": Shift(on_unit(gaussian_noise), "noise", "benchmark", ("sigma",), "drawn"),
    "shot_noise": Shift(on_unit(shot_noise), "noise", "benchmark", ("photons",), "drawn"),
    "impulse_noise": Shift(impulse_noise, "noise", "benchmark", ("amount",), "drawn"),
    "speckle_noise": Shift(on_unit(speckle_noise), "noise", "extra", ("sigma",), "drawn"),
    "uniform_noise": Shift(on_unit(uniform_noise), "noise", "ours", ("half width",), "drawn"),
    "defocus_blur": Shift(
        on_unit(defocus_blur), "blur", "benchmark", ("radius", "softness"), "none"
    ),
    "glass_blur": Shift(
        glass_blur, "blur", "benchmark", ("sigma", "reach", "iterations"), "banked"
    ),
    "motion_blur": Shift(on_unit(motion_blur), "blur", "benchmark", ("radius", "sigma"), "drawn"),
    "zoom_blur": Shift(
        # 18 MB of operator for 224 pixels: read once for 6 images, it takes 2 ms each; else, 4.
        on_unit(zoom_blur),
        "blur",
        "benchmark",
        ("stop", "step"),
        "none",
        together=6,
    ),
    "gaussian_blur": Shift(on_unit(gaussian_blur), "blur", "extra", ("sigma",), "none"),
    "snow": Shift(
        on_unit(snow),
        "weather",
        "benchmark",
        ("mean", "sigma", "zoom", "threshold", "radius", "streak", "kept"),
        "banked",
    ),
    "frost": Shift(
        on_unit(frost), "weather", "benchmark", ("image", "ice", "scale"), "drawn", textures
    ),
    "frost_synthetic": Shift(
        on_unit(frost_synthetic), "weather", "ours", ("image", "ice"), "banked"
    ),
    "fog": Shift(on_unit(fog), "weather", "benchmark", ("strength", "decay"), "banked"),
    "brightness": Shift(on_unit(brightness), "weather", "benchmark", ("gain",), "none"),
    "spatter": Shift(
        on_unit(spatter),
        "weather",
        "extra",
        ("mean", "sigma", "blur", "threshold", "strength", "mud"),
        "banked",
    ),
    "contrast": Shift(on_unit(contrast), "digital", "benchmark", ("kept",), "none"),
    "elastic_transform": Shift(
        on_unit(elastic_transform), "digital", "benchmark", ("factor", "sigma", "jitter"), "drawn"
    ),
    "pixelate": Shift(pixelate, "digital", "benchmark", ("factor",), "none"),
    "jpeg_compression": Shift(jpeg_compression, "digital", "benchmark", ("quality",), "none"),
    "saturate": Shift(on_unit(saturate), "digital", "extra", ("factor", "offset"), "none"),
}


def available() -> tuple[str, ...]:
    """The names of all shifts, ``clean`` first."""
    return tuple(SHIFTS)


def shifted(
    images: NDArray[np.uint8],
    ids: NDArray[np.uint64],
    *,
    name: str,
    severity: int | None,
    level: float | None = None,
    seed: int,
    draw: int = 0,
    profile: str = AUTO,
    device: torch.device | str = "cpu",
) -> NDArray[np.uint8]:
    """The images [n c h w] under shift ``name``; a new array, the given one is left alone.

    Args:
        images: bytes as they were decoded; or floats in [0, 1], which are rounded to bytes, since
            every table is defined on bytes.
        ids: [n], name the images; what is drawn for an image hangs on its id and not on its place.
        name: a shift of ``available()``.
        severity: 1 to 5; None for ``clean`` and where there is a level.
        level: strength of ``uniform_noise`` where no severity is given: half width in (0, 1].
        seed: another seed, other draws.
        draw: another number, an independent draw for the same images.
        profile: a table of ``PROFILES``; "auto" takes the one for the shorter side of the images.
        device: where to compute. All draws are the CPU's; a device may differ by a rounding.

    Raises:
        ShiftError: The shift, severity or profile does not exist, or the images do not fit.
    """
    pixels = _checked(images, ids)
    strength = parameters(
        name, severity=severity, level=level, profile=profile, side=min(pixels.shape[2:])
    )
    result = np.empty(pixels.shape, dtype=np.uint8)
    shift = SHIFTS[name]
    on_cpu = torch.device(device).type == "cpu"
    values = _CHUNK_VALUES if on_cpu else _CHUNK_VALUES_OFF_CPU
    step = max(shift.together, values // max(1, pixels[0:1].size))
    with _one_thread():
        for start in range(0, len(pixels), step):
            part = slice(start, start + step)
            draws = draws_for(
                ids[part],
                shift=name,
                strength=str(severity if level is None else level),
                seed=seed,
                draw=draw,
            )
            # A copy only where torch needs one: of what is read-only or reversed.
            given = torch.from_numpy(np.require(pixels[part], requirements=["C", "W"])).to(device)
            moved = shift.apply(given, parameters=strength, draws=draws)
            result[part] = moved.cpu().numpy()
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    """The caller's number of threads for torch is one for a while.

    Chunks are small, so that threads gain little on an idle machine; on a busy one they wait for
    each other at the end of every operation, and all takes ten times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _checked(images: NDArray[np.uint8], ids: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The images as bytes.

    Raises:
        ShiftError: shifts cannot be applied to them.
    """
    if images.ndim != 4:
        raise ShiftError(
            f"images must be [n c h w], got {list(images.shape)}; a batch of one is [1 c h w]"
        )
    _, channels, height, width = images.shape
    if channels not in {1, 3}:
        raise ShiftError(
            f"images must have 1 or 3 channels (grey or RGB), got {channels} in "
            f"{list(images.shape)}; channels come before height and width"
        )
    if min(height, width) < SMALLEST_SIDE:
        raise ShiftError(
            f"images must be at least {SMALLEST_SIDE} pixels high and wide, got {height} x {width}"
        )
    if ids.shape != (len(images),):
        raise ShiftError(f"{len(images)} images need as many ids, got {list(ids.shape)}")
    return _bytes(images)


def _bytes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ShiftError(
            f"images must be uint8 or floats in [0, 1], got {images.dtype}; give the pixels as "
            "they were decoded"
        )
    broken = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if len(broken):
        raise ShiftError(f"image {broken[0]} holds values that are not finite; give real pixels")
    if len(images) and (images.min() < 0.0 or images.max() > 1.0):
        raise ShiftError(
            f"float images must lie in [0, 1], got {images.min():.3g} to {images.max():.3g}; give "
            "the pixels before any normalisation, divided by 255"
        )
    return np.round(images * 255.0).astype(np.uint8)
