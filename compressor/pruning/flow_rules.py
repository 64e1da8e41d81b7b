"""What torch's functions do with the channels in each dimension of their tensors.

A rule must be right for every use of its function that it does not refer to ``unknown``. What
counts is this: if a channel goes from what the function reads, exactly this channel goes from what
it returns, and the others stay as they were.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from compressor.pruning.assembly import CUTTABLE, is_depthwise
from compressor.pruning.dataflow import Axes, Axis, Call, Flow, unknown
from compressor.pruning.flow_layouts import indexed, joined, reordered, reshaped

Rule = Callable[[Flow, Call], None]


def _pointwise(flow: Flow, call: Call) -> None:
    """Each value of the result depends on the values at its place in the operands alone."""
    if isinstance(call.out, Tensor):
        _broadcast(flow, call, call.tensors)
    else:
        unknown(flow, call)


def _expanded(flow: Flow, call: Call) -> None:
    """As pointwise, but what follows the first tensor says no more than a shape."""
    _broadcast(flow, call, call.tensors[:1])


def _broadcast(flow: Flow, call: Call, operands: Sequence[Tensor]) -> None:
    for tensor in operands:
        flow.block_owner(tensor, f"{call.name}()")
    axes: Axes = {}
    for dim, size in enumerate(call.out.shape):
        met: list[Axis] = []
        fixed = False
        for tensor in operands:
            own = dim - call.out.dim() + tensor.dim()
            if own < 0:
                continue
            axis = flow.axes(tensor).get(own)
            if axis is None:
                fixed = fixed or tensor.shape[own] != 1
            elif tensor.shape[own] == size:
                met.append(axis)
            else:
                flow.block(axis.node, f"{call.name}() with more channels")
        if met:
            axes[dim] = met[0]
            flow.same(met, reason=f"{call.name}() with fixed channels", fixed=fixed)
    flow.set(call.out, axes)


def _weighted(flow: Flow, call: Call, *, dim_of: Callable[[Tensor], int], mixes: bool) -> None:
    """A linear layer or a convolution: it reads all channels of one dimension and makes others."""
    x, weight, bias = (call.arg(0, "input"), call.arg(1, "weight"), call.arg(2, "bias"))
    name = flow.owner(weight, "weight")
    module: Any = flow.modules[name] if name is not None else None
    if (
        name is None
        or not isinstance(module, CUTTABLE)
        or bias is not module.bias
        or x.shape[dim_of(x)] != getattr(module, "in_channels", getattr(module, "in_features", 0))
    ):
        unknown(flow, call)
        return
    axes = dict(flow.axes(x))
    axis = axes.pop(dim_of(x), None)
    if mixes:
        for other in axes.values():
            flow.block(other.node, f"{call.name}() over its place")
        axes = {}
    if is_depthwise(module):
        flow.meet(("both", name), axis)
        made = axis
    else:
        flow.meet(("in", name), axis)
        made = Axis(("out", name))
    flow.set(call.out, axes if made is None else {**axes, dim_of(call.out): made})


def _linear(flow: Flow, call: Call) -> None:
    _weighted(flow, call, dim_of=lambda x: x.dim() - 1, mixes=False)


def _convolution(flow: Flow, call: Call) -> None:
    rank = next(int(c) for c in call.name if c.isdigit())
    _weighted(flow, call, dim_of=lambda x: x.dim() - rank - 1, mixes=True)


def _normalisation(flow: Flow, call: Call) -> None:
    """BatchNorm and InstanceNorm: each channel, dimension 1, with statistics of its own."""
    names = ("running_mean", "running_var", "weight", "bias")
    _per_channel(flow, call, {name: call.arg(i, name) for i, name in enumerate(names, start=1)})


def _prelu(flow: Flow, call: Call) -> None:
    weight = call.arg(1, "weight")
    if weight.numel() == 1:
        _expanded(flow, call)
    else:
        _per_channel(flow, call, {"weight": weight})


def _per_channel(flow: Flow, call: Call, own: Mapping[str, Tensor | None]) -> None:
    x = call.arg(0, "input")
    owners = {flow.owner(value, tensor) for tensor, value in own.items() if value is not None}
    axes = flow.axes(x)
    if len(owners) > 1 or None in owners or set(axes) - {1}:
        unknown(flow, call)
        return
    for name in owners:
        assert name is not None
        if not isinstance(flow.modules[name], CUTTABLE) or (1 in axes and axes[1].spread != 1):
            unknown(flow, call)
            return
        flow.meet(("both", name), axes.get(1))
    flow.set(call.out, axes)


def _spatial(flow: Flow, call: Call) -> None:
    """Pooling and resizing: each channel, dimension 1, alone."""
    x = call.tensors[0]
    ranks = [int(c) for c in call.name if c.isdigit()] or [x.dim() - 2]
    one = isinstance(call.out, Tensor) and x.dim() == ranks[0] + 2
    if not one or set(flow.axes(x)) - {1}:
        unknown(flow, call)
    else:
        flow.set(call.out, flow.axes(x))


def _over(position: int, name: str, default: int | None = None) -> Rule:
    """Functions that mix values along the dimensions given as this argument, and no others."""

    def rule(flow: Flow, call: Call) -> None:
        x = call.tensors[0]
        given = call.arg(position, name)
        dims = _dims(default if given is None else given, x)
        axes = flow.axes(x)
        outs = list(call.out) if isinstance(call.out, (tuple, list)) else [call.out]
        if dims is None or dims & set(axes) or not all(isinstance(o, Tensor) for o in outs):
            unknown(flow, call)
            return
        for out in outs:
            gone = dims if out.dim() < x.dim() else set()
            flow.set(out, {d - sum(g < d for g in gone): axis for d, axis in axes.items()})

    return rule


def _flipped(flow: Flow, call: Call) -> None:
    if len(call.args) > 2:  # Tensor.flip takes its dimensions one by one too
        unknown(flow, call)
    else:
        _over(1, "dims")(flow, call)


def _dims(given: object, x: Tensor) -> set[int] | None:
    if isinstance(given, int) and not isinstance(given, bool):
        return {given % x.dim()}
    if isinstance(given, (tuple, list)) and given and all(isinstance(d, int) for d in given):
        return {d % x.dim() for d in given}
    return None


def _layer_norm(flow: Flow, call: Call) -> None:
    x, shape = call.arg(0, "input"), call.arg(1, "normalized_shape")
    if any(dim >= x.dim() - len(shape) for dim in flow.axes(x)):
        unknown(flow, call)
    else:
        flow.set(call.out, flow.axes(x))


def _pad(flow: Flow, call: Call) -> None:
    x, sizes = call.arg(0, "input"), call.arg(1, "pad")
    padded = {x.dim() - 1 - i // 2 for i, size in enumerate(sizes) if size}
    if padded & set(flow.axes(x)):
        unknown(flow, call)
    else:
        flow.set(call.out, flow.axes(x))


_POINTWISE: Final = (
    "abs add alpha_dropout celu clamp clone contiguous detach div dropout dropout1d dropout2d "
    "dropout3d elu erf exp feature_alpha_dropout float gelu hardsigmoid hardswish hardtanh iadd "
    "idiv imul isub itruediv leaky_relu log mish mul multiply neg pow radd relu relu6 rmul rsqrt "
    "rsub rtruediv selu sigmoid silu softplus softsign sqrt square sub subtract tanh threshold to "
    "true_divide truediv where"
)
_SPATIAL: Final = (
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d interpolate "
    "lp_pool2d max_pool1d max_pool2d max_pool3d"
)

RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_POINTWISE.split(), _pointwise),
    **dict.fromkeys(_SPATIAL.split(), _spatial),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "std", "var"), _over(1, "dim")),
    **dict.fromkeys(("softmax", "log_softmax"), _over(1, "dim")),
    **dict.fromkeys(
        ("permute", "transpose", "swapaxes", "swapdims", "movedim", "T", "mT"), reordered
    ),
    **dict.fromkeys(("flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view"), reshaped),
    **dict.fromkeys(("expand", "expand_as"), _expanded),
    **dict.fromkeys(("cat", "concat", "concatenate"), joined),
    **dict.fromkeys(("batch_norm", "instance_norm"), _normalisation),
    **{f"conv{n}d": _convolution for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _convolution for n in (1, 2, 3)},
    "chunk": _over(2, "dim", 0),
    "split": _over(2, "dim", 0),
    "flip": _flipped,
    "roll": _over(2, "dims"),
    "normalize": _over(2, "dim", 1),
    "getitem": indexed,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "pad": _pad,
    "prelu": _prelu,
}
"""Per function name; a function that is not here is ``unknown``."""
