r"""Is the drop below the tolerance? Exact paired tests, an interval, and sample sizes.

Of ``n`` images let ``b`` be those that only the dense model gets right, ``c`` those that only the
pruned one does. (b, c) is trinomial; for a given drop P(b) - P(c) one nuisance parameter is left,
the discordance psi = P(b) + P(c). Outcomes are ordered by Tango's score z, and a p-value is the
largest probability, over all psi that the data leave plausible, of a z at least as extreme as the
observed one.

That maximum is not searched for but *bounded* on a grid, so that no p-value is too small. For any
set R of outcomes, P(psi) = P(R) has P'' = E[1_R U], U the sum over images i != j of s_i s_j, s_i
being the score of image i. E U = 0 and Var U = 2 (1 - 1/n) I^2, hence by Cauchy and Schwarz

    |P''| <= sqrt(2 P (1 - P)) I,    I = n (psi / (psi^2 - drop^2) + 1 / (1 - psi)),

with I the Fisher information on psi; and between grid points a distance h apart, P exceeds the
larger of its two ends by at most h^2 / 8 max |P''|. The step of the grid decides only how much too
large a p-value is: 1 % of its value near 0.05.

References:
    Tango 1998, Statistics in Medicine 17:891-908 (score statistic, constrained estimate, interval).
    Berger and Boos 1994, JASA 89:1012-1016 (supremum over a confidence set, plus its error).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import brentq

from gates.evidence import PairedCounts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Chance that the confidence set of Berger and Boos misses the true discordance; part of every
# p-value, so that it costs 0.0001 and saves the search over implausible discordances.
GAMMA: Final = 1e-4

# Distance between grid points, in standard errors of the discordance.
_STEP: Final = 0.1

# Outcomes this close in z count as ties of the observed one: rounding must not drop one of them.
# Counting too many is conservative.
_TIE: Final = 1e-9

# Numbers of discordant images that are looked at: so many standard deviations around the mean, and
# so many more because at a small mean the binomial is skew; of those, all of more than a negligible
# chance. What is not looked at counts as extreme.
_WIDTH: Final = 6.5
_MARGIN: Final = 20
_NEGLIGIBLE: Final = 1e-9


def tango_z(only_dense: ArrayLike, only_pruned: ArrayLike, n: int, drop: float) -> Floats:
    """Tango's score statistic for a true drop of ``drop``; large when more was lost than that.

    Vectorised over the counts. The variance is that of the constrained maximum-likelihood
    estimate, not of the observed rates, which is what keeps it right at few discordant images.
    """
    b = np.asarray(only_dense, dtype=np.float64)
    c = np.asarray(only_pruned, dtype=np.float64)
    linear = (2 * n + c - b) * drop - b - c
    root = np.sqrt(np.maximum(linear**2 + 8 * n * c * drop * (1 - drop), 0.0))
    # The root of 2 n q^2 + linear q = c drop (1 - drop); the form depends on the sign so that two
    # nearly equal numbers are never subtracted.
    rising = linear > 0
    regained = np.where(
        rising,
        2 * c * drop * (1 - drop) / np.where(rising, linear + root, 1.0),
        (root - linear) / (4 * n),
    )
    variance = n * (2 * regained + drop * (1 - drop))
    return np.asarray((b - c - n * drop) / np.sqrt(np.maximum(variance, np.finfo(float).tiny)))


def p_drop_at_least(counts: PairedCounts, tolerance: float) -> float:
    """Exact p-value of "the true drop is ``tolerance`` or more"; small means shown to be safe.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1).
    """
    return _p_value(counts.only_dense, counts.only_pruned, n=counts.n, drop=tolerance)


def p_drop_at_most(counts: PairedCounts, tolerance: float) -> float:
    """Exact p-value of "the true drop is ``tolerance`` or less"; small means shown to be violated.

    The same question with the models' roles exchanged.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1).
    """
    return _p_value(counts.only_pruned, counts.only_dense, n=counts.n, drop=-tolerance)


def drop_interval(counts: PairedCounts, *, confidence: float) -> tuple[float, float]:
    """Tango's two-sided score interval of the drop: those drops that |z| does not speak against.

    Approximate, for reading; the decision uses the exact p-values.

    Raises:
        ValueError: no images, or a confidence outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies in (0, 1), not {confidence}")
    observed = counts.drop
    limit = float(special.ndtri((1 + confidence) / 2))

    def excess(drop: float, target: float) -> float:
        return float(tango_z(counts.only_dense, counts.only_pruned, counts.n, drop)) - target

    # z falls from +inf at -1 to -inf at +1 and is 0 at the observed drop.
    low = -1.0 if observed == -1.0 else brentq(excess, -1.0, observed, args=(limit,))
    high = 1.0 if observed == 1.0 else brentq(excess, observed, 1.0, args=(-limit,))
    return float(low), float(high)


