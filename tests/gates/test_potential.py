"""The certified potential ends at the first failure; the estimate looks at every ratio."""

from dataclasses import replace

import pytest

from gates import Cell, Outcome, PairedCounts, Potential, Step, prune_potential

OUTCOMES = {"A": Outcome.ACCEPTED, "U": Outcome.UNDECIDED, "V": Outcome.VIOLATED}


def step(ratio: float, outcome: str, drop: float, *, shift: str = "fog-3") -> Step:
    lost = round(100 * drop)
    cell = Cell(
        shift=shift,
        statistic="drop",
        tolerance=0.03,
        enforced=True,
        waived=False,
        min_images=100,
        look=1,
        counts=PairedCounts(both_right=90 - lost, only_dense=lost, only_pruned=0, both_wrong=10),
        alpha=0.05,
        p_safe=0.5,
        p_violated=0.5,
        interval=(-1.0, 1.0),
        outcome=OUTCOMES[outcome],
    )
    return Step(
        name=f"ratio {ratio:.2f}",
        position=round(10 * ratio),
        ratio=ratio,
        candidate="c",
        cells=(cell,),
        not_measured=(),
        outcome=cell.outcome,
    )


@pytest.mark.parametrize(
    ("outcomes", "drops", "certified", "estimate"),
    [
        ("AAA", [0.0, 0.0, 0.01], 0.3, 0.3),
        ("AAU", [0.0, 0.0, 0.03], 0.2, 0.3),
        ("AUA", [0.0, 0.04, 0.0], 0.1, 0.3),
        ("AVV", [0.0, 0.1, 0.2], 0.1, 0.1),
        ("UUU", [0.03, 0.03, 0.04], None, 0.2),
        ("VVV", [0.1, 0.1, 0.2], None, None),
        ("", [], None, None),
    ],
)
def test_potentials(
    outcomes: str, drops: list[float], certified: float | None, estimate: float | None
) -> None:
    steps = [
        step((i + 1) / 10, outcome, drop)
        for i, (outcome, drop) in enumerate(zip(outcomes, drops, strict=True))
    ]
    expected = Potential(shift="fog-3", certified=certified, estimate=estimate)
    assert prune_potential(steps, "fog-3") == expected
    assert prune_potential(steps[::-1], "fog-3") == expected


def test_a_shift_that_was_not_judged_has_no_potential() -> None:
    with pytest.raises(
        ValueError, match=r"'snow-1' was not judged for ratio 0\.10; judged were fog-3"
    ):
        prune_potential([step(0.1, "A", 0.0)], "snow-1")


def test_a_ratio_that_was_not_measured_ends_what_is_certified() -> None:
    unmeasured = replace(step(0.2, "V", 0.1, shift="snow-1"), not_measured=("fog-3",))
    steps = [step(0.1, "A", 0.0), unmeasured, step(0.3, "A", 0.0)]
    assert prune_potential(steps, "fog-3") == Potential(shift="fog-3", certified=0.1, estimate=0.3)


def test_what_nobody_here_pruned_has_no_potential() -> None:
    brought = replace(step(0.1, "A", 0.0), ratio=None, name="net.onnx")
    assert prune_potential([brought], "fog-3") == Potential(
        shift="fog-3", certified=None, estimate=None
    )
