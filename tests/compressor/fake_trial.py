"""A trial without networks: its models know every image that they may be shown, and tell of it."""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.data import ImageSet, UnlabelledSet
from compressor.distributions import distribution_of
from compressor.files import digest, sha256_of
from compressor.gate import Subject
from compressor.measurement import measurement_of
from compressor.runs import RunFolder
from compressor.trial import Trial
from gates.looks import reading_order
from gates.measure import Predict
from gates.shifts import sample
from policies import FolderRule, Method, Policy, Rule, ShiftRule, Waiver

CLASSES = ("cat", "dog", "car")
DENSE, PRUNED = "dense.onnx", "pruned.onnx"
SEED = 7

Images = ImageSet | UnlabelledSet
Drops = Mapping[str, float]
"""Share of the images that the pruned model gets wrong, by set and measurement: gate/fog-3."""


class Killed(BaseException):
    """What ends a process, and nobody catches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One batch that a model was asked about."""

    model: str
    place: str
    """Set and measurement, as in ``Drops``."""
    rows: tuple[int, ...]


@dataclass(slots=True, kw_only=True)
class Stage:
    """A trial, and what its models are shown while it lasts."""

    trial: Trial
    subject: Subject
    shown: list[Shown] = field(default_factory=list)
    batches: float = math.inf
    """After so many the process is killed."""

    def order(self, *, model: str, images: str = "gate") -> list[str]:
        """Measurements in the order in which a model was first asked about a set."""
        asked = (shown.place for shown in self.shown if shown.model == model)
        places = (place.split("/") for place in asked)
        return list(dict.fromkeys(name for kind, name in places if kind == images))

    def rows(self, *, model: str, place: str) -> list[tuple[int, ...]]:
        """The rows of each batch that a model was asked about."""
        return [s.rows for s in self.shown if (s.model, s.place) == (model, place)]

    def passes(self, model: str) -> int:
        return sum(len(shown.rows) for shown in self.shown if shown.model == model)


def policy(*rules: Rule, method: Method = "looks", waivers: Sequence[Waiver] = ()) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=0.05,
        method=method,
        min_images=1,
        shifts=rules,
        waivers=tuple(waivers),
    )


def rule(name: str, **fields: object) -> ShiftRule:
    """A rule about a shift at severity 2, with a tolerance of 10 %."""
    severity = None if name == "clean" else 2
    given = {"name": name, "severity": severity, "tolerance": 0.1, "reason": "because"}
    return ShiftRule.model_validate(given | fields)


def drawn(
    count: int, *, seed: int, labels: NDArray[np.int64] | None = None, known: int = len(CLASSES)
) -> ImageSet:
    """Images of noise, of the first ``known`` classes unless labels are given."""
    rng = np.random.default_rng(seed)
    images, ids = _noise(count, rng)
    chosen = rng.integers(known, size=count) if labels is None else labels
    return ImageSet(
        images=images,
        labels=chosen,
        ids=ids,
        names=tuple(map(str, range(count))),
        classes=CLASSES,
        digest=digest(ids.tobytes(), chosen.tobytes()),
    )


def bare(count: int, *, seed: int) -> UnlabelledSet:
    """Images of noise whose classes nobody knows."""
    images, ids = _noise(count, np.random.default_rng(seed))
    names = tuple(map(str, range(count)))
    return UnlabelledSet(images=images, ids=ids, names=names, digest=digest(ids.tobytes()))


def late(count: int, *, label: int, before: int, seed: int) -> ImageSet:
    """Images of which none of the first ``before``, as they are read, has this label."""
    order = reading_order(drawn(count, seed=seed).ids, seed=SEED)
    labels = np.full(count, label, dtype=np.int64)
    labels[order[:before]] = (label + 1) % len(CLASSES)
    return drawn(count, seed=seed, labels=labels)


