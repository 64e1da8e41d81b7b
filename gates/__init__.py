"""May this model be deployed? Knows no pruning and no ONNX.

The deciding half is re-exported here and needs no framework, so that a verdict can be recomputed
wherever the counts are. The measuring half is ``gates.measure`` and ``gates.shifts``.
"""

from gates.coherence import VerdictError
from gates.evidence import (
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    PairedCounts,
    flips,
    paired,
    paired_draws,
)
from gates.inference import Inference, infer, needed
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
    describe,
    explain,
    judge,
    judge_step,
)

__all__ = [
    "Accepted",
    "Cell",
    "Counts",
    "DrawCounts",
    "Evidence",
    "FlipCounts",
    "Inference",
    "Outcome",
    "PairedCounts",
    "Potential",
    "Rejected",
    "Step",
    "Undecided",
    "Verdict",
    "VerdictError",
    "describe",
    "drop_interval",
    "explain",
    "flips",
    "images_needed",
    "infer",
    "judge",
    "judge_step",
    "needed",
    "p_drop_at_least",
    "p_drop_at_most",
    "paired",
    "paired_draws",
    "prune_potential",
]
