"""Find channels that are private to a few layers, by following one forward pass.

The fallback for networks on which torch-pruning raises, does not end or is wrong. Every call of a
torch function is seen (``TorchFunctionMode``); ``flow_rules`` knows what some of them do with each
dimension of their tensors, and a channel that meets any other function stays. So what is found is
right by construction, whatever the network's modules are called: the inner widths of multilayer
perceptrons, of inverted residuals and their squeeze-and-excitation, of a shuffle unit's branches.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.pruning.assembly import CUTTABLE, RawGroup, Touch, is_grouped

Node = tuple[Literal["in", "out", "both"], str]
"""One side of a module's channels; "both" where it acts on each channel alone."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What a dimension of a tensor holds: channel c at positions ``c * spread`` and on."""

    node: Node
    spread: int = 1


Axes = dict[int, Axis]
"""Per dimension of a tensor, whose channels it holds; other dimensions are not followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a torch function."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any

    def arg(self, position: int, name: str) -> Any:  # noqa: ANN401 # of any type
        """The argument, however it was given; None where it was not."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name)

    @property
    def tensors(self) -> list[Tensor]:
        return list(tensors_in((self.args, dict(self.kwargs))))


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts, and in the fields of a dataclass."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "__dataclass_fields__"):
        yield from tensors_in([getattr(value, name) for name in value.__dataclass_fields__])


