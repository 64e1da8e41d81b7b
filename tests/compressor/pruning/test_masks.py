import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.controls import CONTROLS, Batches, prunable_weights
from compressor.pruning.masks import Masked, Ranking, apply_masks, mask

EXAMPLE = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3])
BATCH = (EXAMPLE, LABELS)

RANKINGS: tuple[Ranking, ...] = ("global", "layer")


def net() -> nn.Sequential:
    generator = torch.Generator().manual_seed(2)
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layers


def pair() -> nn.Sequential:
    """Four small weights, then four large ones."""
    layers = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    layers[0].weight.data = torch.tensor([[0.1, -0.2], [0.3, 0.4]])
    layers[1].weight.data = torch.tensor([[-5.0, 6.0], [7.0, -8.0]])
    return layers


def masked(
    model: nn.Module, name: str, ratio: float, *, seed: int = 0, ranking: Ranking = "global"
) -> Masked:
    return mask(
        model, control=CONTROLS[name], ratio=ratio, batches=[BATCH], seed=seed, ranking=ranking
    )


def zeros(model: nn.Module) -> dict[str, int]:
    return {name: int((weight == 0).sum()) for name, weight in prunable_weights(model).items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_a_global_ranking_takes_the_smallest_of_the_network() -> None:
    found = masked(pair(), "magnitude", 0.5)
    assert zeros(found.model) == {"0.weight": 4, "1.weight": 0}


def test_a_ranking_by_layer_takes_the_smallest_of_each() -> None:
    found = masked(pair(), "magnitude", 0.5, ranking="layer")
    weights = [weight.tolist() for weight in prunable_weights(found.model).values()]
    torch.testing.assert_close(
        weights, [[[0.0, 0.0], [0.3, 0.4]], [[0.0, 0.0], [7.0, -8.0]]], rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.97])
def test_the_share_is_the_ratio_in_whole_weights(name: str, ranking: Ranking, ratio: float) -> None:
    found = masked(net(), name, ratio, ranking=ranking)
    sizes = {name: weight.numel() for name, weight in prunable_weights(net()).items()}
    if ranking == "layer":
        assert zeros(found.model) == {name: round(ratio * size) for name, size in sizes.items()}
    else:
        assert sum(zeros(found.model).values()) == round(ratio * sum(sizes.values()))
    assert found.share == sum(zeros(found.model).values()) / sum(sizes.values())


@pytest.mark.parametrize("name", CONTROLS)
def test_what_is_kept_scores_no_lower_than_what_goes(name: str) -> None:
    found = masked(net(), name, 0.4)
    generator = torch.Generator().manual_seed(0)
    scores = CONTROLS[name](net().eval(), [BATCH], generator)
    kept = torch.cat([scores[name][keep] for name, keep in found.masks.items()])
    gone = torch.cat([scores[name][~keep] for name, keep in found.masks.items()])
    assert float(kept.min()) >= float(gone.max())


@pytest.mark.parametrize("name", CONTROLS)
def test_the_network_differs_in_its_zeros_alone(name: str) -> None:
    model = net()
    found = masked(model, name, 0.6)
    after = dict(found.model.named_parameters())
    for key, before in model.named_parameters():
        keep = found.masks.get(key, torch.ones_like(before, dtype=torch.bool))
        assert torch.equal(after[key], before.detach() * keep)
    assert len(found.masks) == 3


