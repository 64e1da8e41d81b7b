import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.allocation import (
    ALLOCATIONS,
    SHARE_TOLERANCE,
    Alignment,
    UnreachableRatioError,
    allocate,
)
from compressor.pruning.groups import ChannelGroup, Slice, compact
from compressor.pruning.surgery import cut

# Three linear layers without bias: 2 -> a -> b -> 2, so 2a + ab + 2b parameters, 32 for a = b = 4.
SCORES: Mapping[str, Sequence[float]] = {"a": (1.0, 2.0, 3.0, 10.0), "b": (5.0, 5.0, 5.0, 5.0)}
ANY_WIDTH = Alignment(multiple=1, least_share=0.0)


def linears(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(i, o, bias=False) for i, o in pairwise(widths)))


def hidden_groups(*widths: int, names: Sequence[str] = ("a", "b")) -> list[ChannelGroup]:
    """One group per hidden layer of ``linears``."""
    return [
        ChannelGroup(
            name=name,
            units=tuple(range(width)),
            channels_per_unit=1,
            slices=tuple(
                Slice(
                    module=str(layer),
                    tensor="weight",
                    dim=dim,
                    role="consumer" if dim else "producer",
                    positions=tuple((k,) for k in range(width)),
                )
                for layer, dim in ((at, 0), (at + 1, 1))
            ),
        )
        for at, (name, width) in enumerate(zip(names, widths[1:-1], strict=True))
    ]


def kept_at(
    ratio: float,
    *,
    priority: str,
    alignment: Alignment = ANY_WIDTH,
    scores: Mapping[str, Sequence[float]] = SCORES,
) -> dict[str, tuple[int, ...]]:
    groups = hidden_groups(2, 4, 4, 2)
    return allocate(
        linears(2, 4, 4, 2),
        groups,
        {name: torch.tensor(values) for name, values in scores.items()},
        dense_params=32,
        dense_units={"a": 4, "b": 4},
        ratio=ratio,
        alignment=alignment,
        priority=ALLOCATIONS[priority],
    )


def test_nothing_goes_at_ratio_zero() -> None:
    assert kept_at(0.0, priority="global") == {"a": (0, 1, 2, 3), "b": (0, 1, 2, 3)}


def test_uniform_takes_from_the_widest_group_in_turn() -> None:
    # 32 - a -> 26 - b -> 21 - a -> 16
    assert kept_at(0.5, priority="uniform") == {"a": (2, 3), "b": (1, 2, 3)}


def test_global_takes_the_least_important_units_wherever_they_are() -> None:
    # Relative to the mean of 4: a's 0.25, 0.5 go before b's 1.0. 32 - a -> 26 - a -> 20.
    assert kept_at(0.375, priority="global") == {"a": (2, 3), "b": (0, 1, 2, 3)}


def test_a_block_that_would_take_too_much_is_passed_over() -> None:
    # From 20 on, a's 0.75 is next, but leaves 14 where 16 are asked for; b's leaves 16.
    assert kept_at(0.5, priority="global") == {"a": (2, 3), "b": (1, 2, 3)}


def test_a_block_is_given_back_where_another_fits_better() -> None:
    # Uniform comes to (3, 3) = 21 and can only go to 16; (4, 2) has the 20 asked for.
    assert kept_at(0.375, priority="uniform") == {"a": (0, 1, 2, 3), "b": (2, 3)}


def test_among_equal_scores_the_first_positions_go() -> None:
    ties = {"a": (1.0,) * 4, "b": (1.0,) * 4}
    assert kept_at(0.5, priority="uniform", scores=ties) == {"a": (2, 3), "b": (1, 2, 3)}


def test_the_scale_of_a_groups_scores_does_not_matter() -> None:
    louder = {"a": [1000.0 * v for v in SCORES["a"]], "b": SCORES["b"]}
    for ratio in (0.375, 0.5):
        assert kept_at(ratio, priority="global", scores=louder) == kept_at(ratio, priority="global")


def test_scores_of_zero_are_allowed() -> None:
    zeros = {"a": (0.0,) * 4, "b": (0.0,) * 4}
    assert kept_at(0.5, priority="global", scores=zeros)


@pytest.mark.parametrize("priority", ALLOCATIONS)
def test_an_alignment_that_allows_no_cut_makes_every_ratio_unreachable(priority: str) -> None:
    with pytest.raises(
        UnreachableRatioError, match=r"multiples of 4: .* removes 0\.000 of the par"
    ):
        kept_at(0.5, priority=priority, alignment=Alignment(multiple=4))