@dataclass(slots=True)
class Flow:
    """Which channels are the same channels, and which must stay."""

    modules: Mapping[str, nn.Module]
    _axes: dict[int, Axes] = field(default_factory=dict)
    _alive: list[Tensor] = field(default_factory=list)
    """The followed tensors: while they live, no other tensor has their id."""
    _parent: dict[Node, Node] = field(default_factory=dict)
    _spread: dict[Node, int] = field(default_factory=dict)
    _blocked: dict[Node, list[str]] = field(default_factory=dict)
    _outputs: set[Node] = field(default_factory=set)
    _owners: dict[int, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, module in self.modules.items():
            own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            for tensor, value in own:
                self._owners.setdefault(id(value), (name, tensor))

    def axes(self, tensor: Tensor) -> Axes:
        return self._axes.get(id(tensor), {})

    def set(self, tensor: Tensor, axes: Axes) -> None:
        self._alive.append(tensor)
        self._axes[id(tensor)] = axes

    def owner(self, value: object, tensor: str) -> str | None:
        """The module that has ``value`` as its ``tensor``, if any."""
        name, found = self._owners.get(id(value), ("", ""))
        return name if found == tensor else None

    def meet(self, node: Node, axis: Axis | None) -> None:
        """A module's side has the channels of ``axis``, or fixed ones."""
        if axis is None:
            self.block(node, "channels that are fixed")
        elif self._spread.setdefault(node, axis.spread) != axis.spread:
            self.block(node, "two layouts of its channels")
            self.block(axis.node, "two layouts of its channels")
        else:
            self.join(node, axis.node)

    def join(self, one: Node, other: Node) -> None:
        self._parent[self._first(one)] = self._first(other)

    def same(self, axes: Sequence[Axis], *, reason: str, fixed: bool) -> None:
        """These axes hold the same channels, or none of them may lose any."""
        for axis in axes:
            if fixed or axis.spread != axes[0].spread:
                self.block(axis.node, reason)
            self.join(axes[0].node, axis.node)

    def block(self, node: Node, reason: str) -> None:
        """The channels of ``node`` stay."""
        self._first(node)
        self._blocked.setdefault(node, []).append(reason)

    def block_all(self, tensors: Iterable[Tensor], reason: str) -> None:
        """What ``tensors`` hold stays, and where they are weights, what their owners have."""
        for tensor in tensors:
            for axis in self.axes(tensor).values():
                self.block(axis.node, reason)
            self.block_owner(tensor, reason)

    def block_owner(self, tensor: Tensor, reason: str) -> None:
        if id(tensor) in self._owners:
            name, _ = self._owners[id(tensor)]
            for side in ("out", "in", "both"):
                self.block((side, name), reason)

    def end(self, output: object) -> None:
        """What the network returns has fixed channels."""
        for tensor in tensors_in(output):
            self._outputs.update(axis.node for axis in self.axes(tensor).values())

    def raw_groups(self) -> list[RawGroup]:
        """What was followed, in the order in which it was met."""
        together: dict[Node, list[Node]] = {}
        for node in self._parent:
            if isinstance(self.modules[node[1]], CUTTABLE):
                together.setdefault(self._first(node), []).append(node)
        raw = (self._raw(nodes) for nodes in together.values())
        return [group for group in raw if group is not None]

    def _raw(self, nodes: list[Node]) -> RawGroup | None:
        made = [name for side, name in nodes if side == "out"]
        # An input that is fixed ties the output of a grouped convolution, and matters to no other.
        tied = [n for side, n in nodes if side == "in" and is_grouped(self.modules[n])]
        if not made and not tied:
            return None
        root = (made or tied)[0]
        width = _width("out" if made else "in", self.modules[root])
        return RawGroup(
            root=root,
            width=width,
            touches=tuple(self._touch(node, width) for node in nodes),
            reaches_output=not self._outputs.isdisjoint(nodes),
            foreign=tuple(dict.fromkeys(r for n in nodes for r in self._blocked.get(n, ()))),
        )

    def _touch(self, node: Node, width: int) -> Touch:
        side, name = node
        spread = self._spread.get(node, 1)
        return Touch(
            module=name,
            side=side,
            positions=tuple(range(width * spread)),
            roots=tuple(p // spread for p in range(width * spread)),
        )

    def _first(self, node: Node) -> Node:
        while self._parent.setdefault(node, node) != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node


def _width(side: str, module: Any) -> int:  # noqa: ANN401 # torch layers by their fields
    linear = isinstance(module, nn.Linear)
    size = f"{side}_features" if linear else f"{side}_channels"
    width: int = getattr(module, size)
    return width


_ABOUT: Final = frozenset([
    "device", "dim", "dtype", "element_size", "is_complex", "is_contiguous", "is_cuda",
    "is_floating_point", "is_leaf", "is_meta", "is_mps", "is_nested", "is_quantized",
    "is_sparse", "is_xpu", "layout", "len", "ndim", "ndimension", "numel", "requires_grad",
    "shape", "size", "stride",
])  # fmt: skip
"""Questions about a tensor whose answers do not depend on its values."""


class Follow(TorchFunctionMode):
    """Tell ``rules`` of every call of a torch function."""

    def __init__(self, flow: Flow, rules: Mapping[str, Callable[[Flow, Call], None]]) -> None:
        super().__init__()
        self.inside = 0
        self._flow, self._rules = flow, rules

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        self.inside += 1
        try:
            out = func(*args, **(kwargs or {}))
        finally:
            self.inside -= 1
        name = _name(func)
        if name not in _ABOUT:
            call = Call(name=name, function=func, args=args, kwargs=kwargs or {}, out=out)
            self._rules.get(name, unknown)(self._flow, call)
        return out


def unknown(flow: Flow, call: Call) -> None:
    """The rule for every function without one: whatever channels it meets stay."""
    flow.block_all(call.tensors, f"{call.name}()")


class Unseen(TorchDispatchMode):
    """The net below ``Follow``: channels that meet an operation behind its back stay.

    TorchScript functions and extensions call operators without the functions that have names.
    """

    def __init__(self, flow: Flow, above: Follow) -> None:
        super().__init__()
        self._flow, self._above = flow, above

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        if not self._above.inside:
            self._flow.block_all(tensors_in((args, kwargs)), f"{func}")
        return func(*args, **(kwargs or {}))


def _name(function: Any) -> str:  # noqa: ANN401 # builtins, methods, getters of properties
    """``relu`` for ``torch.relu``, ``Tensor.relu_`` and the like; ``add`` for ``__add__``."""
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        name = function.__self__.__name__
    return name.strip("_")


def follow(
    model: nn.Module, example: Tensor, rules: Mapping[str, Callable[[Flow, Call], None]]
) -> list[RawGroup]:
    """The groups of ``model`` as one forward pass shows them; blocked ones with their reasons."""
    flow = Flow(modules=dict(model.named_modules()))
    above = Follow(flow, rules)
    with torch.no_grad(), Unseen(flow, above), above:
        output = model(example)
    flow.end(output)
    return flow.raw_groups()
