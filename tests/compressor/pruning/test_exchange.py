"""Widths corrected on the network as a whole."""

import itertools
import math
from collections.abc import Mapping

import pytest
import torch

from compressor.pruning.allocation import ALLOCATIONS, SHARE_TOLERANCE, allocate
from compressor.pruning.blocks import Choices, Widths, units_left
from compressor.pruning.candidate import Method, propose
from compressor.pruning.exchange import Gone, Measure, exchanged
from compressor.pruning.importance.measured import mean_loss
from compressor.pruning.surgery import cut
from tests.compressor.pruning.linears import ANY_WIDTH, choices_of, hidden_groups
from tests.compressor.pruning.tiny_nets import found_in

RATIO = 0.5


def given_and_chosen(allocation: str = "uniform") -> tuple[Choices, Gone]:
    """Three hidden layers, of which the last one's units are worth the most."""
    scores = {"a": (0.4, 0.5, 0.6) * 5, "b": (1.0,) * 15, "c": (1.4, 1.5, 1.6) * 5}
    given = choices_of(12, 15, 15, 15, 12, scores=scores)
    chosen = allocate(
        given, ratio=RATIO, of="params", alignment=ANY_WIDTH, allocation=ALLOCATIONS[allocation]
    )
    return given, chosen


def price_of(given: Choices, gone: Gone) -> float:
    return Widths(given, (b for name in gone for b in given.blocks[name][: gone[name]])).price


def choices_at_the_ratio(given: Choices) -> list[Gone]:
    every = itertools.product(*(range(len(blocks) + 1) for blocks in given.blocks.values()))
    return [
        gone
        for counts in every
        if abs(price_of(given, gone := dict(zip(given.blocks, counts, strict=True)))
               - (1 - RATIO) * given.dense_price) <= SHARE_TOLERANCE * given.dense_price
    ]  # fmt: skip


def narrow_together(gone: Gone) -> float:
    """A loss that no sum over the groups has: two narrow neighbours lose much more than one."""
    return 1.0 + 0.1 * gone["a"] * gone["b"] + 0.01 * gone["c"]


def counted(measure: Measure) -> tuple[Measure, list[Gone]]:
    asked: list[Gone] = []

    def measured(gone: Gone) -> float:
        asked.append(dict(gone))
        return measure(gone)

    return measured, asked


def test_a_loss_of_layers_together_is_found_that_no_sum_of_them_shows() -> None:
    given, chosen = given_and_chosen()
    found = exchanged(given, chosen, ratio=RATIO, measure=narrow_together, most=10_000)
    best = min(map(narrow_together, choices_at_the_ratio(given)))
    assert narrow_together(chosen) > 2.0 * best
    assert narrow_together(found) == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_what_is_measured_keeps_to_the_ratio_and_to_the_order_inside_each_group(
    allocation: str,
) -> None:
    given, chosen = given_and_chosen(allocation)
    measure, asked = counted(narrow_together)
    exchanged(given, chosen, ratio=RATIO, measure=measure, most=60)
    assert len(asked) > 10
    for gone in asked:
        assert (
            abs(price_of(given, gone) / given.dense_price - (1 - RATIO)) <= SHARE_TOLERANCE + 1e-9
        )
        assert all(0 <= gone[name] <= len(blocks) for name, blocks in given.blocks.items())


@pytest.mark.parametrize("most", [2, 7, 15])
def test_no_network_is_measured_twice_nor_more_than_allowed(most: int) -> None:
    given, chosen = given_and_chosen()
    measure, asked = counted(narrow_together)
    exchanged(given, chosen, ratio=RATIO, measure=measure, most=most)
    assert len(asked) == most
    assert len({tuple(sorted(gone.items())) for gone in asked}) == most


@pytest.mark.parametrize("most", [0, 1])
def test_nothing_is_measured_where_nothing_could_be_compared(most: int) -> None:
    given, chosen = given_and_chosen()
    measure, asked = counted(narrow_together)
    assert exchanged(given, chosen, ratio=RATIO, measure=measure, most=most) == chosen
    assert not asked


@pytest.mark.parametrize("loss", [0.0, 1.0])
def test_widths_that_lose_the_same_stay(loss: float) -> None:
    given, chosen = given_and_chosen()
    assert exchanged(given, chosen, ratio=RATIO, measure=lambda _: loss, most=500) == chosen


def test_a_loss_that_is_no_number_is_never_taken_for_a_smaller_one() -> None:
    given, chosen = given_and_chosen()

    def measure(gone: Gone) -> float:
        return 1.0 if gone == chosen else math.nan

    assert exchanged(given, chosen, ratio=RATIO, measure=measure, most=500) == chosen


def test_those_are_measured_first_that_the_scores_expect_most_of() -> None:
    given, chosen = given_and_chosen()  # uniform: c, which is worth the most, gave as much as a

    def summed(gone: Mapping[str, int]) -> float:
        return sum(b.loss for name in gone for b in given.blocks[name][: gone[name]])

    measure, asked = counted(summed)
    exchanged(given, chosen, ratio=RATIO, measure=measure, most=2)
    assert summed(asked[1]) < summed(asked[0])


@pytest.mark.parametrize("name", ["residual", "attention"])
def test_a_cut_loses_no_more_with_exchanges_than_without(name: str) -> None:
    dense = found_in(name)
    generator = torch.Generator().manual_seed(5)
    batch = (
        torch.randn(64, 3, 16, 16, generator=generator),
        torch.randint(4, (64,), generator=generator),
    )
    found = {}
    for exchanges in (0, 40):
        method = Method(
            importance="random", of="macs", align=1, allocation="uniform", compensate=False,
            exchanges=exchanges,
        )  # fmt: skip
        made = propose(dense, None, ratio=0.5, method=method, batches=[batch], seed=2)
        assert abs(made.cost.macs / dense.cost.macs - 0.5) <= SHARE_TOLERANCE + 1e-9
        found[exchanges] = mean_loss(cut(dense.model, dense.groups, made.plan.kept), [batch])
    assert found[40] < found[0]


def test_units_that_are_left_are_those_of_blocks_that_stay() -> None:
    given = choices_of(2, 4, 4, 2, scores={"a": (4.0, 1.0, 3.0, 2.0), "b": (1.0, 2.0, 3.0, 4.0)})

    left = units_left(hidden_groups(2, 4, 4, 2), given, {"a": 2, "b": 0})
    assert left == {"a": (0, 2), "b": (0, 1, 2, 3)}
