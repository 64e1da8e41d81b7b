import pytest
import torch
from torch import nn

from compressor.pruning.cost import cost, count_params
from compressor.pruning.layer_times import LayerTimes
from compressor.pruning.price import price, shapes_of
from compressor.pruning.surgery import cut
from tests.compressor.pruning.tiny_nets import CUTTABLE_NETS, EXAMPLE, found_in


def halves(name: str) -> dict[str, tuple[int, ...]]:
    return {g.name: g.units[::2] for g in found_in(name).groups}


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_multiply_adds_of_a_cut_are_known_from_its_shapes(name: str) -> None:
    dense = found_in(name)
    rates = price(dense.model, dense.groups, dense.example, of="macs", latencies={})
    assert rates.of(shapes_of(dense.model)) == dense.cost.macs
    smaller = cut(dense.model, dense.groups, halves(name))
    assert rates.of(shapes_of(smaller)) == pytest.approx(cost(smaller, EXAMPLE).macs, rel=1e-12)


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_parameters_of_a_cut_are_known_from_its_shapes(name: str) -> None:
    dense = found_in(name)
    rates = price(dense.model, dense.groups, dense.example, of="params", latencies={})
    smaller = cut(dense.model, dense.groups, halves(name))
    assert rates.of(shapes_of(smaller)) == count_params(smaller)


def test_latency_is_the_sum_of_the_layers_times() -> None:
    model = nn.Sequential(nn.Linear(8, 24), nn.Linear(24, 4))
    table = {
        "0": LayerTimes(dims=(1, 0), widths=((8,), (8, 24)), us=(10.0, 20.0)),
        "1": LayerTimes(dims=(1, 0), widths=((8, 24), (4,)), us=(1.0, 3.0)),
    }
    rates = price(model, (), torch.zeros(2, 8), of="latency", latencies=table)
    assert rates.of(shapes_of(model)) == 23.0
    narrower = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4))
    assert rates.of(shapes_of(narrower)) == 15.0 + 2.0


def test_latency_without_times_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="needs a table of layer times"):
        price(nn.Linear(8, 4), (), torch.zeros(2, 8), of="latency", latencies={})


def test_times_of_another_network_are_refused_by_name() -> None:
    table = {"features.0": LayerTimes(dims=(), widths=(), us=(1.0,))}
    with pytest.raises(ValueError, match=r"features\.0, which the network has not"):
        price(nn.Linear(8, 4), (), torch.zeros(2, 8), of="latency", latencies=table)
