"""Is the drop over one draw per image below the tolerance? Exact paired tests, and sample sizes.

Of ``n`` images let ``b`` be those that only the dense model gets right, ``c`` those that only the
pruned one does. How the exact p-values come about is in ``gates.exact``.

References:
    Tango 1998, Statistics in Medicine 17:891-908 (interval).
"""

import math

from scipy import special
from scipy.optimize import brentq

from gates.counts import PairedCounts
from gates.exact import p_value, tango_z


def p_drop_at_least(counts: PairedCounts, tolerance: float) -> float:
    """Exact p-value of "the true drop is ``tolerance`` or more"; small means shown to be safe.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1).
    """
    return p_value(counts.only_dense, counts.only_pruned, n=counts.n, drop=tolerance)


def p_drop_at_most(counts: PairedCounts, tolerance: float) -> float:
    """Exact p-value of "the true drop is ``tolerance`` or less"; small means shown to be violated.

    The same question with the models' roles exchanged.

    Raises:
        ValueError: no images, or a tolerance outside (-1, 1).
    """
    return p_value(counts.only_pruned, counts.only_dense, n=counts.n, drop=-tolerance)


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
