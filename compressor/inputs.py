"""What the user asked for, read and checked before anything is written."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.config import ConfigError, Project
from compressor.data import ImageSet, check_classes
from compressor.gate_data import Asked, GateData, cache_of, check_shifts, read_gate_data
from compressor.models import LoadedModel, load_model
from compressor.pruning.allocation import ALLOCATIONS
from compressor.pruning.importance import IMPORTANCES
from compressor.training.recipe import Recipe
from compressor.watch import Watch
from exporters.providers import Provider, choose
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

    @property
    def cache(self) -> Path:
        """Where decoded images are kept."""
        return cache_of(self.root)

    @property
    def side(self) -> int:
        """Shorter side of the images, in pixels."""
        return min(self.project.input.size[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that was read and checked before the run folder was touched."""

    model: LoadedModel
    data: GateData
    train: ImageSet
    """What is trained on: data.train without the tune split."""
    tune: ImageSet
    provider: Provider


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
    check_shifts(job.policy, job.project.input)


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
        TooFewImagesError: a rule cannot be decided.
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
    asked = Asked(
        gate=project.data.gate,
        train=project.data.train,
        tune_fraction=project.data.tune.fraction,
        size=project.input.size,
        root=job.root,
        cache=job.cache,
        seed=project.seed,
    )
    data = read_gate_data(asked, job.policy, watch=watch)
    check_classes(data.gate, _outputs(model.module, project))
    if data.train is None or data.tune is None:
        raise ConfigError("data.train is missing, and a pruned network is retrained; add it")
    provider = choose(project.latency.provider)
    watch.say(f"runtime: {provider.reason}")
    return Inputs(model=model, data=data, train=data.train, tune=data.tune, provider=provider)


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
