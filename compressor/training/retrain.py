"""Retrain a pruned network by stochastic gradient descent.

Everything random is drawn anew for every epoch from the seed and the epoch's number, so that an
interrupted retraining that resumes ends with the same weights, bit for bit, as one that was never
disturbed (on a CPU with as many threads; CUDA's convolutions do not promise it).
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from compressor.files import digest
from compressor.training import checkpoint as checkpoints
from compressor.training.augment import AUGMENTS
from compressor.training.batches import (
    LabelledImages,
    fastest_layout,
    native_bfloat16,
    normalised,
    on_device,
)
from compressor.training.checkpoint import EpochLog
from compressor.training.recipe import LONGEST_STAGE_EPOCHS, Recipe, TrainingError, halving


class Augment(Protocol):
    """Images as training should see them, a shift of the gate for instance."""

    def __call__(
        self, images: NDArray[np.uint8], ids: NDArray[np.uint64], epoch: int
    ) -> NDArray[np.uint8]:
        """Images [n c h w] to images [n c h w]; the same arguments give the same images."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """Where retraining is after a step; epochs and steps count from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int
    lr: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The network after its last epoch, and how it got there."""

    model: nn.Module
    """On the CPU, in evaluation mode, in the memory layout of the model that was given."""
    log: tuple[EpochLog, ...]
    bfloat16: bool
    """Whether convolutions ran in bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What stays from the first step to the last."""

    network: nn.Module
    teacher: nn.Module | None
    optimiser: torch.optim.Optimizer
    data: LabelledImages
    recipe: Recipe
    device: torch.device
    layout: torch.memory_format
    bfloat16: bool

    @property
    def steps(self) -> int:
        """Steps of an epoch. A last batch that is not full waits for another epoch's order."""
        return max(1, len(self.data.labels) // self.recipe.batch_size)


def retrain(
    model: nn.Module,
    data: LabelledImages,
    *,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    teacher: nn.Module | None = None,
    augment: Augment | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[TrainingProgress], None] | None = None,
) -> TrainingResult:
    """The model after ``recipe.epochs`` epochs; the one given is not changed.

    The last weights, not the best ones: nothing is selected on anything. Without a ``teacher``,
    labels alone are learnt. ``checkpoint`` is rewritten after every epoch, resumed from when it
    exists, and removed by the caller once the result is safe.

    Raises:
        TrainingError: there are fewer than two images, the loss is not finite, or the checkpoint
            cannot be read or belongs to another retraining.
    """
    if len(data.labels) < 2:
        raise TrainingError(f"{len(data.labels)} training images; BatchNorm needs at least two")
    run = _prepare(model, teacher, data, recipe=recipe, device=device)
    owner = _fingerprint(run, seed)
    log: tuple[EpochLog, ...] = ()
    if checkpoint is not None and checkpoint.exists():
        log = checkpoints.resume(checkpoint, run.network, run.optimiser, owner=owner)
    lrs = halving(
        recipe.epochs * run.steps,
        recipe.lr,
        final=recipe.final_lr,
        longest=LONGEST_STAGE_EPOCHS * run.steps,
    )
    for epoch in range(len(log), recipe.epochs):
        rng = np.random.default_rng([seed, epoch])
        epoch_lrs = lrs[epoch * run.steps : (epoch + 1) * run.steps]
        log += (_train_epoch(run, epoch, epoch_lrs, rng=rng, augment=augment, on_step=on_step),)
        if checkpoint is not None:
            checkpoints.save(checkpoint, run.network, run.optimiser, log=log, owner=owner)
    # Loaded into a copy of what was given: the layout used in training stays in here.
    trained = copy.deepcopy(model).cpu().eval()
    trained.load_state_dict(run.network.state_dict())
    return TrainingResult(model=trained, log=log, bfloat16=run.bfloat16)


def _prepare(
    model: nn.Module,
    teacher: nn.Module | None,
    data: LabelledImages,
    *,
    recipe: Recipe,
    device: torch.device,
) -> _Run:
    network = on_device(model, device)
    layout = fastest_layout(network, normalised(np.array(data.images[:1]), data, device=device))
    # Frozen layers fitted the dense network; after surgery there is nothing left to preserve.
    network = network.to(memory_format=layout).requires_grad_(requires_grad=True)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    if teacher is not None and recipe.distill > 0:
        teacher = on_device(teacher, device).to(memory_format=layout).eval()
    else:
        teacher = None
    return _Run(
        network=network,
        teacher=teacher,
        optimiser=optimiser,
        data=data,
        recipe=recipe,
        device=device,
        layout=layout,
        bfloat16=recipe.amp and native_bfloat16(device),
    )


