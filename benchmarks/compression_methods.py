"""The methods that are compared: each cuts the dense network to a point, by its own means."""

import copy
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch_pruning
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.compression_setup import MOST_BESIDE, Setup
from compressor.config_search import Search
from compressor.pruning.allocation import ALLOCATIONS, UnreachableRatioError
from compressor.pruning.blocks import Align
from compressor.pruning.candidate import Method, Prunable, propose
from compressor.pruning.cost import cost
from compressor.pruning.importance import IMPORTANCES
from compressor.training.batchnorm import reestimate
from compressor.workshop import method as method_of

PEER: Final = Path(__file__).resolve().parent / "peers" / "fastnas.py"

_SAME: Final = 1e-4
"""Largest relative difference of outputs that are called equal, as in our own self-test."""

_LAYERS: Final = (nn.Conv2d, nn.Linear)

DISTILLED: Final = "+distill"
"""Behind the name of any method: the same cut, retrained by the dense network's answers too."""


class UnmadeError(Exception):
    """A method has no network for a point; the table says why instead of a figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One cut."""

    setup: Setup
    dense: Prunable
    speedup: float
    """How many times fewer multiply-adds."""
    seed: int
    aligns: tuple[int, ...]
    """Widths are multiples of the first of these with which the point is reached. Ours begin with
    "auto", which is 8 too where layers are wide enough for it."""
    out: Path
    modelopt: Path | None
    """The Python of an environment with NVIDIA ModelOpt."""
    arguments: tuple[str, ...]
    """Of ``compression_setup.add_options``, for a process of its own."""

    def beside(self, model: nn.Module) -> float:
        """Share of the dense multiply-adds by which ``model`` misses the point."""
        share = cost(model, self.dense.example).macs / self.dense.cost.macs
        return abs(share - 1.0 / self.speedup)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A smaller network, not retrained."""

    model: nn.Module
    align: Align
    note: str = ""


Maker = Callable[[Ask], Cut]


def maker(name: str) -> Maker:
    """Of "ours[:IMPORTANCE[:ALLOCATION[:STEPS[:EXCHANGES]]]]", "random", or one of PEERS.

    "@4" behind any of them: widths in multiples of at most 4. DISTILLED changes no cut.

    Raises:
        ValueError: there is no such method.
    """
    name, _, most = name.removesuffix(DISTILLED).partition("@")
    made = _maker(name)
    return partial(_finer, made=made, most=int(most)) if most else made


def _finer(ask: Ask, *, made: Maker, most: int) -> Cut:
    return made(replace(ask, aligns=tuple(align for align in ask.aligns if align <= most)))


def _maker(name: str) -> Maker:
    if name in PEERS:
        return PEERS[name]
    if name == "random":
        return partial(_ours, Search(of="macs", importance="random", allocation="uniform"))
    first, *rest = name.split(":")
    defaults = Search(of="macs")
    unsaid = (
        defaults.importance, defaults.allocation, str(defaults.steps), str(defaults.exchanges)
    )  # fmt: skip
    importance, allocation, *counts = (*rest, *unsaid[len(rest) :])[: len(unsaid)]
    known = importance in IMPORTANCES and allocation in ALLOCATIONS
    if (
        first != "ours"
        or len(rest) > len(unsaid)
        or not known
        or not all(map(str.isdecimal, counts))
    ):
        raise ValueError(
            f"no method {name!r}; known are ours[:IMPORTANCE[:ALLOCATION[:STEPS[:EXCHANGES]]]], of "
            f"{', '.join(IMPORTANCES)}; {', '.join(ALLOCATIONS)}; random, {', '.join(PEERS)}"
        )
    steps, exchanges = map(int, counts)
    chosen = Search(
        of="macs", importance=importance, allocation=allocation, steps=steps, exchanges=exchanges
    )
    return partial(_ours, chosen)


def _ours(chosen: Search, ask: Ask) -> Cut:
    """The engine as the command runs it, with what compress.yaml says where it says nothing."""
    method: Method = method_of(chosen, latencies={})
    complaint = ""
    aligns: Sequence[Align] = ("auto", *ask.aligns) if 8 in ask.aligns else ask.aligns
    for align in aligns:
        try:
            made = propose(
                ask.dense,
                None,
                ratio=1.0 - 1.0 / ask.speedup,
                method=replace(method, align=align),
                batches=ask.setup.statistics,
                seed=ask.seed,
            )
        except UnreachableRatioError as error:
            complaint = str(error)
            continue
        return Cut(model=made.model, align=align, note=f"self-test {made.difference:.0e}")
    raise UnmadeError(complaint)


def _torch_pruning(ask: Ask, *, everywhere: bool, whole: bool) -> Cut:
    """BasePruner by hand, its ratio so chosen that the point is reached.

    Group L2 norms and ``round_to``, as its README has them. Its ratio is not monotone in what it
    removes, so that ratios are tried on a grid, then on a finer one around the nearest.
    """
    nearest = f"widths in multiples of {ask.aligns}: none is within {MOST_BESIDE:.0%}"
    for align in ask.aligns:
        tried: dict[float, float] = {}
        for ratios in (np.arange(0.05, 0.96, 0.05), np.arange(-0.04, 0.041, 0.01)):
            around = min(tried, key=lambda ratio: tried[ratio]) if tried else 0.0
            for ratio in (round(float(r) + around, 3) for r in ratios):
                if 0.0 < ratio < 1.0 and ratio not in tried:
                    model, _ = _by_hand(ask, ratio, align, everywhere=everywhere, whole=whole)
                    tried[ratio] = ask.beside(model)
        best = min(tried, key=lambda ratio: tried[ratio])
        if tried[best] <= MOST_BESIDE:
            model, gone = _by_hand(ask, best, align, everywhere=everywhere, whole=whole)
            difference = _difference(ask, model, gone)
            if difference > _SAME:
                raise UnmadeError(f"runs, but computes something else: differs by {difference:.0e}")
            return Cut(model=model, align=align, note=f"ratio {best:g}, self-test {difference:.0e}")
    raise UnmadeError(nearest)


def _by_hand(
    ask: Ask, ratio: float, align: int, *, everywhere: bool, whole: bool
) -> tuple[nn.Module, dict[str, list[int]]]:
    """A cut network that runs, and which inputs each layer lost.

    Raises:
        UnmadeError: it does not run.
    """
    twin = copy.deepcopy(ask.dense.model).eval().requires_grad_(requires_grad=True)
    names = {module: name for name, module in twin.named_modules()}
    layers = [name for name, module in twin.named_modules() if isinstance(module, _LAYERS)]
    cuttable = {group.name for group in ask.dense.groups}
    left = layers[-1:] if whole else [name for name in layers if name not in cuttable]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of layers that it does not know
        pruner = torch_pruning.pruner.BasePruner(
            twin,
            ask.dense.example[:1],
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            global_pruning=everywhere,
            pruning_ratio=ratio,
            round_to=align,
            ignored_layers=[twin.get_submodule(name) for name in left],
            in_channel_groups={},  # its defaults are shared between all pruners of a process
            out_channel_groups={},
            num_heads={},
        )
        gone: dict[str, list[int]] = {}
        for group in pruner.step(interactive=True):
            for dependency, positions in group:
                module = dependency.target.module
                if isinstance(module, _LAYERS) and pruner.DG.is_in_channel_pruning_fn(
                    dependency.handler
                ):
                    gone.setdefault(names[module], []).extend(positions)
            group.prune()
    try:
        with torch.inference_mode():
            twin(ask.dense.example)
    except RuntimeError as error:
        raise UnmadeError(f"the pruned network does not run: {error}") from error
    return twin, gone


def _difference(ask: Ask, model: nn.Module, gone: Mapping[str, list[int]]) -> float:
    """Between a cut network and the dense one that gets zeros for the inputs that went."""
    zeroed = copy.deepcopy(ask.dense.model).eval()
    with torch.inference_mode():
        for name, positions in gone.items():
            weight: Any = zeroed.get_submodule(name).weight
            weight[:, positions] = 0.0
        wanted, got = zeroed(ask.dense.example), model.eval()(ask.dense.example)
    return float((wanted - got).abs().max() / wanted.abs().max())


def _fastnas(ask: Ask) -> Cut:
    """NVIDIA ModelOpt's search, in an environment of its own; one search for all seeds."""
    if ask.modelopt is None:
        raise UnmadeError("no environment with ModelOpt was given (--modelopt)")
    finest = "" if 8 in ask.aligns else f"@{ask.aligns[0]}"
    file = ask.out / "fastnas" / f"{ask.speedup:g}{finest}.safetensors"
    if not file.exists():
        aligns = [str(align) for align in ask.aligns]
        command = [str(ask.modelopt), str(PEER), *ask.arguments, "--speedup", f"{ask.speedup:g}"]
        done = subprocess.run(  # noqa: S603 # the user's own interpreter
            [*command, "--align", *aligns, "--to", str(file)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise UnmadeError(f"the search failed: {last}")
    with safe_open(file, framework="pt") as opened:
        told = json.loads(opened.metadata()["told"])
    state = load_file(file)
    images, answers = state.pop("check.images"), state.pop("check.answers")
    model = fitted(ask.dense.model, state)
    with torch.inference_mode():
        difference = float((model(images) - answers).abs().max() / answers.abs().max())
    if difference > _SAME:
        raise UnmadeError(f"what came out of the search cannot be rebuilt: {difference:.0e}")
    note = (
        f"bound {told['bound']:.3f}, {told['subnets']} subnets scored, ModelOpt {told['version']}"
    )
    return Cut(model=model, align=told["align"], note=note)


def fitted(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a network of plain layers that has the tensors of ``state``, of whatever sizes."""
    twin = copy.deepcopy(model).eval()
    for name, module in twin.named_modules():
        prefix = f"{name}." if name else ""
        for kind in ("parameters", "buffers"):
            for key, _ in list(getattr(module, f"named_{kind}")(recurse=False)):
                value = state[prefix + key].clone()
                setattr(module, key, nn.Parameter(value) if kind == "parameters" else value)
        match module:
            case nn.Conv2d():
                module.out_channels = module.weight.shape[0]
                module.in_channels = module.weight.shape[1] * module.groups
            case nn.Linear():
                module.out_features, module.in_features = module.weight.shape
            case nn.BatchNorm2d():
                module.num_features = module.weight.shape[0]
    return twin


def settled(setup: Setup, cut: Cut) -> nn.Module:
    """With BatchNorm statistics of its own: given to every method before it is retrained."""
    return reestimate(cut.model, setup.statistics.images)


PEERS: Final[Mapping[str, Maker]] = {
    "torch-pruning:local": partial(_torch_pruning, everywhere=False, whole=False),
    "torch-pruning:global": partial(_torch_pruning, everywhere=True, whole=False),
    "torch-pruning:local:whole": partial(_torch_pruning, everywhere=False, whole=True),
    "torch-pruning:global:whole": partial(_torch_pruning, everywhere=True, whole=True),
    "fastnas": _fastnas,
}
"""Besides ours and ``random``, which are spelt out of IMPORTANCES and ALLOCATIONS.

``whole``: torch-pruning as its documentation says, with nothing but the output layer ignored.
Without it, the layers are ignored that our self-test leaves alone, so that it may cut what we cut.
"""
