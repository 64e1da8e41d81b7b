"""May this model be deployed? Knows no pruning and no ONNX.

The deciding half is re-exported here and needs no framework, so that a verdict can be recomputed
wherever the counts are. The measuring half is ``gates.measure`` and ``gates.shifts``.
"""

from gates.evidence import Evidence, PairedCounts, paired
from gates.potential import Potential, prune_potential
from gates.statistics import drop_interval, images_needed, p_drop_at_least, p_drop_at_most
from gates.verdict import (
    Accepted,
    Cell,
    Outcome,
    Rejected,
    Step,
    Undecided,
    Verdict,
    VerdictError,
    explain,
    judge,
    judge_step,
)

__all__ = [
    "Accepted",
    "Cell",
    "Evidence",
    "Outcome",
    "PairedCounts",
    "Potential",
    "Rejected",
    "Step",
    "Undecided",
    "Verdict",
    "VerdictError",
    "drop_interval",
    "explain",
    "images_needed",
    "judge",
    "judge_step",
    "p_drop_at_least",
    "p_drop_at_most",
    "paired",
    "prune_potential",
]
