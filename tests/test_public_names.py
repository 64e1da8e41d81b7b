"""What others may import. A name that comes or goes is a change of the interface."""

import gates
import policies


def test_names_of_gates() -> None:
    assert gates.__all__ == [
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


def test_names_of_policies() -> None:
    assert policies.__all__ == [
        "Component",
        "Difference",
        "Effect",
        "FolderRule",
        "MixtureRule",
        "Policy",
        "PolicyError",
        "RatioBounds",
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
