"""What models answer under the rules of a policy: measured once, kept, and continued where it ends.

A file's answers lie in the run folder, in the order in which images are read, so that a later look
adds to them. Those of the dense model lie beside the decoded images as well, by a digest of all
that they depend on, for every later run.
"""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compressor.data import ImageSet, UnlabelledSet
from compressor.distributions import distribution_of
from compressor.files import digest
from compressor.measurement import measurement_of
from compressor.runs import read_answers, write_answers
from compressor.trial import GATE_BATCH, Trial
from gates.answers import Answers
from gates.looks import reading_order
from gates.measure import (
    Measured,
    Seconds,
    labelled_answers,
    segmented_answers,
    unlabelled_answers,
)
from gates.shifts import definition
from policies import Rule

# Raise it when the same inputs would give other answers, or answers in another form.
_FORM: Final = "answers-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A file whose answers are asked for."""

    file: Path
    sha256: str
    cached: bool
    """Whether later runs may want its answers again: the dense model's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """Answers, and what this invocation had to do for them."""

    answers: Answers
    """[n draws], or [n] without labels, in reading order; at least as many as asked for."""
    seconds: Seconds = field(default=Seconds())
    passes: int = 0
    """Images, counted once for each draw, that the model was shown."""


def judged_answers(
    trial: Trial,
    model: Model,
    rule: Rule,
    *,
    count: int,
    on_batch: Callable[[int], None] | None = None,
) -> Reading:
    """What the model answers on the first ``count`` images of the rule.

    ``on_batch`` is told, while they are measured, how many of the rule's images are answered.

    Raises:
        MeasureError: the answers cannot be counted.
        RunError: answers that were kept are damaged.
    """
    name = measurement_of(trial.policy, rule)
    place = trial.run.answers(model.sha256, name)
    kept = _cached(trial, model, rule) if model.cached else None
    return _read(
        trial,
        model,
        rule,
        images=trial.judged(rule),
        places=(place, kept),
        count=count,
        on_batch=on_batch,
    )


def rehearsed_answers(
    trial: Trial, model: Model, rule: Rule, *, tune: ImageSet, count: int
) -> Reading:
    """What the model answers on the first ``count`` images of ``tune``, under the rule's shift.

    Raises:
        MeasureError, RunError: as for ``judged_answers``.
    """
    name = measurement_of(trial.policy, rule)
    place = trial.run.rehearsal(model.sha256, name)
    return _read(trial, model, rule, images=tune, places=(place, None), count=count)


def _read(
    trial: Trial,
    model: Model,
    rule: Rule,
    *,
    images: ImageSet | UnlabelledSet,
    places: tuple[Path, Path | None],
    count: int,
    on_batch: Callable[[int], None] | None = None,
) -> Reading:
    place, kept = places
    order = reading_order(images.ids, seed=trial.seed)
    # Whole batches: where one ends must not hang on where a look does.
    wanted = min(len(order), math.ceil(count / GATE_BATCH) * GATE_BATCH)
    known = read_answers(place)
    if known is not None and len(known) >= wanted:
        return Reading(answers=known)
    longer = read_answers(kept) if kept is not None else None
    if longer is not None and (known is None or len(longer) > len(known)):
        known = longer[:wanted]
    if known is not None and len(known) == wanted:
        write_answers(place, known)
        return Reading(answers=known)
    done = 0 if known is None else len(known)
    told = None if on_batch is None else lambda rows: on_batch(done + rows)
    new = _measured(trial, model, rule, images, rows=order[done:wanted], on_batch=told)
    answers = new.answers if known is None else np.concatenate([known, new.answers])
    for file in (place, kept):
        if file is not None:
            write_answers(file, answers)
    return Reading(answers=answers, seconds=new.seconds, passes=new.answers.size)


def _measured(
    trial: Trial,
    model: Model,
    rule: Rule,
    images: ImageSet | UnlabelledSet,
    *,
    rows: NDArray[np.int64],
    on_batch: Callable[[int], None] | None,
) -> Measured:
    predict = trial.open(model.file)
    if isinstance(images, UnlabelledSet):
        return unlabelled_answers(
            predict, images.images, rows=rows, batch_size=GATE_BATCH, on_batch=on_batch
        )
    measured = labelled_answers
    if images.segmented:
        measured = functools.partial(segmented_answers, classes=len(trial.classes))
    return measured(
        predict,
        images,
        rows=rows,
        distribution=distribution_of(rule),
        seed=trial.seed,
        profile=trial.policy.profile,
        batch_size=GATE_BATCH,
        on_batch=on_batch,
    )


def _cached(trial: Trial, model: Model, rule: Rule) -> Path:
    images = trial.judged(rule)
    side = min(images.images.shape[2:])
    what = {
        "form": _FORM,
        "network": trial.network(model.file),
        "images": images.digest,
        "distribution": definition(distribution_of(rule), side=side, profile=trial.policy.profile),
        "profile": trial.policy.profile,
        "seed": trial.seed,
        "batch": GATE_BATCH,
        "conditions": trial.conditions,
    }
    return trial.cache / "answers" / f"{digest(json.dumps(what, sort_keys=True))}.npy"
