"""Axes side by side in pixels, the names of lines above them, and names at the ends of lines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from compressor.page.svg import INK, new_figure

LETTER: Final = 5.4
"""Pixels that a letter of 8 or 9 points takes, about."""

_TITLE, _LEGEND, _APART, _BESIDE = 22.0, 16.0, 9.5, 8.0
_LEFT, _RIGHT, _BOTTOM = 62.0, 14.0, 42.0
_NARROWEST: Final = 300.0
"""Pixels that a panel has at least, unless the whole is narrower."""


def panels(
    count: int,
    *,
    width: int,
    height: float,
    columns: int = 1,
    names: Sequence[str] = (),
    titles: bool = False,
    left: float = _LEFT,
    right: float = _RIGHT,
    bottom: float = _BOTTOM,
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` axes in rows of at most ``columns``, as many as have room.

    Args:
        count: how many axes.
        width: of the figure, in pixels.
        height: of each axes, without what is written around it.
        columns: axes side by side on a wide screen.
        names: of lines, that ``name_lines`` is to write above all axes.
        titles: whether each axes has one.
        left: pixels for what is written there.
        right: the same.
        bottom: the same, below each axes.
    """
    columns = max(1, min(columns, int(width // _NARROWEST)))
    rows = math.ceil(count / columns)
    legend = 4 + _LEGEND * math.ceil(len(names) / _beside(names, width)) if names else 6
    above = _TITLE if titles else 6.0
    tall = legend + rows * (above + height + bottom)
    figure = new_figure(width, tall)
    wide = width / columns
    every = [
        figure.add_axes(
            (
                (left + wide * (index % columns)) / width,
                1 - (legend + (index // columns + 1) * (above + height + bottom) - bottom) / tall,
                (wide - left - right) / width,
                height / tall,
            )
        )
        for index in range(count)
    ]
    return figure, every


def name_lines(figure: Figure, axes: Axes, named: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Write what each marker stands for at the top of the figure, in as many rows as it takes."""
    names = [name for name, _ in named]
    width = 72 * figure.get_size_inches()[0]
    figure.legend(
        [Line2D([], [], **style) for _, style in named], names, loc="upper left",
        bbox_to_anchor=(axes.get_position().x0, 1.0), ncols=_beside(names, width), frameon=False,
        fontsize=9, labelcolor=INK, borderpad=0, borderaxespad=0.2, labelspacing=0.45,
        columnspacing=1.2, handlelength=1.8,
    )  # fmt: skip


def name_ends(axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Names (name, x, y, colour) right of the axes, each joined to the end of its line.

    Call it when the limits of the axes are set.
    """
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    assert figure is not None
    place, (inches, tall) = axes.get_position(), figure.get_size_inches()
    apart = _APART * (high - low) / float(place.height * 72 * tall)
    beside = 1 + _BESIDE / float(place.width * 72 * inches)
    levels = spread([end[2] for end in ends], apart=apart, high=high)
    for (name, x, y, paint), level in zip(ends, levels, strict=True):
        axes.annotate(
            name, (x, y), xytext=(beside, level), textcoords=axes.get_yaxis_transform(),
            fontsize=8, color=paint, va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": paint, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )  # fmt: skip


def spread(levels: Sequence[float], *, apart: float, high: float) -> list[float]:
    """``levels`` in their order, moved so that any two are ``apart`` and none is above ``high``."""
    placed: dict[int, float] = {}
    below = -math.inf
    for index in sorted(range(len(levels)), key=levels.__getitem__):
        below = max(levels[index], below + apart)
        placed[index] = below
    ceiling = high
    for index in reversed(placed):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - apart
    return [placed[index] for index in range(len(levels))]


def _beside(names: Sequence[str], width: float) -> int:
    """How many names of lines have room beside each other."""
    widest = 44 + LETTER * max(map(len, names), default=0)
    return max(1, min(len(names), int((width - _LEFT) // widest)))
