"""What the user asked for, read and checked before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.config import ConfigError, Project
from compressor.data import (
    ImageSet,
    UnlabelledSet,
    check_classes,
    check_disjoint,
    check_same_classes,
    load_images,
    split,
)
from compressor.distributions import definitions
from compressor.field import load_field
from compressor.ladder import Watch
from compressor.models import LoadedModel, load_model
from compressor.pruning.allocation import ALLOCATIONS
from compressor.pruning.importance import IMPORTANCES
from compressor.training.recipe import Recipe
from exporters.providers import Provider, choose
from gates.shifts import SMALLEST_SIDE, ShiftError
from policies import FolderRule, Policy, Rule


class TooFewImagesError(ValueError):
    """The gate could decide nothing, however the model is: its images are too few."""


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

    @property
    def cache(self) -> Path:
        """Where decoded images are kept."""
        return self.root / ".compress-cache"

    @property
    def side(self) -> int:
        """Shorter side of the images, in pixels."""
        return min(self.project.input.size[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that was read and checked before the run folder was touched."""

    model: LoadedModel
    train: ImageSet
    tune: ImageSet
    gate: ImageSet
    fields: Mapping[str, ImageSet | UnlabelledSet]
    """The images of the policy's folders, by the ids of their rules."""
    provider: Provider

    def judged(self, rule: Rule) -> ImageSet | UnlabelledSet:
        """The images that a rule is judged on."""
        return self.fields.get(rule.id, self.gate)


def check_search(job: Job) -> None:
    """The project's choices against the policy and the tables.

    Raises:
        ConfigError: a ratio outside the policy's bounds, or an unknown method.
        TrainingError: the recipe is unusable.
        ShiftError: the policy names a shift that does not exist, does not fit the images, or needs
            something that is not installed.
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
    definitions(job.policy, side=job.side)
    if job.project.input.size[0] not in {1, 3} or job.side < SMALLEST_SIDE:
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
        TooFewImagesError: an enforced rule cannot be decided.
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
    train, gate = _load(job, "train", watch=watch), _load(job, "gate", watch=watch)
    check_same_classes(train, gate)
    check_classes(gate, _outputs(model.module, project))
    fields = {
        rule.id: _load_field(job, rule, classes=gate.classes, watch=watch)
        for rule in job.policy.shifts
        if isinstance(rule, FolderRule)
    }
    check_disjoint(train, gate, source="data.gate")
    for name, images in fields.items():
        check_disjoint(train, images, source=f"rule {name}")
    rest, tune = split(train, fraction=project.data.tune.fraction, seed=project.seed)
    _check_enough(job.policy, gate, fields)
    provider = choose(project.latency.provider)
    watch.say(f"runtime: {provider.reason}")
    return Inputs(model=model, train=rest, tune=tune, gate=gate, fields=fields, provider=provider)


def _load(job: Job, name: Literal["train", "gate"], *, watch: Watch) -> ImageSet:
    source = getattr(job.project.data, name)
    images = load_images(source, size=job.project.input.size, cache=job.cache, root=job.root)
    watch.say(f"data.{name}: {len(images.labels):,} images of {len(images.classes)} classes")
    return images


def _load_field(
    job: Job, rule: FolderRule, *, classes: tuple[str, ...], watch: Watch
) -> ImageSet | UnlabelledSet:
    images = load_field(
        rule, classes=classes, size=job.project.input.size, cache=job.cache, root=job.root
    )
    known = "without labels"
    if isinstance(images, ImageSet):
        known = f"of {len(set(images.labels.tolist()))} of the {len(classes)} classes"
    watch.say(f"rule {rule.id}: {len(images.ids):,} images {known}")
    return images


def _check_enough(
    policy: Policy, gate: ImageSet, fields: Mapping[str, ImageSet | UnlabelledSet]
) -> None:
    """Raise TooFewImagesError unless each deciding rule has the images that the policy asks for."""
    short: dict[str, str] = {}
    for rule in policy.deciding:
        source = f"the folder of rule {rule.id}" if rule.id in fields else "data.gate"
        count, needed = len(fields.get(rule.id, gate).ids), policy.images_needed(rule)
        if count < needed:
            short[source] = (
                f"{source} has {count:,} images, and the policy {policy.name} asks for at least "
                f"{needed:,}, {needed - count:,} more"
            )
    if short:
        raise TooFewImagesError(
            f"undecided: {'; '.join(short.values())}; add images, or choose another policy"
        )


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
