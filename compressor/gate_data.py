"""The images that the gate judges on, and those that it may look at before: read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compressor.config import ConfigError, GateProject, Project, Source
from compressor.config_schema import Input
from compressor.data import (
    ImageSet,
    UnlabelledSet,
    check_disjoint,
    check_same_classes,
    load_images,
    split,
)
from compressor.distributions import definitions
from compressor.field import load_field
from compressor.watch import Watch, decoding
from gates.counting import check_metric, check_segmentable, in_group
from gates.shifts import SMALLEST_SIDE, ShiftError
from policies import FolderRule, Policy, Rule


class TooFewImagesError(ValueError):
    """The gate could decide nothing, however the model is: its images are too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateData:
    """What was read. ``train`` and ``tune`` are the two parts of data.train, if there is one."""

    gate: ImageSet
    fields: Mapping[str, ImageSet | UnlabelledSet]
    """The images of the policy's folders, by the ids of their rules."""
    train: ImageSet | None
    tune: ImageSet | None

    def judged(self, rule: Rule) -> ImageSet | UnlabelledSet:
        """The images that a rule is judged on."""
        return self.fields.get(rule.id, self.gate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which images to read, and how."""

    gate: Source
    train: Source | None
    tune_fraction: float
    classes: tuple[str, ...] | None
    """Their names, where the sources do not have them all."""
    size: tuple[int, int, int]
    """Channels, height, width in pixels."""
    root: Path
    cache: Path
    seed: int


def asked_of(project: Project | GateProject, source: Input, *, root: Path) -> Asked:
    """What a project says of its images; ``root`` is its folder."""
    return Asked(
        gate=project.data.gate,
        train=project.data.train,
        tune_fraction=project.data.tune.fraction,
        classes=project.data.classes,
        size=source.size,
        root=root,
        cache=cache_of(root),
        seed=project.seed,
    )


def cache_of(root: Path) -> Path:
    """Where decoded images and answers are kept; ``root`` is the project's folder."""
    return root / ".compress-cache"


def check_shifts(policy: Policy, source: Input) -> None:
    """Whether every shift of the policy can be made of these images.

    Raises:
        ShiftError: a shift does not exist, does not fit the images, or needs something that is not
            installed.
    """
    side = min(source.size[1:])
    definitions(policy, side=side)
    if source.size[0] not in {1, 3} or side < SMALLEST_SIDE:
        raise ShiftError(
            f"input.size is {list(source.size)}, and the gate's shifts need images of 1 or 3 "
            f"channels, at least {SMALLEST_SIDE} pixels high and wide"
        )


def read_gate_data(asked: Asked, policy: Policy, *, watch: Watch) -> GateData:
    """All images, checked against each other and the policy.

    Raises:
        DataError, ConfigError: saying what is wrong with which.
        TooFewImagesError: an enforced rule cannot be decided.
    """
    train = None if asked.train is None else _load(asked, asked.train, "train", watch=watch)
    gate = _load(asked, asked.gate, "gate", watch=watch)
    _check_task(policy, train, gate)
    fields = {
        rule.id: _load_field(asked, rule, classes=gate.classes, watch=watch)
        for rule in policy.shifts
        if isinstance(rule, FolderRule)
    }
    rest = tune = None
    if train is not None:
        check_same_classes(train, gate)
        check_disjoint(train, gate, source="data.gate")
        for name, images in fields.items():
            check_disjoint(train, images, source=f"rule {name}")
        rest, tune = split(train, fraction=asked.tune_fraction, seed=asked.seed)
    data = GateData(gate=gate, fields=fields, train=rest, tune=tune)
    _check_enough(policy, data)
    return data


def _load(asked: Asked, source: Source, name: str, *, watch: Watch) -> ImageSet:
    images = load_images(
        source,
        size=asked.size,
        cache=asked.cache,
        root=asked.root,
        classes=asked.classes,
        told=decoding(watch, f"data.{name}"),
    )
    watch.say(f"data.{name}: {described(images)}")
    return images


def described(images: ImageSet) -> str:
    """How many images there are, and of what."""
    masks = ", with masks" if images.segmented else ""
    return f"{len(images.labels):,} images of {len(images.classes)} classes{masks}"


def _check_task(policy: Policy, train: ImageSet | None, gate: ImageSet) -> None:
    """Raise ConfigError unless both sets are of one task, and the policy's rules fit it."""
    if train is not None and train.segmented != gate.segmented:
        one, other = ("train", "gate") if train.segmented else ("gate", "train")
        raise ConfigError(
            f"data.{one} has masks, a class for every pixel, and data.{other} has one class an "
            "image; give both in one form"
        )
    if gate.segmented:
        try:
            for rule in policy.shifts:
                check_segmentable(rule)
        except ValueError as error:
            raise ConfigError(f"the policy {policy.name} does not fit masks: {error}") from error


def _load_field(
    asked: Asked, rule: FolderRule, *, classes: tuple[str, ...], watch: Watch
) -> ImageSet | UnlabelledSet:
    images = load_field(
        rule,
        classes=classes,
        size=asked.size,
        cache=asked.cache,
        root=asked.root,
        told=decoding(watch, f"rule {rule.id}"),
    )
    known = "without labels"
    if isinstance(images, ImageSet):
        known = f"of {len(set(images.labels.tolist()))} of the {len(classes)} classes"
    watch.say(f"rule {rule.id}: {len(images.ids):,} images {known}")
    return images


def _check_enough(policy: Policy, data: GateData) -> None:
    """Raise unless every rule can be counted, and each deciding one on as many images as it must.

    ``TooFewImagesError`` for too few images, ``ConfigError`` for a class that there is not.
    """
    short: dict[str, str] = {}
    for rule in policy.shifts:
        count = _count(rule, data)
        needed = policy.images_needed(rule) if rule in policy.deciding else 1
        source = f"the folder of rule {rule.id}" if rule.id in data.fields else "data.gate"
        group = f" of {', '.join(rule.only)} (rule {rule.id})" if rule.only else ""
        if count < needed:
            short[f"{source}{group}"] = (
                f"{source} has {count:,} images{group}, and the policy {policy.name} asks for at "
                f"least {needed:,}, {needed - count:,} more"
            )
    if short:
        raise TooFewImagesError(
            f"undecided: {'; '.join(short.values())}; add images, or choose another policy"
        )


def _count(rule: Rule, data: GateData) -> int:
    images = data.judged(rule)
    try:
        check_metric(rule, data.gate.classes)
    except ValueError as error:
        raise ConfigError(f"the policy does not fit data.gate: {error}") from error
    if not isinstance(images, ImageSet):
        return len(images.ids)
    if not rule.only:
        return len(images.ids)
    try:
        return int(in_group(rule, images.labels, classes=data.gate.classes).sum())
    except ValueError as error:
        raise ConfigError(f"the policy does not fit data.gate: {error}") from error
