r"""Exact tests of a drop: the largest chance of an outcome at least as extreme as the observed one.

Of ``n`` images let ``b`` be those that only the dense model gets right, ``c`` those that only the
pruned one does. (b, c) is trinomial; for a given drop d = P(b) - P(c) one nuisance parameter is
left, the discordance psi = P(b) + P(c). Outcomes are ordered by Tango's score z, and a p-value is
the largest probability, over all psi that the data leave plausible, of a z at least as extreme as
the observed one.

That maximum is not searched for but *bounded*, so that no p-value is too small. The probability of
a set of outcomes is a polynomial in psi of degree n, of which even complex values are at most

    M(psi) = (|psi + d| / 2 + |psi - d| / 2 + |1 - psi|)^n

(triangle inequality, then the multinomial theorem). Its interpolant of degree k in Chebyshev points
of an interval is therefore off by at most 4 max M / (rho^k (rho - 1)), the maximum taken on any
ellipse with the interval's ends as foci, rho being the sum of its half-axes by half the interval.
Whatever n is, some 35 points are enough for 1e-10, because the plausible discordances span about
eight standard errors, and a standard error is the scale on which the polynomial can vary. Only at
discordances that barely exceed the drop is that scale smaller, and twice as many are needed.

A p-value is never too small by this arithmetic, and too large by less than 1e-9 up to 100,000
images. Rounding is not proven but measured, and allowed for with room to spare.

References:
    Tango 1998, Statistics in Medicine 17:891-908 (score statistic, constrained estimate).
    Berger and Boos 1994, JASA 89:1012-1016 (supremum over a confidence set, plus its error).
    Trefethen 2013, Approximation Theory and Approximation Practice, theorem 8.2 (interpolation).
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy import special

from gates.binomial import clopper_pearson

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Chance that the confidence set of Berger and Boos misses the true discordance; part of every
# p-value. It is far below the level of one look at one of many shifts, and saves the search over
# implausible discordances.
GAMMA: Final = 1e-6

# Outcomes this close in z count as ties of the observed one: rounding must not drop one of them.
# Counting too many is conservative.
_TIE: Final = 1e-9

# Most that the interpolant may be off, and most by which its maximum may be overstated.
_PRECISION: Final = 1e-10

# Numbers of discordant images that are looked at: so many standard deviations around the mean, and
# so many more. By Bernstein's inequality the others have a chance of at most 2e-12 together.
_WIDTH: Final = 7.5
_MARGIN: Final = 20

# What those others and rounding may do to the interpolant: five times what they do to the points
# that it goes through (Lebesgue's constant). Rounding was measured: less than 2e-16 n at a point.
_LEFT_OUT: Final = 1e-11
_ROUNDING: Final = 1e-15

# Ellipses that bound the error of an interpolant; corners of (half) a polygon around a circle.
_RHO: Final = np.geomspace(1.2, 60.0, 48)
_CORNERS: Final = np.exp(1j * np.linspace(0.0, np.pi, 33)) / math.cos(np.pi / 64)


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


def p_value(only_dense: int, only_pruned: int, *, n: int, drop: float) -> float:
    """Exact p-value of "the true drop is ``drop`` or more"; ``drop`` may be negative.

    For a given discordance the extreme outcomes are likeliest at the smallest drop of the
    hypothesis, because they are those with many ``c`` for their ``b + c``; and where a negative
    ``drop`` leaves discordances below its size, they are likelier still at its size. So psi runs
    from abs(drop) upwards, along the hypothesis' edge.

    Raises:
        ValueError: no images, or a drop outside (-1, 1).
    """
    if n == 0:
        raise ValueError("no images were counted, so nothing can be tested; measure some first")
    if not -1.0 < drop < 1.0:
        raise ValueError(f"a tolerance lies in (-1, 1), not {drop}")
    z = float(tango_z(only_dense, only_pruned, n, drop))
    # Misses the true discordance with a chance of at most GAMMA.
    plausible = clopper_pearson(only_dense + only_pruned, n, confidence=1 - GAMMA)
    low, high = (max(end, abs(drop)) for end in plausible)
    region = _region(z + _TIE * max(1.0, abs(z)), n=n, drop=drop, low=low, high=high)
    polynomial = Chebyshev.interpolate(
        lambda psi: _probability(region, psi),
        _degree(n, drop, low=low, high=high),
        domain=[low, high],
    )
    error = _PRECISION + _LEFT_OUT + _ROUNDING * n
    return min(1.0, _maximum(polynomial.coef.astype(np.float64)) + error + GAMMA)


def rejection_boundary(
    discordant: ArrayLike, *, n: int, tolerance: float, alpha: float
) -> Integers:
    """Largest ``b`` for which "the drop is ``tolerance`` or more" is rejected at ``alpha``.

    For each number ``b + c`` of discordant images; -1 where none is. A simulation then decides as
    the p-values would, which for a given ``b + c`` rise with ``b``, by

        only_dense <= rejection_boundary(only_dense + only_pruned, ...)

    and computes p-values only for numbers that were not asked for before. The other tail is this
    one with the counts exchanged and the tolerance's sign changed.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1).
    """
    numbers = np.asarray(discordant, dtype=np.int64)
    distinct, places = np.unique(numbers, return_inverse=True)
    most = [_most_only_dense(int(m), n, tolerance, alpha) for m in distinct]
    return np.array(most, dtype=np.int64)[places].reshape(numbers.shape)


@cache
def _most_only_dense(discordant: int, n: int, tolerance: float, alpha: float) -> int:
    def is_rejected(b: int) -> bool:
        return p_value(b, discordant - b, n=n, drop=tolerance) <= alpha

    # The normal approximation is seldom wrong by more than one.
    normal = float(special.ndtri(alpha))
    b = discordant - int(_fewest_only_pruned(normal, np.array(discordant), n=n, drop=tolerance))
    while b < discordant and is_rejected(b + 1):
        b += 1
    while b >= 0 and not is_rejected(b):
        b -= 1
    return b


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """The outcomes (b, c) of ``n`` images whose z at a drop of ``drop`` is at most some value.

    The score falls when an image goes from ``b`` to ``c``, so that for a given number of discordant
    images the region is an upper range of ``c``; and it rises with ``b`` and falls with ``c``, so
    that with one more discordant image that range begins where it did or one later.

    Attributes:
        discordant: numbers of discordant images [m], without a gap.
        fewest: smallest ``c`` in the region for each [m]; that number + 1 if none is.
    """

    n: int
    drop: float
    discordant: Integers
    fewest: Integers


def _region(z: float, *, n: int, drop: float, low: float, high: float) -> _Region:
    """Outcomes with a score of at most ``z`` that are likely at some discordance in low..high."""
    fall, rise = (_WIDTH * math.sqrt(n * psi * (1 - psi)) + _MARGIN for psi in (low, high))
    first, last = max(0, math.floor(n * low - fall)), min(n, math.ceil(n * high + rise))
    discordant = np.arange(first, last + 1)
    fewest = _fewest_only_pruned(z, discordant, n=n, drop=drop)
    return _Region(n=n, drop=drop, discordant=discordant, fewest=fewest)


def _fewest_only_pruned(z: float, discordant: Integers, *, n: int, drop: float) -> Integers:
    """Smallest ``c`` with a score of at most ``z``, elementwise; ``discordant`` + 1 if none.

    Bisection, with all numbers of discordant images at once.
    """
    low, high = np.zeros_like(discordant), discordant + 1
    while np.any(open_ := low < high):
        middle = (low + high) // 2
        inside = tango_z(discordant - middle, middle, n, drop) <= z
        high = np.where(open_ & inside, middle, high)
        low = np.where(open_ & ~inside, middle + 1, low)
    return high


def _probability(region: _Region, psi: Floats) -> Floats:
    """Chance [k] of the region, along the hypothesis' edge, at each discordance psi [k]."""
    chance = _binomial(region.discordant, region.n, psi[:, None])
    # Rounding in the factorial of n is common to a row, and by far the largest part of it.
    chance /= chance.sum(axis=1, keepdims=True)
    tails = _tails(region, (psi - region.drop) / (2 * psi))
    return np.asarray(np.einsum("km,km->k", chance, tails))