def images_needed(
    *, tolerance: float, discordance: float, drop: float, alpha: float, power: float
) -> int:
    """Images with which a true ``drop`` below ``tolerance`` is shown to be safe.

    Normal approximation of the score test's power, its null variance taken at a discordance that
    the null allows (no less than the tolerance); and never fewer images than an error-free sample
    takes, (1 - tolerance)^n <= alpha.

    Raises:
        ValueError: the drop is not below the tolerance (no number of images would do), or exceeds
            the discordance.
    """
    if not drop < tolerance < 1.0:
        raise ValueError(f"no number of images shows a drop of {drop} to be below {tolerance}")
    if not abs(drop) <= discordance <= 1.0:
        raise ValueError(f"a discordance of {discordance} does not go with a drop of {drop}")
    z_alpha, z_power = float(special.ndtri(1 - alpha)), float(special.ndtri(power))
    null_deviation = math.sqrt(max(discordance, abs(tolerance)) - tolerance**2)
    deviation = math.sqrt(discordance - drop**2)
    normal = ((z_alpha * null_deviation + z_power * deviation) / (tolerance - drop)) ** 2
    error_free = math.log(alpha) / math.log1p(-tolerance) if tolerance > 0 else 0.0
    return math.ceil(max(normal, error_free))


def _p_value(only_dense: int, only_pruned: int, *, n: int, drop: float) -> float:
    """Exact p-value of "the true drop is ``drop`` or more"; ``drop`` may be negative.

    For a given discordance the extreme outcomes are likeliest at the smallest drop of the
    hypothesis, because they are those with many ``c`` for their ``b + c``; and where a negative
    ``drop`` leaves discordances below its size, they are likelier still at its size. So psi runs
    from abs(drop) upwards, along the hypothesis' edge.
    """
    if n == 0:
        raise ValueError("no images were counted, so nothing can be tested; measure some first")
    if not -1.0 < drop < 1.0:
        raise ValueError(f"a tolerance lies in (-1, 1), not {drop}")
    z = float(tango_z(only_dense, only_pruned, n, drop))
    region = _Region(z=z + _TIE * max(1.0, abs(z)), n=n, drop=drop)
    low, high = (max(end, abs(drop)) for end in _plausible_discordance(only_dense + only_pruned, n))
    return min(1.0, _upper_bound(region, low, high) + GAMMA)


