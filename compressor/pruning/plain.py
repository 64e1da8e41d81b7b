"""A network as cuts need it: plain layers, one tensor in and one out, float weights.

What people hand in is often wrapped, frozen or computed from something else. All that can be
undone without changing the function is undone, on a copy, and said; the rest is refused in one
sentence that names the module and what to do.
"""

import inspect
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

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
    first_line,
    fold,
    needs_copy,
    thaw,
    unwrap_inside,
)
from compressor.pruning.tracing import TraceError
from compressor.wording import few


class ForwardError(TraceError):
    """The network does not run on the images that it was given."""

    def __init__(self, reason: str, *, shape: tuple[int, ...], place: str) -> None:
        super().__init__(
            f"the model cannot be traced: it does not run on images {list(shape)}{place}: {reason}"
        )
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A network that can be traced and cut, and what was done to get it."""

    model: nn.Module
    """The one that was given, if nothing had to be changed; a copy otherwise."""
    notes: tuple[str, ...]
    """One sentence per kind of change."""


def plain(model: nn.Module, example: Tensor, *, dtype: torch.dtype = torch.float32) -> Plain:
    """``model`` without wrappers, computed weights and frozen statistics, on the CPU.

    Its function on images stays the same. Only if its output is one tensor inside a dictionary, a
    tuple or a dataclass, the copy returns that tensor; ``answering_as_before`` takes this back.

    Args:
        model: any network of Python modules; not changed.
        example: inputs [n c h w].
        dtype: of the weights of what comes back.

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
        _answer(network, images)  # what a lazy layer needs to become a plain one
    output = _answer(copied(network), images)
    if not isinstance(output, Tensor):
        network = copied(network) if network is inner else network
        network.register_forward_hook(_the_tensor)
        notes.append(f"of its output, a {type(output).__name__}, {_only(output)[0]} is taken")
    return Plain(model=network, notes=tuple(notes))


def answering_as_before(model: nn.Module) -> nn.Module:
    """A copy of ``model`` that returns what the network did before it was made plain."""
    found = copied(model)
    for key, hook in list(found._forward_hooks.items()):  # noqa: SLF001 # torch has no other way
        if hook is _the_tensor:
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


def _answer(model: nn.Module, images: Tensor) -> object:
    try:
        with torch.no_grad():
            return model.eval()(images)
    # forward is the user's own code and may raise anything. It is told with the module in which it
    # happened, and chained; KeyboardInterrupt and SystemExit pass.
    except Exception as error:
        raise ForwardError(
            f"{type(error).__name__}: {first_line(error)}",
            shape=tuple(images.shape),
            place=_place(error, model),
        ) from error


def _place(error: Exception, model: nn.Module) -> str:
    """In which module it happened, by the traceback."""
    names = {id(module): name for name, module in model.named_modules()}
    running = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    known = [names[id(module)] for module in running if id(module) in names]
    return f" in its module {known[-1]!r}" if known and known[-1] else ""


def _the_tensor(_module: nn.Module, _inputs: object, output: object) -> Tensor:
    """A forward hook: the tensor in what a network returns."""
    return _only(output)[1]


def _only(output: object) -> tuple[str, Tensor]:
    """The tensor in an output, and how one gets at it."""
    found = list(_tensors(output))
    if len(found) == 1:
        return found[0]
    held = f"{len(found)} tensors ({few(place for place, _ in found)})" if found else "no tensor"
    way = found[0][0] if found else "['logits']"
    raise TraceError(
        f"its output is a {type(output).__name__} with {held}; a network with one tensor as output "
        f"is needed: wrap it in a module whose forward returns network(images){way}"
    )


def _tensors(output: object, at: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(output, Tensor):
        yield at, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from _tensors(value, f"{at}[{key!r}]")
    elif isinstance(output, list | tuple):
        for number, value in enumerate(output):
            yield from _tensors(value, f"{at}[{number}]")
    elif is_dataclass(output):
        for field in fields(output):
            yield from _tensors(getattr(output, field.name), f"{at}.{field.name}")
