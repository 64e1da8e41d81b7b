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
import importlib
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
    print(json.dumps(told_of(peer, network, images)))


def told_of(peer: str, network: nn.Module, images: Tensor) -> dict[str, Any]:
    """What a peer makes of a network, measured by us.

    Raises:
        ImportError: the peer is not installed, which says nothing about what it can do.
    """
    package, cut = PEERS[peer]
    importlib.import_module(package)
    try:
        smaller, gone = cut(network, images)
        with torch.inference_mode():
            answers: Tensor = smaller.eval()(images)
    # Other people's code, of which the question is whether it fails: no list of what it may raise
    # could be whole. Only its own work stands in the try; what we measure afterwards raises.
    except Exception as error:  # noqa: BLE001 # the row of the table that this is for
        return {"outcome": "fails", "why": f"{type(error).__name__}: {error}".splitlines()[0]}
    dense, found = cost(network, images), cost(smaller, images)
    if found.params == dense.params:
        return {"outcome": "cuts nothing"}
    kept = {"params_kept": found.params / dense.params, "macs_kept": found.macs / dense.macs}
    if not bool(torch.isfinite(answers).all()):
        return {"outcome": "not finite", **kept}
    if gone is None:
        return {"outcome": "runs", **kept}
    difference = _difference(network, answers, images, gone)
    right = difference is not None and difference <= _SAME
    outcome = "right" if right else "not shown to be right"
    return {"outcome": outcome, "difference": difference, **kept}


_Gone = dict[str, set[int]]
"""Per layer, the inputs that went, as the dense network counts them."""


def _torch_pruning(network: nn.Module, images: Tensor) -> tuple[nn.Module, _Gone | None]:
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
    gone: _Gone = {}
    # A layer behind a concatenation loses inputs to several groups, one after the other, and each
    # counts those that the ones before it have left.
    left: dict[str, list[int]] = {}
    for group in pruner.step(interactive=True):
        for dependency, positions in group:
            module: Any = dependency.target.module
            if not isinstance(module, (nn.Conv2d, nn.Linear)):
                continue
            if pruner.DG.is_in_channel_pruning_fn(dependency.handler):
                inputs = left.setdefault(names[module], list(range(_inputs(module))))
                went = {inputs[position] for position in positions}
                gone.setdefault(names[module], set()).update(went)
                left[names[module]] = [place for place in inputs if place not in went]
        group.prune()
    return twin, gone


def _inputs(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def _difference(
    network: nn.Module, answers: Tensor, images: Tensor, gone: Mapping[str, set[int]]
) -> float | None:
    """To the dense network that gets zeros for the inputs that went; None if it cannot be told."""
    zeroed = copy.deepcopy(network)
    with torch.inference_mode():
        for name, positions in gone.items():
            layer: Any = zeroed.get_submodule(name)
            parts = layer.groups if isinstance(layer, nn.Conv2d) else 1
            # [parts, outputs of a part, inputs of a part, ...]; each part reads inputs of its own.
            weight = layer.weight.view(parts, -1, *layer.weight.shape[1:])
            for position in positions:
                part, place = divmod(position, weight.shape[2])
                weight[part, :, place] = 0.0
        wanted = zeroed(images)
    if wanted.shape != answers.shape:
        return None
    return float((wanted - answers).abs().max() / wanted.abs().max())


def _fastnas(network: nn.Module, _images: Tensor) -> tuple[nn.Module, _Gone | None]:
    import modelopt.torch.nas as mtn  # noqa: PLC0415 # one peer's environment lacks the other

    converted = mtn.convert(copy.deepcopy(network), mode="fastnas")
    mtn.sample(converted, sample_func=min)
    return mtn.export(converted), None


Cut = Callable[[nn.Module, Tensor], tuple[nn.Module, _Gone | None]]

PEERS: Final[Mapping[str, tuple[str, Cut]]] = {
    "torch-pruning": ("torch_pruning", _torch_pruning),
    "fastnas": ("modelopt", _fastnas),
}
"""Per peer, the package that it is in, and its cut; None where it does not say what went."""


if __name__ == "__main__":
    main()