def _plausible_discordance(discordant: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson interval that misses the true discordance with a chance of at most GAMMA."""
    low = special.betaincinv(discordant, n - discordant + 1, GAMMA / 2) if discordant else 0.0
    high = (
        special.betaincinv(discordant + 1, n - discordant, 1 - GAMMA / 2) if discordant < n else 1.0
    )
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """All outcomes (b, c) of ``n`` images whose z at a drop of ``drop`` is at most ``z``.

    The score falls when an image goes from ``b`` to ``c``, so that for a given number of discordant
    images the region is an upper range of ``c``; and it rises with ``b`` and falls with ``c``.
    """

    z: float
    n: int
    drop: float


def _upper_bound(region: _Region, low: float, high: float) -> float:
    """The most that the region's probability can be at any discordance in low..high.

    The grid is even in the angle theta of psi = d + (1 - d) sin^2 theta, d = abs(drop), where the
    information is at most 4 n. At the edges psi = d and psi = 1 an outcome becomes impossible and I
    infinite; in the cell there, the bound is that the probability falls with P(b) and rises with
    P(c). A range that ends close to an edge is widened to it.
    """
    d, step, right_angle = abs(region.drop), _STEP / (2 * math.sqrt(region.n)), math.pi / 2
    start, end = (math.asin(math.sqrt((psi - d) / (1 - d))) for psi in (low, high))
    start = start if start >= step else 0.0
    end = end if end <= right_angle - step else right_angle
    theta = np.linspace(start, end, max(1, math.ceil((end - start) / step)) + 1)
    psi = d + (1 - d) * np.sin(theta) ** 2

    edge = (theta[:-1] == 0.0) | (theta[1:] == right_angle)
    left, right = psi[:-1][edge], psi[1:][edge]
    inner = psi[(theta > 0.0) & (theta < right_angle)]
    p_dense = (np.concatenate([left, inner]) + region.drop) / 2
    p_pruned = (np.concatenate([right, inner]) - region.drop) / 2
    probability = _probability(region, p_dense, p_pruned)
    between = _between(probability[left.size :], inner, region)
    return float(max(probability.max(), between.max(initial=0.0)))


def _between(probability: Floats, psi: Floats, region: _Region) -> Floats:
    """Bounds [k - 1] of a probability between the points psi [k] where it is known.

    They are the largest P with P <= ends + h^2 / 8 sqrt(2 P) I. The information is convex in psi,
    so that its largest value in a cell is at an end.
    """
    information = region.n * (psi / (psi**2 - region.drop**2) + 1 / (1 - psi))
    largest = np.maximum(information[:-1], information[1:])
    rise = math.sqrt(2) / 8 * np.diff(psi) ** 2 * largest
    ends = np.maximum(probability[:-1], probability[1:])
    return np.asarray(((rise + np.sqrt(rise**2 + 4 * ends)) / 2) ** 2)


def _probability(region: _Region, p_dense: Floats, p_pruned: Floats) -> Floats:
    """Chance [k] of the region for k pairs of chances of "only dense" and "only pruned" [k]."""
    n, discordance = region.n, p_dense + p_pruned
    mean = n * discordance
    reach = _WIDTH * np.sqrt(mean * (1 - discordance)) + _MARGIN
    discordant = np.arange(
        max(0, math.floor(np.min(mean - reach))), min(n, math.ceil(np.max(mean + reach))) + 1
    )
    chance = _binomial(discordant, n, discordance[:, None])
    k, j = np.nonzero(chance > _NEGLIGIBLE)
    fewest, share = _fewest_only_pruned(region, discordant), p_pruned / discordance
    inside = np.ones_like(chance)
    inside[k, j] = _at_least(fewest[j], discordant[j], share[k])
    left_out = np.maximum(1.0 - chance.sum(axis=1), 0.0)
    return np.asarray((chance * inside).sum(axis=1) + left_out)


def _fewest_only_pruned(region: _Region, discordant: Integers) -> Integers:
    """The smallest ``c`` in the region for each number of discordant images; that + 1 if none is.

    Bisection, with all numbers of discordant images at once.
    """
    low, high = np.zeros_like(discordant), discordant + 1
    while np.any(open_ := low < high):
        middle = (low + high) // 2
        inside = tango_z(discordant - middle, middle, region.n, region.drop) <= region.z
        high = np.where(open_ & inside, middle, high)
        low = np.where(open_ & ~inside, middle + 1, low)
    return high


def _binomial(m: Integers, n: int, p: Floats) -> Floats:
    """Chance of ``m`` successes in ``n`` trials, broadcast over ``m`` and ``p``."""
    ways = special.gammaln(n + 1) - special.gammaln(m + 1) - special.gammaln(n - m + 1)
    return np.asarray(np.exp(ways + special.xlogy(m, p) + special.xlog1py(n - m, -p)))


def _at_least(successes: Integers, trials: Integers, p: Floats) -> Floats:
    """Chance of ``successes`` or more in ``trials``, elementwise; 0 for more than ``trials``."""
    tail = (successes <= 0).astype(np.float64)
    some = (successes > 0) & (successes <= trials)
    tail[some] = special.betainc(successes[some], (trials - successes + 1)[some], p[some])
    return tail
