"""Several sequences share alpha, and of what they accept the fastest is released."""

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gates import (
    Accepted,
    Evidence,
    Outcome,
    PairedCounts,
    Rejected,
    Speed,
    Undecided,
    VerdictError,
    judge,
    judge_chains,
    judge_speed,
    needs_speed,
)
from gates.chains import judge_each
from policies import MinSpeedup, Policy, ShiftRule

CLEAN = ShiftRule(name="clean", tolerance=0.02, reason="because")
CHAINS = ("fp32", "int8")
N = 2000
SAFE, UNSAFE, UNCLEAR = -0.005, 0.08, 0.015

Ladders = Mapping[str, Sequence[float]]
"""Observed drops at rising ratios, by sequence."""


def policy(**fields: object) -> Policy:
    given = {
        "apiVersion": "compress/v1", "name": "test", "summary": "For tests.", "alpha": 0.05,
        "min_images": 100, "shifts": (CLEAN,),
    }  # fmt: skip
    return Policy.model_validate(given | fields)


def counted(drop: float, *, discordance: float = 0.1) -> PairedCounts:
    only_dense = round(N * (discordance + drop) / 2)
    only_pruned = round(N * (discordance - drop) / 2)
    return PairedCounts(
        both_right=N - only_dense - only_pruned,
        only_dense=only_dense,
        only_pruned=only_pruned,
        both_wrong=0,
    )


def item(chain: str | None, place: int, counts: PairedCounts, *, position: int) -> Evidence:
    return Evidence(
        candidate=f"{chain}-{place}",
        dense="dense",
        name=f"ratio 0.{place} {chain}",
        position=position,
        ratio=place / 10,
        shift="clean",
        images="images",
        look=1,
        counts=counts,
        chain=chain,
    )


def evidence(ladders: Ladders) -> list[Evidence]:
    rungs = max(len(drops) for drops in ladders.values())
    return [
        item(chain, place, counted(drop), position=rungs * number + place)
        for number, (chain, drops) in enumerate(ladders.items())
        for place, drop in enumerate(drops, start=1)
    ]


def speed(candidate: str, times: float, *, half: float = 0.02, noise: float = 0.01) -> Speed:
    return Speed(
        candidate=candidate,
        batch=1,
        times=times,
        interval=(times * (1 - half), times * (1 + half)),
        noise=(1 - noise, 1 + noise),
    )


@pytest.mark.parametrize("fastest", CHAINS)
def test_the_fastest_of_the_last_accepted_is_released(fastest: str) -> None:
    seen = evidence({"fp32": [SAFE, SAFE, UNSAFE], "int8": [SAFE]})
    last = {"fp32": "fp32-2", "int8": "int8-1"}
    speeds = [speed(last[c], 3.0 if c == fastest else 2.0) for c in CHAINS]
    found = judge_chains(policy(), seen, chains=CHAINS, speeds=speeds)
    assert isinstance(found, Accepted)
    assert found.candidate == last[fastest]
    assert [step.chain for step in found.steps] == ["fp32", "fp32", "fp32", "int8"]


def test_a_sequence_goes_on_where_another_stops() -> None:
    seen = evidence({"fp32": [UNSAFE], "int8": [SAFE, SAFE, UNCLEAR]})
    found = judge_chains(policy(), seen, chains=CHAINS)
    assert isinstance(found, Accepted)
    assert found.candidate == "int8-2"


def test_nobody_chooses_without_a_measurement() -> None:
    seen = evidence({"fp32": [SAFE], "int8": [SAFE]})
    assert needs_speed(policy(), judge_each(policy(), seen, chains=CHAINS))
    with pytest.raises(VerdictError, match=r"nobody measured how fast ratio 0\.1 int8 is"):
        judge_chains(policy(), seen, chains=CHAINS, speeds=[speed("fp32-1", 2.0)])


def test_each_sequence_has_its_share_of_alpha_whether_or_not_it_was_measured() -> None:
    seen = evidence({"fp32": [SAFE]})
    (verdict,) = judge_each(policy(), seen, chains=CHAINS).values()
    assert verdict.steps[0].cells[0].alpha == 0.025
    alone = judge(policy(), [item(None, 1, counted(SAFE), position=1)])
    assert alone.steps[0].cells[0].alpha == 0.05


def test_one_sequence_is_judged_as_ever() -> None:
    seen = [
        item(None, place, counted(drop), position=place) for place, drop in ((1, SAFE), (2, UNSAFE))
    ]
    assert judge_chains(policy(), seen) == judge(policy(), seen)


