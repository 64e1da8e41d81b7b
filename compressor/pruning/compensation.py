"""What removed channels gave on average lives on in the biases of the layers that read them.

A layer that reads channel j through the weights W[:, j] loses W[:, j] x_j when the channel goes.
The mean of that over training images, (sum of W[:, j] over the kernel) * mean(x_j), is one number
for each of the layer's outputs: it is added to the layer's bias or, where there is none, taken off
the running mean of the BatchNorm right behind, which comes to the same. Layers with neither are
left as they are. The mean is the constant that leaves the least squared error where every place of
an image meets the whole kernel.

A channel that is constant is replaced exactly by a Linear, and by a convolution wherever its kernel
does not reach over the border of the image. There, zeros that padding put in place of the channel
were never its constant, and the bias is too large by the missing part of the kernel. A transposed
convolution with a stride gives each place a part of its kernel: the bias gets their mean.

References: Ye et al. 2018, "Rethinking the Smaller-Norm-Less-Informative Assumption",
arXiv:1802.00124, section 4: constant channels moved into the bias or the running mean behind.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, removed_positions

_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(slots=True)
class _Watched:
    """What is seen of the network while images go through it."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    """Per reading layer, the sum [channels] of its inputs over images and places."""
    counts: dict[str, int] = field(default_factory=dict)
    made: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    """Per reading layer its last output, and how often that had been written to."""
    sources: dict[str, set[str]] = field(default_factory=dict)
    """Per BatchNorm the layers whose output came in as it was; "" for anything else."""


def fold_means(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    kept: Mapping[str, Sequence[int]],
    batches: Iterable[Tensor],
) -> nn.Module:
    """A copy of ``model``, not yet cut, with the removed channels' mean contribution in its biases.

    Args:
        model: the network that ``groups`` describes; not changed.
        groups: its channel groups.
        kept: the units that a cut is to keep.
        batches: normalised training images [n c h w].

    Raises:
        ValueError: there are no batches.
    """
    removed = _removed(model, groups, kept)
    folded = copy.deepcopy(model)
    if not removed:
        return folded
    watched = _watch(model, tuple(removed), batches)
    layers = dict(folded.named_modules())
    behind = {
        next(iter(names)): layers[norm]
        for norm, names in watched.sources.items()
        if len(names) == 1 and "" not in names
    }
    with torch.no_grad():
        for name, positions in removed.items():
            if name not in watched.sums:
                continue  # read in a way of its own, as attention reads its projection
            mean = watched.sums[name] / watched.counts[name]
            lost = _contribution(layers[name], mean, positions)
            if layers[name].bias is not None:
                _add(layers[name].bias, lost)
            elif name in behind:
                _add(behind[name].running_mean, -lost)
    return folded


def _removed(
    model: nn.Module, groups: Sequence[ChannelGroup], kept: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """Per layer that reads removed channels, their positions among its inputs."""
    layers = dict(model.named_modules())
    readers = {s.key for group in groups for s in group.slices if s.role == "consumer"}
    return {
        name: positions
        for (name, tensor, dim), positions in removed_positions(groups, kept).items()
        if positions
        and (name, tensor, dim) in readers
        and isinstance(layers[name], (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear))
        and (tensor, dim) == ("weight", 0 if isinstance(layers[name], _TRANSPOSED) else 1)
    }


def _watch(model: nn.Module, readers: Sequence[str], batches: Iterable[Tensor]) -> _Watched:
    """Send the batches through a copy in evaluation mode."""
    network = copy.deepcopy(model).eval()
    layers, watched = dict(network.named_modules()), _Watched()
    for name in readers:
        layers[name].register_forward_hook(_reader_hook(name, watched))
    for name, layer in layers.items():
        if isinstance(layer, _NORMS) and layer.running_mean is not None:
            layer.register_forward_pre_hook(_norm_hook(name, watched))
    seen = 0
    # Not in inference mode, whose tensors do not count how often they are written to.
    with torch.no_grad():
        for images in batches:
            watched.made.clear()
            network(images)
            seen += 1
    if not seen:
        raise ValueError("no batches: removed channels have no mean on nothing")
    return watched


def _reader_hook(name: str, watched: _Watched) -> Any:  # noqa: ANN401 # a hook
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = inputs[0].movedim(_channel_dim(layer), 0).flatten(1)
        watched.sums[name] = watched.sums.get(name, 0.0) + places.sum(1, dtype=torch.float64)
        watched.counts[name] = watched.counts.get(name, 0) + places.shape[1]
        watched.made[name] = (output, output._version)  # noqa: SLF001 # torch's own counter

    return hook


def _norm_hook(norm: str, watched: _Watched) -> Any:  # noqa: ANN401 # a hook
    def hook(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        came = inputs[0]
        untouched = (
            name
            for name, (made, version) in watched.made.items()
            if made is came and version == came._version  # noqa: SLF001 # torch's own counter
        )
        watched.sources.setdefault(norm, set()).add(next(untouched, ""))

    return hook


def _channel_dim(layer: nn.Module) -> int:
    """Where a layer's input has its channels, whether there is a dimension for images or not."""
    return -1 if isinstance(layer, nn.Linear) else 1 - layer.weight.dim()  # type: ignore[operator]


def _contribution(layer: Any, mean: Tensor, positions: Sequence[int]) -> Tensor:  # noqa: ANN401 # torch layers by their fields
    """What the inputs at ``positions`` add to each output [outputs] if each is its mean."""
    weight = layer.weight.double().flatten(2).sum(2) if layer.weight.dim() > 2 else layer.weight
    if isinstance(layer, _TRANSPOSED):
        weight = weight.t() / math.prod(layer.stride)
    index = torch.tensor(positions, device=weight.device)
    product: Tensor = weight.double().index_select(1, index) @ mean.index_select(0, index)
    return product


def _add(to: Any, lost: Tensor) -> None:  # noqa: ANN401 # a tensor, by the layer's field
    to.add_(lost.to(to.dtype))
