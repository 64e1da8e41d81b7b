"""A contact sheet: rows of labelled pictures on one page. Knows pixels and text, no shifts."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# All in pixels of the sheet.
_READABLE: Final = 160
"""Smaller pictures are enlarged by the largest whole factor that stays within this."""
_WIDEST: Final = 288
"""Larger pictures are reduced to this: six columns and the labels are then below 2000 wide."""
_GAP: Final = 4
_MARGIN: Final = 12
_TEXT: Final = 15
_LINE: Final = 20

_PAPER: Final = (255, 255, 255)
_INK: Final = (20, 20, 20)
_FAINT: Final = (110, 110, 110)


class SheetError(ValueError):
    """The sheet that was asked for cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the sheet.

    Attributes:
        label: to the left of the pictures.
        cells: uint8 [c side side] each, c is 1 or 3.
        note: in place of pictures: why there are none.
    """

    label: str
    cells: Sequence[NDArray[np.uint8]] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    left: int
    """Where the columns begin."""
    shown: int
    """Height and width of a picture on the sheet."""
    width: int
    """Of the whole sheet."""

    def column(self, number: int) -> int:
        """Where the column with this number begins."""
        return self.left + number * (self.shown + _GAP)


def contact_sheet(
    rows: Sequence[Row], *, headings: Sequence[str], caption: str, side: int
) -> Image.Image:
    """The rows below each other, the ``headings`` above their columns, the ``caption`` on top.

    Pictures lie ``_GAP`` apart. Small ones are enlarged by a whole factor, so that each of their
    pixels stays a square.

    Args:
        rows: at least one.
        headings: one for each column.
        caption: broken into as many lines as it needs.
        side: height and width of all cells in pixels.
    """
    font = ImageFont.load_default(_TEXT)
    shown = shown_side(side)
    left = 2 * _MARGIN + round(max(font.getlength(_plain(row.label)) for row in rows))
    width = left + len(headings) * (shown + _GAP) - _GAP + _MARGIN
    layout = _Layout(left=left, shown=shown, width=width)
    strips = [
        _text_strip(caption, layout=layout),
        _headings_strip(headings, layout=layout),
        *(_row_strip(row, layout=layout) for row in rows),
    ]
    height = sum(strip.height + _GAP for strip in strips) - _GAP + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    top = _MARGIN
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + _GAP
    return sheet


def shown_side(side: int) -> int:
    """How large pictures of this side are on a sheet."""
    return min(side * max(1, _READABLE // side), _WIDEST)


def enlarged(pixels: NDArray[np.uint8]) -> Image.Image:
    """Pixels [c side side] as the sheet shows them."""
    side = pixels.shape[-1]
    shown = shown_side(side)
    grey = len(pixels) == 1
    picture = Image.fromarray(pixels[0] if grey else np.moveaxis(pixels, 0, -1).copy())
    how = Image.Resampling.NEAREST if shown > side else Image.Resampling.BOX
    return picture if shown == side else picture.resize((shown, shown), how)


def _row_strip(row: Row, *, layout: _Layout) -> Image.Image:
    if row.cells:
        strip = Image.new("RGB", (layout.width, layout.shown), _PAPER)
        for number, cell in enumerate(row.cells):
            strip.paste(enlarged(cell), (layout.column(number), 0))
    else:
        strip = _text_strip(row.note, layout=layout, left=layout.left)
    _write(strip, row.label, at=(_MARGIN, strip.height / 2), anchor="lm", colour=_INK)
    return strip


def _headings_strip(headings: Sequence[str], *, layout: _Layout) -> Image.Image:
    strip = Image.new("RGB", (layout.width, _LINE), _PAPER)
    for number, heading in enumerate(headings):
        middle = layout.column(number) + layout.shown / 2
        _write(strip, heading, at=(middle, _LINE / 2), anchor="mm", colour=_INK)
    return strip


def _text_strip(text: str, *, layout: _Layout, left: int = _MARGIN) -> Image.Image:
    # Few letters are wider than an "n": lines come out shorter than they might be, not longer.
    letter = ImageFont.load_default(_TEXT).getlength("n")
    lines = textwrap.wrap(_plain(text), round((layout.width - left - _MARGIN) / letter)) or [""]
    strip = Image.new("RGB", (layout.width, _LINE * len(lines)), _PAPER)
    for number, line in enumerate(lines):
        _write(strip, line, at=(left, (number + 0.5) * _LINE), anchor="lm", colour=_FAINT)
    return strip


def _write(
    strip: Image.Image,
    text: str,
    *,
    at: tuple[float, float],
    anchor: str,
    colour: tuple[int, int, int],
) -> None:
    font = ImageFont.load_default(_TEXT)
    ImageDraw.Draw(strip).text(at, _plain(text), fill=colour, font=font, anchor=anchor)


def _plain(text: str) -> str:
    """``text`` as far as the font is sure to have it, without line breaks."""
    known = text.encode("ascii", errors="replace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in known)