@pytest.mark.parametrize(
    "fp32, int8, kind",
    [(UNSAFE, UNSAFE, Rejected), (UNSAFE, UNCLEAR, Undecided), (UNCLEAR, UNCLEAR, Undecided)],
)
def test_nothing_is_rejected_while_a_sequence_is_undecided(
    fp32: float, int8: float, kind: type
) -> None:
    found = judge_chains(policy(), evidence({"fp32": [fp32], "int8": [int8]}), chains=CHAINS)
    assert isinstance(found, kind)
    assert not isinstance(found, Accepted)
    assert len(found.reasons) == 2


def test_evidence_of_a_sequence_that_was_not_planned_is_refused() -> None:
    with pytest.raises(VerdictError, match="the sequence fp16, and planned are fp32, int8"):
        judge_chains(policy(), evidence({"fp16": [SAFE]}), chains=CHAINS)


@pytest.mark.statistical
def test_an_unsafe_model_is_accepted_in_any_sequence_with_a_chance_of_at_most_alpha() -> None:
    """At a drop of exactly the tolerance, in two sequences that have nothing to do with each other.

    Without sharing, the chance would be 1 - 0.95^2, nearly 10 %.
    """
    alpha, trials, rng = 0.05, 400, np.random.default_rng(1)
    rules, accepted = policy(alpha=alpha), 0
    for _ in range(trials):
        drawn = (rng.multinomial(N, [0.06, 0.04, 0.9]) for _ in CHAINS)
        seen = [
            item(
                chain, 1,
                PairedCounts(
                    both_right=int(same), only_dense=int(dense), only_pruned=int(pruned),
                    both_wrong=0,
                ),
                position=number,
            )
            for number, (chain, (dense, pruned, same)) in enumerate(zip(CHAINS, drawn, strict=True))
        ]  # fmt: skip
        verdicts = judge_each(rules, seen, chains=CHAINS).values()
        accepted += any(isinstance(verdict, Accepted) for verdict in verdicts)
    assert 0 < accepted / trials <= alpha + 3 * (alpha * (1 - alpha) / trials) ** 0.5


@pytest.mark.parametrize(
    "times, half, noise, outcome",
    [
        (1.5, 0.02, 0.01, Outcome.ACCEPTED),
        (1.0, 0.02, 0.01, Outcome.VIOLATED),
        (1.31, 0.03, 0.0, Outcome.UNDECIDED),  # the interval has 1.3 in it
        (1.35, 0.02, 0.05, Outcome.UNDECIDED),  # it has not, and the machine is that noisy
        (1.25, 0.02, 0.05, Outcome.UNDECIDED),
    ],
)
def test_a_speed_up_is_judged_by_its_interval_and_the_noise(
    times: float, half: float, noise: float, outcome: Outcome
) -> None:
    found = speed("a", times, half=half, noise=noise)
    assert judge_speed(MinSpeedup(times=1.3), found) is outcome


def test_more_noise_decides_no_more() -> None:
    rule = MinSpeedup(times=1.3)
    for times, (quiet, noisy) in itertools.product(
        (1.0, 1.2, 1.3, 1.4, 2.0), ((0.0, 0.02), (0.02, 0.1))
    ):
        before = judge_speed(rule, speed("a", times, noise=quiet))
        after = judge_speed(rule, speed("a", times, noise=noisy))
        assert after in {before, Outcome.UNDECIDED}


@pytest.mark.parametrize(
    "times, kind, told",
    [
        (2.0, Accepted, None),
        (1.0, Rejected, r"keeps every tolerance, but .* less than the 1\.3 times"),
        (1.31, Undecided, r"keeps every tolerance, but .* not distinguishable"),
    ],
)
def test_a_model_that_keeps_every_tolerance_is_released_if_it_is_fast_enough(
    times: float, kind: type, told: str | None
) -> None:
    rules = policy(min_speedup={"times": 1.3, "batch": 1})
    seen = evidence({"int8": [SAFE]})
    found = judge_chains(rules, seen, chains=("int8",), speeds=[speed("int8-1", times)])
    assert isinstance(found, kind)
    if told is not None:
        assert not isinstance(found, Accepted)
        (reason,) = found.reasons
        assert re.search(told, reason)


def test_speed_does_not_save_a_model_that_breaks_a_tolerance() -> None:
    rules = policy(min_speedup={"times": 1.3, "batch": 1})
    speeds = [speed("int8-1", 9.0)]
    found = judge_chains(rules, evidence({"int8": [UNSAFE]}), chains=("int8",), speeds=speeds)
    assert isinstance(found, Rejected)
    assert "times as fast" not in found.reasons[0]


def test_a_speed_that_was_measured_at_another_batch_is_none() -> None:
    rules = policy(min_speedup={"times": 1.3, "batch": 8})
    with pytest.raises(VerdictError, match="at batch 8"):
        judge_chains(
            rules, evidence({"int8": [SAFE]}), chains=("int8",), speeds=[speed("int8-1", 2.0)]
        )


def test_times_are_positive() -> None:
    with pytest.raises(ValueError, match="ratios of times are positive"):
        speed("a", -1.0)
