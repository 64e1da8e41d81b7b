"""Retrain a pruned network by stochastic gradient descent.

Everything random is drawn anew for every epoch from the seed and the epoch's number, so that an
interrupted retraining that resumes ends with the same weights, bit for bit, as one that was never
disturbed (on a CPU with as many threads; CUDA's convolutions do not promise it).

With several processes each has its share of every batch, and their gradients are averaged: the
images of a step are those of a single process, BatchNorm's statistics are of each share.
"""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compressor.files import digest
from compressor.layouts import fastest_layout
from compressor.training import checkpoint as checkpoints
from compressor.training.augment import Augment
from compressor.training.batches import (
    LabelledImages,
    accuracy,
    native_bfloat16,
    normalised,
    on_device,
)
from compressor.training.checkpoint import EpochLog
from compressor.training.epoch import Run, TrainingProgress, train_epoch
from compressor.training.recipe import Recipe, TrainingError
from compressor.training.team import ALONE, Team
from compressor.training.together import Stored, store, together


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The network after its last epoch, or its best on the tune split, and how it got there."""

    model: nn.Module
    """On the CPU, in evaluation mode, in the memory layout of the model that was given.

    Where weights were averaged, BatchNorm's statistics are averages too: re-estimate them.
    """
    log: tuple[EpochLog, ...]
    epoch: int
    """The epoch whose weights these are, from 1; 0 if there was none."""
    bfloat16: bool
    """Whether convolutions ran in bfloat16."""


def retrain(
    model: nn.Module,
    data: LabelledImages,
    *,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    teacher: nn.Module | None = None,
    augment: Augment | None = None,
    tune: LabelledImages | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[TrainingProgress], None] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> TrainingResult:
    """The model after ``recipe.epochs`` epochs; the one given is not changed.

    The last weights, not the best ones, unless the recipe says ``best_on_tune``: then those of the
    epoch with the highest accuracy on ``tune``, the first of equals. Without a ``teacher``, labels
    alone are learnt. ``checkpoint`` is rewritten after every epoch, resumed from when it exists,
    and removed by the caller once the result is safe. ``after_step`` may change the network's
    weights in place after every step, as masks do; a checkpoint does not know of it.

    Raises:
        TrainingError: there are fewer than two images, or none to choose by, the loss is not
            finite, or the checkpoint cannot be read or belongs to another retraining; with several
            processes, there is no device for each, or one of them died.
    """
    _check_images(data, tune, recipe)
    job = _Job(
        model=model,
        recipe=recipe,
        seed=seed,
        teacher=teacher,
        augment=augment,
        checkpoint=checkpoint,
        after_step=after_step,
    )
    if recipe.processes == 1:
        return _trained(job, data, tune, team=ALONE, device=device, on_step=on_step)
    with tempfile.TemporaryDirectory(prefix="compress-retrain-") as name:
        folder = Path(name)
        # What a team has done is what its checkpoint holds.
        job = replace(job, checkpoint=checkpoint or folder / "training.safetensors")
        sent = store(data, folder / "train")
        held_back = None if tune is None else store(tune, folder / "tune")
        together(
            partial(_take_part, job, sent, held_back),
            device=device,
            processes=recipe.processes,
            on_step=on_step,
        )
        return _trained(job, data, tune, team=ALONE, device=device, on_step=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What was asked for, images apart."""

    model: nn.Module
    recipe: Recipe
    seed: int
    teacher: nn.Module | None
    augment: Augment | None
    checkpoint: Path | None
    after_step: Callable[[nn.Module], None] | None


def _take_part(
    job: _Job,
    data: Stored,
    tune: Stored | None,
    *,
    team: Team,
    device: torch.device,
    on_step: Callable[[TrainingProgress], None],
) -> None:
    """What one process of a team does."""
    held_back = None if tune is None else tune.read()
    _trained(job, data.read(), held_back, team=team, device=device, on_step=on_step)


