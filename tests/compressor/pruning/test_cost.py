import pytest
import torch
from torch import nn

from compressor.pruning.cost import Cost, cost, count_params, removed_share, work
from tests.compressor.pruning.tiny_nets import EXAMPLE, TINY_NETS, Do, made


@pytest.mark.parametrize("width_in", [4, 8])
@pytest.mark.parametrize("width", [4, 12])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("size", "stride", "padding", "out"), [(1, 1, 0, 9), (3, 2, 1, 5), (5, 1, 0, 5)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_costs_what_the_formula_says(
    width_in: int,
    width: int,
    groups: int,
    size: int,
    stride: int,
    padding: int,
    out: int,
    bias: bool,
) -> None:
    layer = nn.Conv2d(width_in, width, size, stride, padding, groups=groups, bias=bias)
    weights = width * (width_in // groups) * size * size
    expected = Cost(params=weights + width * bias, macs=weights * out * out)
    assert cost(layer, torch.zeros(2, width_in, 9, 9)) == expected


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_costs_its_weights(bias: bool) -> None:
    found = cost(nn.Linear(12, 7, bias=bias), torch.zeros(3, 12))
    assert found == Cost(params=12 * 7 + 7 * bias, macs=12 * 7)


def test_a_transposed_convolution_costs_its_weights_at_every_input_place() -> None:
    layer = nn.ConvTranspose2d(6, 4, 2, stride=2, bias=False)
    assert cost(layer, torch.zeros(1, 6, 5, 5)) == Cost(params=6 * 4 * 4, macs=6 * 4 * 4 * 25)


def test_a_layer_used_twice_weighs_once_and_computes_twice() -> None:
    layer = nn.Linear(5, 5, bias=False)
    assert cost(nn.Sequential(layer, layer), torch.zeros(1, 5)) == Cost(params=25, macs=50)


def test_a_shared_parameter_weighs_once() -> None:
    one, two = nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)
    two.weight = one.weight
    assert count_params(nn.Sequential(one, two)) == 25


def test_the_cost_does_not_depend_on_how_many_images_are_given() -> None:
    model = made("residual")
    assert cost(model, EXAMPLE) == cost(model, EXAMPLE[:1])


@pytest.mark.parametrize("name", TINY_NETS)
def test_counting_leaves_the_model_alone_and_counts_every_parameter(name: str) -> None:
    model = made(name).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = cost(model, EXAMPLE)
    assert found.params == sum(p.numel() for p in model.parameters())
    assert found.macs > 0
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_shares_are_of_the_dense_network() -> None:
    dense, pruned = Cost(params=200, macs=1000), Cost(params=150, macs=200)
    assert removed_share(dense, pruned) == {"params": 0.25, "macs": 0.8}


@pytest.mark.parametrize("name", TINY_NETS)
def test_work_attributes_every_multiply_add(name: str) -> None:
    model = made(name)
    found = work(model, EXAMPLE)
    assert sum(found.by_weight.values()) + sum(found.products.values()) == cost(model, EXAMPLE).macs


def test_work_is_attributed_to_the_weight_wherever_it_is_used() -> None:
    layer = nn.Linear(5, 5)
    found = work(nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(5, 2)), torch.zeros(1, 5))
    assert found.by_weight == {("0", "weight"): 50, ("3", "weight"): 10}
    assert found.products == {}


def test_attentions_products_and_projections_are_counted() -> None:
    # 6 tokens of 8: three projections and one, 6 * 8 * 8 each; two products, 6 * 6 * 8 each.
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    model = Do(lambda x, a: a(x, x, x, need_weights=False)[0], mix=attention)
    found = work(model, torch.randn(1, 6, 8))
    assert found.by_weight["mix", "in_proj_weight"] == 3 * 6 * 8 * 8
    assert found.by_weight["mix.out_proj", "weight"] == 6 * 8 * 8
    assert found.products == {"mix": 2 * 6 * 6 * 8}
    assert cost(model, torch.randn(1, 6, 8)).macs == 4 * 6 * 8 * 8 + 2 * 6 * 6 * 8