@pytest.mark.parametrize("name", CONTROLS)
def test_the_network_that_was_given_is_not_changed(name: str) -> None:
    model = net().train()
    model[0].requires_grad_(requires_grad=False)
    before = copy.deepcopy(model)
    found = masked(model, name, 0.5)
    assert same(model, before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(layer._forward_pre_hooks for layer in found.model.modules())
    for network in (model, found.model):
        assert network.training
        assert not network.get_parameter("0.weight").requires_grad


@pytest.mark.parametrize("name", CONTROLS)
def test_the_same_seed_gives_the_same_masks(name: str) -> None:
    first, second = masked(net(), name, 0.5, seed=7), masked(net(), name, 0.5, seed=7)
    assert same(first.model, second.model)


def test_another_seed_gives_another_random_mask() -> None:
    assert not same(masked(net(), "random", 0.5).model, masked(net(), "random", 0.5, seed=1).model)


def ones() -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    for parameter in layers.parameters():
        parameter.data.fill_(1.0)
    return layers


def test_equal_scores_give_the_exact_share_from_all_layers() -> None:
    found = masked(ones(), "magnitude", 0.5)
    assert found.share == 0.5
    assert all(35 <= count <= 65 for count in zeros(found.model).values())
    assert not same(found.model, masked(ones(), "magnitude", 0.5, seed=1).model)


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("ranking", RANKINGS)
def test_rising_ratios_give_nested_masks(name: str, ranking: Ranking) -> None:
    first = masked(net(), name, 0.3, ranking=ranking)
    with torch.no_grad():
        for parameter in first.model.parameters():
            parameter.mul_(1.5)  # as if retrained
    second = masked(first.model, name, 0.6, seed=5, ranking=ranking)
    for key, keep in second.masks.items():
        assert not bool((keep & ~first.masks[key]).any())


def test_zeros_that_were_there_count_and_none_is_added_to_them() -> None:
    layers = ones()
    layers.get_parameter("0.weight").data[:6] = 0.0
    found = masked(layers, "random", 0.25)
    assert zeros(found.model) == {"0.weight": 60, "1.weight": 0}
    assert found.share == 0.25


def steps(model: nn.Module, masks: dict[str, Tensor] | None) -> nn.Module:
    """Five steps with momentum and weight decay, from a network that was trained before."""
    trained = copy.deepcopy(model).train()
    optimiser = torch.optim.SGD(
        trained.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=True
    )
    for _ in range(5):
        optimiser.zero_grad()
        nn.functional.cross_entropy(trained(EXAMPLE), LABELS).backward()
        optimiser.step()
        if masks is not None:
            partial(apply_masks, masks=masks)(trained)
    return trained


@pytest.mark.parametrize("name", CONTROLS)
def test_zeros_stay_through_training_and_the_rest_moves(name: str) -> None:
    found = masked(net(), name, 0.5)
    trained = steps(found.model, dict(found.masks))
    before = prunable_weights(found.model)
    for key, weight in prunable_weights(trained).items():
        keep = found.masks[key]
        assert not bool(weight[~keep].any())
        assert bool((weight[keep] != before[key][keep]).all())


def test_zeros_do_not_stay_by_themselves() -> None:
    found = masked(net(), "magnitude", 0.5)
    after = sum(zeros(steps(found.model, None)).values())
    assert after < sum(zeros(found.model).values()) / 2


def test_masks_of_a_network_in_another_memory_layout_fit() -> None:
    found = masked(net(), "magnitude", 0.5)
    other = net().to(memory_format=torch.channels_last)
    apply_masks(other, found.masks)
    assert same(other, found.model)


def test_masks_of_another_network_are_refused() -> None:
    masks = masked(net(), "magnitude", 0.5).masks
    with pytest.raises(ValueError, match=r"has no 3\.weight"):
        apply_masks(net()[:1], masks)
    wider = net()
    wider[0] = nn.Conv2d(3, 7, 3)
    before = copy.deepcopy(wider)
    with pytest.raises(ValueError, match=r"0\.weight is \(7, 3, 3, 3\) here and \(6, 3, 3, 3\)"):
        apply_masks(wider, masks)
    assert same(wider, before)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        masked(net(), "magnitude", ratio)


def test_an_unknown_ranking_is_refused() -> None:
    with pytest.raises(ValueError, match="among global, layer"):
        masked(net(), "magnitude", 0.5, ranking="row")  # type: ignore[arg-type] # that is the test


def test_a_network_without_such_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="no linear layer or convolution"):
        masked(nn.Sequential(nn.BatchNorm2d(3)), "magnitude", 0.5)


def test_a_score_that_is_not_finite_is_refused() -> None:
    def broken(
        network: nn.Module, batches: Batches, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {name: weight / 0 for name, weight in prunable_weights(network).items()}

    with pytest.raises(ValueError, match=r"scores of 0\.weight are not finite"):
        mask(net(), control=broken, ratio=0.5, batches=[], seed=0)
