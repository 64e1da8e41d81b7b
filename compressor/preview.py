"""What the shifts do to one image of a folder, as a contact sheet."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from compressor.files import write_atomically
from compressor.image_files import images_below
from compressor.pixels import Pixels, decode_as_it_is, fit, pixels_digest
from compressor.sheet import Row, SheetError, contact_sheet
from gates.shifts import (
    PROFILES,
    SHIFTS,
    SMALLEST_SIDE,
    ShiftError,
    available,
    parameters,
    profile_of,
    shifted,
)

LARGEST_SIDE: Final = 1024
"""Pixels. Beyond that a sheet takes minutes and shows nothing more."""

_USUAL_SIDE: Final = 224
"""Larger images are scaled down to this, unless a side is given."""

_CLEAN: Final = "clean"

# Per ending of a file's name: Pillow's name of the format, and how it is written. Noise is dear to
# a JPEG: at a quality of 60 a sheet of 224-pixel images stays below a megabyte.
_FORMATS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    ".jpeg": ("JPEG", {"quality": 60}),
    ".jpg": ("JPEG", {"quality": 60}),
    ".png": ("PNG", {"optimize": True}),
}


def preview(
    folder: Path,
    target: Path,
    *,
    number: int,
    side: int | None,
    names: Sequence[str],
    seed: int,
    profile: str,
) -> Sequence[str]:
    """Write the sheet for one image to ``target``; say what is missing on it, and why.

    Args:
        folder: holds images, or folders of them at any depth.
        target: the picture; its ending says the format.
        number: which image, counted from 0 in the order of their paths.
        side: pixels that the image is scaled to, as data are; None for its own shorter side, but
            at most 224.
        names: shifts; all of them if none is named.
        seed: of all draws.
        profile: a table of ``gates.shifts.PROFILES``.

    Raises:
        DataError: the image is not there or not readable.
        ShiftError: a shift or the profile does not exist.
        SheetError: the side, the image's number or the target is none that can be had.
    """
    _check_target(target)
    _check_shifts(names, profile=profile)
    if side is not None and not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise SheetError(f"the side is {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, got {side}")
    name, image = _image(folder, number=number, side=side)
    side = image.shape[-1]
    rows = list(shift_rows(image, names=names or available()[1:], seed=seed, profile=profile))
    table = profile_of(side) if profile == PROFILES[0] else profile
    sheet = contact_sheet(
        rows,
        headings=(_CLEAN, *(f"severity {severity}" for severity in range(1, 6))),
        caption=f"{name}, {side} x {side} pixels; table {table}; seed {seed}",
        side=side,
    )
    file, (kind, settings) = io.BytesIO(), _FORMATS[target.suffix.lower()]
    sheet.save(file, kind, **settings)
    try:
        write_atomically(target, file.getvalue())
    except OSError as error:
        raise SheetError(f"cannot write {target}: {error.strerror or error}") from error
    return [f"{row.label}: {row.note}" for row in rows if row.note]


def shift_rows(image: Pixels, *, names: Sequence[str], seed: int, profile: str) -> Iterator[Row]:
    """For each shift: the image [c h w] as it is, and under the five severities.

    The pixels are those that the gate would see of this image with this seed.
    """
    batch = image[None]
    ids = np.frombuffer(pixels_digest(image)[:8], dtype="<u8")
    for name in dict.fromkeys(names):
        materials = SHIFTS[name].materials
        try:
            if materials is not None:
                materials()
        except ShiftError as error:
            yield Row(label=name, note=str(error))
            continue
        moved = [
            shifted(batch, ids, name=name, severity=severity, seed=seed, profile=profile)[0]
            for severity in range(1, 6)
        ]
        yield Row(label=name, cells=(image, *moved))


def _check_shifts(names: Sequence[str], *, profile: str) -> None:
    for name in names or available()[1:]:
        if name == _CLEAN:
            raise SheetError(f"{_CLEAN} is the first column of every sheet; name other shifts")
        parameters(name, severity=1, profile=profile, side=SMALLEST_SIDE)


def _check_target(target: Path) -> None:
    if target.suffix.lower() not in _FORMATS:
        raise SheetError(
            f"{target} has no ending of a picture that can be written; allowed are "
            f"{', '.join(_FORMATS)}"
        )
    if not target.parent.is_dir():
        raise SheetError(f"no folder {target.parent} to write {target.name} to; make it first")
    if target.is_dir():
        raise SheetError(f"{target} is a folder; give the name of a file")


def _image(folder: Path, *, number: int, side: int | None) -> tuple[str, Pixels]:
    """Name and pixels [c side side] of one image."""
    names = images_below(folder)
    if not 0 <= number < len(names):
        raise SheetError(
            f"{folder} has {len(names)} images, with the numbers 0 to {len(names) - 1}, got "
            f"{number}"
        )
    name = names[number]
    rows = decode_as_it_is(folder / name)
    shorter = min(rows.shape[:2])
    if side is None and shorter < SMALLEST_SIDE:
        raise SheetError(
            f"{folder / name} is {rows.shape[0]} x {rows.shape[1]} pixels, and shifts need at "
            f"least {SMALLEST_SIDE}; give a larger image, or a side to scale it to"
        )
    wanted = side or min(shorter, _USUAL_SIDE)
    channels = 1 if rows.ndim == 2 else rows.shape[2]
    return name, fit(rows, (channels, wanted, wanted), name=str(folder / name))
