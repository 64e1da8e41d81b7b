import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup
from compressor.pruning.surgery import (
    EQUIVALENCE_LIMIT,
    Kept,
    SurgeryError,
    cut,
    self_test,
    sound_groups,
)
from tests.compressor.pruning.tiny_nets import (
    CUTTABLE_NETS,
    EXAMPLE,
    Do,
    LayerScale,
    chain,
    found_in,
    made,
    misread,
    plain_net,
)


def half_of(groups: Sequence[ChannelGroup], *, seed: int = 0) -> dict[str, tuple[int, ...]]:
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group in groups:
        order = torch.randperm(len(group.units), generator=generator).tolist()
        kept[group.name] = tuple(sorted(group.units[k] for k in order[: len(order) // 2]))
    return kept


def all_of(model: nn.Module) -> tuple[object, ...]:
    """Everything about a model that surgery might change."""
    return (
        {name: value.tolist() for name, value in model.state_dict().items()},
        {name: p.data_ptr() for name, p in model.named_parameters()},
        [
            (p.requires_grad, None if p.grad is None else p.grad.tolist())
            for p in model.parameters()
        ],
        [(type(m), m.training, m.extra_repr()) for m in model.modules()],
    )


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_surgery_leaves_the_given_model_alone(name: str) -> None:
    model, groups = plain_net(name).train(), found_in(name).groups
    next(m for m in model.modules() if not list(m.children())).eval()
    next(model.parameters()).requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = all_of(model)
    kept = half_of(groups)
    smaller = cut(model, groups, kept)
    self_test(model, smaller, groups, kept, EXAMPLE)
    sound_groups(model, groups, EXAMPLE, seed=1)
    assert all_of(model) == before
    assert not {p.data_ptr() for p in smaller.parameters()} & {
        p.data_ptr() for p in model.parameters()
    }


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_the_self_test_leaves_both_networks_alone(name: str) -> None:
    dense = found_in(name)
    kept = half_of(dense.groups)
    smaller = cut(dense.model, dense.groups, kept).train()
    before = all_of(smaller)
    self_test(dense.model, smaller, dense.groups, kept, EXAMPLE)
    assert all_of(smaller) == before


@pytest.mark.parametrize("name", CUTTABLE_NETS)
@pytest.mark.parametrize("seed", range(3))
def test_a_cut_network_equals_the_dense_one_with_those_channels_zeroed(
    name: str, seed: int
) -> None:
    dense = found_in(name)
    kept = half_of(dense.groups, seed=seed)
    smaller = cut(dense.model, dense.groups, kept)
    assert self_test(dense.model, smaller, dense.groups, kept, EXAMPLE) < EQUIVALENCE_LIMIT / 10


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_the_training_flag_and_frozen_layers_survive_a_cut(name: str) -> None:
    model, groups = plain_net(name).train(), found_in(name).groups
    model.requires_grad_(False)
    smaller = cut(model, groups, half_of(groups))
    assert all(m.training for m in smaller.modules())
    assert not any(p.requires_grad for p in smaller.parameters())


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_a_cut_layer_says_the_sizes_that_it_has(name: str) -> None:
    dense = found_in(name)
    smaller = cut(dense.model, dense.groups, half_of(dense.groups))
    for module in smaller.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            rows, columns = module.weight.shape[:2]
            assert (module.out_channels, module.in_channels) == (rows, columns * module.groups)
        elif isinstance(module, nn.ConvTranspose2d):
            assert (module.in_channels, module.out_channels) == module.weight.shape[:2]
        elif isinstance(module, nn.Linear):
            assert (module.out_features, module.in_features) == module.weight.shape
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            assert module.num_features == len(module.running_mean)


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_a_cut_network_can_be_trained(name: str) -> None:
    model = cut(
        plain_net(name).requires_grad_(), found_in(name).groups, half_of(found_in(name).groups)
    )
    loss: Tensor = model.train()(EXAMPLE).square().mean()
    loss.backward()
    assert any(bool(p.grad.abs().sum() > 0) for p in model.parameters() if p.grad is not None)


def test_keeping_everything_changes_nothing() -> None:
    dense = found_in("u-net")
    same = cut(dense.model, dense.groups, {})
    assert torch.equal(same(EXAMPLE), dense.model(EXAMPLE))


def test_a_cut_that_would_leave_nothing_is_refused() -> None:
    dense = found_in("plain")
    with pytest.raises(SurgeryError, match="leave nothing of a Conv2d's weight"):
        cut(dense.model, dense.groups, {group.name: () for group in dense.groups})


# ---- deliberately wrong cuts


def columns_permuted(model: nn.Module) -> nn.Module:
    body = model.get_submodule("body")
    assert isinstance(body, nn.Conv2d)
    body.weight.data = body.weight.data.roll(1, 1)
    return model


def wrong_producer_rows(model: nn.Module) -> nn.Module:
    stem, dense = model.get_submodule("stem"), found_in("plain").model.get_submodule("stem")
    assert isinstance(stem, nn.Conv2d) and isinstance(dense, nn.Conv2d)
    stem.weight.data = dense.weight.data[: len(stem.weight)].clone()
    return model


def two_statistics_swapped(model: nn.Module) -> nn.Module:
    mean = model.get_submodule("n1").get_buffer("running_mean")
    mean[[0, 1]] = mean[[1, 0]]
    return model


def two_gains_swapped(model: nn.Module) -> nn.Module:
    gain = model.get_submodule("n2").get_parameter("weight").data
    gain[[2, 3]] = gain[[3, 2]]
    return model


def one_weight_nan(model: nn.Module) -> nn.Module:
    model.get_submodule("stem").get_parameter("weight").data[0, 0, 0, 0] = torch.nan
    return model


def a_layer_lost(model: nn.Module) -> nn.Module:
    model.add_module("n1", nn.Identity())
    return model


def in_double(model: nn.Module) -> nn.Module:
    return chain(net=model, cast=Do(lambda x: x.double()))


def one_logit_fewer(model: nn.Module) -> nn.Module:
    return chain(net=model, head=Do(lambda x: x[:, 1:]))


def of_other_widths(model: nn.Module) -> nn.Module:
    return chain(net=LayerScale(5), rest=model)


DAMAGES: Final[Mapping[str, tuple[Callable[[nn.Module], nn.Module], str]]] = {
    "a consumer's columns permuted": (columns_permuted, "differs from the dense one"),
    "a producer's rows of other units": (wrong_producer_rows, "differs from the dense one"),
    "two running means swapped": (two_statistics_swapped, "differs from the dense one"),
    "two BatchNorm gains swapped": (two_gains_swapped, "differs from the dense one"),
    "a normalisation lost": (a_layer_lost, "differs from the dense one"),
    "a weight that is not a number": (one_weight_nan, "the pruned network's output is not finite"),
    "another dtype": (in_double, "torch.float32 and became .* torch.float64"),
    "another shape": (one_logit_fewer, r"was \(4, 4\) .* became \(4, 3\)"),
    "widths that do not fit": (of_other_widths, "no longer runs: The size of tensor a"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_wrong_cut_is_caught(damage: str) -> None:
    act, sentence = DAMAGES[damage]
    dense = found_in("plain")
    kept = half_of(dense.groups)
    smaller = act(cut(dense.model, dense.groups, kept))
    with pytest.raises(SurgeryError, match=sentence):
        self_test(dense.model, smaller, dense.groups, kept, EXAMPLE)


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_a_cut_by_another_plan_is_caught(name: str) -> None:
    dense = found_in(name)
    one, other = half_of(dense.groups, seed=0), half_of(dense.groups, seed=1)
    smaller = cut(dense.model, dense.groups, one)
    with pytest.raises(SurgeryError, match="differs from the dense one"):
        self_test(dense.model, smaller, dense.groups, other, EXAMPLE)


def test_a_dense_network_that_is_not_finite_cannot_vouch_for_a_cut() -> None:
    model, groups = made("plain"), found_in("plain").groups
    kept: Kept = {group.name: group.units[1:] for group in groups}
    model.get_submodule("stem").get_parameter("weight").data[0] = torch.nan
    smaller = cut(model, groups, kept)
    assert bool(torch.isfinite(smaller(EXAMPLE)).all())
    with pytest.raises(SurgeryError, match="the dense network's output is not finite"):
        self_test(model, smaller, groups, kept, EXAMPLE)


def test_an_output_of_zeros_cannot_vouch_for_a_cut() -> None:
    dense = found_in("plain")
    silent = copy.deepcopy(dense.model)
    for parameter in silent.get_submodule("head").parameters():
        parameter.data.zero_()
    kept = half_of(dense.groups)
    with pytest.raises(SurgeryError, match="zero everywhere"):
        self_test(silent, cut(silent, dense.groups, kept), dense.groups, kept, EXAMPLE)


# ---- finding the groups at fault


@pytest.mark.parametrize("at", range(4))
def test_the_one_misread_group_is_found_wherever_it_stands(at: int) -> None:
    dense = found_in("u-net")
    assert len(dense.groups) == 4
    doubtful = [misread(g) if k == at else g for k, g in enumerate(dense.groups)]
    sound, left = sound_groups(dense.model, doubtful, EXAMPLE, seed=0)
    assert sound == tuple(g for k, g in enumerate(dense.groups) if k != at)
    assert [item.modules for item in left] == [doubtful[at].modules]
    assert "differs from the dense one" in left[0].reason


def test_all_groups_misread_leaves_none() -> None:
    dense = found_in("u-net")
    sound, left = sound_groups(dense.model, [misread(g) for g in dense.groups], EXAMPLE, seed=0)
    assert sound == ()
    assert len(left) == 4


def test_positions_that_no_layer_has_are_a_reason_and_not_a_crash() -> None:
    dense = found_in("plain")
    far = [
        replace(g, slices=tuple(replace(s, positions=((99,),) * len(g.units)) for s in g.slices))
        for g in dense.groups
    ]
    sound, left = sound_groups(dense.model, far, EXAMPLE, seed=0)
    assert sound == ()
    assert all("do not exist" in item.reason for item in left)


def test_no_groups_are_trivially_sound() -> None:
    assert sound_groups(made("plain"), [], EXAMPLE, seed=0) == ((), ())


def test_a_forward_that_refuses_without_a_word_still_gives_a_reason() -> None:
    def insist(x: Tensor) -> Tensor:
        if x.shape[1] != 16:
            raise AssertionError
        return x

    dense = found_in("plain")
    model = copy.deepcopy(dense.model)
    assert isinstance(model, nn.Sequential)
    strict = copy.deepcopy(model)
    strict.add_module("a", Do(insist))
    sound, left = sound_groups(strict, dense.groups, EXAMPLE, seed=0)
    assert [g.name for g in sound] == ["body"]
    assert [item.reason for item in left] == ["the network no longer runs: AssertionError"]


def test_of_two_groups_that_only_go_wrong_together_one_is_cut() -> None:
    def insist(x: Tensor, body: nn.Module) -> Tensor:
        made: Tensor = body(x)
        if x.shape[1] < 16 and made.shape[1] < 24:
            raise ValueError("only one of you")
        return made

    dense = found_in("plain")
    strict = copy.deepcopy(dense.model)
    inner = strict.get_submodule("body")
    strict.add_module("body", Do(insist, inner=inner))
    groups = [
        replace(g, slices=tuple(
            replace(s, module="body.inner") if s.module == "body" else s for s in g.slices
        ))
        for g in dense.groups
    ]  # fmt: skip
    sound, left = sound_groups(strict, groups, EXAMPLE, seed=0)
    assert len(sound) == 1
    assert [item.reason for item in left] == ["the network no longer runs: only one of you"]
