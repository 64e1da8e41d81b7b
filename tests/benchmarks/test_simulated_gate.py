"""The simulation of the gate draws what it says and decides as the gate does."""

from typing import Final, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmarks.gate_fails_safely import DISCORDANCE, RULES, SHIFTS, TRUTHS, simulate
from benchmarks.simulated_gate import (
    ALPHA,
    BLOCK,
    IMAGES,
    METHODS,
    REHEARSAL,
    TOLERANCE,
    Cells,
    Draws,
    Look,
    Method,
    climb,
    decided,
    drawn,
    passes,
)
from compressor.gate import REHEARSAL_IMAGES
from gates.cell import Outcome, judge_cell
from gates.counts import PairedCounts
from gates.looks import look_sizes
from policies import Method as PolicyMethod
from policies import Policy, ShiftRule

DROPS: Final = np.array([[0.01, 0.0], [0.01, -0.004]])
PSI: Final = np.array([0.03, 0.05])
RUNS: Final = 1_500

# Fixed seeds: a right simulation fails none of these, a wrong one by far.
UNLIKELY: Final = 1e-4


@pytest.fixture(scope="module", params=[0.0, 0.9])
def draws(request: pytest.FixtureRequest) -> Draws:
    return drawn(DROPS, PSI, runs=RUNS, correlation=request.param, seed=[7])


