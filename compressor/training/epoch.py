"""One epoch of stochastic gradient descent, step by step."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from compressor.labels import NOT_LABELLED, are_masks
from compressor.training.augment import AUGMENTS, Augment
from compressor.training.averaging import decay_at, follow
from compressor.training.batches import LabelledImages, normalised, right_answers
from compressor.training.checkpoint import EpochLog
from compressor.training.recipe import Recipe, TrainingError
from compressor.training.team import ALONE, Team


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
class Run:
    """What stays from the first step to the last."""

    network: nn.Module
    called: nn.Module
    """The network, or what makes its gradients those of the whole team."""
    average: nn.Module | None
    """Of the network's weights, where the recipe asks for one."""
    teacher: nn.Module | None
    optimiser: torch.optim.Optimizer
    data: LabelledImages
    recipe: Recipe
    device: torch.device
    layout: torch.memory_format
    bfloat16: bool
    team: Team = ALONE

    @property
    def result(self) -> nn.Module:
        """What the recipe asks for: the average of the weights, or the weights themselves."""
        return self.average or self.network

    @property
    def steps(self) -> int:
        """Steps of an epoch. A last batch that is not full waits for another epoch's order."""
        return max(1, len(self.data.labels) // self.recipe.batch_size)


def train_epoch(
    run: Run,
    epoch: int,
    lrs: list[float],
    *,
    rng: np.random.Generator,
    augment: Augment | None,
    on_step: Callable[[TrainingProgress], None] | None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> EpochLog:
    """One pass in a new random order, one learning rate for each step."""
    start = time.perf_counter()
    order = rng.permutation(len(run.data.labels))
    loss_sum, right, asked, seen = 0.0, 0.0, 0.0, 0.0
    run.network.train()
    # Dropout is another in each process of a team.
    torch_seed = (int(rng.integers(2**63)) + run.team.rank) % 2**63
    with _forked_torch_rng(run.device, seed=torch_seed):
        for step, lr in enumerate(lrs):
            chosen = order[step * run.recipe.batch_size : (step + 1) * run.recipe.batch_size]
            images, labels = _views(run, chosen, epoch, rng=rng, augment=augment)
            loss, right_now, asked_now = _step(run, images, labels, lr=lr)
            if after_step is not None:
                after_step(run.network)
            if run.average is not None:
                decay = decay_at(epoch * len(lrs) + step, run.recipe.ema)
                follow(run.average, run.network, decay=decay)
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
            loss_sum += loss * len(labels)
            right += right_now
            asked += asked_now
            seen += len(labels)
            if on_step is not None:
                on_step(place)
    loss_sum, right, asked, seen = run.team.total(loss_sum, right, asked, seen, device=run.device)
    return EpochLog(
        epoch=epoch + 1,
        lr_first=lrs[0],
        lr_last=lrs[-1],
        loss=loss_sum / seen,
        accuracy=right / max(asked, 1),
        seconds=time.perf_counter() - start,
    )


def _views(
    run: Run,
    chosen: NDArray[np.intp],
    epoch: int,
    *,
    rng: np.random.Generator,
    augment: Augment | None,
) -> tuple[Tensor, Tensor]:
    """The chosen images as this epoch shows them, float32 [n c h w], and labels or their masks.

    Of a team, each process has its share of them, changed as they would be in a single process.
    """
    images, labels = run.data.images[chosen], run.data.labels[chosen]
    for name in run.recipe.augment:
        if are_masks(labels):
            # With the same draws, so that a mask goes where its image goes.
            twin = copy.deepcopy(rng)
            labels = AUGMENTS[name](labels[:, None].astype(np.uint8, copy=False), twin)[:, 0]
        images = AUGMENTS[name](images, rng)
    mine = run.team.share(np.arange(len(chosen)))
    images, labels = images[mine], labels[mine]
    if augment is not None:
        # Last: on the pixels that the network reads, as the gate applies its shifts.
        images = augment(images, run.data.ids[chosen[mine]], epoch)
    pixels = normalised(images, run.data, device=run.device)
    wanted = torch.from_numpy(np.ascontiguousarray(labels)).to(run.device).long()
    return pixels.contiguous(memory_format=run.layout), wanted


def _step(run: Run, images: Tensor, labels: Tensor, *, lr: float) -> tuple[float, int, int]:
    """Change the weights once; the loss, and before that right answers, and all of them."""
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    with torch.autocast(run.device.type, torch.bfloat16, enabled=run.bfloat16):
        logits = run.called(images)
        with torch.no_grad():
            taught = None if run.teacher is None else run.teacher(images).float()
    loss = _loss(logits.float(), labels, taught, recipe=run.recipe)
    run.optimiser.zero_grad()
    loss.backward()
    run.optimiser.step()
    right, asked = right_answers(logits, labels)
    return loss.item(), int(right.sum()), int(asked.sum())


def _loss(logits: Tensor, labels: Tensor, taught: Tensor | None, *, recipe: Recipe) -> Tensor:
    """Mean over the batch; Hinton et al. 2015 (arXiv:1503.02531), section 2.

    T^2 keeps the size of the soft gradients while the temperature T shrinks them by 1 / T^2. Of
    masks the mean is over pixels: of the labels' part over the labelled ones, of the teacher's over
    all, for it answers everywhere.
    """
    hard = _by_labels(logits, labels)
    if taught is None:
        return hard
    t = recipe.temperature
    soft = functional.kl_div(
        functional.log_softmax(logits / t, dim=1),
        functional.log_softmax(taught / t, dim=1),
        log_target=True,
        reduction="batchmean",
    )
    places = math.prod(logits.shape[2:])
    return (1 - recipe.distill) * hard + recipe.distill * t**2 * soft / places


def _by_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over images, or over the labelled pixels; 0 where a batch has none."""
    if labels.dim() == 1:
        return functional.cross_entropy(logits, labels)
    total = functional.cross_entropy(logits, labels, ignore_index=NOT_LABELLED, reduction="sum")
    mean: Tensor = total / (labels != NOT_LABELLED).sum().clamp_min(1)
    return mean


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
