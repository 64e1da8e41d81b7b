import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.candidate import Method, propose, prunable
from compressor.pruning.compensation import fold_means
from compressor.pruning.groups import ChannelGroup
from compressor.pruning.surgery import cut
from tests.compressor.pruning.tiny_nets import EXAMPLE, chain, found_in

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(3))
GONE = (1, 4)
CONSTANTS = (0.7, 2.0)

Build = Callable[[], nn.Module]


def settled(model: nn.Module, first: str = "first") -> nn.Module:
    """The model with channels of ``first`` that are the same in every image, at every place."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
        layer = dict(model.named_modules())[first]
        assert isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None
        layer.weight.sub_(0.5)
        for channel, constant in zip(GONE, CONSTANTS, strict=True):
            layer.weight[channel] = 0.0
            layer.bias[channel] = constant
    return model.eval()


def first() -> nn.Conv2d:
    return nn.Conv2d(3, 8, 3)


def to_conv(**arguments: object) -> nn.Module:
    return chain(first=first(), relu=nn.ReLU(), second=nn.Conv2d(8, 5, 3, **arguments))  # type: ignore[arg-type]


def to_norm() -> nn.Module:
    return chain(
        first=first(), relu=nn.ReLU(), second=nn.Conv2d(8, 5, 3, bias=False), norm=nn.BatchNorm2d(5)
    )


def to_norm_without_statistics() -> nn.Module:
    norm = nn.BatchNorm2d(5, track_running_stats=False)
    return chain(first=first(), relu=nn.ReLU(), second=nn.Conv2d(8, 5, 3, bias=False), norm=norm)


def to_linear() -> nn.Module:
    return chain(first=nn.Linear(8, 8), gelu=nn.ReLU(), second=nn.Linear(8, 5))


def flattened() -> nn.Module:
    return chain(first=first(), relu=nn.ReLU(), flat=nn.Flatten(), second=nn.Linear(8 * 36, 5))


def to_transposed() -> nn.Module:
    return chain(first=first(), relu=nn.ReLU(), second=nn.ConvTranspose2d(8, 5, 1))


def through_depthwise() -> nn.Module:
    return chain(first=first(), depth=nn.Conv2d(8, 8, 3, groups=8), second=nn.Conv2d(8, 5, 1))


NETS: dict[str, Build] = {
    "convolution": to_conv,
    "convolution with repeated borders": lambda: to_conv(padding=1, padding_mode="replicate"),
    "strided convolution": lambda: to_conv(stride=2),
    "BatchNorm": to_norm,
    "BatchNorm without statistics": to_norm_without_statistics,
    "linear": to_linear,
    "flattened": flattened,
    "transposed": to_transposed,
    "through a depthwise one": through_depthwise,
}


def group_of(model: nn.Module) -> ChannelGroup:
    """The group of what ``first`` makes."""
    (group,) = (g for g in prunable(model, IMAGES, seed=0).groups if "first" in g.modules)
    return group


def without(model: nn.Module, group: ChannelGroup, *, fold: bool = True) -> Tensor:
    """The output once the constant channels are gone."""
    kept = {group.name: [unit for unit in group.units if unit not in GONE]}
    before = fold_means(model, [group], kept, [IMAGES[:3], IMAGES[3:]]) if fold else model
    with torch.no_grad():
        found: Tensor = cut(before, [group], kept).eval()(IMAGES)
    return found


def output(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(IMAGES)
    return found


@pytest.mark.parametrize("name", NETS)
def test_constant_channels_go_without_a_trace(name: str) -> None:
    model = settled(NETS[name]())
    group = group_of(model)
    torch.testing.assert_close(without(model, group), output(model), rtol=1e-5, atol=1e-5)
    if name != "BatchNorm without statistics":
        assert (without(model, group, fold=False) - output(model)).abs().max() > 0.05


def test_with_zero_padding_the_border_alone_differs() -> None:
    model = settled(to_conv(padding=1))
    difference = (without(model, group_of(model)) - output(model)).abs()
    assert difference[:, :, 1:-1, 1:-1].max() < 1e-4
    assert difference[:, :, 0].min() > 0.05


def test_a_linear_layer_gains_the_mean_of_what_it_lost() -> None:
    model = chain(first=nn.Linear(8, 6), relu=nn.ReLU(), second=nn.Linear(6, 2)).eval()
    group = group_of(model)
    kept = {"first": [0, 2, 3, 5]}
    folded = fold_means(model, [group], kept, [IMAGES[:4], IMAGES[4:]])
    with torch.no_grad():
        hidden = model[:2](IMAGES).reshape(-1, 6).mean(0)
        expected = model.second.bias + model.second.weight[:, [1, 4]] @ hidden[[1, 4]]  # type: ignore[union-attr,index]
    torch.testing.assert_close(folded.second.bias, expected)  # type: ignore[union-attr]
    assert torch.equal(folded.second.weight, model.second.weight)  # type: ignore[union-attr,arg-type]


def test_a_transposed_convolution_with_a_stride_keeps_its_mean() -> None:
    model = settled(
        chain(first=first(), relu=nn.ReLU(), second=nn.ConvTranspose2d(8, 5, 2, stride=2))
    )
    folded, whole = without(model, group_of(model)), output(model)
    torch.testing.assert_close(folded.mean((0, 2, 3)), whole.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("between", [nn.ReLU(inplace=True), nn.ReLU(), nn.Identity()])
def test_a_norm_behind_something_else_keeps_its_running_mean(between: nn.Module) -> None:
    model = settled(
        chain(
            first=first(),
            second=nn.Conv2d(8, 5, 3, bias=False),
            between=between,
            norm=nn.BatchNorm2d(5),
        )
    )
    group = group_of(model)
    folded = fold_means(model, [group], {"first": [0, 2, 3, 5, 6, 7]}, [IMAGES])
    same = torch.equal(folded.norm.running_mean, model.norm.running_mean)  # type: ignore[union-attr,arg-type]
    # nn.Identity hands on the very same tensor, so there the norm is right behind.
    assert same == isinstance(between, nn.ReLU)


def test_a_norm_that_two_layers_share_keeps_its_running_mean() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(5)
            self.second = nn.Conv2d(8, 5, 3, bias=False)
            self.other = nn.Conv2d(3, 5, 5, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            both: Tensor = self.norm(self.second(self.first(x))) + self.norm(self.other(x))
            return both

    model = settled(Shared())
    group = group_of(model)
    folded = fold_means(model, [group], {"first": [0, 2, 3, 5, 6, 7]}, [IMAGES])
    assert torch.equal(folded.norm.running_mean, model.norm.running_mean)  # type: ignore[union-attr,arg-type]


def test_the_model_given_is_not_changed_nor_is_one_that_loses_nothing() -> None:
    model = settled(to_norm()).train()
    before = copy.deepcopy(model.state_dict())
    group = group_of(model)
    for kept in ({"first": [0, 2, 3]}, {}, {"first": list(group.units)}):
        folded = fold_means(model, [group], kept, [IMAGES])
        assert folded.training
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        changed = not all(torch.equal(before[k], v) for k, v in folded.state_dict().items())
        assert changed == (kept == {"first": [0, 2, 3]})


@pytest.mark.parametrize("name", ["plain", "residual", "flatten", "depthwise", "one dimension"])
def test_a_candidate_with_folded_means_passes_the_self_test_and_is_nearer(name: str) -> None:
    dense = found_in(name)
    batches = [(EXAMPLE, torch.tensor([0, 1, 2, 3]))]
    plain, folded = (
        propose(
            dense,
            None,
            ratio=0.3,
            method=Method(align=1, allocation="uniform", compensate=compensate),
            batches=batches,
            seed=0,
        )
        for compensate in (False, True)
    )
    assert plain.plan == folded.plan
    with torch.no_grad():
        whole = dense.model.eval()(EXAMPLE)
        far, near = (
            (candidate.model.eval()(EXAMPLE) - whole).square().mean()
            for candidate in (plain, folded)
        )
    assert near <= far * 1.001


def test_no_batches_is_an_error() -> None:
    model = settled(to_conv())
    with pytest.raises(ValueError, match="no batches"):
        fold_means(model, [group_of(model)], {"first": [0]}, [])