@pytest.mark.parametrize("priority", ALLOCATIONS)
def test_a_ratio_beyond_the_floor_is_unreachable(priority: str) -> None:
    # Widths of at least 3: 21 of 32 parameters stay.
    floor = Alignment(multiple=1, least_share=0.75)
    with pytest.raises(UnreachableRatioError, match=r"removes 0\.344 of the parameters"):
        kept_at(0.9, priority=priority, alignment=floor)


def test_a_ratio_below_what_is_gone_already_is_unreachable() -> None:
    groups, kept = hidden_groups(2, 4, 4, 2), {"a": (2, 3), "b": (1, 2, 3)}
    model = cut(linears(2, 4, 4, 2), groups, kept)
    with pytest.raises(UnreachableRatioError, match=r"0\.500 of the parameters are gone already"):
        allocate(
            model,
            compact(groups, kept),
            {"a": torch.ones(2), "b": torch.ones(3)},
            dense_params=32,
            dense_units={"a": 4, "b": 4},
            ratio=0.3,
            alignment=ANY_WIDTH,
            priority=ALLOCATIONS["global"],
        )


@pytest.mark.parametrize(
    ("multiple", "share", "per_unit", "dense", "present", "steps"),
    [
        (8, 0.1, 1, 20, 20, (20, 16, 8)),
        (8, 0.3, 1, 64, 64, (64, 56, 48, 40, 32, 24)),
        (8, 0.1, 1, 64, 24, (24, 16, 8)),
        (8, 0.9, 1, 64, 24, (24,)),
        (8, 0.1, 1, 8, 8, (8,)),
        (8, 0.1, 1, 4, 4, (4,)),
        (8, 0.1, 4, 5, 5, (5, 4, 2)),
        (8, 0.1, 3, 16, 16, (16, 8)),
        (1, 0.0, 1, 3, 3, (3, 2, 1)),
    ],
)
def test_allowed_widths_are_aligned_and_above_the_floor(
    multiple: int, share: float, per_unit: int, dense: int, present: int, steps: tuple[int, ...]
) -> None:
    group = ChannelGroup(
        name="g", units=tuple(range(present)), channels_per_unit=per_unit, slices=()
    )
    alignment = Alignment(multiple=multiple, least_share=share)
    assert alignment.steps(group, dense_units=dense) == steps


def test_a_second_cut_counts_shares_of_the_dense_network() -> None:
    groups, first = hidden_groups(2, 4, 4, 2), {"a": (2, 3), "b": (0, 1, 2, 3)}
    model = cut(linears(2, 4, 4, 2), groups, first)
    kept = allocate(
        model,
        compact(groups, first),
        {"a": torch.tensor([3.0, 10.0]), "b": torch.tensor([1.0, 1.0, 1.0, 2.0])},
        dense_params=32,
        dense_units={"a": 4, "b": 4},
        ratio=0.625,
        alignment=ANY_WIDTH,
        priority=ALLOCATIONS["uniform"],
    )
    # From (2, 4) = 20, b is the wider: (2, 3) = 16, (2, 2) = 12.
    assert kept == {"a": (2, 3), "b": (2, 3)}


def random_scores(groups: Sequence[ChannelGroup], *, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {g.name: torch.rand(len(g.units), generator=generator) for g in groups}


@pytest.mark.parametrize("priority", ALLOCATIONS)
def test_ten_layers_of_a_thousand_channels_are_allocated_in_seconds(priority: str) -> None:
    widths = (8, *[1000] * 10, 8)
    model, names = linears(*widths), [f"g{k}" for k in range(10)]
    groups = hidden_groups(*widths, names=names)
    dense_params = sum(p.numel() for p in model.parameters())
    started = time.perf_counter()
    kept = allocate(
        model,
        groups,
        random_scores(groups, seed=0),
        dense_params=dense_params,
        dense_units=dict.fromkeys(names, 1000),
        ratio=0.8,
        alignment=Alignment(multiple=8),
        priority=ALLOCATIONS[priority],
    )
    assert time.perf_counter() - started < 10.0
    params = sum(p.numel() for p in cut(model, groups, kept).parameters())
    assert abs(1.0 - params / dense_params - 0.8) <= SHARE_TOLERANCE
    assert all(len(units) % 8 == 0 for units in kept.values())
