from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
import torchvision
from torch import Tensor, nn

from compressor.pruning.allocation import ALLOCATIONS, SHARE_TOLERANCE, UnreachableRatioError
from compressor.pruning.candidate import (
    Candidate,
    Method,
    Prunable,
    PrunePlan,
    dense_scores,
    propose,
    prunable,
    rebuild,
)
from compressor.pruning.cost import cost
from compressor.pruning.groups import ChannelGroup, removed_positions
from compressor.pruning.importance import IMPORTANCES
from compressor.pruning.surgery import EQUIVALENCE_LIMIT, Kept, SurgeryError, cut
from tests.compressor.pruning.tiny_nets import (
    CUTTABLE_NETS,
    EXAMPLE,
    TINY_NETS,
    found_in,
    made,
    misread,
)

BATCH = (EXAMPLE, torch.tensor([0, 1, 2, 3]))
RATIOS = tuple(k / 10 for k in range(1, 10))
ALIGN = 2


def rung(
    dense: Prunable, before: Candidate | None, ratio: float, *, method: Method, seed: int = 0
) -> Candidate:
    return propose(dense, before, ratio=ratio, method=method, batches=[BATCH], seed=seed)


@cache
def ladder(name: str, allocation: str) -> tuple[Candidate, ...]:
    """A candidate straight from the dense network for every ratio that can be reached."""

    def reachable() -> Iterator[Candidate]:
        for ratio in RATIOS:
            try:
                method = Method(allocation=allocation, align=ALIGN, compensate=False)
                yield rung(found_in(name), None, ratio, method=method)
            except UnreachableRatioError:
                continue

    return tuple(reachable())


def state_of(model: nn.Module) -> dict[str, list[object]]:
    return {name: value.tolist() for name, value in model.state_dict().items()}


# ---- what can be cut


@pytest.mark.parametrize("name", TINY_NETS)
def test_exactly_the_expected_channels_can_be_cut(name: str) -> None:
    groups = found_in(name).groups
    makers = {s.module for group in groups for s in group.slices if s.role == "producer"}
    assert makers == TINY_NETS[name].cut


@pytest.mark.parametrize("name", TINY_NETS)
def test_what_is_left_alone_is_named_with_a_reason(name: str) -> None:
    left = found_in(name).left_alone
    for module, reason in TINY_NETS[name].left.items():
        assert any(module in item.modules and reason in item.reason for item in left), module
    assert any(item.reason == "these are the network's outputs" for item in left)


@pytest.mark.parametrize("name", TINY_NETS)
def test_looking_for_what_can_be_cut_changes_nothing(name: str) -> None:
    model = made(name).train()
    before = state_of(model)
    prunable(model, EXAMPLE, seed=0)
    assert state_of(model) == before
    assert model.training


def test_the_same_seed_finds_the_same() -> None:
    once, again = (prunable(made("u-net"), EXAMPLE, seed=5) for _ in range(2))
    assert (once.groups, once.left_alone, once.cost) == (again.groups, again.left_alone, again.cost)


# ---- every candidate


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_every_candidate_passed_the_self_test_and_looks_like_the_dense_network(
    name: str, allocation: str
) -> None:
    dense = found_in(name)
    expected = dense.model(EXAMPLE)
    for candidate in ladder(name, allocation):
        found = candidate.model(EXAMPLE)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert bool(torch.isfinite(found).all())
        assert 0.0 <= candidate.difference < EQUIVALENCE_LIMIT / 10


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_the_asked_share_is_the_share_that_is_gone(name: str, allocation: str) -> None:
    dense = found_in(name)
    for candidate in ladder(name, allocation):
        gone = 1.0 - candidate.cost.params / dense.cost.params
        assert abs(gone - candidate.ratio) <= SHARE_TOLERANCE + 1e-9
        assert candidate.cost == cost(candidate.model, EXAMPLE)


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_some_ratio_can_be_reached_in_every_network(name: str) -> None:
    assert any(ladder(name, allocation) for allocation in ALLOCATIONS)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_the_widths_of_cut_layers_are_aligned_and_above_the_floor(
    name: str, allocation: str
) -> None:
    dense = found_in(name)
    for candidate in ladder(name, allocation):
        for group in dense.groups:
            kept = candidate.plan.kept[group.name]
            assert len(kept) >= 0.1 * len(group.units)
            assert sorted(set(kept)) == list(kept) and set(kept) <= set(group.units)
            if len(kept) < len(group.units):
                widths = [len(kept) * len(s.positions[0]) for s in group.slices]
                assert all(width >= ALIGN and width % ALIGN == 0 for width in widths)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_a_larger_ratio_never_leaves_more_parameters(name: str, allocation: str) -> None:
    params = [candidate.cost.params for candidate in ladder(name, allocation)]
    assert all(more >= fewer for more, fewer in pairwise(params))


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_every_method_makes_the_same_candidate_from_the_same_seed(
    importance: str, allocation: str
) -> None:
    method = Method(importance=importance, allocation=allocation, align=ALIGN)
    once, again = (rung(found_in("plain"), None, 0.5, method=method, seed=2) for _ in range(2))
    assert (once.plan, once.cost, once.difference) == (again.plan, again.cost, again.difference)
    assert state_of(once.model) == state_of(again.model)


