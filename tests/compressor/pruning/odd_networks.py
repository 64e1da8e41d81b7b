"""Networks on which a tracer can go wrong and the forward pass cannot: one per way of going wrong.

Here ``cut`` is what following the forward pass finds; everything else must stay, by name.
"""

import warnings
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.compressor.pruning.tiny_nets import (
    Do,
    Norm,
    Relu,
    TinyNet,
    chain,
    classifier,
    conv,
    net,
    tokens,
)


def shuffled(x: Tensor) -> Tensor:
    """The channel shuffle of ShuffleNet, with views."""
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def split_and_shuffled(x: Tensor, branch: nn.Module) -> Tensor:
    kept, changed = x.chunk(2, 1)
    return shuffled(torch.cat([kept, branch(changed)], 1))


def shuffle_unit() -> nn.Module:
    branch = chain(
        one=conv(8, 8, 1), n1=Norm(8), a=Relu(), deep=conv(8, 8, groups=8), n2=Norm(8),
        two=conv(8, 8, 1), n3=Norm(8), b=Relu(),
    )  # fmt: skip
    return classifier(16, stem=conv(3, 16), a=Relu(), unit=Do(split_and_shuffled, branch=branch))


class SelfAttention(nn.Module):
    """Queries, keys and values from one layer, as in timm, Swin and MaxViT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, t, c))
        return out


def perceptron(width: int, hidden: int) -> nn.Sequential:
    return chain(
        norm=nn.LayerNorm(width), up=nn.Linear(width, hidden), a=nn.GELU(), d=nn.Dropout(0.1),
        down=nn.Linear(hidden, width),
    )  # fmt: skip


def vision_transformer(attention: Callable[[], nn.Module]) -> nn.Module:
    block = chain(
        attend=Do(lambda x, f: x + f(x), f=attention()),
        think=Do(lambda x, f: x + f(x), f=perceptron(16, 32)),
    )
    return chain(
        patch=conv(3, 16, 4, stride=4), t=Do(tokens), block=block, norm=nn.LayerNorm(16),
        mean=Do(lambda x: x.mean(1)), head=nn.Linear(16, 4),
    )  # fmt: skip


def torch_attention() -> nn.Module:
    heads = nn.MultiheadAttention(16, 4, batch_first=True)
    return Do(lambda x, f: f(x, x, x)[0], mix=heads)


def own_weight_elsewhere(x: Tensor, one: nn.Conv2d, two: nn.Module) -> Tensor:
    """A weight that the convolution's own forward does not use alone."""
    y: Tensor = two(one(x).relu()) + one.weight.mean()
    return y


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, ::2] *= 2.0
    return y


def into_zeros(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :4] += x[:, 4:8]
    return y


def backwards(x: Tensor) -> Tensor:
    return x.flip(1)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecated, and in networks that people have
    _scripted: Final = torch.jit.script(backwards)


def scripted(x: Tensor) -> Tensor:
    y: Tensor = _scripted(x)
    return y  # a function of Python can be copied with its network


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """A function on 16 channels, followed by a unit whose inner width is private."""
    unit = chain(up=conv(16, 24, 1), n=Norm(24), b=Relu(), down=conv(24, 16, 1))
    return classifier(16, stem=conv(3, 16), a=Relu(), f=Do(function), unit=unit)


def gated_unit() -> nn.Module:
    gate = chain(p=nn.AdaptiveAvgPool2d(1), in_=conv(24, 8, 1), a=Relu(), out=conv(8, 24, 1))
    body = chain(
        up=conv(16, 24, 1), n1=Norm(24), a=nn.Hardswish(), deep=conv(24, 24, groups=24),
        n2=Norm(24), b=nn.Hardswish(), scale=Do(lambda x, f: x * f(x).sigmoid(), gate=gate),
        down=conv(24, 16, 1),
    )  # fmt: skip
    block = Do(lambda x, f: torch.cat([x, f(x)], 1), f=body)
    return classifier(32, stem=conv(3, 16), a=Relu(), block=block)


def up_again() -> nn.Module:
    return classifier(
        8, stem=conv(3, 16), n=Norm(16), a=Relu(), up=nn.ConvTranspose2d(16, 24, 2, stride=2),
        b=Relu(), down=conv(24, 8), c=Relu(),
    )  # fmt: skip