def _trained(
    job: _Job,
    data: LabelledImages,
    tune: LabelledImages | None,
    *,
    team: Team,
    device: torch.device,
    on_step: Callable[[TrainingProgress], None] | None,
) -> TrainingResult:
    """From the checkpoint, if there is one, to the last epoch."""
    recipe = job.recipe
    run = _prepare(job, data, team=team, device=device)
    owner = _fingerprint(run, job.seed, tune)
    log: tuple[EpochLog, ...] = ()
    best: Mapping[str, Tensor] = {}
    if job.checkpoint is not None and job.checkpoint.exists():
        log, best = checkpoints.resume(
            job.checkpoint, run.network, run.optimiser, average=run.average, owner=owner
        )
    lrs = recipe.rates(run.steps)
    for epoch in range(len(log), recipe.epochs):
        rng = np.random.default_rng([job.seed, epoch])
        epoch_lrs = lrs[epoch * run.steps : (epoch + 1) * run.steps]
        entry = train_epoch(
            run,
            epoch,
            epoch_lrs,
            rng=rng,
            augment=job.augment,
            on_step=on_step,
            after_step=job.after_step,
        )
        if tune is not None and team.leads:
            tuned = accuracy(run.result, tune, device=device)
            entry = replace(entry, tune_accuracy=tuned)
        log += (entry,)
        if recipe.choose == "best_on_tune" and _best(log) == len(log):
            best = {name: t.detach().clone() for name, t in run.result.state_dict().items()}
        if job.checkpoint is not None and team.leads:
            checkpoints.save(
                job.checkpoint,
                run.network,
                run.optimiser,
                average=run.average,
                best=best,
                log=log,
                owner=owner,
            )
    # Loaded into a copy of what was given: the layout used in training stays in here.
    trained = copy.deepcopy(job.model).cpu().eval()
    trained.load_state_dict(best or run.result.state_dict())
    chosen = _best(log) if best else len(log)
    return TrainingResult(model=trained, log=log, epoch=chosen, bfloat16=run.bfloat16)


def _check_images(data: LabelledImages, tune: LabelledImages | None, recipe: Recipe) -> None:
    if len(data.labels) < 2 * recipe.processes:
        each = " in each process" if recipe.processes > 1 else ""
        raise TrainingError(
            f"{len(data.labels)} training images; BatchNorm needs at least two{each}"
        )
    if recipe.choose == "best_on_tune" and not (tune is not None and len(tune.labels)):
        raise TrainingError("no tune images, and choose = best_on_tune chooses by them; take last")


def _best(log: Sequence[EpochLog]) -> int:
    """The first of the epochs with the highest accuracy on the tune split, from 1."""
    return 1 + max(range(len(log)), key=lambda k: (log[k].tune_accuracy or 0.0, -k))


def _prepare(job: _Job, data: LabelledImages, *, team: Team, device: torch.device) -> Run:
    recipe, teacher = job.recipe, job.teacher
    network = on_device(job.model, device)
    example = normalised(np.array(data.images[:1]), data, device=device)
    layout = fastest_layout(network, example)
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
    return Run(
        network=network,
        called=team.joined(network, example),
        average=copy.deepcopy(network).eval() if recipe.ema else None,
        teacher=teacher,
        optimiser=optimiser,
        data=data,
        recipe=recipe,
        device=device,
        layout=layout,
        bfloat16=recipe.amp and native_bfloat16(device),
        team=team,
    )


def _fingerprint(run: Run, seed: int, tune: LabelledImages | None) -> str:
    """What a checkpoint must share with the retraining that resumes from it."""
    parts: list[bytes | str] = [repr((run.recipe, seed, run.data.mean, run.data.std, run.bfloat16))]
    for images in filter(None, (run.data, tune)):
        parts += [images.ids.tobytes(), images.labels.tobytes()]
    for network in filter(None, (run.network, run.teacher)):
        for name, tensor in network.state_dict().items():
            content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            parts += [name, content.numpy().tobytes()]
    return digest(*parts)