def test_a_cut_that_is_not_right_becomes_no_candidate() -> None:
    dense = found_in("plain")
    swapped = tuple(misread(group) for group in dense.groups)
    with pytest.raises(SurgeryError, match="differs from the dense one"):
        rung(replace(dense, groups=swapped), None, 0.5, method=Method(align=ALIGN))


# ---- plans


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_a_plan_and_the_weights_give_back_the_candidate_bit_by_bit(name: str) -> None:
    for candidate in ladder(name, "global"):
        again = rebuild(found_in(name), candidate.plan, candidate.model.state_dict())
        assert torch.equal(again(EXAMPLE), candidate.model(EXAMPLE))


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_cutting_twice_is_cutting_once_with_the_second_plan(name: str, allocation: str) -> None:
    dense = found_in(name)
    for first, target in pairwise(ladder(name, allocation)):
        method = Method(importance="l1", allocation=allocation, align=ALIGN, compensate=False)
        try:
            second = rung(dense, first, target.ratio, method=method)
        except UnreachableRatioError:
            continue
        straight = cut(dense.model, dense.groups, second.plan.kept)
        assert state_of(second.model) == state_of(straight)
        assert torch.equal(second.model(EXAMPLE), straight(EXAMPLE))
        for group, kept in second.plan.kept.items():
            assert set(kept) <= set(first.plan.kept[group])


def test_a_ladder_may_go_on_from_retrained_weights() -> None:
    dense, method = found_in("u-net"), Method(align=ALIGN)
    first = rung(dense, None, 0.3, method=method)
    for parameter in first.model.parameters():
        parameter.data.mul_(0.9).add_(0.01)
    second = rung(dense, first, 0.6, method=method)
    assert second.difference < EQUIVALENCE_LIMIT
    assert second.cost.params < first.cost.params
    again = rebuild(dense, second.plan, second.model.state_dict())
    assert torch.equal(again(EXAMPLE), second.model(EXAMPLE))


def test_scores_that_are_known_need_no_images_and_make_the_same_candidate() -> None:
    dense = found_in(CUTTABLE_NETS[0])
    method = Method(importance="taylor", align=ALIGN, steps=1, compensate=False)
    known = dense_scores(dense, method=method, batches=[BATCH], seed=0)
    again = propose(dense, None, ratio=0.5, method=method, batches=[], seed=0, scores=known)
    assert again.plan == rung(dense, None, 0.5, method=method).plan


def test_going_back_up_the_ladder_is_refused() -> None:
    dense, method = found_in("u-net"), Method(align=ALIGN)
    with pytest.raises(UnreachableRatioError, match="gone already"):
        rung(dense, rung(dense, None, 0.6, method=method), 0.3, method=method)


def test_weights_of_another_plan_do_not_load() -> None:
    dense, method = found_in("u-net"), Method(align=ALIGN)
    one, other = (rung(dense, None, ratio, method=method) for ratio in (0.3, 0.6))
    with pytest.raises(RuntimeError, match="size mismatch"):
        rebuild(dense, one.plan, other.model.state_dict())


def test_the_plan_that_keeps_everything_is_the_dense_network() -> None:
    dense = found_in("u-net")
    same = rebuild(dense, PrunePlan(kept={}), dense.model.state_dict())
    assert torch.equal(same(EXAMPLE), dense.model(EXAMPLE))


# ---- networks that people use


def silenced(model: nn.Module, groups: Sequence[ChannelGroup], kept: Kept) -> dict[str, Tensor]:
    """Parameters of ``model`` with zeros in all that makes or scales a removed channel.

    The self-test zeroes what reads a channel; this is the other side, and looks at no consumer.
    It holds where zero passes through as zero, as in ReLU and its likes.
    """
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    made_by = {s.key for g in groups for s in g.slices if s.role != "consumer"}
    for (module, tensor, dim), positions in removed_positions(groups, kept).items():
        name = f"{module}.{tensor}"
        if (module, tensor, dim) in made_by and name in weights and positions:
            weights[name].index_fill_(dim, torch.tensor(positions), 0.0)
    return weights


def random_network(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = torchvision.models.get_model(name, weights=None)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert tensor is not None
                    tensor.data.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("resnet18", 12),
        ("vgg11_bn", 10),
        ("mobilenet_v2", 25),
        ("densenet121", 120),
        ("regnet_y_400mf", 37),
    ],
)
def test_networks_of_torchvision_are_cut_in_half_rightly(name: str, groups: int) -> None:
    model = random_network(name)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    dense = prunable(model, images, seed=0)
    assert len(dense.groups) == groups
    assert [item.reason for item in dense.left_alone] == ["these are the network's outputs"]
    candidate = propose(dense, None, ratio=0.5, method=Method(compensate=False), batches=[], seed=0)
    assert abs(1.0 - candidate.cost.params / dense.cost.params - 0.5) <= SHARE_TOLERANCE
    assert candidate.difference < EQUIVALENCE_LIMIT / 10
    with torch.inference_mode():
        weights = silenced(model, dense.groups, candidate.plan.kept)
        expected = torch.func.functional_call(model, weights, (images,))
        difference = (candidate.model(images) - expected).abs().max() / expected.abs().max()
    assert float(difference) < EQUIVALENCE_LIMIT / 10
