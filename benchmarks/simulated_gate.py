"""What the gate would do with images that are drawn instead of measured: counts, cells, ladder.

Counts grow block by block, as images come; every rule sees the same ones, at the looks it takes. A
rule that waits for all images sees the sum of the blocks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from gates.anytime import LOSSES, WEIGHTS
from gates.exact import rejection_boundary, tango_z
from policies import Looks

IMAGES: Final = 10_000
BLOCK: Final = 250
REHEARSAL: Final = 512
"""Images of another set on which a candidate's shifts are put in order, the hardest first."""

TOLERANCE: Final = 0.01
ALPHA: Final = 0.05

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# A table of cumulative chances is searched for "row + chance": so far from its ends, rounding
# leads to no other row.
_CLOSE: Final = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What the images up to the end of each block show: [runs ratios shifts blocks].

    Attributes:
        only_dense: images that only the dense model gets right, so far.
        only_pruned: images that only the pruned one does, so far.
        hardness: how far the rehearsal speaks against each shift [runs ratios shifts].
    """

    only_dense: NDArray[np.int32]
    only_pruned: NDArray[np.int32]
    hardness: Floats

    @property
    def all_dense(self) -> Integers:
        """``only_dense`` at the end [runs ratios shifts]."""
        return self.only_dense[..., -1].astype(np.int64)

    @property
    def all_pruned(self) -> Integers:
        """``only_pruned`` at the end [runs ratios shifts]."""
        return self.only_pruned[..., -1].astype(np.int64)


def drawn(
    drops: Floats, discordance: Floats, *, runs: int, correlation: float, seed: Sequence[int]
) -> Draws:
    """Counts under true ``drops`` [ratios shifts], the discordance being that of the ratio.

    Blocks, shifts and runs are independent, and the rehearsal is of all of them. A ratio and the
    next are correlated block by block, as a Gaussian copula has it: once for how many images are
    discordant, once for how many of them only the dense model gets right. Each ratio by itself is
    exactly trinomial.
    """
    rng = np.random.default_rng(seed)
    shape = (runs, drops.shape[1], IMAGES // BLOCK)
    dense = np.empty((runs, *drops.shape, IMAGES // BLOCK), dtype=np.int32)
    pruned = np.empty_like(dense)
    many, split = rng.standard_normal(shape), rng.standard_normal(shape)
    for k, psi in enumerate(discordance):
        if k > 0:
            many, split = (_next(z, rng, correlation=correlation) for z in (many, split))
        every = np.zeros(shape, dtype=np.int64)
        discordant = _quantile(many, every, n=np.array([BLOCK]), share=float(psi))
        most = np.arange(discordant.max() + 1)
        for s, drop in enumerate(drops[k]):
            share = float((1.0 + drop / psi) / 2.0)
            only_dense = _quantile(split[:, s], discordant[:, s], n=most, share=share)
            dense[:, k, s] = np.cumsum(only_dense, axis=-1)
            pruned[:, k, s] = np.cumsum(discordant[:, s] - only_dense, axis=-1)
    return Draws(
        only_dense=dense,
        only_pruned=pruned,
        hardness=_rehearsed(drops, discordance, runs=runs, rng=rng),
    )


def _next(z: Floats, rng: np.random.Generator, *, correlation: float) -> Floats:
    fresh = rng.standard_normal(z.shape)
    return correlation * z + math.sqrt(1.0 - correlation**2) * fresh


def _rehearsed(
    drops: Floats, discordance: Floats, *, runs: int, rng: np.random.Generator
) -> Floats:
    """Tango's score on images that are not the gate's; p-values come in the same order."""
    psi = discordance[:, None]
    discordant = rng.binomial(REHEARSAL, psi, size=(runs, *drops.shape))
    lost = rng.binomial(discordant, (1.0 + drops / psi) / 2.0)
    return tango_z(lost, discordant - lost, REHEARSAL, TOLERANCE)


def _quantile(z: Floats, row: Integers, *, n: Integers, share: float) -> Integers:
    """The binomial number out of ``n[row]`` that stands where ``z`` does among normal ones."""
    chances = [stats.binom.cdf(np.arange(trials + 1), trials, share) for trials in n]
    starts = np.cumsum([0, *n[:-1] + 1])
    rows = np.concatenate([place + chance for place, chance in enumerate(chances)])
    place = np.searchsorted(rows, row + np.clip(special.ndtr(z), _CLOSE, 1.0 - _CLOSE))
    return np.asarray(place - starts[row], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look at the first ``images`` of a shift, with tests at the level ``alpha``."""

    images: int
    alpha: float


