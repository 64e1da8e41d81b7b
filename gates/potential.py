"""How far one shift lets a network be pruned: the prune potential, certified and estimated.

The prune potential of a network on a distribution is the largest ratio at which the drop stays
within the tolerance. The estimate compares observed drops, as in Liebenwein et al. 2021, "Lost in
Pruning" (arXiv:2103.03014); being a maximum over noisy observations it is too large as often as
not. The certified one is too large with a chance of at most alpha. Where there are no labels, the
flip rate stands for the drop, which never exceeds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from gates.cell import Cell, Outcome
from gates.verdict import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Potential:
    """The prune potential of one shift, as ratios; None where no tested ratio qualifies.

    Attributes:
        shift: the rule's ``id``.
        certified: last ratio, ascending, before the first that is not accepted on this shift, or
            that was not measured on it.
        estimate: largest ratio whose observed drop is at most the tolerance.
    """

    shift: str
    certified: float | None
    estimate: float | None


def prune_potential(steps: Sequence[Step], shift: str) -> Potential:
    """The prune potential of ``shift`` over the ratios in ``steps``; steps without are left out.

    Raises:
        ValueError: a step knows nothing of that shift.
    """
    ratios = ((step.ratio, _cell_of(step, shift)) for step in steps)
    rising = sorted(
        ((ratio, cell) for ratio, cell in ratios if ratio is not None), key=lambda rung: rung[0]
    )
    prefix = takewhile(
        lambda rung: rung[1] is not None and rung[1].outcome is Outcome.ACCEPTED, rising
    )
    within = (
        (ratio, cell)
        for ratio, cell in rising
        if cell is not None and cell.counts.drop <= cell.tolerance
    )
    return Potential(
        shift=shift,
        certified=max((ratio for ratio, _ in prefix), default=None),
        estimate=max((ratio for ratio, _ in within), default=None),
    )


def _cell_of(step: Step, shift: str) -> Cell | None:
    """The cell of the shift; None if the candidate was not measured on it."""
    if shift in step.not_measured:
        return None
    for cell in step.cells:
        if cell.shift == shift:
            return cell
    judged = ", ".join(cell.shift for cell in step.cells)
    raise ValueError(f"{shift!r} was not judged for {step.name}; judged were {judged}")
