import dataclasses

import pytest

from compressor.study.analyses.potential import overparameterisation, potentials
from gates import p_drop_at_least
from tests.study.rows_of import cell


def test_the_estimate_is_the_largest_ratio_within_the_tolerance_even_after_one_beyond() -> None:
    drops = {0.2: 0, 0.4: 30, 0.6: 9, 0.8: 80}
    rows = [cell(drop, ratio=ratio) for ratio, drop in drops.items()]
    by_tolerance = {
        p.tolerance: p.estimate for p in potentials(rows, [0.0, 0.01, 0.03], alpha=0.05)
    }
    assert by_tolerance == {0.0: 0.2, 0.01: 0.6, 0.03: 0.6}


def test_the_certified_value_stops_at_the_first_ratio_that_is_not_shown_to_hold() -> None:
    rows = [cell(drop, ratio=ratio) for ratio, drop in {0.2: 0, 0.4: 45, 0.6: 9}.items()]
    (found,) = potentials(rows, [0.05], alpha=0.05)
    assert p_drop_at_least(rows[0].counts, 0.05) <= 0.05 < p_drop_at_least(rows[1].counts, 0.05)
    assert found.certified == 0.2
    assert found.estimate == 0.6


def test_no_ratio_within_the_tolerance_is_a_potential_of_zero() -> None:
    (found,) = potentials([cell(200, ratio=0.1)], [0.01], alpha=0.05)
    assert (found.estimate, found.certified) == (0.0, 0.0)


def test_nothing_is_certified_at_a_tolerance_of_zero_by_equal_networks() -> None:
    (found,) = potentials([cell(0, ratio=0.5)], [0.0], alpha=0.05)
    assert found.estimate == 0.5
    assert found.certified == 0.0


@pytest.mark.parametrize("tolerance", [0.005, 0.02, 0.05])
def test_more_tolerance_and_less_certainty_never_lower_a_potential(tolerance: float) -> None:
    rows = [cell(round(100 * ratio**2), ratio=ratio) for ratio in (0.1, 0.3, 0.5, 0.7)]
    (strict,) = potentials(rows, [tolerance], alpha=0.01)
    (loose,) = potentials(rows, [tolerance + 0.01], alpha=0.1)
    assert strict.certified <= loose.certified <= loose.estimate
    assert strict.estimate <= loose.estimate


def test_average_and_minimum_are_over_distributions_and_spread_is_over_seeds() -> None:
    drops = {
        (0, "fog-3"): (0, 0),
        (0, "snow-3"): (0, 900),
        (1, "fog-3"): (0, 0),
        (1, "snow-3"): (900, 900),
    }
    rows = [
        cell(min(drop, 800), ratio=ratio, seed=seed, shift=shift, group="held_out")
        for (seed, shift), pair in drops.items()
        for ratio, drop in zip((0.4, 0.8), pair, strict=True)
    ]
    rows.append(dataclasses.replace(rows[0], group="noise", shift="noise 0.5"))
    (found,) = overparameterisation(potentials(rows, [0.01], alpha=0.05))
    assert (found.group, found.distributions, found.seeds) == ("held_out", 2, 2)
    # Seed 0: 0.8 and 0.4; seed 1: 0.8 and 0.
    assert found.estimate_average == pytest.approx((0.6 + 0.4) / 2)
    assert found.estimate_average_std == pytest.approx(0.2 / 2**0.5)
    assert found.estimate_minimum == pytest.approx(0.2)
    assert found.estimate_minimum_std == pytest.approx(0.4 / 2**0.5)
