"""Prune potential of each distribution, and over all of them: how much of a network is needed.

Liebenwein et al. 2021 (arXiv:2103.03014): P(theta, D) is the largest ratio at which
the error on D grows by at most delta, 0 if there is none. That is the estimate here: a maximum over
noisy points, too large as often as not. The certified value is ``gates.potential``'s: ratios
ascending, up to the first whose exact test does not reject "the drop is at least delta"; the chance
that it is too large is at most alpha, for each distribution by itself. Averages and minima over
distributions are those of the paper's overparameterisation tables; no chance is promised of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from compressor.study.analyses.rows import Cell, Group, spread
from gates import Cell as Judged
from gates import Outcome, PairedCounts, Step, infer, prune_potential


@dataclass(frozen=True, slots=True, kw_only=True)
class Potential:
    """Of one method and seed on one distribution at one tolerance; 0 where no ratio qualifies."""

    method: str
    seed: int
    shift: str
    group: Group
    tolerance: float
    estimate: float
    certified: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overparameterisation:
    """Average and minimum over the distributions of a group: mean and deviation over seeds."""

    method: str
    group: Group
    tolerance: float
    distributions: int
    seeds: int
    estimate_average: float
    estimate_average_std: float | None
    estimate_minimum: float
    estimate_minimum_std: float | None
    certified_average: float
    certified_average_std: float | None
    certified_minimum: float
    certified_minimum_std: float | None


def potentials(
    cells: Sequence[Cell], tolerances: Sequence[float], *, alpha: float
) -> list[Potential]:
    """The potential of every method, seed and distribution at every tolerance."""

    def place(cell: Cell) -> tuple[str, int, str, str]:
        return cell.method, cell.seed, cell.group, cell.shift

    ordered = sorted(cells, key=lambda cell: (*place(cell), cell.ratio))
    found = []
    for _, several in groupby(ordered, key=place):
        rungs = list(several)
        found += [_potential(rungs, tolerance, alpha=alpha) for tolerance in tolerances]
    return found


def overparameterisation(found: Sequence[Potential]) -> list[Overparameterisation]:
    """Average and minimum over distributions, by method, group and tolerance; noise left out."""

    def place(each: Potential) -> tuple[str, str, float]:
        return each.method, each.group, each.tolerance

    ordered = sorted(
        (each for each in found if each.group != "noise"),
        key=lambda each: (*place(each), each.seed),
    )
    return [_over(list(several)) for _, several in groupby(ordered, key=place)]


def _potential(rungs: Sequence[Cell], tolerance: float, *, alpha: float) -> Potential:
    first = rungs[0]
    steps = [_step(cell, position, tolerance, alpha) for position, cell in enumerate(rungs)]
    known = prune_potential(steps, first.shift)
    return Potential(
        method=first.method,
        seed=first.seed,
        shift=first.shift,
        group=first.group,
        tolerance=tolerance,
        estimate=known.estimate or 0.0,
        certified=known.certified or 0.0,
        n=first.counts.n,
    )


def _step(cell: Cell, position: int, tolerance: float, alpha: float) -> Step:
    judged = _judged(cell.shift, cell.counts, tolerance, alpha)
    return Step(
        name=f"ratio {cell.ratio:.3f}",
        position=position,
        ratio=cell.ratio,
        candidate=f"{cell.method}-{cell.seed}",
        cells=(judged,),
        not_measured=(),
        outcome=judged.outcome,
    )


def _judged(shift: str, counts: PairedCounts, tolerance: float, alpha: float) -> Judged:
    found = infer(counts, tolerance, alpha=alpha, method="fixed")
    safe, violated = found.p_safe <= alpha, found.p_violated <= alpha
    return Judged(
        shift=shift,
        statistic="drop",
        tolerance=tolerance,
        enforced=True,
        waived=False,
        min_images=1,
        look=1,
        counts=counts,
        alpha=alpha,
        p_safe=found.p_safe,
        p_violated=found.p_violated,
        interval=found.interval,
        outcome=(Outcome.ACCEPTED if safe else Outcome.VIOLATED if violated else Outcome.UNDECIDED),
    )


def _over(found: Sequence[Potential]) -> Overparameterisation:
    first = found[0]
    seeds = [list(each) for _, each in groupby(found, key=lambda each: each.seed)]
    sums = {
        "estimate_average": [spread([p.estimate for p in each])[0] for each in seeds],
        "estimate_minimum": [min(p.estimate for p in each) for each in seeds],
        "certified_average": [spread([p.certified for p in each])[0] for each in seeds],
        "certified_minimum": [min(p.certified for p in each) for each in seeds],
    }
    told: dict[str, float | None] = {}
    for name, values in sums.items():
        told[name], told[f"{name}_std"] = spread(values)
    return Overparameterisation(
        method=first.method,
        group=first.group,
        tolerance=first.tolerance,
        distributions=len(seeds[0]),
        seeds=len(seeds),
        **told,  # type: ignore[arg-type]  # means are never None
    )
