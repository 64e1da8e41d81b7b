"""What stands between a network and its plain layers, undone on a copy with the same function.

Wrappers are taken off, computed weights become parameters, frozen BatchNorms real ones. Each
function here changes the copy that it is given and says in a sentence what it did.
"""

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from compressor.networks import unwrapped
from compressor.pruning.tracing import TraceError
from compressor.wording import few

_FROZEN_NORM: Final = "FrozenBatchNorm2d"
"""By name: torchvision and detectron2 each have one, alike."""


def needs_copy(model: nn.Module, dtype: torch.dtype) -> bool:
    """Whether anything has to be changed before the network can be cut."""
    tensors = (*model.parameters(), *model.buffers())
    return any(
        (value.is_floating_point() and value.dtype != dtype) or value.device.type != "cpu"
        for value in tensors
    ) or any(
        unwrapped(module) is not module
        or isinstance(module, LazyModuleMixin)
        or type(module).__name__ == _FROZEN_NORM
        or parametrize.is_parametrized(module)
        or bool(_computing(module))
        or bool(_not_leaves(module))
        or module._compiled_call_impl is not None  # noqa: SLF001 # what module.compile() leaves
        for module in model.modules()
    )


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; torch refuses to copy what came out of a computation, so that goes by value.

    Raises:
        TraceError: something else in it cannot be copied.
    """
    memo: dict[int, object] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in _not_leaves(module)
    }
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        raise TraceError(f"the network cannot be copied: {first_line(error)}") from error


def _not_leaves(module: nn.Module) -> list[Tensor]:
    return [v for v in vars(module).values() if isinstance(v, Tensor) and not v.is_leaf]


def _computing(module: nn.Module) -> list[WeightNorm | SpectralNorm | prune.BasePruningMethod]:
    """The hooks that make weights anew before every forward pass."""
    kinds = (WeightNorm, SpectralNorm, prune.BasePruningMethod)
    hooks = module._forward_pre_hooks.values()  # noqa: SLF001 # torch has no other way
    return [hook for hook in hooks if isinstance(hook, kinds)]


def unwrap_inside(model: nn.Module) -> list[str]:
    """Take DataParallel and torch.compile off the modules inside."""
    taken = []
    # Under all its names, for a layer may be used in several places.
    for name, module in list(model.named_modules(remove_duplicate=False)):
        inner = unwrapped(module)
        if inner is not module:
            model.set_submodule(name, inner)
            taken.append(f"{type(module).__name__} ({name})")
    return [f"wrappers are taken off: {few(taken)}"] if taken else []


def fold(model: nn.Module) -> list[str]:
    """Make computed weights plain parameters of the same value."""
    folded = []
    for name, module in list(model.named_modules()):
        hooks = _computing(module)
        tensors = list(module.parametrizations) if parametrize.is_parametrized(module) else []
        if not hooks and not tensors:
            continue
        training = module.training
        module.eval()  # spectral_norm moves on with each step of training
        for hook in hooks:
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
            else:
                prune.remove(module, hook._tensor_name)  # noqa: SLF001 # torch has no other way
        for tensor in tensors:
            parametrize.remove_parametrizations(module, tensor, leave_parametrized=True)
            _own(module, tensor)
        module.train(training)
        folded.append(called(name))
    if not folded:
        return []
    return [f"weights that were computed (weight_norm, masks) are plain ones in {few(folded)}"]


def _own(module: nn.Module, name: str) -> None:
    """Make a tensor a parameter: torch leaves a bare one if gradients are off or it is frozen."""
    value = getattr(module, name)
    if not isinstance(value, nn.Parameter):
        delattr(module, name)
        module.register_parameter(name, nn.Parameter(value.detach()))


def thaw(model: nn.Module) -> list[str]:
    """Replace frozen BatchNorms by real ones, which compute the same until they are trained."""
    thawed: dict[str, nn.Module] = {}
    made: dict[nn.Module, nn.Module] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if type(module).__name__ == _FROZEN_NORM:
            thawed[name] = made.setdefault(module, _thawed(module))
    for name, norm in thawed.items():
        model.set_submodule(name, norm)
    if not thawed:
        return []
    return [f"{_FROZEN_NORM} becomes BatchNorm2d, for statistics to follow: {few(thawed)}"]


def _thawed(frozen: nn.Module) -> nn.Module:
    values = dict(frozen.named_buffers())
    eps = float(getattr(frozen, "eps", 1e-5))
    norm = nn.BatchNorm2d(len(values["weight"]), eps=eps).to(values["weight"])
    norm.load_state_dict(values, strict=False)
    return norm.train(frozen.training)


def cast(model: nn.Module, dtype: torch.dtype) -> list[str]:
    """Bring the network to the CPU, with weights of one kind."""
    found = {
        value.dtype
        for value in (*model.parameters(), *model.buffers())
        if value.is_floating_point() and value.dtype != dtype
    }
    model.to(device="cpu", dtype=dtype)
    if not found:
        return []
    kinds = ", ".join(sorted(_short(kind) for kind in found))
    return [f"weights in {kinds} become {_short(dtype)}"]


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def called(name: str) -> str:
    """What messages call a module."""
    return f"the module {name!r}" if name else "the network"


def first_line(error: Exception) -> str:
    """What an error says, without what follows."""
    return next(iter(str(error).splitlines()), "no message")