def staged(
    folder: Path,
    rules: Policy,
    *,
    gate: ImageSet,
    tune: ImageSet | None = None,
    fields: Mapping[str, Images] | None = None,
    drops: Drops | None = None,
    dense_drops: Drops | None = None,
) -> Stage:
    """A trial of one candidate in ``folder``; where nothing is said, its answers are right."""
    own = fields or {}
    run = RunFolder(path=folder / "run")
    run.path.mkdir(parents=True, exist_ok=True)
    for name in (DENSE, PRUNED):
        (folder / name).write_text(f"the network of {name}\n")
    answers = {DENSE: dense_drops or {}, PRUNED: drops or {}}

    def opened(path: Path) -> Predict:
        return _model(stage, path.name, known=known, drops=answers[path.name])

    trial = Trial(
        run=run,
        policy=rules,
        judged=lambda rule: own.get(rule.id, gate),
        tune=tune,
        classes=CLASSES,
        dense=folder / DENSE,
        open=opened,
        network=_first_line,
        seed=SEED,
        cache=folder / "cache",
        conditions={"provider": "none"},
    )
    sets = {"gate": gate, **({"tune": tune} if tune else {}), **own}
    known = _known(rules, sets)
    file = folder / PRUNED
    subject = Subject(name=PRUNED, position=0, ratio=None, file=file, sha256=sha256_of(file))
    stage = Stage(trial=trial, subject=subject)
    return stage


def _noise(count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Images [n 3 8 8], the smallest that there are shifts of, and their ids."""
    images = rng.integers(256, size=(count, 3, 8, 8), dtype=np.uint8)
    return images, rng.integers(2**63, size=count, dtype=np.uint64)


def _first_line(path: Path) -> str:
    """What a file computes; what follows are remarks."""
    return path.read_text().splitlines()[0]


Known = Mapping[bytes, tuple[str, int, int, int]]
"""Set and measurement, row, place in the reading order and label, by an image's pixels."""


def _known(rules: Policy, sets: Mapping[str, Images]) -> Known:
    known: dict[bytes, tuple[str, int, int, int]] = {}
    for name, images in sets.items():
        labels = images.labels if isinstance(images, ImageSet) else np.zeros(len(images.ids), int)
        position = np.argsort(reading_order(images.ids, seed=SEED))
        for item in rules.shifts:
            if not _sees(item, name, own=sets):
                continue
            place = f"{name}/{measurement_of(rules, item)}"
            for pixels in _shifted(images, item, profile=rules.profile):
                for row, image in enumerate(pixels):
                    told = (place, row, int(position[row]), int(labels[row]))
                    assert known.setdefault(image.tobytes(), told) == told, "two look the same"
    return known


def _sees(item: Rule, name: str, *, own: Container[str]) -> bool:
    """Whether a model is shown the images of the set with this name under a rule."""
    if name == "tune":
        return not isinstance(item, FolderRule)
    return name == (item.id if item.id in own else "gate")


def _shifted(images: Images, item: Rule, *, profile: str) -> list[NDArray[np.uint8]]:
    """All images under each draw of the rule."""
    distribution = distribution_of(item)
    return [
        sample(
            images.images, images.ids, distribution=distribution, seed=SEED, draw=draw,
            profile=profile,
        )
        for draw in range(distribution.draws)
    ]  # fmt: skip


def _model(
    stage: Stage, name: str, *, known: Known, drops: Drops
) -> Callable[..., NDArray[np.float32]]:
    """Wrong on its share of the images, evenly spread over the order in which they are read."""

    def predict(images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        if len(stage.shown) >= stage.batches:
            raise Killed
        found = [known[image.tobytes()] for image in images]
        (place,) = {place for place, *_ in found}
        stage.shown.append(Shown(model=name, place=place, rows=tuple(row for _, row, *_ in found)))
        share = drops.get(place, 0.0)
        logits = np.zeros((len(images), len(CLASSES)), dtype=np.float32)
        for line, (_, _, position, label) in enumerate(found):
            wrong = math.floor((position + 1) * share) > math.floor(position * share)
            logits[line, (label + wrong) % len(CLASSES)] = 4.0
        return logits

    return predict
