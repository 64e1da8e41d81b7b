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

from gates.verdict import Cell, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Potential:
    """The prune potential of one shift, as ratios; None where no tested ratio qualifies.

    Attributes:
        shift: the rule's ``id``.
        certified: last ratio, ascending, before the first that is not accepted on this shift.
        estimate: largest ratio whose observed drop is at most the tolerance.
    """

    shift: str
    certified: float | None
    estimate: float | None


def prune_potential(steps: Sequence[Step], shift: str) -> Potential:
    """The prune potential of ``shift`` over the ratios in ``steps``.

    Raises:
        ValueError: a step has no cell of that shift.
    """
    rising = sorted(
        ((step.ratio, _cell_of(step, shift)) for step in steps), key=lambda rung: rung[0]
    )
    prefix = takewhile(lambda rung: rung[1].outcome is Outcome.ACCEPTED, rising)
    within = (rung for rung in rising if rung[1].counts.drop <= rung[1].tolerance)
    return Potential(
        shift=shift,
        certified=max((ratio for ratio, _ in prefix), default=None),
        estimate=max((ratio for ratio, _ in within), default=None),
    )


def _cell_of(step: Step, shift: str) -> Cell:
    for cell in step.cells:
        if cell.shift == shift:
            return cell
    judged = ", ".join(cell.shift for cell in step.cells)
    raise ValueError(f"{shift!r} was not judged at ratio {step.ratio:.2f}; judged were {judged}")
