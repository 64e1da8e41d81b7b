import time
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.allocation import (
    ALLOCATIONS,
    SHARE_TOLERANCE,
    UnreachableRatioError,
    allocate,
)
from compressor.pruning.blocks import Alignment, choices, relative, units_left
from compressor.pruning.groups import ChannelGroup, compact
from compressor.pruning.price import price, shapes_of
from compressor.pruning.surgery import cut
from tests.compressor.pruning.linears import ANY_WIDTH, hidden_groups, linears, random_scores

# Three linear layers without bias: 2 -> a -> b -> 2, so 2a + ab + 2b parameters, 32 for a = b = 4.
SCORES: Final[Mapping[str, Sequence[float]]] = {
    "a": (1.0, 2.0, 3.0, 10.0), "b": (5.0, 5.0, 5.0, 5.0),
}  # fmt: skip


def kept(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    *,
    dense: nn.Module,
    dense_units: Mapping[str, int],
    ratio: float,
    alignment: Alignment,
    allocation: str,
) -> dict[str, tuple[int, ...]]:
    """Units that stay of linear layers whose parameters are counted."""
    rates = price(dense, groups, torch.zeros(0), of="params", latencies={})
    given = choices(
        model,
        groups,
        relative(scores),
        dense_units=dense_units,
        alignment=alignment,
        price=rates,
        dense_price=rates.of(shapes_of(dense)),
    )
    gone = allocate(
        given,
        ratio=ratio,
        of="params",
        alignment=alignment,
        allocation=ALLOCATIONS[allocation],
    )
    return units_left(groups, given, gone)


def kept_at(
    ratio: float,
    *,
    allocation: str,
    alignment: Alignment = ANY_WIDTH,
    scores: Mapping[str, Sequence[float]] = SCORES,
) -> dict[str, tuple[int, ...]]:
    model = linears(2, 4, 4, 2)
    return kept(
        model,
        hidden_groups(2, 4, 4, 2),
        {name: torch.tensor(values) for name, values in scores.items()},
        dense=model,
        dense_units={"a": 4, "b": 4},
        ratio=ratio,
        alignment=alignment,
        allocation=allocation,
    )


def test_nothing_goes_at_ratio_zero() -> None:
    assert kept_at(0.0, allocation="global") == {"a": (0, 1, 2, 3), "b": (0, 1, 2, 3)}


def test_uniform_takes_from_the_widest_group_in_turn() -> None:
    # 32 - a -> 26 - b -> 21 - a -> 16
    assert kept_at(0.5, allocation="uniform") == {"a": (2, 3), "b": (1, 2, 3)}


def test_global_takes_the_least_important_units_wherever_they_are() -> None:
    # Relative to the mean of 4: a's 0.25, 0.5 go before b's 1.0. 32 - a -> 26 - a -> 20.
    assert kept_at(0.375, allocation="global") == {"a": (2, 3), "b": (0, 1, 2, 3)}


def test_a_block_that_would_take_too_much_is_passed_over() -> None:
    # From 20 on, a's 0.75 is next, but leaves 14 where 16 are asked for; b's leaves 16.
    assert kept_at(0.5, allocation="global") == {"a": (2, 3), "b": (1, 2, 3)}


def test_a_block_is_given_back_where_another_fits_better() -> None:
    # Uniform comes to (3, 3) = 21 and can only go to 16; (4, 2) has the 20 asked for.
    assert kept_at(0.375, allocation="uniform") == {"a": (0, 1, 2, 3), "b": (2, 3)}


def test_among_equal_scores_the_first_positions_go() -> None:
    ties = {"a": (1.0,) * 4, "b": (1.0,) * 4}
    assert kept_at(0.5, allocation="uniform", scores=ties) == {"a": (2, 3), "b": (1, 2, 3)}


def test_the_scale_of_a_groups_scores_does_not_matter() -> None:
    louder = {"a": [1000.0 * v for v in SCORES["a"]], "b": SCORES["b"]}
    for ratio in (0.375, 0.5):
        assert kept_at(ratio, allocation="global", scores=louder) == kept_at(
            ratio, allocation="global"
        )


