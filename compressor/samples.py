"""Which images of the gate show what pruning changed, with both models' answers.

Of each rule a few images that the two models answer differently: first some that only the dense
model got right, then some that only the pruned one did, each in the order in which the gate read
them, so that nobody's taste chooses. Where the two never differ, one image shows the shift.
"""

import base64
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from compressor.data import ImageSet
from compressor.distributions import distribution_of
from compressor.files import sha256_of, write_atomically
from compressor.measurement import measurement_of
from compressor.pixels import Pixels
from compressor.report import shown_step
from compressor.report_schema import CellReport, Report, StepReport
from compressor.runs import read_answers
from compressor.samples_file import SAMPLES, Sample, Samples, ShiftSamples
from compressor.trial import GATE_BATCH, Trial
from gates import in_group, look_sizes
from gates.answers import ANSWER, UNLABELLED_ANSWER, Answers
from gates.looks import reading_order
from gates.shifts import sample
from policies import Rule

PER_RULE: Final = 4
BYTES: Final = 300_000
"""Of all pictures together, before they become text."""
_LARGEST: Final = 96
"""Pixels of a side; larger images are shown smaller."""
_EXACT: Final = 40
"""Pixels of a side; up to here pictures are PNG, and larger ones, which take more, JPEG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """One rule: what was counted, and which images of it were chosen."""

    rule: Rule
    different: int
    dense: Answers
    """[n draws]; of images without labels one draw."""
    pruned: Answers
    places: tuple[tuple[int, int], ...]
    """In the reading order, and the draw."""


def keep_samples(trial: Trial, report: Report) -> Samples | None:
    """Write the samples of the candidate that the report shows first; None if it has none.

    What an earlier invocation chose of the same answers is taken over.

    Raises:
        RunError: answers that were kept are damaged.
    """
    step, file = shown_step(report), trial.run.path / SAMPLES
    if step is None:
        file.unlink(missing_ok=True)  # of an earlier, differently ended, invocation
        return None
    dense = sha256_of(trial.dense)
    chosen = [made for cell in step.cells if (made := _choose(trial, step, cell, dense=dense))]
    before = _kept(trial)
    if before is not None and _same(before, step, chosen, dense=dense):
        return before
    samples = Samples(
        candidate=step.candidate,
        dense=dense,
        name=step.name,
        position=step.position,
        shifts=_pictured(trial, chosen),
    )
    write_atomically(file, samples.model_dump_json(indent=1).encode())
    return samples


def _choose(trial: Trial, step: StepReport, cell: CellReport, *, dense: str) -> _Chosen | None:
    """None for a rule that shares its answers with one before it, or whose answers are masks."""
    rule = next(rule for rule in trial.policy.shifts if rule.id == cell.shift)
    if measurement_of(trial.policy, rule) != rule.id:
        return None
    files = (trial.run.answers(sha256, rule.id) for sha256 in (dense, step.candidate))
    first, second = (read_answers(file) for file in files)
    if first is None or second is None or first.dtype not in {ANSWER, UNLABELLED_ANSWER}:
        return None
    count = _seen(trial, rule, cell)
    first, second = (answers[:count].reshape(count, -1) for answers in (first, second))
    counted = _counted(trial, rule, first)
    different = counted & (first["predicted"] != second["predicted"])
    return _Chosen(
        rule=rule,
        different=int(different.sum()),
        dense=first,
        pruned=second,
        places=tuple(_places(first, second, counted=counted, different=different)),
    )


def _counted(trial: Trial, rule: Rule, answers: Answers) -> NDArray[np.bool_]:
    """Which answers [n draws] the rule is about."""
    if answers.dtype == UNLABELLED_ANSWER or not rule.only:
        return np.ones(answers.shape, dtype=np.bool_)
    inside = in_group(rule, answers["label"][:, 0], classes=trial.classes)
    return np.broadcast_to(inside[:, None], answers.shape)


def _seen(trial: Trial, rule: Rule, cell: CellReport) -> int:
    """Images up to the look at which the cell was decided."""
    sizes = look_sizes(trial.policy, len(trial.judged(rule).ids), batch=GATE_BATCH)
    return sizes[cell.look - 1]


def _places(
    dense: Answers, pruned: Answers, *, counted: NDArray[np.bool_], different: NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """PER_RULE places of answers [n draws] at most, none of an image twice."""
    groups = [different]
    if dense.dtype == ANSWER:
        lost = different & (dense["rank"] == 0)
        gained = different & (pruned["rank"] == 0)
        # Of each kind half, then whatever else differs.
        groups = [_first(lost, PER_RULE // 2), _first(gained, PER_RULE // 2), different]
    if not different.any():
        groups = [_first(counted, 1)]
    images: set[int] = set()
    for group in groups:
        for image, draw in np.argwhere(group).tolist():
            if len(images) == PER_RULE:
                return
            if image not in images:
                images.add(image)
                yield image, draw


def _first(where: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Only the first ``count`` that are true of ``where`` [n draws]."""
    flat = where.ravel()
    kept: NDArray[np.bool_] = (flat & (np.cumsum(flat) <= count)).reshape(where.shape)
    return kept


