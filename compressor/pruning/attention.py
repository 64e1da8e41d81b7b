"""Attention whose heads may lose dimensions.

``nn.MultiheadAttention`` keeps queries, keys and values in one weight and its width in Python
numbers; timm's ``Attention``, and those written after it, split one layer's output by such numbers.
Neither runs once a dimension is gone. ``SelfAttention`` computes the same with one linear layer
for each, and reads its widths off them, so that queries and keys may be narrower than values.

Two kinds of units can go. A dimension of queries and keys is a term of every score
``q . k = sum_d q_d k_d``: whoever zeroes the key has removed the term. A dimension of the values is
read by the output layer, as any channel is by the next. Each unit takes one dimension from every
head, because all heads of a layer are one tensor.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.pruning.conversions import copied
from compressor.pruning.groups import ChannelGroup, Role, Slice
from compressor.wording import few

_EQUAL: Final = 1e-5
"""Largest difference to what was replaced, relative to the largest value; float32 leaves 1e-6."""

_Ends = Sequence[tuple[nn.Linear, int, Role]]
"""Layers with the dimension of their weights that a unit is cut from."""


class SelfAttention(nn.Module):
    """Multi-head attention of plain layers.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.2: ``softmax(q k^T * scale) v`` per head. The
    scale stays what it was when the heads were whole.
    """

    batch_first: Final = False
    """``nn.TransformerEncoderLayer`` computes past the modules whose attention says True here."""

    def __init__(
        self,
        layers: tuple[nn.Linear, nn.Linear, nn.Linear, nn.Linear],
        *,
        heads: int,
        scale: float,
        dropout: float,
        sequence_first: bool,
        returns_pair: bool,
    ) -> None:
        """Of layers for queries, keys, values and the output.

        Args:
            layers: the first three give ``heads`` times as many features as a head has dimensions.
            heads: number of heads.
            scale: of the scores.
            dropout: of the softmax, in training.
            sequence_first: whether inputs are [places n features], not [n places features].
            returns_pair: whether None follows the output, in the place of averaged scores.
        """
        super().__init__()
        self.query, self.key, self.value, self.output = layers
        self.heads, self.scale, self.dropout = heads, scale, dropout
        self.sequence_first, self.returns_pair = sequence_first, returns_pair

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        **options: Any,  # noqa: ANN401 # of nn.MultiheadAttention
    ) -> Tensor | tuple[Tensor, None]:
        """What the replaced attention returns for inputs [n places features] without masks.

        Raises:
            ValueError: a mask was given.
        """
        if options.get("attn_mask") is not None or options.get("key_padding_mask") is not None:
            raise ValueError("a mask was given, and this attention takes none")
        key = query if key is None else key
        value = key if value is None else value
        parts = (self.query(query), self.key(key), self.value(value))
        q, k, v = (self._by_head(part) for part in parts)
        mixed = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0, scale=self.scale
        )
        joined = mixed.transpose(1, 2).flatten(2)
        made: Tensor = self.output(joined.transpose(0, 1) if self.sequence_first else joined)
        return (made, None) if self.returns_pair else made

    def _by_head(self, part: Tensor) -> Tensor:
        """Features [n places (head dim)] as [n head places dim]."""
        batch_first = part.transpose(0, 1) if self.sequence_first else part
        split: Tensor = batch_first.unflatten(2, (self.heads, -1))
        return split.transpose(1, 2)


def with_plain_attention(model: nn.Module, example: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    """``model`` with ``SelfAttention`` wherever that answers the same, and what was replaced.

    Args:
        model: a network that runs on ``example``; not changed, but returned if there is nothing.
        example: inputs [n c h w].
    """
    seen = _calls(model, example)
    made = {name: plain for name, call in seen.items() if (plain := _replacement(call)) is not None}
    if not made:
        return model, ()
    network = copied(model)
    for name, attention in made.items():
        network.set_submodule(name, attention.train(model.get_submodule(name).training))
    return network, (
        f"attention has a layer each for queries, keys, values and output: {few(made)}",
    )


def attention_groups(model: nn.Module) -> tuple[ChannelGroup, ...]:
    """The dimensions that heads can lose: of queries with keys, and of values.

    Unit u takes from each head its dimension of rank u by weight, so that no head gives up a
    strong one because another's at the same place is weak.
    """
    groups: list[ChannelGroup] = []
    for name, module in model.named_modules():
        if isinstance(module, SelfAttention):
            scores: _Ends = ((module.query, 0, "producer"), (module.key, 0, "consumer"))
            values: _Ends = ((module.value, 0, "producer"), (module.output, 1, "consumer"))
            groups += [
                group
                for ends in (scores, values)
                if (group := _group(name, module, ends)) is not None
            ]
    return tuple(groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call of an attention module, and what it returned."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: object


def _calls(model: nn.Module, example: Tensor) -> dict[str, _Call]:
    """The last call of every module that may be replaced."""
    seen: dict[str, _Call] = {}
    network = copied(model).eval()

    def remember(name: str) -> Any:  # noqa: ANN401 # a hook
        def hook(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
        ) -> None:
            seen[name] = _Call(module=module, args=args, kwargs=kwargs, output=output)

        return hook

    found = False
    for name, module in network.named_modules():
        if name and any(kind(module) for kind in _KINDS):
            module.register_forward_hook(remember(name), with_kwargs=True)
            found = True
    if found:
        with torch.no_grad():
            network(example[:2])
    return seen


def _replacement(call: _Call) -> SelfAttention | None:
    """The plain form of a module, if it answers the same."""
    kind = next(kind for kind in _KINDS if kind(call.module))
    made = _KINDS[kind](call.module).eval()
    try:
        with torch.no_grad():
            output = made(*call.args, **call.kwargs)
    except (RuntimeError, TypeError, ValueError):
        return None  # called in a way of its own: with a mask, or windows beside the batch
    expected, found = (_first(value) for value in (call.output, output))
    if expected is None or found is None or expected.shape != found.shape:
        return None
    scale = float(expected.abs().max())
    return made if float((expected - found).abs().max()) <= _EQUAL * scale else None


def _first(output: object) -> Tensor | None:
    value = output[0] if isinstance(output, tuple) and output else output
    return value if isinstance(value, Tensor) else None


def _is_torch(module: Any) -> bool:  # noqa: ANN401 # by its fields
    """``nn.MultiheadAttention`` without what would be added to keys and values."""
    return (
        type(module) is nn.MultiheadAttention
        and module._qkv_same_embed_dim  # noqa: SLF001 # one weight for all three
        and module.bias_k is None
        and not module.add_zero_attn
    )


def _of_torch(module: Any) -> SelfAttention:  # noqa: ANN401 # by its fields
    weights = module.in_proj_weight.chunk(3)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    query, key, value = (_linear(w, b) for w, b in zip(weights, biases, strict=True))
    return SelfAttention(
        (query, key, value, _linear(module.out_proj.weight, module.out_proj.bias)),
        heads=module.num_heads,
        scale=1.0 / math.sqrt(module.head_dim),
        dropout=float(module.dropout),
        sequence_first=not module.batch_first,
        returns_pair=True,
    )


def _is_fused(module: Any) -> bool:  # noqa: ANN401 # by its fields
    """The ``Attention`` of vision transformers since timm: one layer ``qkv``, then ``proj``."""
    own = [name for name, child in module.named_children() if not isinstance(child, _NO_CHANGE)]
    qkv, proj = getattr(module, "qkv", None), getattr(module, "proj", None)
    return (
        sorted(own) == ["proj", "qkv"]
        and not list(module.parameters(recurse=False))
        and isinstance(qkv, nn.Linear)
        and isinstance(proj, nn.Linear)
        and qkv.out_features == 3 * proj.in_features
        and isinstance(getattr(module, "num_heads", None), int)
        and isinstance(getattr(module, "scale", None), float)
        and not _drops(getattr(module, "proj_drop", None))
    )


def _of_fused(module: Any) -> SelfAttention:  # noqa: ANN401 # by its fields
    weights = module.qkv.weight.chunk(3)
    biases = (None,) * 3 if module.qkv.bias is None else module.qkv.bias.chunk(3)
    query, key, value = (_linear(w, b) for w, b in zip(weights, biases, strict=True))
    return SelfAttention(
        (query, key, value, _linear(module.proj.weight, module.proj.bias)),
        heads=module.num_heads,
        scale=module.scale,
        dropout=_drops(getattr(module, "attn_drop", None)),
        sequence_first=False,
        returns_pair=False,
    )


_NO_CHANGE: Final = (nn.Identity, nn.Dropout)
"""Modules that do nothing when a network answers."""

_KINDS: Final[dict[Callable[[Any], bool], Callable[[Any], SelfAttention]]] = {
    _is_torch: _of_torch,
    _is_fused: _of_fused,
}
"""What is replaced, and by what; whether the two are equal is tried on an example."""


def _drops(dropout: object) -> float:
    return float(dropout.p) if isinstance(dropout, nn.Dropout) else 0.0


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return layer


def _group(name: str, module: SelfAttention, ends: _Ends) -> ChannelGroup | None:
    """One unit per dimension of a head; None where a head has a single one."""
    names = {id(layer): f"{name}.{own}" for own, layer in module.named_children()}
    ranked = _ranked([(layer.weight.detach(), dim) for layer, dim, _ in ends], heads=module.heads)
    if len(ranked) < 2:
        return None
    return ChannelGroup(
        name=names[id(ends[0][0])],
        units=tuple(range(len(ranked))),
        channels_per_unit=1,  # kernels want the width of a head aligned, not that of all of them
        slices=tuple(
            Slice(module=names[id(layer)], tensor=tensor, dim=where, role=role, positions=ranked)
            for layer, dim, role in ends
            for tensor, where in _tensors(layer, dim)
        ),
    )


def _tensors(layer: nn.Linear, dim: int) -> Iterator[tuple[str, int]]:
    yield "weight", dim
    if dim == 0 and layer.bias is not None:
        yield "bias", 0


def _ranked(weights: Sequence[tuple[Tensor, int]], *, heads: int) -> tuple[tuple[int, ...], ...]:
    """Per unit, one position of each head: dimensions of equal rank by the product of norms."""
    norms = [weight.float().norm(dim=1 - dim) for weight, dim in weights]
    strength = torch.stack(norms).prod(0).unflatten(0, (heads, -1))  # [head dim]
    order = strength.argsort(dim=1, descending=True, stable=True)
    positions = order + order.shape[1] * torch.arange(heads)[:, None]
    return tuple(tuple(sorted(unit)) for unit in positions.T.tolist())
