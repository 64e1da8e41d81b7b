import numpy as np
import pytest
from scipy import stats

from gates.shifts.photons import poisson
from gates.shifts.tables import TABLES

PHOTONS = sorted({row[0] for table in TABLES.values() for row in table["shot_noise"]})


@pytest.mark.parametrize("photons", PHOTONS)
def test_the_count_is_the_quantile_of_the_uniform_number(photons: float) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(200)
    uniform = np.random.default_rng(0).random(len(levels))
    uniform[::50] = 0.0
    uniform[1::50] = np.nextafter(1.0, 0.0)
    counts = poisson(uniform, levels, photons=photons)
    means = photons * (levels / 255)
    # From both sides: the definition, and not another implementation's rounding of it.
    assert (stats.poisson.cdf(counts, means) >= np.minimum(uniform, 1.0 - 1e-15) - 1e-15).all()
    assert (stats.poisson.cdf(counts - 1, means) <= uniform + 1e-15).all()


def test_black_has_no_photons() -> None:
    uniform = np.array([0.0, 0.5, np.nextafter(1.0, 0.0)])
    assert not poisson(uniform, np.zeros(3, np.uint8), photons=500).any()


def test_shapes_are_kept() -> None:
    uniform = np.random.default_rng(0).random((2, 3, 4, 5))
    levels = np.full((2, 3, 4, 5), 200, np.uint8)
    counts = poisson(uniform, levels, photons=60)
    assert counts.shape == (2, 3, 4, 5)
    assert np.array_equal(counts, stats.poisson.ppf(uniform, 60 * 200 / 255))
    assert poisson(uniform[:0], levels[:0], photons=60).shape == (0, 3, 4, 5)
