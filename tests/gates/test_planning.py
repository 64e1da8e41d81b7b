"""What is planned is what the gate then does."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gates import Counts, FlipCounts, PairedCounts, ScoreCounts, look_sizes
from gates.exact import rejection_boundary
from gates.expectation import assumed, without_drop
from gates.levers import Lever, levers
from gates.planning import Outlook, Prospect, all_pass, certifiable, power_at, prospect
from policies import Looks, Policy, Reuse, Rule, ShiftRule

ALPHA = 0.05
TRIALS = 4000

# Images per shift at 90 % power: the table of sample sizes, by tolerance and true drop.
SIZES = {
    (0.005, 0.0): {0.01: 3421, 0.03: 10272, 0.05: 17123, 0.10: 34251, 0.15: 51379, 0.20: 68506},
    (0.005, 0.0025): {0.01: 13680, 0.05: 68488, 0.20: 274021},
    (0.01, 0.0): {0.01: 852, 0.03: 2565, 0.05: 4278, 0.10: 8560, 0.15: 12841, 0.20: 17123},
    (0.01, 0.005): {0.01: 3403, 0.05: 17105, 0.20: 68488},
    (0.02, 0.0): {0.03: 638, 0.05: 1066, 0.10: 2137, 0.15: 3207, 0.20: 4278},
    (0.02, 0.01): {0.03: 2547, 0.05: 4259, 0.20: 17105},
    (0.03, 0.0): {0.05: 471, 0.10: 947, 0.15: 1423, 0.20: 1899},
}


def rule(tolerance: float = 0.01, **fields: object) -> Rule:
    content = {"name": "gaussian_noise", "severity": 1, "tolerance": tolerance, "reason": "a test"}
    return ShiftRule.model_validate({**content, **fields})


def policy(method: str = "fixed", **fields: object) -> Policy:
    return Policy.model_validate(
        {
            "apiVersion": "compress/v1", "name": "test", "summary": "For tests.", "alpha": ALPHA,
            "min_images": 1, "shifts": (rule(),), "method": method, **fields,
        }
    )  # fmt: skip


def planned_for(
    counts: Counts, n: int, *, tolerance: float = 0.01, under: Policy | None = None
) -> Prospect:
    found = under or policy()
    sizes = look_sizes(found, n, batch=256)
    return prospect(found, rule(tolerance), counts, sizes=sizes)


@pytest.mark.parametrize(
    "tolerance, drop, discordance, images",
    [(*key, psi, images) for key, row in SIZES.items() for psi, images in row.items()],
)
def test_images_needed_are_those_of_the_table(
    tolerance: float, drop: float, discordance: float, images: int
) -> None:
    counts = assumed(rule(), discordance=discordance, drop=drop)
    found = planned_for(counts, 10_000, tolerance=tolerance)
    assert found.needed == pytest.approx(images, rel=2e-3)
    assert found.needed_80 == pytest.approx(0.72 * images, rel=0.03)


@pytest.mark.parametrize(
    "discordance, points", [(0.01, 0.29), (0.03, 0.51), (0.05, 0.65), (0.1, 0.925), (0.2, 1.31)]
)
def test_ten_thousand_images_certify_what_the_table_says(discordance: float, points: float) -> None:
    counts = assumed(rule(), discordance=discordance)
    found = certifiable(counts, n=10_000, alpha=ALPHA, method="fixed")
    assert found is not None
    assert 100 * found == pytest.approx(points, abs=0.005)


@pytest.mark.statistical
@pytest.mark.parametrize(
    "tolerance, drop, discordance, n",
    [(0.01, 0.0, 0.05, 4278), (0.02, 0.007, 0.1, 2500), (0.03, 0.0, 0.02, 400)],
)
def test_the_exact_test_has_the_power_that_is_planned(
    tolerance: float, drop: float, discordance: float, n: int
) -> None:
    counts = assumed(rule(), discordance=discordance, drop=drop)
    planned = power_at(counts, tolerance, n=n, alpha=ALPHA, method="fixed")
    accepted = np.mean(_accepted(n, drop, discordance, tolerance=tolerance, alpha=ALPHA))
    # Three standard errors, and the difference of a normal and a binomial distribution.
    assert accepted == pytest.approx(planned, abs=3 * (0.25 / TRIALS) ** 0.5 + 0.015)


@pytest.mark.statistical
def test_looks_have_the_planned_power_at_least_and_a_few_points_more() -> None:
    n, discordance, tolerance = 4400, 0.05, 0.01
    under = policy("looks")
    found = planned_for(assumed(rule(), discordance=discordance), n, under=under)
    rng = np.random.default_rng(5)
    b, c = np.zeros(TRIALS, np.int64), np.zeros(TRIALS, np.int64)
    stopped = np.full(TRIALS, n)
    accepted = np.zeros(TRIALS, np.bool_)
    sizes = look_sizes(under, n, batch=256)
    for look, (before, size) in enumerate(zip((0, *sizes), sizes, strict=False), start=1):
        shares = [discordance / 2, discordance / 2, 1 - discordance]
        more = rng.multinomial(size - before, shares, TRIALS)
        b, c = b + more[:, 0], c + more[:, 1]
        most = rejection_boundary(b + c, n=size, tolerance=tolerance, alpha=under.alpha_at(look))
        stopped = np.where(~accepted & (b <= most), size, stopped)
        accepted |= b <= most
    assert found.power - 0.03 < accepted.mean() < found.power + 0.05
    expected = sum(size * share for size, share in zip(sizes, found.stops, strict=True))
    assert expected == pytest.approx(stopped.mean(), rel=0.06)


def _accepted(
    n: int, drop: float, discordance: float, *, tolerance: float, alpha: float
) -> NDArray[np.bool_]:
    rng = np.random.default_rng(3)
    shares = [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance]
    b, c, _ = rng.multinomial(n, shares, TRIALS).T
    most = rejection_boundary(b + c, n=n, tolerance=tolerance, alpha=alpha)
    return np.asarray(b <= most)


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
@pytest.mark.parametrize("fields", [{}, {"draws": 3}, {"metric": "brier"}, {"metric": "flips"}])
def test_power_is_ninety_percent_at_the_images_that_are_said_to_give_it(
    method: str, fields: dict[str, object]
) -> None:
    under, one = policy(method), rule(0.02, **fields)
    counts = assumed(one, discordance=0.01 if fields == {"metric": "flips"} else 0.05)
    images = prospect(under, one, counts, sizes=look_sizes(under, 2000, batch=256)).needed
    assert images is not None
    enough = prospect(under, one, counts, sizes=look_sizes(under, images, batch=256))
    fewer = prospect(under, one, counts, sizes=look_sizes(under, images * 9 // 10, batch=256))
    assert enough.power == pytest.approx(0.9, abs=5e-3)
    assert (enough.outlook, fewer.power < 0.9) == (Outlook.CAN, True)


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_what_is_certifiable_is_certified_nine_times_in_ten(method: str) -> None:
    under = policy(method)
    counts = assumed(rule(), discordance=0.1, drop=0.004)
    smallest = planned_for(counts, 10_000, under=under).certifiable
    assert smallest is not None
    found = planned_for(counts, 10_000, tolerance=smallest, under=under)
    assert found.power == pytest.approx(0.9, abs=2e-3)
    below = planned_for(counts, 10_000, tolerance=smallest - 1e-4, under=under)
    assert below.outlook is not Outlook.CAN


@pytest.mark.parametrize(
    "drop, n, outlook",
    [
        (0.003, 20_000, Outlook.CAN),
        (0.003, 9_000, Outlook.ONLY),
        (0.012, 9_000, Outlook.ONLY),
        (0.0, 8_000, Outlook.CANNOT),
    ],
)
def test_the_outlook_is_on_the_expected_drop_and_on_none(
    drop: float, n: int, outlook: Outlook
) -> None:
    assert planned_for(assumed(rule(), discordance=0.1, drop=drop), n).outlook is outlook


def test_no_images_do_for_a_drop_that_is_not_below_the_tolerance() -> None:
    found = planned_for(assumed(rule(), discordance=0.1, drop=0.012), 10**6)
    assert (found.needed, found.needed_80, found.power) == (None, None, 0.0)
    assert found.needed_without_drop is not None


def test_a_gain_is_not_counted_on() -> None:
    gained = assumed(rule(), discordance=0.1, drop=-0.02)
    level = planned_for(without_drop(gained), 5000)
    assert planned_for(gained, 5000) == level


def test_fewer_images_than_perfect_agreement_takes_decide_nothing() -> None:
    agreed = PairedCounts(both_right=10, only_dense=0, only_pruned=0, both_wrong=0)
    found = planned_for(agreed, 298)
    assert (found.conceivable, found.power, found.outlook) == (False, 0.0, Outlook.CANNOT)
    assert planned_for(agreed, 310).conceivable


def test_fewer_images_than_the_policy_asks_for_decide_nothing() -> None:
    under = policy(min_images=5000)
    found = planned_for(assumed(rule(), discordance=0.01), 4999, under=under)
    assert (found.power, found.conceivable, found.needed) == (0.0, False, 5000)


def test_an_early_look_below_the_asked_images_is_no_stop() -> None:
    under = policy("looks", min_images=5000)
    found = planned_for(assumed(rule(), discordance=0.01), 8000, under=under)
    assert found.stops[:2] == (0.0, 0.0)
    assert found.stops[2] > 0.9


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_some_look_is_the_last(method: str) -> None:
    found = planned_for(assumed(rule(), discordance=0.05), 5000, under=policy(method))
    assert sum(found.stops) == pytest.approx(1.0)
    assert min(found.stops) >= 0.0


def test_a_shared_alpha_asks_for_more_images() -> None:
    counts = assumed(rule(), discordance=0.05)
    alone = planned_for(counts, 5000).needed
    shared = planned_for(counts, 5000, under=policy(reuse=Reuse(releases=20))).needed
    assert alone is not None
    assert shared == pytest.approx(1.95 * alone, rel=0.01)


def test_a_full_sample_under_looks_has_the_last_share_of_alpha() -> None:
    looks = Looks(fractions=(0.5, 1.0), spend=(0.3, 0.7))
    found = planned_for(assumed(rule(), discordance=0.05), 5000, under=policy("looks", looks=looks))
    assert found.alpha == pytest.approx(0.7 * ALPHA)


def test_all_cells_pass_at_least_as_often_as_bonferroni_says() -> None:
    assert all_pass([0.9, 0.95, 1.0]) == pytest.approx(0.85)
    assert all_pass([0.5, 0.4]) == 0.0


def by_kind(found: tuple[Lever, ...], kind: str) -> list[Lever]:
    return [lever for lever in found if lever.kind == kind]


def test_levers_on_the_discordance_make_the_images_suffice() -> None:
    counts = assumed(rule(), discordance=0.1, drop=0.002)
    (lever,) = by_kind(levers(policy(), rule(), counts, n=8000, by_chance=False), "discordance")
    assert lever.amount == pytest.approx(0.06, abs=0.005)
    for factor, outlook in ((0.99, Outlook.CAN), (1.01, Outlook.ONLY)):
        less = assumed(rule(), discordance=factor * lever.amount, drop=0.002)
        assert planned_for(less, 8000).outlook is outlook


def test_levers_on_draws_are_for_shifts_that_have_chance_in_them() -> None:
    counts = assumed(rule(), discordance=0.1)
    drawn = by_kind(levers(policy(), rule(), counts, n=2000, by_chance=True), "draws")
    assert [(lever.amount, lever.measured) for lever in drawn] == [
        (3, False),
        (6, False),
        (10, False),
    ]
    # The table of docs/gate.md.
    assert [lever.images for lever in drawn] == pytest.approx([6911, 4406, 3435], rel=0.05)
    assert not by_kind(levers(policy(), rule(), counts, n=2000, by_chance=False), "draws")


def test_levers_on_draws_go_by_what_was_seen_of_several() -> None:
    one = rule(draws=3)
    counts = assumed(one, discordance=0.1, persistence=0.5)
    drawn = by_kind(levers(policy(), one, counts, n=2000, by_chance=True), "draws")
    assert [(lever.amount, lever.measured) for lever in drawn] == [(6, True), (10, True)]
    less = assumed(one, discordance=0.1, persistence=0.1)
    better = by_kind(levers(policy(), one, less, n=2000, by_chance=True), "draws")
    for many, few in zip(drawn, better, strict=True):
        assert many.images is not None
        assert few.images is not None
        assert many.images > 2 * few.images


def test_levers_on_the_score_have_the_ratio_of_variances_that_was_seen() -> None:
    scores = assumed(rule(metric="brier"), discordance=0.1)
    assert isinstance(scores, ScoreCounts)
    counts = assumed(rule(), discordance=0.1)
    found = levers(policy(), rule(), counts, n=2000, by_chance=False, scores=scores)
    (lever,) = by_kind(found, "brier")
    assert lever.amount == pytest.approx(1 / 4.2, rel=1e-3)
    assert lever.images is not None
    assert lever.images < 8560


def test_a_drop_that_is_too_large_has_to_be_smaller() -> None:
    counts = assumed(rule(), discordance=0.1, drop=0.012)
    (lever,) = levers(policy(), rule(), counts, n=20_000, by_chance=True)
    assert lever.kind == "drop"
    for factor, outlook in ((0.99, Outlook.CAN), (1.01, Outlook.ONLY)):
        less = assumed(rule(), discordance=0.1, drop=factor * lever.amount)
        assert planned_for(less, 20_000).outlook is outlook


def test_where_even_no_drop_is_not_enough_other_things_help() -> None:
    counts = assumed(rule(), discordance=0.1, drop=0.012)
    found = levers(policy(), rule(), counts, n=2000, by_chance=False)
    assert [lever.kind for lever in found] == ["images", "discordance"]
    assert found[0].amount == pytest.approx(8560, rel=2e-3)


def test_nothing_has_to_help_what_can_be_certified() -> None:
    counts = assumed(rule(), discordance=0.1)
    assert levers(policy(), rule(), counts, n=9000, by_chance=True) == ()


def test_levers_of_flips_are_images_and_fewer_flips() -> None:
    one = rule(metric="flips")
    found = levers(policy(), one, FlipCounts(same=993, flipped=7), n=2000, by_chance=True)
    assert [lever.kind for lever in found] == ["images", "discordance"]
    assert found[1].amount < 0.007
