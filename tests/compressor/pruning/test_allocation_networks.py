"""Real networks with random weights: every allocation, every budget, every ratio."""

import itertools
import math
from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from compressor.pruning.allocation import (
    ALLOCATIONS,
    SHARE_TOLERANCE,
    UnreachableRatioError,
    allocate,
)
from compressor.pruning.blocks import Alignment, Choices, Widths, choices, relative, units_left
from compressor.pruning.candidate import Prunable, prunable
from compressor.pruning.cost import cost
from compressor.pruning.layer_times import LayerTimes
from compressor.pruning.price import Budget, Price, price, shapes_of
from compressor.pruning.surgery import cut
from tests.compressor.pruning.linears import random_scores

EXAMPLE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NETWORKS = {"resnet18": resnet18, "mobilenet_v2": mobilenet_v2}
RATIOS = [round(0.05 * k, 2) for k in range(1, 19)]


@cache
def network(name: str) -> Prunable:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return prunable(NETWORKS[name](weights=None).eval(), EXAMPLE, seed=0)


def steps_of_sixteen(model: nn.Module) -> dict[str, LayerTimes]:
    """Times as of a device that computes 16 channels as fast as 9, and starts in 2 us."""
    table = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            shape = layer.weight.shape
            dims = (0,) if getattr(layer, "groups", 1) > 1 else (1, 0)
            widths = tuple(tuple(sorted({*range(8, shape[d], 8), shape[d]})) for d in dims)
            us = tuple(
                2.0 + 1e-3 * math.prod(shape[2:]) * math.prod(-(-size // 16) * 16 for size in at)
                for at in itertools.product(*widths)
            )
            table[name] = LayerTimes(dims=dims, widths=widths, us=us)
    return table


@cache
def given(name: str, of: Budget) -> tuple[Price, Choices]:
    dense = network(name)
    times = steps_of_sixteen(dense.model) if of == "latency" else {}
    rates = price(dense.model, dense.groups, EXAMPLE, of=of, latencies=times)
    found = choices(
        dense.model,
        dense.groups,
        relative(random_scores(dense.groups, seed=0)),
        dense_units={g.name: len(g.units) for g in dense.groups},
        alignment=Alignment(multiple=8),
        price=rates,
        dense_price=rates.of(shapes_of(dense.model)),
    )
    return rates, found


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("of", ["params", "macs", "latency"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_ratio_is_reached_within_a_point_and_none_leaves_more_than_a_smaller_one(
    name: str, of: Budget, allocation: str
) -> None:
    dense, (rates, found) = network(name), given(name, of)
    path, left = ALLOCATIONS[allocation](found), []
    kept: dict[str, tuple[int, ...]] = {}
    for ratio in RATIOS:
        chosen = allocate(
            found, ratio=ratio, of=of, alignment=Alignment(), allocation=lambda _: path
        )
        kept = units_left(dense.groups, found, chosen)
        gone = {g.name: set(g.units) - set(kept[g.name]) for g in dense.groups}
        widths = Widths(found, (b for b in path if gone[b.group].issuperset(b.units)))
        left.append(widths.price)
        assert abs(1.0 - left[-1] / found.dense_price - ratio) <= SHARE_TOLERANCE + 1e-9
        assert all(len(kept[g.name]) >= max(8, 0.1 * len(g.units)) for g in dense.groups)
    assert left == sorted(left, reverse=True)
    smaller = cut(dense.model, dense.groups, kept)
    assert rates.of(shapes_of(smaller)) == pytest.approx(left[-1], rel=1e-12)
    if of == "macs":
        assert left[-1] == cost(smaller, EXAMPLE).macs


@pytest.mark.parametrize("name", NETWORKS)
def test_less_than_the_floors_leave_is_an_error_that_says_what_is_left(name: str) -> None:
    with pytest.raises(UnreachableRatioError, match=r"removes 0\.9\d\d of the multiply-adds"):
        allocate(
            given(name, "macs")[1],
            ratio=0.999,
            of="macs",
            alignment=Alignment(),
            allocation=ALLOCATIONS["global"],
        )


def test_the_groups_of_a_resnet_that_are_built_alike_are_one_class() -> None:
    kinds = given("resnet18", "params")[1].kinds
    inner = {f"layer{stage}.{block}.conv1" for stage in (1, 2, 3, 4) for block in (0, 1)}
    assert len({kinds[name] for name in inner}) == 1
    streams = {name: kind for name, kind in kinds.items() if name not in inner}
    assert len(streams) == 4
    # The stem's stream has a 7 x 7 convolution, the last one is read by the linear layer.
    alike = [name for name in streams if list(streams.values()).count(streams[name]) > 1]
    assert sorted(name.split(".")[0] for name in alike) == ["layer2", "layer3"]
    assert len(set(kinds.values())) == 4
