"""Putting a network and its weights together, and checking that they are whole."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy

from compressor.wording import few

# What DataParallel and torch.compile put before every key.
_PREFIXES = ("module.", "_orig_mod.")


class NetworkError(ValueError):
    """A network and its weights do not fit together, or are not usable."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and torch.compile."""
    if isinstance(module, nn.DataParallel | DistributedDataParallel):
        return unwrapped(module.get_submodule("module"))
    # By name: importing torch._dynamo for its class takes seconds.
    if type(module).__name__ == "OptimizedModule":
        return unwrapped(module.get_submodule("_orig_mod"))
    return module


def fill(module: nn.Module, weights: Mapping[str, object]) -> None:
    """Load ``weights`` into ``module``, which is changed; every key and shape must fit.

    Raises:
        NetworkError: with the keys that are missing, left over or of another shape.
    """
    expected = module.state_dict()
    weights = _without_prefixes(weights, expected)
    misshapen = {
        key: f"{key} ({_shape(weights[key])}, not {_shape(value)})"
        for key, value in expected.items()
        # A lazy layer takes its shape from the weights.
        if key in weights and not is_lazy(value) and _shape(weights[key]) != _shape(value)
    }
    fitting = {key: value for key, value in weights.items() if key not in misshapen}
    # torch's own comparison knows which keys a layer of an older version may lack.
    outcome = module.load_state_dict(fitting, strict=False)
    missing = [key for key in outcome.missing_keys if key not in misshapen]
    problems = {
        "missing from the file": missing,
        "unknown to the network": outcome.unexpected_keys,
        "of another shape": list(misshapen.values()),
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(keys)} {problem}: {few(keys)}" for problem, keys in problems.items() if keys
        )
        raise NetworkError(f"the weights do not fit the network: {listed}")


def finished(module: nn.Module) -> nn.Module:
    """``module`` on the CPU and in eval mode, with every value known to be a number.

    Raises:
        NetworkError: the layers are compiled or exported, or a weight has no value or is no number.
    """
    if isinstance(module, ScriptModule):
        raise NetworkError("a TorchScript module cannot be pruned; give the Python module")
    weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if unset := [name for name, value in weights.items() if is_lazy(value) or value.is_meta]:
        raise NetworkError(
            f"{len(unset)} weights have no values: {few(unset)}; run the network once on a batch "
            "of images (lazy layers want that), or load its weights"
        )
    if broken := [name for name, value in weights.items() if _broken(value)]:
        raise NetworkError(
            f"{len(broken)} weights hold NaN or infinity: {few(broken)}; the training diverged: "
            "take an earlier checkpoint"
        )
    try:
        module.cpu()
        module.eval()
    # What modules of torch.export raise in train() and eval(); they have no class to ask for. A
    # user's own module may raise it too, so that what it said is told.
    except NotImplementedError as error:
        raise NetworkError(
            f"a module cannot be moved or change mode ({error}), so that it cannot be pruned; if "
            "it is one of torch.export, give the Python module that was exported"
        ) from error
    return module


def _without_prefixes(
    weights: Mapping[str, object], expected: Mapping[str, object]
) -> Mapping[str, object]:
    """``weights`` under the network's own names, when all carry a wrapper's prefix before them."""
    for prefix in _PREFIXES:
        wrapped = bool(weights) and all(key.startswith(prefix) for key in weights)
        if wrapped and not weights.keys() & expected.keys():
            stripped = {key.removeprefix(prefix): value for key, value in weights.items()}
            return _without_prefixes(stripped, expected)
    return weights


def _shape(value: object) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _broken(value: Tensor) -> bool:
    if not (value.is_floating_point() or value.is_complex()):
        return False
    if isinstance(value, nn.Parameter):
        return not bool(torch.isfinite(value).all())
    # Attention masks are buffers, and full of -inf.
    return bool((value.isnan() | value.isposinf()).any())