def in_blocks(cumulated: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.diff(cumulated, axis=-1, prepend=0)


@pytest.mark.statistical
def test_every_block_is_trinomial(draws: Draws) -> None:
    for k, s in np.ndindex(DROPS.shape):
        chances = [(PSI[k] + DROPS[k, s]) / 2, (PSI[k] - DROPS[k, s]) / 2]
        b, c = (in_blocks(x)[:, k, s].ravel() for x in (draws.only_dense, draws.only_pruned))
        size = 25
        seen = np.bincount(np.minimum(b, size - 1) * size + np.minimum(c, size - 1), minlength=625)
        grid = np.stack(np.divmod(np.arange(size**2), size), axis=1)
        all_three = np.column_stack([grid, BLOCK - grid.sum(axis=1)])
        law = stats.multinomial.pmf(all_three, BLOCK, [*chances, 1 - sum(chances)])
        common = law * len(b) >= 5
        law, seen = (np.append(x[common], x[~common].sum()) for x in (law, seen))
        law[-1] = 1 - law[:-1].sum()
        assert stats.chisquare(seen, law * len(b)).pvalue > UNLIKELY


@pytest.mark.statistical
@pytest.mark.parametrize("images", [2_500, 5_000, 7_500, IMAGES])
def test_what_a_look_sees_is_a_sample_of_so_many_images(draws: Draws, images: int) -> None:
    rng = np.random.default_rng(images)
    for k, s in np.ndindex(DROPS.shape):
        for counts, sign in ((draws.only_dense, 1), (draws.only_pruned, -1)):
            seen, share = counts[:, k, s, images // BLOCK - 1], (PSI[k] + sign * DROPS[k, s]) / 2
            # Anywhere on the step of the distribution function that a number has.
            below = rng.uniform(size=RUNS) * stats.binom.pmf(seen, images, share)
            places = stats.binom.cdf(seen, images, share) - below
            assert stats.kstest(places, "uniform").pvalue > UNLIKELY


@pytest.mark.statistical
def test_only_neighbouring_ratios_know_of_each_other(draws: Draws) -> None:
    drop = in_blocks(draws.only_dense - draws.only_pruned).astype(np.float64)
    limit = stats.norm.isf(UNLIKELY) / np.sqrt(RUNS)
    ends, starts = (drop[..., part].sum(axis=-1) for part in (slice(20, None), slice(20)))
    assert abs(np.corrcoef(starts[:, 0, 0], ends[:, 0, 0])[0, 1]) < limit
    total = drop.sum(axis=-1)
    assert abs(np.corrcoef(total[:, 0, 0], total[:, 0, 1])[0, 1]) < limit


@pytest.mark.statistical
@pytest.mark.parametrize(("correlation", "least", "most"), [(0.0, -0.1, 0.1), (0.9, 0.8, 0.9)])
def test_neighbouring_ratios_are_as_like_as_was_asked(
    correlation: float, least: float, most: float
) -> None:
    found = drawn(DROPS, PSI, runs=RUNS, correlation=correlation, seed=[8])
    drop = found.all_dense - found.all_pruned
    assert least < np.corrcoef(drop[:, 0, 0], drop[:, 1, 0])[0, 1] < most


def test_one_seed_gives_the_same_draws_again() -> None:
    one, two, other = (
        drawn(DROPS, PSI, runs=3, correlation=0.9, seed=[seed]) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.only_dense, two.only_dense)
    assert np.array_equal(one.only_pruned, two.only_pruned)
    assert not np.array_equal(one.only_dense, other.only_dense)


def policy_with(method: str) -> Policy:
    rules = tuple(
        ShiftRule(name="fog", severity=3, id=f"fog-{k}", tolerance=TOLERANCE, reason="A test.")
        for k in range(SHIFTS)
    )
    return Policy.model_validate(
        {
            "apiVersion": "compress/v1", "name": "simulated", "summary": "What is simulated.",
            "alpha": ALPHA, "method": method, "min_images": 1, "shifts": rules,
        }
    )  # fmt: skip


def judged(
    policy: Policy, only_dense: NDArray[np.int32], only_pruned: NDArray[np.int32]
) -> tuple[Outcome, int]:
    """The gate's own word on one cell [blocks], and after how many images."""
    outcome, images = Outcome.UNDECIDED, 0
    for look, images in enumerate(look_sizes(policy, IMAGES, batch=BLOCK), start=1):
        b, c = (int(counts[images // BLOCK - 1]) for counts in (only_dense, only_pruned))
        counts = PairedCounts(both_right=images - b - c, only_dense=b, only_pruned=c, both_wrong=0)
        outcome = judge_cell(policy, policy.shifts[0], counts, look=look).outcome
        if outcome is not Outcome.UNDECIDED:
            break
    return outcome, images


@pytest.mark.parametrize("name", METHODS)
def test_a_cell_is_decided_as_the_gate_decides_it(name: str) -> None:
    # From drops that are soon shown to be harmless to such that are soon shown to be too large.
    drops = np.linspace(-0.005, 0.025, 12)[None]
    found = drawn(drops, np.array([0.05]), runs=5, correlation=0.0, seed=[9])
    cells = decided(METHODS[name], found.only_dense, found.only_pruned, shifts=SHIFTS)
    policy, outcomes = policy_with(name), set()
    for place in np.ndindex(cells.images.shape):
        outcome, images = judged(policy, found.only_dense[place], found.only_pruned[place])
        assert cells.accepted[place] == (outcome is Outcome.ACCEPTED)
        assert cells.violated[place] == (outcome is Outcome.VIOLATED)
        assert cells.images[place] == images
        outcomes.add(outcome)
    assert outcomes == set(Outcome)


def test_every_method_that_a_policy_can_have_is_simulated() -> None:
    (choices, *_) = get_args(PolicyMethod)
    assert tuple(METHODS) == get_args(choices)


def test_the_rehearsal_is_as_long_as_that_of_the_gate() -> None:
    assert REHEARSAL == REHEARSAL_IMAGES


def test_a_violation_ends_a_candidate_and_an_undecided_shift_does_not() -> None:
    violated = np.array([[False, True, False], [False, False, False], [True, True, False]])
    cells = Cells(
        accepted=np.array([[False] * 3] * 3),
        violated=violated,
        images=np.array([[100, 20, 3], [100, 20, 3], [100, 20, 3]]),
    )
    assert passes(cells, order=np.array([[0, 1, 2]] * 3)).tolist() == [120, 123, 100]
    assert passes(cells, order=np.array([[2, 1, 0]] * 3)).tolist() == [23, 123, 23]


EARLY_AND_LATE: Final = Method(
    looks=(Look(images=BLOCK, alpha=0.1), Look(images=IMAGES, alpha=0.1)),
    test=lambda b, c, look, shifts: (b == 0, b == 2),
)
LATE: Final = Method(looks=EARLY_AND_LATE.looks[1:], test=EARLY_AND_LATE.test)


def scripted(outcomes: list[list[list[int]]], hardness: list[float]) -> Draws:
    """For each run, ratio and shift 0 (accepted), 1 (undecided) or 2 (violated)."""
    at_first = np.array(outcomes, dtype=np.int32)
    only_dense = np.repeat(at_first[..., None], IMAGES // BLOCK, axis=-1)
    return Draws(
        only_dense=only_dense,
        only_pruned=np.zeros_like(only_dense),
        hardness=np.broadcast_to(np.array(hardness), at_first.shape),
    )


def test_the_ladder_ends_at_the_first_ratio_that_is_not_accepted() -> None:
    draws = scripted(
        [[[0], [0], [0]], [[0], [1], [0]], [[2], [0], [0]], [[0], [0], [2]]], hardness=[0.0]
    )
    climbed = climb(draws, EARLY_AND_LATE)
    assert climbed.accepted.tolist() == [3, 1, 0, 2]
    rehearsed = climbed.images - REHEARSAL * np.array([3, 2, 1, 3])
    assert rehearsed.tolist() == [3 * BLOCK, BLOCK + IMAGES, BLOCK, 3 * BLOCK]


@pytest.mark.parametrize(("hardness", "images"), [([0.0, 1.0], BLOCK), ([1.0, 0.0], 2 * BLOCK)])
def test_the_hardest_shift_comes_first(hardness: list[float], images: int) -> None:
    climbed = climb(scripted([[[0, 2]]], hardness), EARLY_AND_LATE)
    assert climbed.images.tolist() == [2 * REHEARSAL + images]


def test_a_method_with_one_look_looks_at_every_shift() -> None:
    climbed = climb(scripted([[[0, 2], [0, 0]], [[0, 0], [2, 2]]], hardness=[0.0, 1.0]), LATE)
    assert climbed.accepted.tolist() == [0, 1]
    assert climbed.images.tolist() == [2 * IMAGES, 4 * IMAGES]


@pytest.mark.statistical
@pytest.mark.parametrize("name", METHODS)
def test_at_a_drop_of_the_tolerance_a_method_accepts_no_more_often_than_alpha(name: str) -> None:
    runs = 4_000
    draws = drawn(np.array([[TOLERANCE]]), DISCORDANCE[:1], runs=runs, correlation=0.0, seed=[10])
    accepted = decided(
        METHODS[name], draws.only_dense, draws.only_pruned, shifts=SHIFTS
    ).accepted.mean()
    assert accepted <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / runs) ** 0.5


@pytest.mark.slow
def test_there_is_a_record_of_every_rule() -> None:
    for truth in TRUTHS:
        cells = simulate(truth, 0.9, runs=2, seed=0)
        assert [cell["rule"] for cell in cells] == list(RULES)
