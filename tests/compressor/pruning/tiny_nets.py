"""Small networks, one per pattern of wiring. A network in the table is tested by being there."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.pruning.candidate import Prunable, prunable
from compressor.pruning.groups import ChannelGroup

EXAMPLE: Final = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))

Norm, Relu = nn.BatchNorm2d, nn.ReLU


class Do(nn.Module):
    """``function(x, *parts)`` as a module."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.names = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *(getattr(self, name) for name in self.names))


class LayerScale(nn.Module):
    """A factor per channel that is a bare parameter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(width, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyNet:
    """How a network is built, and what is to be found in it."""

    build: Callable[[], nn.Module]
    cut: frozenset[str]
    """Layers whose output channels can be removed."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Layers that must stay as they are, besides the outputs: a part of the reason for each."""


def conv(
    width_in: int, width: int, size: int = 3, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(width_in, width, size, padding=size // 2, stride=stride, groups=groups)


def chain(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


def classifier(width: int, **parts: nn.Module) -> nn.Sequential:
    """``parts``, the mean over all places, and four logits."""
    end = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": nn.Linear(width, 4)}
    return chain(**parts, **end)


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def zero_padded(x: Tensor, body: nn.Module) -> Tensor:
    grown: Tensor = body(x) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    return grown


def gated(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, 1)
    return value * gate.sigmoid()


def attended(x: Tensor, attention: nn.Module) -> Tensor:
    mixed: Tensor = attention(x, x, x)[0].mean(1)
    return mixed


def overwritten(x: Tensor, all_channels: nn.Module, first_half: nn.Module) -> Tensor:
    y: Tensor = all_channels(x).clone()
    y[:, :8] = first_half(x)
    return y


def through_one(function: Callable[[Tensor], Tensor]) -> nn.Sequential:
    """A function between two convolutions."""
    return classifier(16, stem=conv(3, 16), relu=Relu(), f=Do(function), body=conv(16, 16))


def shared_layer() -> nn.Module:
    twice = conv(16, 16)
    return classifier(16, stem=conv(3, 16), a=Relu(), one=twice, b=Relu(), two=twice, c=Relu())


def tied_weights() -> nn.Module:
    one, two = conv(16, 16), conv(16, 16)
    two.weight = one.weight
    return classifier(16, stem=conv(3, 16), a=Relu(), one=one, b=Relu(), two=two)


def partly_frozen() -> nn.Module:
    net = plain()
    net.get_submodule("stem").requires_grad_(False)
    return net


def plain() -> nn.Module:
    return classifier(
        24, stem=conv(3, 16), n1=Norm(16), a=Relu(), body=conv(16, 24), n2=Norm(24), b=Relu()
    )


def residual() -> nn.Module:
    body = chain(up=conv(16, 24), n1=Norm(24), a=Relu(), down=conv(24, 16), n2=Norm(16))
    block = Do(lambda x, f: x + f(x), f=body)
    return classifier(16, stem=conv(3, 16), n=Norm(16), a=Relu(), block=block, b=Relu())


def dense_block() -> nn.Module:
    def grow(width: int) -> nn.Module:
        layer = chain(n=Norm(width), a=Relu(), conv=conv(width, 8))
        return Do(lambda x, f: torch.cat([x, f(x)], 1), f=layer)

    return classifier(
        40, stem=conv(3, 16), one=grow(16), two=grow(24), three=grow(32), n=Norm(40), a=Relu()
    )


def squeeze_excite() -> nn.Module:
    gate = chain(p=nn.AdaptiveAvgPool2d(1), in_=conv(16, 8, 1), a=Relu(), out=conv(8, 16, 1))
    scale = Do(lambda x, f: x * f(x).sigmoid(), gate=gate)
    return classifier(16, stem=conv(3, 16), a=Relu(), scale=scale, body=conv(16, 16), b=Relu())


def u_net() -> nn.Module:
    down = chain(conv=conv(16, 24, stride=2), a=Relu())
    level = Do(
        lambda x, d, u: torch.cat([x, u(d(x))], 1),
        down=down,
        up=nn.ConvTranspose2d(24, 16, 2, stride=2),
    )
    return classifier(16, stem=conv(3, 16), a=Relu(), level=level, b=Relu(), body=conv(32, 16))


def flattened(view: Callable[[Tensor], Tensor]) -> nn.Module:
    return chain(
        stem=conv(3, 8), n=Norm(8), a=Relu(), p=nn.MaxPool2d(4), flat=Do(view),
        hidden=nn.Linear(128, 32), b=Relu(), head=nn.Linear(32, 4),
    )  # fmt: skip


def over(norm: Callable[[int], nn.Module]) -> nn.Module:
    return classifier(24, stem=conv(3, 16), n1=norm(16), a=Relu(), body=conv(16, 24), b=Relu())


def grouped_over_two(left: int, right: int) -> nn.Module:
    two = Do(lambda x, a, b: torch.cat([a(x), b(x)], 1), left=conv(3, left), right=conv(3, right))
    return classifier(32, two=two, a=Relu(), body=conv(left + right, 32, groups=4), b=Relu())


def zero_padded_shortcut() -> nn.Module:
    body = chain(up=conv(16, 32, stride=2), n1=Norm(32), a=Relu(), same=conv(32, 32), n2=Norm(32))
    return classifier(
        24, stem=conv(3, 16), n=Norm(16), a=Relu(), block=Do(zero_padded, body=body), b=Relu(),
        body=conv(32, 24), c=Relu(),
    )  # fmt: skip


def net(build: Callable[[], nn.Module], *cut: str, **left: str) -> TinyNet:
    """A row of the table; in ``left``, two underscores stand for a dot."""
    reasons = {name.replace("__", "."): reason for name, reason in left.items()}
    return TinyNet(build=build, cut=frozenset(cut), left=reasons)


MISREAD: Final = "differs from the dense one"
BREAKS: Final = "no longer runs"
UNEVEN: Final = "units of equal size"

TINY_NETS: Final[Mapping[str, TinyNet]] = {
    "plain": net(plain, "stem", "body"),
    "partly frozen": net(partly_frozen, "stem", "body"),
    "residual": net(residual, "stem", "block.f.up", "block.f.down"),
    "zero-padded shortcut": net(
        zero_padded_shortcut, "block.body.up", "body", stem=MISREAD, block__body__same=MISREAD
    ),
    "dense block": net(dense_block, "stem", "one.f.conv", "two.f.conv", "three.f.conv"),
    "squeeze and excite": net(squeeze_excite, "stem", "body", "scale.gate.in_", "scale.gate.out"),
    "u-net": net(u_net, "stem", "body", "level.down.conv", "level.up"),
    "shared layer": net(shared_layer, "stem", "one"),
    "tied weights": net(tied_weights, stem="share one", one="share one", two="share one"),
    "grouped": net(
        lambda: classifier(16, stem=conv(3, 16), n1=Norm(16), a=Relu(), mid=conv(16, 32, groups=4),
                           n2=Norm(32), b=Relu(), body=conv(32, 16)),
        "stem", "body",
    ),
    "grouped twice": net(
        lambda: classifier(32, stem=conv(3, 16), a=Relu(), one=conv(16, 32, groups=8), b=Relu(),
                           two=conv(32, 32, groups=4), c=Relu()),
        "stem",
    ),
    "grouped over equal halves": net(lambda: grouped_over_two(16, 16), two__left=UNEVEN),
    "grouped over unequal halves": net(lambda: grouped_over_two(8, 24), two__left=UNEVEN),
    "depthwise": net(
        lambda: classifier(24, stem=conv(3, 16), n1=Norm(16), a=Relu(),
                           deep=conv(16, 16, groups=16), n2=Norm(16), b=Relu(),
                           body=conv(16, 24, 1)),
        "stem", "body",
    ),
    "depthwise, two per channel": net(
        lambda: classifier(24, stem=conv(3, 16), a=Relu(), deep=conv(16, 32, groups=16), b=Relu(),
                           body=conv(32, 24, 1)),
        "stem", "body",
    ),
    "flatten": net(lambda: flattened(lambda x: x.flatten(1)), "stem", "hidden"),
    "view of a fixed width": net(
        lambda: flattened(lambda x: x.view(-1, 8 * 16)), "hidden", stem=BREAKS
    ),
    "one PReLU per channel": net(lambda: over(nn.PReLU), "stem", "body"),
    "one PReLU": net(lambda: over(lambda _: nn.PReLU()), "stem", "body"),
    "BatchNorm without affine": net(lambda: over(lambda n: Norm(n, affine=False)), "stem", "body"),
    "InstanceNorm": net(lambda: over(lambda n: nn.InstanceNorm2d(n, affine=True)), "stem", "body"),
    "GroupNorm": net(lambda: over(lambda n: nn.GroupNorm(4, n)), "body", stem="n1 (GroupNorm)"),
    "LayerNorm": net(
        lambda: chain(p=nn.AvgPool2d(4), flat=nn.Flatten(), one=nn.Linear(48, 32),
                      n=nn.LayerNorm(32), a=nn.GELU(), two=nn.Linear(32, 16), b=Relu(),
                      head=nn.Linear(16, 4)),
        "two", one="n (LayerNorm)",
    ),
    "token mixer": net(
        lambda: chain(patch=conv(3, 16, 4, stride=4), t=Do(tokens), one=nn.Linear(16, 24),
                      a=nn.GELU(), two=nn.Linear(24, 16), m=Do(lambda x: x.mean(1)),
                      head=nn.Linear(16, 4)),
        "patch", "one", "two",
    ),
    "attention": net(
        lambda: chain(patch=conv(3, 16, 4, stride=4), t=Do(tokens),
                      mix=Do(attended, heads=nn.MultiheadAttention(16, 4, batch_first=True)),
                      head=nn.Linear(16, 4)),
        "patch", "mix.heads.query", "mix.heads.value", "mix.heads.output",
    ),
    "layer scale": net(lambda: over(LayerScale), "body", stem="a bare parameter"),
    "weight norm": net(
        lambda: classifier(24, stem=nn.utils.parametrizations.weight_norm(conv(3, 16)), a=Relu(),
                           body=conv(16, 24)),
        "stem", "body",
    ),
    "spatial dropout": net(lambda: over(lambda _: nn.Dropout2d(0.5)), "stem", "body"),
    "one dimension": net(
        lambda: chain(flat=nn.Flatten(2), stem=nn.Conv1d(3, 16, 3), n=nn.BatchNorm1d(16), a=Relu(),
                      body=nn.Conv1d(16, 24, 3), b=Relu(), p=nn.AdaptiveAvgPool1d(1),
                      flat2=nn.Flatten(), head=nn.Linear(24, 4)),
        "stem", "body",
    ),
    "channel shuffle": net(lambda: through_one(nn.ChannelShuffle(4)), "body", stem=MISREAD),
    "channels reversed": net(lambda: through_one(lambda x: x.flip(1)), "body", stem=MISREAD),
    "channels rolled": net(lambda: through_one(lambda x: x.roll(3, 1)), "body", stem=MISREAD),
    "mean over channels": net(
        lambda: through_one(lambda x: x - x.mean(1, keepdim=True)), "body", stem=MISREAD
    ),
    "softmax over channels": net(lambda: through_one(lambda x: x.softmax(1)), "body", stem=MISREAD),
    "two halves added": net(
        lambda: classifier(24, stem=conv(3, 32), a=Relu(),
                           f=Do(lambda x: x[:, :16] + x[:, 16:]), body=conv(16, 24)),
        "body", stem=UNEVEN,
    ),
    "gated by its other half": net(
        lambda: classifier(16, stem=conv(3, 32), f=Do(gated), body=conv(16, 16)),
        "body", stem=UNEVEN,
    ),
    "half overwritten": net(
        lambda: classifier(16, two=Do(overwritten, full=conv(3, 16), part=conv(3, 8)), a=Relu(),
                           body=conv(16, 16)),
        "body", two__full=BREAKS, two__part=BREAKS,
    ),
    "input added": net(
        lambda: classifier(16, first=Do(lambda x, f: x + f(x), f=conv(3, 3)), body=conv(3, 16)),
        "body", first__f=BREAKS,
    ),
    "unused layer": net(
        lambda: Do(lambda x, f, _: f(x), used=plain(), spare=conv(3, 8)),
        "used.stem", "used.body", spare="not met",
    ),
}  # fmt: skip

CUTTABLE_NETS: Final = [name for name, tiny in TINY_NETS.items() if tiny.cut]


def made(name: str, *, seed: int = 0) -> nn.Module:
    """The network ``name``, with weights and statistics that are no two alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TINY_NETS[name].build()
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, Norm, nn.InstanceNorm2d, nn.PReLU)):
                for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                    if tensor.is_floating_point():
                        tensor.detach().uniform_(0.5, 1.5)
    return model.eval()


@cache
def found_in(name: str) -> Prunable:
    """What can be cut of the network ``name``; shared by the tests, which must not change it."""
    return prunable(made(name), EXAMPLE, seed=0)


def misread(group: ChannelGroup) -> ChannelGroup:
    """The group with its consumers' positions reversed."""
    slices = tuple(
        replace(s, positions=s.positions[::-1]) if s.role == "consumer" else s for s in group.slices
    )
    return replace(group, slices=slices)


def plain_net(name: str) -> nn.Module:
    """The network that the groups of ``found_in`` are about, for whoever wants to change it."""
    return copy.deepcopy(found_in(name).model)