def _tails(region: _Region, share: Floats) -> Floats:
    """Chance [k m] of ``fewest`` or more ``c`` among the discordant images; ``c`` has share [k].

    It is followed from one number of discordant images to the next. If the last image raises what
    is needed, the outcomes are lost that had just enough of ``c`` and now get a ``b``; if not,
    those are gained that lacked one ``c`` and now get it. Either has the chance of the former
    ``fewest`` among all, times the share of orders in which the last one is a ``b``, or a ``c``.
    """
    total, needed = region.discordant[1:], region.fewest[:-1]
    raised = np.diff(region.fewest) > 0
    orders = np.where(raised, needed - total, needed) / total
    tails = np.empty((len(share), len(region.fewest)))
    tails[:, 0] = special.bdtrc(region.fewest[0] - 1, region.discordant[0], share)
    tails[:, 1:] = orders * _binomial(needed, total, share[:, None])
    return np.cumsum(tails, axis=1)


def _binomial(m: Integers, n: int | Integers, p: Floats) -> Floats:
    """Chance of ``m`` successes in ``n`` trials, broadcast over ``m`` and ``p``."""
    ways = special.gammaln(n + 1) - special.gammaln(m + 1) - special.gammaln(n - m + 1)
    # A chance of 0 or 1 would make 0 log 0.
    p = np.clip(p, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)
    return np.asarray(np.exp(ways + m * np.log(p) + (n - m) * np.log1p(-p)))


