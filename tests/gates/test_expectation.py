"""Assumed counts are what was assumed, and fit the rules that they are for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates import Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.expectation import (
    PERSISTENCE,
    agreeing,
    assumed,
    drawn,
    fits,
    persistence_of,
    planned,
    variance,
    without_drop,
)
from policies import FolderRule, Rule, ShiftRule

PAIRED = PairedCounts(both_right=900, only_dense=30, only_pruned=20, both_wrong=50)
DRAWS = DrawCounts(
    draws=2, differences=(5, 20, 945, 20, 10), dense_right=1900, pruned_right=1890, discordant=70
)
FLIPS = FlipCounts(same=990, flipped=10)
SCORES = ScoreCounts(growths=((-2048, 100), (0, 800), (2048, 150)), dense_steps=500_000)
DIFFERENCES = {
    PairedCounts: {1.0: 30, -1.0: 20, 0.0: 950},
    DrawCounts: {-1.0: 5, -0.5: 20, 0.0: 945, 0.5: 20, 1.0: 10},
    FlipCounts: {1.0: 10, 0.0: 990},
    ScoreCounts: {-0.5: 100, 0.0: 800, 0.5: 150},
}
"""How many images have which difference, in the counts above."""

KINDS = pytest.mark.parametrize(
    "counts", [PAIRED, DRAWS, FLIPS, SCORES], ids=lambda counts: type(counts).__name__
)


def rule(metric: str = "top1", draws: int = 1) -> Rule:
    return ShiftRule.model_validate(
        {
            "name": "gaussian_noise", "severity": 1, "metric": metric, "draws": draws,
            "tolerance": 0.02, "reason": "a test",
        }
    )  # fmt: skip


RULES = {
    "top1": rule(),
    "top5": rule("top5"),
    "draws": rule(draws=4),
    "brier": rule("brier"),
    "flips": rule("flips"),
    "folder": FolderRule(id="field", folder="x", labels="none", tolerance=0.1, reason="a test"),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("other", RULES)
def test_assumed_counts_fit_the_rule_they_are_for_and_those_that_count_alike(
    name: str, other: str
) -> None:
    alike = [{"top1", "top5"}, {"flips", "folder"}]
    counts = assumed(RULES[name], discordance=0.05)
    assert fits(RULES[other], counts) == (name == other or {name, other} in alike)


@pytest.mark.parametrize("name", ["top1", "draws", "brier"])
def test_assumed_counts_have_the_assumed_drop(name: str) -> None:
    assert assumed(RULES[name], discordance=0.05, drop=0.01).drop == pytest.approx(0.01, abs=2e-6)


def test_assumed_flips_are_as_many_as_the_disagreements_make_at_least() -> None:
    assert assumed(RULES["flips"], discordance=0.05).drop == 0.05


@given(
    draws=st.integers(2, 10),
    discordance=st.floats(0.001, 0.5),
    share=st.floats(-1, 1),
    persistence=st.floats(0, 1),
)
def test_draws_have_the_discordance_and_the_persistence_that_are_assumed(
    draws: int, discordance: float, share: float, persistence: float
) -> None:
    counts = drawn(draws, discordance, drop=share * discordance, persistence=persistence)
    assert counts.drop == pytest.approx(share * discordance, abs=1e-5)
    assert counts.discordance == pytest.approx(discordance, abs=1e-5)
    # Draws that are independent have a drop in common, which is persistent too.
    if abs(share) < 0.01 and discordance > 0.01:
        assert persistence_of(counts) == pytest.approx(persistence, abs=5e-3)


@pytest.mark.parametrize("draws, measured", [(2, 0.023), (3, 0.017), (6, 0.011)])
def test_the_variance_falls_with_the_draws_as_it_was_measured(draws: int, measured: float) -> None:
    counts = drawn(draws, 0.041, drop=0.0, persistence=PERSISTENCE)
    assert variance(counts) == pytest.approx(measured, abs=5e-4)


@pytest.mark.parametrize("name", ["top1", "draws", "brier"])
def test_a_drop_that_the_discordance_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="does not go with a drop"):
        assumed(RULES[name], discordance=0.05, drop=0.06)


@KINDS
def test_without_drop_nothing_is_lost(counts: Counts) -> None:
    assert without_drop(counts).drop == 0.0


@pytest.mark.parametrize("counts", [PAIRED, DRAWS, SCORES], ids=lambda c: type(c).__name__)
def test_without_drop_the_models_differ_as_much(counts: Counts) -> None:
    assert variance(without_drop(counts)) == pytest.approx(variance(counts) + counts.drop**2)


@KINDS
def test_a_loss_is_planned_with_as_it_is(counts: Counts) -> None:
    assert planned(counts) == counts


def test_a_gain_is_not_planned_with() -> None:
    gained = PairedCounts(both_right=900, only_dense=20, only_pruned=30, both_wrong=50)
    assert planned(gained) == without_drop(gained)


@KINDS
def test_models_that_agree_lose_nothing_and_are_of_the_same_kind(counts: Counts) -> None:
    best = agreeing(counts, 300)
    assert (best.n, best.drop, type(best)) == (300, 0.0, type(counts))


@KINDS
def test_the_variance_is_that_of_what_each_image_gives(counts: Counts) -> None:
    d = DIFFERENCES[type(counts)]
    mean = sum(value * images for value, images in d.items()) / counts.n
    spread = sum((value - mean) ** 2 * images for value, images in d.items()) / counts.n
    assert variance(counts) == pytest.approx(spread)


def test_where_one_draw_was_seen_nothing_is_known_of_persistence() -> None:
    assert persistence_of(PAIRED) is None
