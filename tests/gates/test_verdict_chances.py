"""An unsafe model is accepted, and a safe one rejected, as rarely as promised."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from gates import Accepted, Evidence, PairedCounts, Rejected, judge, statistics
from policies import Policy, ShiftRule

TRIALS = 2000
SMALL_N = 120
TRIAL_POLICY = Policy(
    apiVersion="compress/v1",
    name="test",
    summary="For tests.",
    alpha=0.05,
    min_images=100,
    shifts=tuple(
        ShiftRule(name=name, severity=1, tolerance=0.1, reason="because")
        for name in ("noise", "blur", "fog")
    ),
)
LEVEL = TRIAL_POLICY.alpha + 3 * math.sqrt(TRIAL_POLICY.alpha * (1 - TRIAL_POLICY.alpha) / TRIALS)


@pytest.fixture
def _quick_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("p_drop_at_least", "p_drop_at_most"):
        monkeypatch.setattr(statistics, name, cache(getattr(statistics, name)))
    monkeypatch.setattr(statistics, "drop_interval", lambda counts, *, confidence: (-1.0, 1.0))


def trials(true_drops: Sequence[dict[str, float]], *, seed: int) -> list[list[Evidence]]:
    """Samples of SMALL_N images per cell, given the true drop per ratio and shift."""
    generator = np.random.default_rng(seed)
    discordance = 0.25
    return [
        [
            Evidence(
                candidate=f"candidate-{i}",
                dense="dense",
                name=f"ratio {(i + 1) / 10:.2f}",
                position=i,
                ratio=(i + 1) / 10,
                shift=shift,
                images="images",
                look=1,
                counts=PairedCounts(
                    both_right=int(right), only_dense=int(b), only_pruned=int(c), both_wrong=0
                ),
            )
            for i, drops in enumerate(true_drops)
            for shift, drop in drops.items()
            for b, c, right in [
                generator.multinomial(
                    SMALL_N,
                    [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance],
                )
            ]
        ]
        for _ in range(TRIALS)
    ]


def drops(fog: float, others: float = -0.2) -> dict[str, float]:
    return {"noise-1": others, "blur-1": others, "fog-1": fog}


@pytest.mark.statistical
@pytest.mark.usefixtures("_quick_statistics")
@pytest.mark.parametrize(
    ("true_drops", "first_unsafe"),
    [
        pytest.param([drops(0.1)] * 4, 0.1, id="plateau-at-the-tolerance"),
        pytest.param([drops(-0.2), drops(0.1), drops(0.1)], 0.2, id="safe-then-at-it"),
        pytest.param([drops(-0.2), drops(0.1), drops(-0.2)], 0.2, id="not-monotone"),
    ],
)
def test_an_unsafe_ratio_is_accepted_in_at_most_alpha_of_trials(
    true_drops: list[dict[str, float]], first_unsafe: float
) -> None:
    decisions = [judge(TRIAL_POLICY, items) for items in trials(true_drops, seed=3)]
    unsafe = [isinstance(d, Accepted) and (d.ratio or 0) >= first_unsafe for d in decisions]
    assert 0.01 < np.mean(unsafe) <= LEVEL


@pytest.mark.statistical
@pytest.mark.usefixtures("_quick_statistics")
def test_a_safe_model_is_rejected_in_at_most_alpha_of_trials() -> None:
    decisions = [judge(TRIAL_POLICY, e) for e in trials([drops(0.1, others=0.1)], seed=4)]
    assert 0.01 < np.mean([isinstance(d, Rejected) for d in decisions]) <= LEVEL
