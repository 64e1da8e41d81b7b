"""What the user asked for, read and checked before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.config import ConfigError, Project, PruneProject
from compressor.config_schema import Input
from compressor.config_search import Search
from compressor.data import ImageSet, check_classes
from compressor.gate_data import GateData, asked_of, cache_of, check_shifts, read_gate_data
from compressor.models import LoadedModel, load_model
from compressor.pruning.allocation import ALLOCATIONS
from compressor.pruning.importance import IMPORTANCES
from compressor.pruning.outputs import ForwardError
from compressor.pruning.plain import in_time, plain
from compressor.resizing import answer_images_at, said_of, take_images_at
from compressor.training.recipe import Recipe
from compressor.training.schedules import Original
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
    tried = search.ratios if search.target is None else ()  # a target looks within the bounds
    outside = [r for r in tried if not bounds.smallest <= r <= bounds.largest]
    if outside:
        raise ConfigError(
            f"search.ratios has {', '.join(map(str, outside))}, and the policy {job.policy.name} "
            f"allows {bounds.smallest} to {bounds.largest}; leave them out"
        )
    recipe(job.project)
    check_method(search)
    check_shifts(job.policy, job.project.input)


def check_method(search: Search) -> None:
    """Whether there is what the project asks to choose channels by.

    Raises:
        ConfigError: with what there is.
    """
    for name, chosen, known in (
        ("importance", search.importance, IMPORTANCES),
        ("allocation", search.allocation, ALLOCATIONS),
    ):
        if chosen not in known:
            raise ConfigError(f"search.{name} is {chosen!r}; known are {', '.join(known)}")
    if search.regulariser and not IMPORTANCES[search.importance].models_loss:
        fitting = ", ".join(name for name, each in IMPORTANCES.items() if each.models_loss)
        raise ConfigError(
            f"search.regulariser is {search.regulariser:g}, and {search.importance} models no loss "
            f"that it could be added to; set it to 0, or choose of {fitting}"
        )


def recipe(project: Project | PruneProject) -> Recipe:
    """How candidates are retrained.

    Raises:
        TrainingError: a value is out of range.
    """
    fields = project.retrain.model_dump(exclude={"recipe", "original", "robust"})
    told = project.retrain.original
    original = None if told is None else Original(**told.model_dump())
    return Recipe(**fields, schedule=project.retrain.recipe, original=original)


def read_inputs(job: Job, watch: Watch) -> Inputs:
    """Model, images and runtime, loaded and checked against each other.

    Raises:
        ModelError, DataError, ConfigError, ProviderError: saying what is wrong with which.
        TooFewImagesError: a rule cannot be decided.
    """
    project = job.project
    model = read_network(job.model, project, root=job.root, trusted=job.trusted, watch=watch)
    asked = asked_of(project, project.input, root=job.root)
    data = read_gate_data(asked, job.policy, watch=watch)
    check_answers(model.module, data.gate)
    if data.train is None or data.tune is None:
        raise ConfigError("data.train is missing, and a pruned network is retrained; add it")
    provider = choose(project.latency.provider)
    watch.say(f"runtime: {provider.reason}")
    return Inputs(model=model, data=data, train=data.train, tune=data.tune, provider=provider)


def read_network(
    path: Path,
    project: Project | PruneProject,
    *,
    root: Path,
    trusted: Sequence[str],
    watch: Watch,
) -> LoadedModel:
    """The network in a file, made plain enough to be cut.

    Raises:
        ModelError, TraceError: it cannot be loaded, or not be made plain.
        ConfigError: it does not run on images of input.size.
    """
    model = load_model(
        path,
        root=root,
        factory=project.model.factory,
        kwargs=project.model.kwargs,
        trusted=(*project.model.trust, *trusted),
    )
    watch.say(f"model: {model.source}")
    take_images_at(model.module, project.input)
    try:
        with in_time(project.search.time_limit_s):
            images = torch.zeros(2, *project.input.size)
            made = plain(model.module, images, output=project.model.output)
    except ForwardError as error:
        raise ConfigError(
            f"the model does not run on images of {_sizes(project.input)}: {error.reason}; correct "
            f"input.{'resize' if project.input.resize else 'size'}, or the network"
        ) from error
    answer_images_at(made.model, project.input)
    notes = (*said_of(project.input), *made.notes)
    for note in notes:
        watch.say(f"model: {note}")
    return replace(model, module=made.model, notes=notes)


def _sizes(source: Input) -> str:
    own = "" if source.resize is None else f", resized to input.resize {list(source.resize)}"
    return f"input.size {list(source.size)}{own}"


def check_answers(model: nn.Module, images: ImageSet) -> None:
    """Whether the model answers, tried on empty images of that size, as the images' labels ask.

    Raises:
        ConfigError: it answers with something else than logits, for an image or for every pixel.
        DataError: it knows another number of classes.
    """
    size = images.images.shape[1:]
    with torch.inference_mode():
        logits = model(torch.zeros(2, *size))
    wanted = "[n classes h w]" if images.segmented else "[n classes]"
    if not isinstance(logits, Tensor) or logits.dim() != wanted.count(" ") + 1:
        answer = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        form = "masks, a class for every pixel" if images.segmented else "one class an image"
        raise ConfigError(
            f"the model must return one tensor of logits {wanted}, for the images have {form}; for "
            f"2 images it returns {answer}"
        )
    if images.segmented and logits.shape[2:] != size[1:]:
        raise ConfigError(
            f"the model answers at {' x '.join(map(str, logits.shape[2:]))} places of images of "
            f"{' x '.join(map(str, size[1:]))} pixels, and masks have a class for each pixel; let "
            "it end in functional.interpolate to its input's size"
        )
    check_classes(images, int(logits.shape[1]))
