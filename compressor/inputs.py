"""What the user asked for, read and checked before anything is written."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.config import ConfigError, Project
from compressor.data import (
    ImageSet,
    check_classes,
    check_disjoint,
    check_same_classes,
    load_images,
    split,
)
from compressor.ladder import Watch
from compressor.models import LoadedModel, load_model
from compressor.pruning.allocation import ALLOCATIONS
from compressor.pruning.importance import IMPORTANCES
from compressor.training.recipe import Recipe
from exporters.providers import Provider, choose
from gates.shifts import SMALLEST_SIDE, ShiftError, parameters
from policies import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the user asked for."""

    model: Path
    policy: Policy
    project: Project
    root: Path
    """The project's folder: relative paths and the user's own code start here."""
    run: Path
    trusted: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that was read and checked before the run folder was touched."""

    model: LoadedModel
    train: ImageSet
    tune: ImageSet
    gate: ImageSet
    provider: Provider


def check_search(job: Job) -> None:
    """The project's choices against the policy and the tables.

    Raises:
        ConfigError: a ratio outside the policy's bounds, or an unknown method.
        TrainingError: the recipe is unusable.
        ShiftError: the policy names a shift that does not exist or does not fit the images.
    """
    bounds, search = job.policy.ratios, job.project.search
    outside = [r for r in search.ratios if not bounds.smallest <= r <= bounds.largest]
    if outside:
        raise ConfigError(
            f"search.ratios has {', '.join(map(str, outside))}, and the policy {job.policy.name} "
            f"allows {bounds.smallest} to {bounds.largest}; leave them out"
        )
    recipe(job.project)
    for name, chosen, known in (
        ("importance", search.importance, IMPORTANCES),
        ("allocation", search.allocation, ALLOCATIONS),
    ):
        if chosen not in known:
            raise ConfigError(f"search.{name} is {chosen!r}; known are {', '.join(known)}")
    side = min(job.project.input.size[1:])
    for rule in job.policy.shifts:
        parameters(rule.name, severity=rule.severity, profile=job.policy.profile, side=side)
    if job.project.input.size[0] not in {1, 3} or side < SMALLEST_SIDE:
        raise ShiftError(
            f"input.size is {list(job.project.input.size)}, and the gate's shifts need images of 1 "
            f"or 3 channels, at least {SMALLEST_SIDE} pixels high and wide"
        )


def recipe(project: Project) -> Recipe:
    """How candidates are retrained.

    Raises:
        TrainingError: a value is out of range.
    """
    return Recipe(**project.retrain.model_dump(exclude={"recipe"}))


def read_inputs(job: Job, watch: Watch) -> Inputs:
    """Model, images and runtime, loaded and checked against each other.

    Raises:
        ModelError, DataError, ConfigError, ProviderError: saying what is wrong with which.
    """
    project = job.project
    model = load_model(
        job.model,
        root=job.root,
        factory=project.model.factory,
        kwargs=project.model.kwargs,
        trusted=(*project.model.trust, *job.trusted),
    )
    watch.say(f"model: {model.source}")
    cache = job.root / ".compress-cache"

    def load(name: str) -> ImageSet:
        source = getattr(project.data, name)
        images = load_images(source, size=project.input.size, cache=cache, root=job.root)
        watch.say(f"data.{name}: {len(images.labels):,} images of {len(images.classes)} classes")
        return images

    train, gate = load("train"), load("gate")
    check_same_classes(train, gate)
    check_disjoint(train, gate)
    check_classes(gate, _outputs(model.module, project))
    rest, tune = split(train, fraction=project.data.tune.fraction, seed=project.seed)
    provider = choose(project.latency.provider)
    watch.say(f"runtime: {provider.reason}")
    return Inputs(model=model, train=rest, tune=tune, gate=gate, provider=provider)


def _outputs(model: nn.Module, project: Project) -> int:
    """Number of classes the model answers with, tried on an empty image."""
    with torch.inference_mode():
        try:
            logits = model(torch.zeros(2, *project.input.size))
        # The user's network may raise anything; whatever it is belongs to the user.
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "no message")
            raise ConfigError(
                f"the model does not run on images of input.size {list(project.input.size)}: "
                f"{type(error).__name__}: {reason}; correct input.size, or the network"
            ) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ConfigError("the model must return one tensor of logits [n classes]")
    return int(logits.shape[1])
