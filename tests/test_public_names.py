"""What others may import. A name that comes or goes is a change of the interface."""

import gates
import policies


def test_names_of_gates() -> None:
    assert gates.__all__ == [
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


def test_names_of_policies() -> None:
    assert policies.__all__ == [
        "Policy",
        "PolicyError",
        "RatioBounds",
        "ShiftRule",
        "built_in",
        "load_policy",
        "schema_json",
        "source_of",
    ]
