"""A network as cuts need it: plain layers, one tensor in and one out, float weights.

What people hand in is often wrapped, frozen or computed from something else. All that can be
undone without changing the function is undone, on a copy, and said; the rest is refused in one
sentence that names the module and what to do.
"""

import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from compressor.networks import unwrapped
from compressor.pruning.conversions import (
    called,
    cast,
    copied,
    fold,
    needs_copy,
    thaw,
    unwrap_inside,
)
from compressor.pruning.deadline import DeadlineError, deadline
from compressor.pruning.outputs import Pick, answer, with_one_answer
from compressor.pruning.tracing import TraceError
from compressor.wording import few

_SHARE: Final = 0.5
"""Of ``search.time_limit_s``: where that does not do for a few forward passes, all of it would not
do for finding channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A network that can be traced and cut, and what was done to get it."""

    model: nn.Module
    """The one that was given, if nothing had to be changed; a copy otherwise."""
    notes: tuple[str, ...]
    """One sentence per kind of change."""


@contextmanager
def in_time(time_limit_s: float) -> Iterator[None]:
    """The network's forward passes end within ``_SHARE`` of so many seconds.

    Raises:
        TraceError: they do not.
    """
    started, limit_s = time.monotonic(), _SHARE * time_limit_s
    try:
        with deadline(started + limit_s):
            yield
    except DeadlineError as late:
        raise TraceError(
            f"a few forward passes of two images take more than the {limit_s:.0f} s that they are "
            "given; a very large network needs a larger search.time_limit_s"
        ) from late


def plain(
    model: nn.Module,
    example: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    output: str | None = None,
) -> Plain:
    """``model`` without wrappers, computed weights and frozen statistics, on the CPU.

    Its function on images stays the same. Only if its output is a dictionary, a tuple or a
    dataclass, if only in training, the copy returns the answer in it: the one tensor there is, the
    one called ``output``, or "out" or "logits". ``answering_as_before`` takes this back, but for
    the heads of other outputs, which are gone.

    Args:
        model: any network of Python modules; not changed.
        example: inputs [n c h w].
        dtype: of the weights of what comes back.
        output: key, field or number of the answer among several tensors.

    Raises:
        TraceError: it cannot be made plain; names the module. ForwardError: it does not run.
    """
    inner = unwrapped(model)
    _refuse(inner)
    notes: list[str] = []
    if inner is not model:
        notes.append(f"{type(model).__name__} is taken off")
    network = inner
    if needs_copy(inner, dtype):
        network = copied(inner)
        notes += unwrap_inside(network) + fold(network) + thaw(network) + cast(network, dtype)
    images = example[:2].detach().cpu().to(dtype)
    if any(isinstance(module, LazyModuleMixin) for module in network.modules()):
        answer(network, images)  # what a lazy layer needs to become a plain one
    network, taken = with_one_answer(network, images, name=output)
    return Plain(model=network, notes=(*notes, *taken))


def answering_as_before(model: nn.Module) -> nn.Module:
    """A copy of ``model`` that returns what the network did before it was made plain.

    What heads gave that are gone is left out.
    """
    found = copied(model)
    for key, hook in list(found._forward_hooks.items()):  # noqa: SLF001 # torch has no other way
        if isinstance(hook, Pick):
            del found._forward_hooks[key]  # noqa: SLF001
    return found


def _refuse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, ScriptModule):
            raise TraceError(
                f"{called(name)} is TorchScript, whose layers are compiled and cannot be pruned; "
                "give the Python module that it was made from"
            )
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    owners = {
        name.rpartition(".")[0]: module
        for name, value in weights.items()
        if (is_lazy(value) or value.is_meta)
        for module in [model.get_submodule(name.rpartition(".")[0])]
    }
    if owners:
        named = few(f"{called(name)} ({type(module).__name__})" for name, module in owners.items())
        raise TraceError(
            f"weights that have no values yet: {named}; run the network once on a batch of images, "
            "or load its weights, before pruning it"
        )
    wanted = [
        parameter.name
        for parameter in inspect.signature(model.forward).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    if len(wanted) > 1:
        raise TraceError(
            f"{called('')}, {type(model).__name__}, takes {len(wanted)} inputs "
            f"({', '.join(wanted)}), and a network of images alone is needed; wrap it in a module "
            f"whose forward takes {wanted[0]} and fills in the rest"
        )
