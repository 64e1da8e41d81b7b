"""Is the share of images with some property below the tolerance? Exact binomial tests.

Of ``n`` images, ``successes`` have the property; images are an independent sample. The chance of
that many or fewer falls with the true share, so that of all shares that are ``tolerance`` or more
it is largest at the tolerance itself: there is no nuisance, and nothing is approximated.

References:
    Clopper and Pearson 1934, Biometrika 26:404-413 (interval).
"""

from scipy import special


def p_rate_at_least(successes: int, n: int, tolerance: float) -> float:
    """Exact p-value of "the true share is ``tolerance`` or more"; small means shown to be safe.

    Raises:
        ValueError: no images, or a tolerance outside (0, 1).
    """
    _check(n, tolerance)
    if successes == n:
        return 1.0
    return float(special.betaincc(successes + 1, n - successes, tolerance))


def p_rate_at_most(successes: int, n: int, tolerance: float) -> float:
    """Exact p-value of "the true share is ``tolerance`` or less"; small means shown to be violated.

    Raises:
        ValueError: no images, or a tolerance outside (0, 1).
    """
    _check(n, tolerance)
    if successes == 0:
        return 1.0
    return float(special.betainc(successes, n - successes + 1, tolerance))


def clopper_pearson(successes: int, n: int, *, confidence: float) -> tuple[float, float]:
    """Two-sided interval of the true share; it errs to either side at half of the error at most.

    Raises:
        ValueError: no images, or a confidence outside (0, 1).
    """
    _check(n, confidence)
    error = (1 - confidence) / 2
    low = special.betaincinv(successes, n - successes + 1, error) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - error) if successes < n else 1.0
    return float(low), float(high)


def _check(n: int, share: float) -> None:
    if n == 0:
        raise ValueError("no images were counted, so nothing can be tested; measure some first")
    if not 0.0 < share < 1.0:
        raise ValueError(f"a tolerance or a confidence lies in (0, 1), not {share}")
