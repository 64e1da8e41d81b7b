"""Where a drawing puts a mark is where its value belongs."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from compressor.page.charts import Bar, Mark, forest, potential, shortened
from compressor.page.curves import Curve, Point, drop_curve, frame_of
from compressor.page.pairs import Pair, Side, pairs_plot
from compressor.page.svg import PAINTS

OUTCOMES = ("accepted", "violated", "undecided")


def mark(number: int, *, drop: float, **changed: object) -> Mark:
    own: dict[str, object] = {
        "label": f"shift {number}", "path": f"cells.{number}", "drop": drop,
        "interval": (drop - 0.01, drop + 0.01), "tolerance": 0.03,
        "outcome": OUTCOMES[number % 3], "binding": number == 0, "deciding": True,
        "form": "points",
    }  # fmt: skip
    return Mark(**own | changed)  # type: ignore[arg-type]  # a dictionary of a mark's fields


def places(svg: str, key: str) -> Mapping[str, tuple[float, float]]:
    """Where the marks of a drawing are, in pixels, by the path that they were drawn from."""
    found = re.findall(
        rf'data-path="([^" ]+\.{key})">(?:(?!</g>).)*?<use [^>]*?x="([-\d.]+)" y="([-\d.]+)"', svg
    )
    return {path: (float(x), float(y)) for path, x, y in found}


def on_a_line(values: Sequence[float], pixels: Sequence[float]) -> bool:
    """Whether pixels are an increasing linear function of values."""
    slope, start = np.polyfit(values, pixels, 1)
    return bool(abs(slope) > 0 and np.allclose(start + slope * np.array(values), pixels, atol=1e-3))


def halves(svg: str) -> list[str]:
    """The drawing for a wide screen, and that for a narrow one."""
    return [f"<svg{part}" for part in svg.split("<svg")[1:]]


def test_a_mark_of_the_forest_plot_is_where_its_drop_is() -> None:
    drops = (0.02, -0.013, 0.11, 0.0, 0.04)
    svg = forest([mark(i, drop=d) for i, d in enumerate(drops)], name="forest", label="drops")
    for half in halves(svg):
        found = places(half, "drop")
        across = [found[f"cells.{i}.drop"][0] for i in range(len(drops))]
        down = [found[f"cells.{i}.drop"][1] for i in range(len(drops))]
        assert on_a_line(drops, across)
        assert across[2] > across[0] > across[3] > across[1]
        assert on_a_line(range(len(drops)), down)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_forest_plot_has_a_line_for_every_shift_however_many(count: int) -> None:
    svg = forest([mark(i, drop=0.001 * i) for i in range(count)], name="f", label="drops")
    for half in halves(svg):
        assert len(places(half, "drop")) == count


def test_outcomes_differ_in_shape_and_not_only_in_paint() -> None:
    svg = halves(forest([mark(i, drop=0.01) for i in range(3)], name="f", label="drops"))[0]
    shapes = re.findall(r'data-path="cells\.\d\.drop">.*?<path id="([^"]+)" d="([^"]+)"', svg)
    assert len({outline for _, outline in shapes}) == 3


def test_a_mark_where_nothing_was_lost_nor_is_uncertain_can_be_drawn() -> None:
    svg = forest([mark(0, drop=0.0, interval=(0.0, 0.0), tolerance=0.03)], name="f", label="drops")
    assert len(places(halves(svg)[0], "drop")) == 1


def test_a_long_name_is_cut_and_no_name_is_taken_for_mathematics() -> None:
    svg = forest(
        [mark(0, drop=0.0, label="a $very$ long name of a shift of someone's own, waived")],
        name="f",
        label="drops",
    )
    wide, narrow = halves(svg)
    assert "a $very$ long name" in wide
    assert "…" in narrow


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("fog-3, int8", "fog-3, int8"),
        ("gaussian_noise-1, int8", "gaussian_nois…, int8"),
        ("uniform_noise-0.05 (waived)", "uniform_noise-0.05"),
        ("somebody's own folder", "somebody's own fold…"),
    ],
)
def test_a_short_name_still_tells_of_which_sequence_it_is(name: str, shown: str) -> None:
    assert shortened(name, longest=20) == shown


def test_a_bar_of_potential_is_as_long_as_its_ratio() -> None:
    ratios = (0.2, 0.5, None, 0.8)
    bars = [
        Bar(label=f"shift {i}", path=f"potentials.{i}", certified=r, estimate=None)
        for i, r in enumerate(ratios)
    ]
    for half in halves(potential(bars, label="potential")):
        found = re.findall(r'certified">\s*<path d="M ([\d.]+) [\d.]+ L ([\d.]+)', half)
        lengths = [float(end) - float(start) for start, end in found]
        assert on_a_line([r for r in ratios if r], lengths)
        assert lengths[0] / lengths[1] == pytest.approx(0.4, abs=1e-3)


def test_potentials_of_which_none_qualifies_can_be_drawn() -> None:
    bars = [Bar(label="fog", path="potentials.0", certified=None, estimate=None)]
    assert "none" in halves(potential(bars, label="potential"))[0]


def curve(*drops: float, tolerance: float = 0.03) -> Curve:
    return Curve(
        label="fog",
        tolerance=tolerance,
        points=tuple(
            Point(
                path=f"steps.{i}.cells.0", ratio=0.1 * (i + 1), drop=drop,
                interval=(drop - 0.01, drop + 0.01), dense=0.9, pruned=0.9 - drop,
                outcome="accepted",
            )
            for i, drop in enumerate(drops)
        ),
    )  # fmt: skip


def test_a_point_of_a_curve_is_where_ratio_and_drop_are() -> None:
    drops = (0.0, 0.01, 0.03, 0.02)
    drawn = curve(*drops)
    found = places(drop_curve(drawn, frame_of([drawn]), name="c"), "drop")
    across, down = zip(*(found[f"steps.{i}.cells.0.drop"] for i in range(4)), strict=True)
    assert on_a_line([p.ratio for p in drawn.points], across)
    assert on_a_line(drops, down)
    assert down[2] < down[0]


@pytest.mark.parametrize("drops", [(0.01,), (0.9,), (-0.9,), (0.0, 0.0)])
def test_a_curve_of_one_point_or_beyond_all_bounds_can_be_drawn(drops: tuple[float, ...]) -> None:
    drawn = curve(*drops)
    found = places(drop_curve(drawn, frame_of([drawn]), name="c"), "drop")
    assert len(found) == len(drops)
    assert all(0 <= y <= 128 for _, y in found.values())


def test_two_runs_share_the_axis_of_their_pair_plot() -> None:
    drops = ((0.01, 0.02), (-0.01, 0.05))
    pairs = [
        Pair(
            label=f"shift {i}",
            first=Side(path=f"a.{i}", drop=a, interval=(a - 0.01, a + 0.01), tolerance=0.03),
            second=Side(path=f"b.{i}", drop=b, interval=(b - 0.01, b + 0.01), tolerance=0.03),
        )
        for i, (a, b) in enumerate(drops)
    ]
    for half in halves(pairs_plot(pairs, label="pairs")):
        found = places(half, "drop")
        values = [drop for pair in drops for drop in pair]
        across = [found[f"{side}.{i}.drop"][0] for i in range(2) for side in "ab"]
        assert on_a_line(values, across)


def test_no_paint_of_a_drawing_is_left_that_the_page_does_not_know() -> None:
    svg = forest([mark(i, drop=0.01, deciding=i > 0) for i in range(3)], name="f", label="d")
    assert not [paint for paint in PAINTS if paint in svg]
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg))
    assert {c for c in colours if not c.startswith(("var(", "currentColor", "none"))} == set()
