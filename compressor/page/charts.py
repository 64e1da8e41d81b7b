"""The drawings of a page that have a line for each shift: a forest plot, bars of prune potential.

Each is drawn twice, for a wide screen and for a narrow one; the style says which is shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from compressor.page.figures import written
from compressor.page.svg import (
    ACCENT,
    BAD,
    BEYOND,
    FAINT,
    GOOD,
    GRID,
    INK,
    PAPER,
    UNSURE,
    drawing,
    inline,
    new_figure,
    traced,
)

WIDE: Final = 790
NARROW: Final = 348

PAINT: Final = {"accepted": GOOD, "violated": BAD, "undecided": UNSURE}
MARKER: Final = {"accepted": "o", "violated": "X", "undecided": "D"}
"""Shapes tell outcomes apart where colours do not."""

_ROW, _HEAD, _FOOT = 21.0, 22.0, 34.0
_LETTER: Final = 6.7
"""Pixels that a letter of a label takes, about."""
_LONGEST: Final = {WIDE: 34, NARROW: 19}
"""Letters of a label."""
_NUMBERS: Final = {WIDE: 190.0, NARROW: 14.0}
"""Pixels to the right of the plot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One line of the forest plot. All values are shares: 0.01 is a point."""

    label: str
    path: str
    """Of the cell, in the record."""
    drop: float
    interval: tuple[float, float]
    tolerance: float
    outcome: str
    binding: bool
    deciding: bool
    """Whether the verdict hangs on it."""
    form: str
    """How its drop is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How far one shift lets the model be pruned; None where no tested ratio qualifies."""

    label: str
    path: str
    """Of the potential, in the record."""
    certified: float | None
    estimate: float | None


def forest(marks: Sequence[Mark], *, name: str, label: str) -> Markup:
    """Drop and interval of every shift against its tolerance, in the given order, in points."""
    return both_widths(lambda width: _forest(marks, width), len(marks), name=name, label=label)


def potential(bars: Sequence[Bar], *, label: str) -> Markup:
    """Certified ratios as bars, point estimates as outlines around them."""
    return both_widths(
        lambda width: _potential(bars, width), len(bars), name="potential", label=label
    )


def both_widths(
    draw: Callable[[int], Callable[[Axes], None]], rows: int, *, name: str, label: str
) -> Markup:
    """What ``draw`` puts on axes with so many rows, for either width, as SVG."""
    drawn = []
    for width, kind in ((WIDE, "wide"), (NARROW, "narrow")):
        with drawing():
            height = _HEAD + rows * _ROW + _FOOT
            figure = new_figure(width, height)
            left = _LETTER * (_LONGEST[width] * 0.78 if width == WIDE else _LONGEST[width]) + 8
            right = _NUMBERS[width]
            axes = figure.add_axes(
                (left / width, _FOOT / height, (width - left - right) / width, rows * _ROW / height)
            )
            axes.set_ylim(rows - 0.5, -0.5)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            draw(width)(axes)
            drawn.append(inline(figure, name=f"{name}-{kind}", label=label, kind=kind))
    return Markup("").join(drawn)


def _forest(marks: Sequence[Mark], width: int) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        low, high = _limits(marks)
        axes.set_xlim(low, high)
        axes.axvline(0, color=FAINT, linewidth=1)
        for row, mark in enumerate(marks):
            _mark(axes, row, mark, high=high, wide=width == WIDE)
        if width == WIDE:
            _heading(axes, "drop [interval]", at=1.0 + 124 / _plot_width(axes))
            _heading(axes, "tolerated", at=1.0 + 182 / _plot_width(axes))
        _separate(axes, marks)
        axes.set_xlabel("drop in points; right is worse", fontsize=10)

    return draw


def _limits(marks: Sequence[Mark]) -> tuple[float, float]:
    """In points, with room on both sides; zero and all tolerances are inside."""
    low = min(0.0, *(100 * mark.interval[0] for mark in marks))
    high = max(100 * max(mark.tolerance, mark.interval[1]) for mark in marks)
    room = 0.06 * (high - low)
    return low - room, high + 2 * room


def _mark(axes: Axes, row: int, mark: Mark, *, high: float, wide: bool) -> None:
    paint = PAINT[mark.outcome] if mark.deciding else FAINT
    tolerance = 100 * mark.tolerance
    beyond = Rectangle((tolerance, row - 0.5), high - tolerance, 1, color=BEYOND, linewidth=0)
    axes.add_patch(beyond)
    axes.plot([tolerance] * 2, [row - 0.5, row + 0.5], color=BAD, linewidth=2)
    axes.plot([100 * end for end in mark.interval], [row] * 2, color=paint, linewidth=2.4)
    axes.plot(
        [100 * mark.drop], [row], MARKER[mark.outcome], color=paint, markersize=9.5,
        markeredgecolor=PAPER, markeredgewidth=0.8, gid=traced(f"{mark.path}.drop"),
    )  # fmt: skip
    weight = "bold" if mark.binding else "normal"
    row_label(
        axes, row, mark.label, wide=wide, weight=weight, paint=INK if mark.deciding else FAINT
    )
    if wide:
        ends = [written(end, mark.form) for end in mark.interval]
        axes.text(
            1.0 + 124 / _plot_width(axes), row,
            f"{written(mark.drop, mark.form)} [{', '.join(ends)}]",
            transform=axes.get_yaxis_transform(), ha="right", va="center", weight=weight,
            fontsize=10,
            gid=traced(*(f"{mark.path}.{key}" for key in ("drop", "interval.0", "interval.1"))),
        )  # fmt: skip
        axes.text(
            1.0 + 182 / _plot_width(axes), row, written(mark.tolerance, "tolerance"),
            transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=10,
            gid=traced(f"{mark.path}.tolerance"),
        )  # fmt: skip


def _separate(axes: Axes, marks: Sequence[Mark]) -> None:
    """A line above what decides nothing, which comes last."""
    deciding = sum(mark.deciding for mark in marks)
    if 0 < deciding < len(marks):
        axes.axhline(deciding - 0.5, color=FAINT, linewidth=1, linestyle=(0, (3, 3)))


def _potential(bars: Sequence[Bar], width: int) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        known = [r for bar in bars for r in (bar.certified, bar.estimate) if r is not None]
        axes.set_xlim(0, max(known, default=1.0) * 1.08)
        axes.grid(axis="x", color=GRID, linewidth=1)
        axes.set_axisbelow(True)
        for row, bar in enumerate(bars):
            _bar(axes, row, bar, wide=width == WIDE)
        if width == WIDE:
            _heading(axes, "certified", at=1.0 + 90 / _plot_width(axes))
            _heading(axes, "estimate", at=1.0 + 170 / _plot_width(axes))
        axes.set_xlabel("ratio", fontsize=10)

    return draw


def _bar(axes: Axes, row: int, bar: Bar, *, wide: bool) -> None:
    row_label(axes, row, bar.label, wide=wide)
    if bar.certified is not None:
        solid = Rectangle((0, row - 0.3), bar.certified, 0.6, facecolor=ACCENT, linewidth=0)
        solid.set_gid(traced(f"{bar.path}.certified"))
        axes.add_patch(solid)
    if bar.estimate is not None:
        outline = Rectangle(
            (0, row - 0.36), bar.estimate, 0.72, fill=False, edgecolor=INK, linewidth=1.2
        )
        outline.set_gid(traced(f"{bar.path}.estimate"))
        axes.add_patch(outline)
    if not wide:
        return
    for key, value, at in (("certified", bar.certified, 90), ("estimate", bar.estimate, 170)):
        axes.text(
            1.0 + at / _plot_width(axes), row,
            "none" if value is None else written(value, "ratio"),
            transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=10,
            gid=None if value is None else traced(f"{bar.path}.{key}"),
        )  # fmt: skip


def row_label(
    axes: Axes, row: int, text: str, *, wide: bool, weight: str = "normal", paint: str = INK
) -> None:
    """Name a row, to the left of the plot."""
    short = shortened(text, longest=_LONGEST[WIDE if wide else NARROW])
    axes.text(
        -8 / _plot_width(axes), row, short, transform=axes.get_yaxis_transform(), ha="right",
        va="center", weight=weight, color=paint, parse_math=False, gid="name tick_",
    )  # fmt: skip


def shortened(text: str, *, longest: int) -> str:
    """So many letters at most; what follows a comma tells lines apart that are of one shift."""
    # Notes in brackets go first: the tables have them.
    name = text if len(text) <= longest else text.partition(" (")[0]
    if len(name) <= longest:
        return name
    shift, comma, rest = name.rpartition(", ")
    if comma and len(rest) < longest // 2:
        return f"{shift[: longest - len(rest) - 3]}…, {rest}"
    return f"{name[: longest - 1]}…"


def _heading(axes: Axes, text: str, *, at: float) -> None:
    axes.text(
        at, 1.0, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=10, color=FAINT
    )


def _plot_width(axes: Axes) -> float:
    """In pixels."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return float(axes.get_position().width * 72 * figure.get_size_inches()[0])