# Takes b and c [k] of a look; gives where the drop is shown to be below the tolerance, and where
# it is shown, at alpha divided by the number of shifts, to be above it.
Test = Callable[[Integers, Integers, Look, int], tuple[Flags, Flags]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A policy's way to look at images.

    Attributes:
        looks: those at the images of one shift; with a single one, at all images, everything is
            looked at anyway: shifts come in any order, and a violation ends nothing.
        test: what is decided at a look.
    """

    looks: tuple[Look, ...]
    test: Test

    @property
    def stops(self) -> bool:
        """Whether a candidate may be ended before all its shifts were looked at."""
        return len(self.looks) > 1


def exact(b: Integers, c: Integers, look: Look, shifts: int) -> tuple[Flags, Flags]:
    """The tests of ``gates.statistics``, by their boundaries."""
    tails = ((b, TOLERANCE, look.alpha), (c, -TOLERANCE, look.alpha / shifts))
    safe, violated = (
        worse <= rejection_boundary(b + c, n=look.images, tolerance=tolerance, alpha=alpha)
        for worse, tolerance, alpha in tails
    )
    return safe, violated


def betting(b: Integers, c: Integers, look: Look, shifts: int) -> tuple[Flags, Flags]:
    """The tests of ``gates.anytime``, for many counts at once."""
    safe = _log_e(b, c, look.images, tolerance=TOLERANCE) >= -math.log(look.alpha)
    violated = _log_e(c, b, look.images, tolerance=-TOLERANCE) >= -math.log(look.alpha / shifts)
    return safe, violated


def _log_e(lost: Integers, won: Integers, n: int, *, tolerance: float) -> Floats:
    bets = np.array(LOSSES)[:, None] / (1.0 - tolerance)
    logs = sum(
        images * np.log1p(bets * (tolerance - d))
        for d, images in ((1, lost), (0, n - lost - won), (-1, won))
    )
    log_e: Floats = np.logaddexp.reduce(logs + np.log(WEIGHTS)[:, None], axis=0)
    return log_e


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """What became of cells [...], and the images that each took."""

    accepted: Flags
    violated: Flags
    images: Integers

    @classmethod
    def untouched(cls, shape: tuple[int, ...]) -> Self:
        return cls(
            accepted=np.zeros(shape, dtype=np.bool_),
            violated=np.zeros(shape, dtype=np.bool_),
            images=np.zeros(shape, dtype=np.int64),
        )


def decided(
    method: Method, only_dense: NDArray[np.int32], only_pruned: NDArray[np.int32], *, shifts: int
) -> Cells:
    """Look after look until a cell is decided; counts [... blocks], ``shifts`` enforced in all."""
    cells = Cells.untouched(only_dense.shape[:-1])
    for look in method.looks:
        undecided = ~(cells.accepted | cells.violated)
        block = look.images // BLOCK - 1
        b, c = (
            counts[..., block][undecided].astype(np.int64) for counts in (only_dense, only_pruned)
        )
        cells.accepted[undecided], cells.violated[undecided] = method.test(b, c, look, shifts)
        cells.images[undecided] = look.images
    return cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbed:
    """What a rule did in each run [runs].

    Attributes:
        accepted: place of the ratio that is released, from 1; 0 for none.
        images: passes of pruned networks that it took.
    """

    accepted: Integers
    images: Integers


def climb(draws: Draws, method: Method) -> Climbed:
    """The gate: ratios in ascending order, up to the first that is not accepted.

    A method that may stop takes the shifts of a ratio one after the other, the hardest first by the
    rehearsal, which the candidate must run on as well. A certified violation ends the candidate. An
    undecided shift does not, though the ratio can no longer be accepted.
    """
    runs, ratios, shifts = draws.hardness.shape
    accepted, images = np.zeros(runs, dtype=np.int64), np.zeros(runs, dtype=np.int64)
    climbing = np.arange(runs)
    for k in range(ratios):
        cells = decided(
            method, draws.only_dense[climbing, k], draws.only_pruned[climbing, k], shifts=shifts
        )
        if method.stops:
            hardest_first = np.argsort(-draws.hardness[climbing, k], axis=1, kind="stable")
            images[climbing] += shifts * REHEARSAL + passes(cells, order=hardest_first)
        else:
            images[climbing] += cells.images.sum(axis=1)
        climbing = climbing[cells.accepted.all(axis=1)]
        accepted[climbing] = k + 1
    return Climbed(accepted=accepted, images=images)


def passes(cells: Cells, *, order: Integers) -> Integers:
    """Images [k] up to a candidate's first violation; cells [k shifts], taken in ``order``."""
    violated = np.take_along_axis(cells.violated, order, axis=1)
    images = np.take_along_axis(cells.images, order, axis=1)
    ended_before = np.cumsum(violated, axis=1) - violated > 0
    total: Integers = np.where(ended_before, 0, images).sum(axis=1)
    return total


def _looks(looks: Looks) -> tuple[Look, ...]:
    return tuple(
        Look(images=math.ceil(fraction * IMAGES), alpha=ALPHA * share)
        for fraction, share in zip(looks.fractions, looks.spend, strict=True)
    )


METHODS: Final[Mapping[str, Method]] = {
    "fixed": Method(looks=(Look(images=IMAGES, alpha=ALPHA),), test=exact),
    "looks": Method(looks=_looks(Looks()), test=exact),
    "anytime": Method(
        looks=tuple(Look(images=images, alpha=ALPHA) for images in range(BLOCK, IMAGES + 1, BLOCK)),
        test=betting,
    ),
}