INNER: Final = ("unit.up", "unit.down")

ODD_NETWORKS: Final = {
    "shuffle unit": net(shuffle_unit, "unit.branch.one", stem="chunk()", unit__branch__two="cat()"),
    "attention of one layer": net(
        lambda: vision_transformer(lambda: SelfAttention(16, 4)), "block.think.f.up",
        block__attend__f__qkv="reshape()", block__attend__f__proj="layer_norm()",
        patch="layer_norm()",
    ),
    "torch's attention": net(
        lambda: vision_transformer(torch_attention), "block.think.f.up",
        block__attend__f__mix__out_proj="multi_head_attention_forward()",
        patch="multi_head_attention_forward()",
    ),
    "inverted residual": net(
        gated_unit, "block.f.up", "block.f.scale.gate.in_", "block.f.scale.gate.out",
        stem="cat()", block__f__down="cat()",
    ),
    "transposed convolution": net(up_again, "stem", "up", "down"),
    "weight used elsewhere": net(
        lambda: classifier(16, f=Do(own_weight_elsewhere, one=conv(3, 8), two=conv(8, 16)),
                           b=Relu(), body=conv(16, 16)),
        "f.two", "body", f__one="mean()",
    ),
    "shuffled by views": net(lambda: between(shuffled), *INNER, stem="view()"),
    "shuffled": net(lambda: between(nn.ChannelShuffle(4)), *INNER, stem="channel_shuffle()"),
    "flipped": net(lambda: between(lambda x: x.flip(1)), *INNER, stem="flip()"),
    "flipped, dimensions one by one": net(
        lambda: between(lambda x: x.flip(2, 1)), *INNER, stem="flip()"
    ),
    "rolled": net(lambda: between(lambda x: x.roll(1, 1)), *INNER, stem="roll()"),
    "rolled as one": net(lambda: between(lambda x: x.roll(1)), *INNER, stem="roll()"),
    "written in part": net(lambda: between(in_place), *INNER, stem="item()"),
    "written into zeros": net(lambda: between(into_zeros), *INNER, stem="getitem()"),
    "TorchScript inside": net(lambda: between(scripted), *INNER, stem="aten.flip"),
    "sorted": net(lambda: between(lambda x: x.sort(1).values), *INNER, stem="sort()"),
    "cumulated": net(lambda: between(lambda x: x.cumsum(1)), *INNER, stem="cumsum()"),
    "multiplied as a matrix": net(
        lambda: between(lambda x: torch.einsum("nchw,cd->ndhw", x, torch.eye(16).roll(1, 0))),
        *INNER, stem="einsum()",
    ),
    "softmax over all": net(
        lambda: between(lambda x: x.flatten(1).softmax(1).view_as(x)), *INNER, stem="softmax()"
    ),
    "local response": net(lambda: between(nn.LocalResponseNorm(3)), *INNER, stem="()"),
    "pixels from channels": net(
        lambda: between(lambda x: functional.pixel_unshuffle(functional.pixel_shuffle(x, 2), 2)),
        *INNER, stem="pixel_shuffle()",
    ),
    "gated linear unit": net(
        lambda: classifier(8, stem=conv(3, 16), a=nn.GLU(1), up=conv(8, 24), b=Relu(),
                           down=conv(24, 8), c=Relu()),
        "up", "down", stem="glu()",
    ),
    "scaled by its width": net(
        lambda: classifier(24, stem=conv(3, 16), f=Do(lambda x: x / x.shape[1]), a=Relu(),
                           body=conv(16, 24), b=Relu()),
        "body", stem="differs from the dense one",
    ),
    "spatial only": net(
        lambda: between(lambda x: functional.interpolate(x.flip(2).roll(1, 3)[:, :, ::2],
                                                         scale_factor=2.0).softmax(3)),
        "stem", *INNER,
    ),
}  # fmt: skip


def build(name: str) -> nn.Module:
    """The network ``name``, with normalisations that are no two alike."""
    found: TinyNet = ODD_NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = found.build()
        for module in model.modules():
            if isinstance(module, Norm):
                for value in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert value is not None
                    value.detach().uniform_(0.5, 1.5)
    return model.eval()
