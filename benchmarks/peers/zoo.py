"""What a peer does with one network of the zoo; benchmarks/zoo.py --peers calls this.

    python benchmarks/peers/zoo.py torch-pruning NAME
    ENV/bin/python benchmarks/peers/zoo.py fastnas NAME     (ENV as in benchmarks/peers/fastnas.py)

One line of JSON. torch-pruning: BasePruner with group L2 norms and half of the channels of every
layer but the last, as its README has it; the network that is left is compared with the dense one
whose reading weights are zero for the channels that went. FastNAS: the search space that ModelOpt
makes of the network, and its smallest subnet exported and run; a search needs data and would take
one of the subnets between.
"""

import copy
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.zoo import network_of
from compressor.pruning.cost import cost

_SAME: Final = 1e-4
"""Largest relative difference that is called right, as in our own self-test."""


def main() -> None:
    """Print what became of the network."""
    warnings.simplefilter("ignore")
    peer, name = sys.argv[1:]
    network, images = network_of(name)
    try:
        told = PEERS[peer](network, images)
    # Whatever a peer raises is its result: the table shows it by its name.
    except Exception as error:  # noqa: BLE001 # told, not swallowed
        told = {"outcome": "fails", "why": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(told))


def _torch_pruning(network: nn.Module, images: Tensor) -> dict[str, Any]:
    import torch_pruning  # noqa: PLC0415 # one peer's environment lacks the other

    twin = copy.deepcopy(network).requires_grad_(requires_grad=True)
    names = {module: name for name, module in twin.named_modules()}
    layers = [m for m in twin.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    pruner = torch_pruning.pruner.BasePruner(
        twin,
        images[:1],
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=layers[-1:],
        in_channel_groups={},  # its defaults are shared between all pruners of a process
        out_channel_groups={},
        num_heads={},
    )
    gone: dict[str, set[int]] = {}
    for group in pruner.step(interactive=True):
        for dependency, positions in group:
            module = dependency.target.module
            if module in names and pruner.DG.is_in_channel_pruning_fn(dependency.handler):
                gone.setdefault(names[module], set()).update(positions)
        group.prune()
    kept = cost(network, images).params
    with torch.inference_mode():
        answers = twin.eval()(images)
    share = sum(p.numel() for p in twin.parameters()) / kept
    if share == 1.0:
        return {"outcome": "cuts nothing"}
    difference = _difference(network, answers, images, gone)
    right = difference is not None and difference <= _SAME
    return {
        "outcome": "right" if right else "not shown to be right",
        "params_kept": share,
        "difference": difference,
    }


def _difference(
    network: nn.Module, answers: Tensor, images: Tensor, gone: Mapping[str, set[int]]
) -> float | None:
    """To the dense network that gets zeros for the inputs that went; None if it cannot be told."""
    zeroed = copy.deepcopy(network)
    with torch.inference_mode():
        for name, positions in gone.items():
            layer: Any = zeroed.get_submodule(name)
            if not isinstance(layer, (nn.Conv2d, nn.Linear)):
                continue
            if getattr(layer, "groups", 1) > 1:
                continue  # its inputs went with its outputs
            layer.weight[:, sorted(positions)] = 0.0
        wanted = zeroed(images)
    if wanted.shape != answers.shape:
        return None
    return float((wanted - answers).abs().max() / wanted.abs().max())


def _fastnas(network: nn.Module, images: Tensor) -> dict[str, Any]:
    import modelopt.torch.nas as mtn  # noqa: PLC0415 # one peer's environment lacks the other

    dense = cost(network, images)
    converted = mtn.convert(copy.deepcopy(network), mode="fastnas")
    mtn.sample(converted, sample_func=min)
    smallest = mtn.export(converted)
    with torch.inference_mode():
        answers = smallest.eval()(images)
    found = cost(smallest, images)
    return {
        "outcome": "runs" if bool(torch.isfinite(answers).all()) else "not finite",
        "params_kept": found.params / dense.params,
        "macs_kept": found.macs / dense.macs,
    }


PEERS: Final[Mapping[str, Callable[[nn.Module, Tensor], dict[str, Any]]]] = {
    "torch-pruning": _torch_pruning,
    "fastnas": _fastnas,
}


if __name__ == "__main__":
    main()
