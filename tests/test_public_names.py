"""What others may import. A name that comes or goes is a change of the interface."""

import gates
import policies
from compressor import api


def test_names_of_gates() -> None:
    assert gates.__all__ == [
        "ANSWER",
        "UNLABELLED_ANSWER",
        "Accepted",
        "Answers",
        "Calibration",
        "Cell",
        "ClassDrop",
        "Counts",
        "DrawCounts",
        "Evidence",
        "FlipCounts",
        "Inference",
        "Outcome",
        "PairedCounts",
        "Potential",
        "Rejected",
        "ScoreCounts",
        "Step",
        "Undecided",
        "Verdict",
        "VerdictError",
        "calibration",
        "counts_of",
        "describe",
        "drop_interval",
        "explain",
        "flips",
        "grown",
        "images_needed",
        "in_group",
        "infer",
        "judge",
        "judge_cell",
        "judge_step",
        "look_sizes",
        "needed",
        "p_drop_at_least",
        "p_drop_at_most",
        "paired",
        "paired_draws",
        "prune_potential",
        "worst_class",
    ]


def test_names_of_policies() -> None:
    assert policies.__all__ == [
        "STATISTICS",
        "Component",
        "Difference",
        "Effect",
        "FolderRule",
        "Looks",
        "Method",
        "Metric",
        "MixtureRule",
        "Policy",
        "PolicyError",
        "RatioBounds",
        "Reuse",
        "Rule",
        "ShiftRule",
        "Waiver",
        "built_in",
        "compare",
        "load_policy",
        "load_waivers",
        "resolved_yaml",
        "schema_json",
        "source_of",
        "waived",
    ]


def test_names_of_the_python_interface() -> None:
    assert api.__all__ == [
        "ALLOCATIONS",
        "IMPORTANCES",
        "Cost",
        "LeftAlone",
        "Pruned",
        "SurgeryError",
        "TraceError",
        "UnreachableRatioError",
        "prune",
        "reestimate",
    ]