def _degree(n: int, drop: float, *, low: float, high: float) -> int:
    """Degree from which on an interpolant of any region's probability is off by _PRECISION at most.

    The n-th root of M is convex, so that its maximum on an ellipse is at most that at the corners
    of a polygon around it.
    """
    ellipses = (np.outer(_RHO, _CORNERS) + np.outer(1 / _RHO, _CORNERS.conj())) / 2
    psi = (low + high) / 2 + (high - low) / 2 * ellipses
    root = (np.abs(psi + drop) + np.abs(psi - drop)) / 2 + np.abs(1 - psi)
    log_error = math.log(4) + n * np.log(root.max(axis=1)) - np.log(_RHO - 1)
    enough = (log_error - math.log(_PRECISION)) / np.log(_RHO)
    return min(n, math.ceil(float(enough.min())))


def _maximum(coefficients: Floats) -> float:
    """The largest value in -1..1 of a Chebyshev series [k], overstated by _PRECISION at most.

    In x = cos t the series is g(t) = sum of a_k cos(k t), with |g''| <= sum of k^2 |a_k|. Around
    a point, g is therefore below a parabola; intervals that hence cannot hold the maximum are
    dropped, the others divided.
    """
    k = np.arange(len(coefficients))
    bend = float(k**2 @ np.abs(coefficients))
    half = np.pi / (8 * len(k))
    t = half * np.arange(1, 8 * len(k), 2)
    largest = -math.inf
    while True:
        values = np.cos(np.outer(t, k)) @ coefficients
        slopes = np.sin(np.outer(t, k)) @ (k * coefficients)
        bounds = values + np.abs(slopes) * half + bend * half**2 / 2
        largest = max(largest, float(values.max()))
        if bounds.max() <= largest + _PRECISION:
            return float(bounds.max())
        half /= 8
        t = np.add.outer(t[bounds > largest], half * np.arange(-7, 8, 2)).ravel()