def _kept(trial: Trial) -> Samples | None:
    """What an earlier invocation chose; None if there is nothing that can be read."""
    try:
        return Samples.model_validate_json((trial.run.path / SAMPLES).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _same(before: Samples, step: StepReport, chosen: list[_Chosen], *, dense: str) -> bool:
    told = [(item.shift, item.answers, item.different) for item in before.shifts]
    found = [(item.rule.id, item.dense.size, item.different) for item in chosen]
    return (before.candidate, before.dense, told) == (step.candidate, dense, found)


def _pictured(trial: Trial, chosen: list[_Chosen]) -> list[ShiftSamples]:
    """The samples of all rules, the first of each first, until BYTES are spent."""
    made: dict[str, list[Sample]] = {item.rule.id: [] for item in chosen}
    rounds = itertools.zip_longest(*(item.places for item in chosen))
    left = BYTES
    for places in rounds:
        for item, place in zip(chosen, places, strict=True):
            if place is None or left <= 0:
                continue
            pixels, name = _shown(trial, item.rule, *place)
            kind, content = _encoded(pixels)
            left -= len(content)
            uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
            made[item.rule.id].append(_sample(trial, item, place, picture=uri, name=name))
    return [
        ShiftSamples(
            shift=item.rule.id,
            answers=item.dense.size,
            different=item.different,
            samples=made[item.rule.id],
        )
        for item in chosen
    ]


def _shown(trial: Trial, rule: Rule, place: int, draw: int) -> tuple[Pixels, str]:
    """The pixels [c h w] that the models saw, and the image's name."""
    images = trial.judged(rule)
    row = int(reading_order(images.ids, seed=trial.seed)[place])
    pixels = np.asarray(images.images[row : row + 1])
    if isinstance(images, ImageSet):
        pixels = sample(
            pixels,
            images.ids[row : row + 1],
            distribution=distribution_of(rule),
            seed=trial.seed,
            draw=draw,
            profile=trial.policy.profile,
        )
    return pixels[0], images.names[row]


def _encoded(pixels: Pixels) -> tuple[str, bytes]:
    """The kind of picture, and its bytes."""
    rows = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    picture = Image.fromarray(np.ascontiguousarray(rows))
    content = io.BytesIO()
    if max(picture.size) <= _EXACT:
        picture.save(content, "PNG", optimize=True)
        return "png", content.getvalue()
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    picture.save(content, "JPEG", quality=85)
    return "jpeg", content.getvalue()


def _sample(
    trial: Trial, item: _Chosen, place: tuple[int, int], *, picture: str, name: str
) -> Sample:
    dense, pruned = item.dense[place], item.pruned[place]
    known = item.dense.dtype == ANSWER
    return Sample(
        image=name,
        draw=place[1],
        picture=picture,
        label=trial.classes[dense["label"]] if known else None,
        dense=trial.classes[dense["predicted"]],
        dense_confidence=float(dense["confidence"]),
        pruned=trial.classes[pruned["predicted"]],
        pruned_confidence=float(pruned["confidence"]),
        differs=bool(dense["predicted"] != pruned["predicted"]),
    )