def _train_epoch(
    run: _Run,
    epoch: int,
    lrs: list[float],
    *,
    rng: np.random.Generator,
    augment: Augment | None,
    on_step: Callable[[TrainingProgress], None] | None,
) -> EpochLog:
    """One pass in a new random order, one learning rate for each step."""
    start = time.perf_counter()
    order = rng.permutation(len(run.data.labels))
    loss_sum, right, seen = 0.0, 0, 0
    run.network.train()
    with _forked_torch_rng(run.device, seed=int(rng.integers(2**63))):
        for step, lr in enumerate(lrs):
            chosen = order[step * run.recipe.batch_size : (step + 1) * run.recipe.batch_size]
            images = _views(run, chosen, epoch, rng=rng, augment=augment)
            labels = torch.from_numpy(run.data.labels[chosen]).to(run.device)
            loss, right_now = _step(run, images, labels, lr=lr)
            place = TrainingProgress(
                epoch=epoch + 1,
                epochs=run.recipe.epochs,
                step=step + 1,
                steps=len(lrs),
                lr=lr,
                loss=loss,
            )
            if not math.isfinite(loss):
                raise TrainingError(_diverged(place))
            loss_sum += loss * len(chosen)
            right += right_now
            seen += len(chosen)
            if on_step is not None:
                on_step(place)
    return EpochLog(
        epoch=epoch + 1,
        lr_first=lrs[0],
        lr_last=lrs[-1],
        loss=loss_sum / seen,
        accuracy=right / seen,
        seconds=time.perf_counter() - start,
    )


def _views(
    run: _Run,
    chosen: NDArray[np.intp],
    epoch: int,
    *,
    rng: np.random.Generator,
    augment: Augment | None,
) -> Tensor:
    """The chosen images as this epoch shows them: float32 [n c h w]."""
    images = run.data.images[chosen]
    for name in run.recipe.augment:
        images = AUGMENTS[name](images, rng)
    if augment is not None:
        # Last: on the pixels that the network reads, as the gate applies its shifts.
        images = augment(images, run.data.ids[chosen], epoch)
    pixels = normalised(images, run.data, device=run.device)
    return pixels.contiguous(memory_format=run.layout)


def _step(run: _Run, images: Tensor, labels: Tensor, *, lr: float) -> tuple[float, int]:
    """Change the weights once; the loss, and how many images were named right before."""
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    with torch.autocast(run.device.type, torch.bfloat16, enabled=run.bfloat16):
        logits = run.network(images)
        with torch.no_grad():
            taught = None if run.teacher is None else run.teacher(images).float()
    loss = _loss(logits.float(), labels, taught, recipe=run.recipe)
    run.optimiser.zero_grad()
    loss.backward()
    run.optimiser.step()
    return loss.item(), int((logits.argmax(1) == labels).sum())


def _loss(logits: Tensor, labels: Tensor, taught: Tensor | None, *, recipe: Recipe) -> Tensor:
    """Mean over the batch; Hinton et al. 2015 (arXiv:1503.02531), section 2.

    T^2 keeps the size of the soft gradients while the temperature T shrinks them by 1 / T^2.
    """
    hard = functional.cross_entropy(logits, labels)
    if taught is None:
        return hard
    t = recipe.temperature
    soft = functional.kl_div(
        functional.log_softmax(logits / t, dim=1),
        functional.log_softmax(taught / t, dim=1),
        log_target=True,
        reduction="batchmean",
    )
    return (1 - recipe.distill) * hard + recipe.distill * t**2 * soft


@contextmanager
def _forked_torch_rng(device: torch.device, *, seed: int) -> Iterator[None]:
    """Dropout draws from torch's global generator: seed it, and put it back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # noqa: TID251 - does not leak: forked
        yield


def _diverged(place: TrainingProgress) -> str:
    return (
        f"the loss is {place.loss} in epoch {place.epoch} of {place.epochs}, "
        f"step {place.step} of {place.steps}, at learning rate {place.lr:g}; "
        f"retrain with a smaller one, {place.lr / 10:g} for a start"
    )


def _fingerprint(run: _Run, seed: int) -> str:
    """What a checkpoint must share with the retraining that resumes from it."""
    parts: list[bytes | str] = [repr((run.recipe, seed, run.data.mean, run.data.std, run.bfloat16))]
    parts += [run.data.ids.tobytes(), run.data.labels.tobytes()]
    for network in filter(None, (run.network, run.teacher)):
        for name, tensor in network.state_dict().items():
            content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            parts += [name, content.numpy().tobytes()]
    return digest(*parts)
