import itertools

import numpy as np
import pytest

from compressor.pruning.blocks import Choices, Widths
from compressor.pruning.knapsack import knapsack
from compressor.pruning.layer_times import LayerTimes
from tests.compressor.pruning.linears import choices_of


def priced_apart(*, seed: int) -> Choices:
    """Three groups whose times add up: each layer's time hangs on the width it makes alone."""
    generator = np.random.default_rng(seed)
    table = {
        str(at): LayerTimes(
            dims=(0,),
            widths=(tuple(range(1, 6)),),
            us=tuple((generator.integers(1, 9) * np.arange(1, 6)).astype(float).tolist()),
        )
        for at in range(3)
    }
    scores = {name: tuple(generator.random(5).tolist()) for name in "abc"}
    return choices_of(2, 5, 5, 5, 2, scores=scores, of="latency", latencies=table)


def least_loss(given: Choices, *, price: float) -> float:
    """Of all widths that cost no more: the least importance that is gone."""
    losses = []
    for gone in itertools.product(*(range(len(blocks) + 1) for blocks in given.blocks.values())):
        taken = [
            block
            for blocks, count in zip(given.blocks.values(), gone, strict=True)
            for block in blocks[:count]
        ]
        if Widths(given, taken).price <= price + 1e-9:
            losses.append(sum(block.loss for block in taken))
    return min(losses)


@pytest.mark.parametrize("seed", range(12))
def test_each_point_of_the_path_loses_as_little_as_the_best_of_all_choices(seed: int) -> None:
    given = priced_apart(seed=seed)
    path = knapsack(given)
    for end in range(len(path) + 1):
        price = Widths(given, path[:end]).price
        lost = sum(block.loss for block in path[:end])
        assert lost == pytest.approx(least_loss(given, price=price))


def test_equal_importance_goes_where_it_saves_most() -> None:
    # 2 -> a -> b -> 8: a unit of a costs 2 + 4, one of b costs 4 + 8.
    scores = {"a": (1.0,) * 4, "b": (1.0,) * 4}
    assert knapsack(choices_of(2, 4, 4, 8, scores=scores))[0].group == "b"


def test_what_saves_little_goes_first_if_it_is_worth_still_less() -> None:
    scores = {"a": (0.01, 1.0, 1.0, 2.0), "b": (1.0,) * 4}
    assert knapsack(choices_of(2, 4, 4, 8, scores=scores))[0].group == "a"


def test_prices_are_those_of_the_moment() -> None:
    # Of 2 -> a -> b -> 2, a unit saves 2 plus the width of the other group: as a narrows, b's
    # units save less and a's as much as before.
    scores = {"a": (1.0,) * 9, "b": (1.0,) * 9}
    path = knapsack(choices_of(2, 9, 9, 2, scores=scores))
    assert "".join(block.group for block in path) == "a" * 8 + "b" * 8


def test_a_width_that_saves_nothing_by_itself_is_passed_through_at_once() -> None:
    # b's times fall only at 4 channels, by as much as a's do in four steps.
    table = {
        "0": LayerTimes(dims=(0,), widths=(tuple(range(1, 9)),), us=tuple(range(10, 90, 10))),
        "2": LayerTimes(dims=(1,), widths=((1, 4, 5, 8),), us=(50.0, 50.0, 90.0, 90.0)),
    }
    scores = {"a": (1.0,) * 8, "b": (0.1,) * 4 + (1.9,) * 4}
    given = choices_of(4, 8, 8, 4, scores=scores, of="latency", latencies=table)
    assert [block.group for block in knapsack(given)[:4]] == ["b"] * 4


def test_a_path_has_every_block_once_and_each_groups_in_order() -> None:
    generator = np.random.default_rng(0)
    scores = {name: tuple(generator.random(12).tolist()) for name in "abc"}
    given = choices_of(3, 12, 12, 12, 5, scores=scores)
    path = knapsack(given)
    for name, blocks in given.blocks.items():
        assert tuple(block for block in path if block.group == name) == blocks
