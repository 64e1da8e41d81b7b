"""Where an interrupted retraining goes on: one file, written whole after every epoch.

Tensors and JSON in a safetensors file: reading one never runs code.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from compressor.files import write_atomically
from compressor.training.recipe import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLog:
    """What one epoch did, on the augmented training images as they were seen."""

    epoch: int
    lr_first: float
    lr_last: float
    loss: float
    """Mean over the epoch's images."""
    accuracy: float
    """Share of the epoch's images named right while the weights were still moving; of masks, of
    all labelled pixels."""
    seconds: float
    tune_accuracy: float | None = None
    """On images held back from training, after the epoch, as ``batches.accuracy`` counts it; None
    where there were none."""


def save(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    average: nn.Module | None = None,
    best: Mapping[str, Tensor] | None = None,
    log: tuple[EpochLog, ...],
    owner: str,
) -> None:
    """Write everything that the next epoch depends on; ``owner`` names the retraining.

    Args:
        path: the file.
        network: the network in training.
        optimiser: its SGD.
        average: of the network's weights, where one is kept.
        best: weights of the best epoch so far, where one is chosen.
        log: the epochs so far.
        owner: what a resuming retraining must be equal to.
    """
    # A parameter that the network never uses has no gradient, hence no momentum.
    momenta = {
        name: optimiser.state[parameter]["momentum_buffer"]
        for name, parameter in network.named_parameters()
        if parameter in optimiser.state
    }
    tensors = _prefixed("model.", network.state_dict()) | _prefixed("momentum.", momenta)
    tensors |= _prefixed("best.", best or {})
    if average is not None:
        tensors |= _prefixed("average.", average.state_dict())
    metadata = {"owner": owner, "log": json.dumps([asdict(entry) for entry in log])}
    # By way of memory: safetensors hides what the disk said behind an error of its own.
    write_atomically(path, to_bytes(tensors, metadata=metadata))


def resume(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    average: nn.Module | None = None,
    owner: str,
) -> tuple[tuple[EpochLog, ...], dict[str, Tensor]]:
    """Put a checkpoint's weights and momenta in place; its epochs, and its best weights if any.

    Raises:
        TrainingError: the file is damaged, or was left by another retraining.
    """
    remedy = f"delete {path} to start over"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("owner") != owner:
                raise TrainingError(
                    "checkpoint of another recipe, seed, model or data; "
                    f"repeat the command that left it, or {remedy}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise TrainingError(f"unreadable checkpoint ({error}); {remedy}") from error
    network.load_state_dict(_without_prefix("model.", tensors))
    if average is not None:
        average.load_state_dict(_without_prefix("average.", tensors))
    parameters = dict(network.named_parameters())
    for name, momentum in _without_prefix("momentum.", tensors).items():
        # empty_like keeps the parameter's memory layout, as the optimiser itself would.
        buffer = torch.empty_like(parameters[name]).copy_(momentum)
        optimiser.state[parameters[name]]["momentum_buffer"] = buffer
    log = tuple(EpochLog(**entry) for entry in json.loads(metadata["log"]))
    return log, _without_prefix("best.", tensors)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain copies: safetensors refuses tensors that share memory or skip through it."""
    layout = torch.contiguous_format
    return {
        prefix + name: tensor.detach().cpu().clone(memory_format=layout)
        for name, tensor in tensors.items()
    }


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}
