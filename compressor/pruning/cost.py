"""What a network weighs and computes, counted on the network itself."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

TensorName = tuple[str, str]
"""A tensor by (module, tensor) name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Parameters and multiply-adds of one network."""

    params: int
    macs: int
    """Multiply-adds for one image (one multiply-add counts as one)."""


def cost(model: nn.Module, example: Tensor) -> Cost:
    """Count ``model`` on one image of ``example`` [n c h w].

    Convolutions, linear layers and attention products are counted as PyTorch executes them;
    normalisations, activations and additions are not.
    """
    twin = copy.deepcopy(model).eval()
    # Not inference_mode: counting takes some operations apart, which that mode forbids.
    with torch.no_grad(), _in_single_operations(), FlopCounterMode(display=False) as counter:
        twin(example[:1])
    return Cost(params=count_params(model), macs=int(counter.get_total_flops()) // 2)


def count_params(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def removed_share(dense: Cost, pruned: Cost) -> Mapping[str, float]:
    """Shares of parameters and multiply-adds that are gone, 0..1."""
    return {
        "params": 1.0 - pruned.params / dense.params,
        "macs": 1.0 - pruned.macs / dense.macs,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Where a network's multiply-adds for one image are spent."""

    by_weight: Mapping[TensorName, int]
    """In products with this weight, wherever it is used."""
    products: Mapping[str, int]
    """In products of two activations, as attention has them, by the module that makes them."""


def work(model: nn.Module, example: Tensor) -> Work:
    """Attribute what ``cost`` counts on one image of ``example`` [n c h w] to weights.

    A product with a weight is linear in each of the weight's dimensions, so that what a smaller
    network computes follows from shapes alone.
    """
    twin = copy.deepcopy(model).eval()
    weights = {
        value.untyped_storage().data_ptr(): (module, name)
        for module, layer in twin.named_modules()
        for name, value in layer.named_parameters(recurse=False)
    }
    running: list[str] = []
    handles = [
        handle for name, layer in twin.named_modules() for handle in _watched(layer, name, running)
    ]
    counter = _Attribution(weights=weights, running=running)
    try:
        with torch.no_grad(), _in_single_operations(), counter:
            twin(example[:1])
    finally:
        for handle in handles:
            handle.remove()
    return Work(
        by_weight={name: flops // 2 for name, flops in counter.tally.by_weight.items()},
        products={name: flops // 2 for name, flops in counter.tally.products.items()},
    )


@contextmanager
def _in_single_operations() -> Iterator[None]:
    """Without PyTorch's fused attention, which its counter does not see."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _watched(layer: nn.Module, name: str, running: list[str]) -> tuple[Any, ...]:
    """Hooks that keep the stack of running modules."""

    def enter(_module: nn.Module, _inputs: object) -> None:
        running.append(name)

    def leave(_module: nn.Module, _inputs: object, _output: object) -> None:
        running.pop()

    return layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)


@dataclass(frozen=True, slots=True)
class _Tally:
    by_weight: dict[TensorName, int] = field(default_factory=dict)
    products: dict[str, int] = field(default_factory=dict)


class _Attribution(TorchDispatchMode):
    """Counts each operation as PyTorch's own counter does, under the weight that it reads."""

    def __init__(self, *, weights: Mapping[int, TensorName], running: list[str]) -> None:
        super().__init__()
        self._weights, self._running = weights, running
        self.tally = _Tally()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 # PyTorch's own signature
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        del types
        kwargs = kwargs or {}
        formula: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        out = func(*args, **kwargs)
        flops = formula(*args, **kwargs, out_val=out)
        factors = [arg for arg in args if _is_factor(arg)]
        read = [self._weights.get(factor.untyped_storage().data_ptr()) for factor in factors]
        name = next((name for name in read if name is not None), None)
        if name is not None:
            self.tally.by_weight[name] = self.tally.by_weight.get(name, 0) + flops
        else:
            place = self._running[-1] if self._running else ""
            self.tally.products[place] = self.tally.products.get(place, 0) + flops
        return out


def _is_factor(value: object) -> bool:
    """Whether an argument is multiplied; a bias, of one dimension, is added."""
    return isinstance(value, Tensor) and value.dim() > 1
