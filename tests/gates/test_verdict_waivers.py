"""A waived shift is tested and shown as ever, stands in nobody's way, and frees no other shift."""

import datetime as dt

import pytest

from gates import (
    Accepted,
    Cell,
    Evidence,
    Outcome,
    PairedCounts,
    Rejected,
    Undecided,
    explain,
    judge,
    judge_step,
)
from policies import Policy, ShiftRule, Waiver

CLEAN = ShiftRule(name="clean", tolerance=0.03, reason="because")
FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="because")

N = 2000
SAFE, UNCLEAR, UNSAFE = -0.005, 0.02, 0.08
DISCORDANCE = 0.1


def policy(*waived: str) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=0.05,
        min_images=100,
        shifts=(CLEAN, FOG),
        waivers=tuple(
            Waiver(shift=shift, expires=dt.date(2030, 1, 1), reason="because", approver="Ada")
            for shift in waived
        ),
    )


def evidence(*, clean: float, fog: float, ratio: float = 0.1, n: int = N) -> list[Evidence]:
    return [
        Evidence(
            candidate=f"candidate-{ratio}",
            dense="dense",
            name=f"ratio {ratio:.2f}",
            position=0,
            ratio=ratio,
            shift=shift,
            images="images",
            look=1,
            counts=counts(
                round(n * (DISCORDANCE + drop) / 2), round(n * (DISCORDANCE - drop) / 2), n=n
            ),
        )
        for shift, drop in (("clean", clean), ("fog-3", fog))
    ]


def counts(only_dense: int, only_pruned: int, *, n: int) -> PairedCounts:
    return PairedCounts(
        both_right=n - only_dense - only_pruned,
        only_dense=only_dense,
        only_pruned=only_pruned,
        both_wrong=0,
    )


def seen(cell: Cell) -> tuple[object, ...]:
    return cell.counts, cell.p_safe, cell.p_violated, cell.interval, cell.outcome


@pytest.mark.parametrize("fog", [SAFE, UNCLEAR, UNSAFE])
def test_a_waived_cell_is_evaluated_and_does_not_stand_in_the_way(fog: float) -> None:
    items = evidence(clean=SAFE, fog=fog)
    step, unwaived = judge_step(policy("fog-3"), items), judge_step(policy(), items)
    assert [seen(cell) for cell in step.cells] == [seen(cell) for cell in unwaived.cells]
    assert [(cell.enforced, cell.waived) for cell in step.cells] == [(True, False), (True, True)]
    assert step.outcome is Outcome.ACCEPTED
    assert step.binding.shift == "clean"
    assert isinstance(judge(policy("fog-3"), items), Accepted)


@pytest.mark.parametrize(
    ("clean", "verdict"), [(SAFE, Accepted), (UNCLEAR, Undecided), (UNSAFE, Rejected)]
)
def test_the_shifts_without_a_waiver_decide(clean: float, verdict: type) -> None:
    items = evidence(clean=clean, fog=UNSAFE)
    found = judge(policy("fog-3"), items)
    assert isinstance(found, verdict)
    reasons = explain(policy("fog-3"), judge_step(policy("fog-3"), items))
    assert not any("fog-3" in reason for reason in reasons)


def test_images_that_a_waived_shift_would_need_are_not_asked_for() -> None:
    found = judge(policy("fog-3"), evidence(clean=UNCLEAR, fog=0.028))
    alone = judge(policy("fog-3"), evidence(clean=UNCLEAR, fog=SAFE))
    without = judge(policy(), evidence(clean=UNCLEAR, fog=0.028))
    assert isinstance(found, Undecided) and isinstance(alone, Undecided)
    assert isinstance(without, Undecided)
    assert found.images_needed == alone.images_needed != without.images_needed


@pytest.mark.parametrize("waived", ["clean", "fog-3"])
@pytest.mark.parametrize("drops", [(SAFE, UNCLEAR), (UNSAFE, SAFE), (UNCLEAR, UNSAFE)])
def test_a_waiver_never_makes_a_verdict_worse(drops: tuple[float, float], waived: str) -> None:
    items = evidence(clean=drops[0], fog=drops[1])
    if isinstance(judge(policy(), items), Accepted):
        assert isinstance(judge(policy(waived), items), Accepted)