def test_scores_of_zero_are_allowed() -> None:
    zeros = {"a": (0.0,) * 4, "b": (0.0,) * 4}
    assert kept_at(0.5, allocation="global", scores=zeros)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_an_alignment_that_allows_no_cut_makes_every_ratio_unreachable(allocation: str) -> None:
    with pytest.raises(
        UnreachableRatioError, match=r"multiples of 4: .* removes 0\.000 of the par"
    ):
        kept_at(0.5, allocation=allocation, alignment=Alignment(multiple=4))


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_a_ratio_beyond_the_floor_is_unreachable(allocation: str) -> None:
    # Widths of at least 3: 21 of 32 parameters stay.
    floor = Alignment(multiple=1, least_share=0.75)
    with pytest.raises(UnreachableRatioError, match=r"removes 0\.344 of the parameters"):
        kept_at(0.9, allocation=allocation, alignment=floor)


def test_a_ratio_below_what_is_gone_already_is_unreachable() -> None:
    dense, groups = linears(2, 4, 4, 2), hidden_groups(2, 4, 4, 2)
    first = {"a": (2, 3), "b": (1, 2, 3)}
    with pytest.raises(UnreachableRatioError, match=r"0\.500 of the parameters are gone already"):
        kept(
            cut(dense, groups, first),
            compact(groups, first),
            {"a": torch.ones(2), "b": torch.ones(3)},
            dense=dense,
            dense_units={"a": 4, "b": 4},
            ratio=0.3,
            alignment=ANY_WIDTH,
            allocation="global",
        )


def test_a_second_cut_counts_shares_of_the_dense_network() -> None:
    dense, groups = linears(2, 4, 4, 2), hidden_groups(2, 4, 4, 2)
    first = {"a": (2, 3), "b": (0, 1, 2, 3)}
    found = kept(
        cut(dense, groups, first),
        compact(groups, first),
        {"a": torch.tensor([3.0, 10.0]), "b": torch.tensor([1.0, 1.0, 1.0, 2.0])},
        dense=dense,
        dense_units={"a": 4, "b": 4},
        ratio=0.625,
        alignment=ANY_WIDTH,
        allocation="uniform",
    )
    # From (2, 4) = 20, b is the wider: (2, 3) = 16, (2, 2) = 12.
    assert found == {"a": (2, 3), "b": (2, 3)}


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_ten_layers_of_a_thousand_channels_are_allocated_in_seconds(allocation: str) -> None:
    widths = (8, *[1000] * 10, 8)
    model, names = linears(*widths), [f"g{k}" for k in range(10)]
    groups = hidden_groups(*widths, names=names)
    started = time.process_time()
    found = kept(
        model,
        groups,
        random_scores(groups, seed=0),
        dense=model,
        dense_units=dict.fromkeys(names, 1000),
        ratio=0.8,
        alignment=Alignment(multiple=8),
        allocation=allocation,
    )
    assert time.process_time() - started < 10.0
    share = params(cut(model, groups, found)) / params(model)
    assert abs(1.0 - share - 0.8) <= SHARE_TOLERANCE
    assert all(len(units) % 8 == 0 for units in found.values())


def params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("widths", [(2, 4, 4, 2), (3, 16, 40, 24, 5), (1, 9, 2, 30, 1)])
def test_no_larger_ratio_leaves_a_larger_network(allocation: str, widths: tuple[int, ...]) -> None:
    model, names = linears(*widths), [f"g{k}" for k in range(len(widths) - 2)]
    groups = hidden_groups(*widths, names=names)
    reached = []
    for ratio in np.linspace(0.0, 0.95, num=150).tolist():
        try:
            found = kept(
                model,
                groups,
                random_scores(groups, seed=3),
                dense=model,
                dense_units=dict(zip(names, widths[1:-1], strict=True)),
                ratio=ratio,
                alignment=ANY_WIDTH,
                allocation=allocation,
            )
        except UnreachableRatioError:
            continue
        left = params(cut(model, groups, found))
        assert abs(1.0 - left / params(model) - ratio) <= SHARE_TOLERANCE + 1e-9
        reached.append(left)
    assert reached == sorted(reached, reverse=True)
    assert len(set(reached)) >= 8
