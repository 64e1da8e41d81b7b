"""Functional similarity by level of noise: pruned networks, and one that was trained apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from compressor.study.analyses.rows import spread
from compressor.study.trial_ledger import Record
from compressor.study.trials import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """One network beside the dense one at one level, as means over seeds."""

    network: str
    """The method, or ``control``: of the dense network's architecture, trained from nothing."""
    ratio: float
    level: float
    """Half width of the uniform noise on normalised images."""
    seeds: int
    n: int
    draws: int
    matching: float
    """Share of the answers that are the dense network's."""
    matching_std: float | None
    """Over seeds."""
    distance: float
    """L2 norm of the difference of the softmax outputs."""
    distance_std: float | None
    """Over seeds."""
    distance_std_images: float | None
    """Over images, of one seed; the mean of the seeds' own."""


def alike(records: Iterable[Record]) -> list[Alike]:
    """All networks and levels, the control last."""
    levels = [
        (_place(record, level), level)
        for record in records
        if record.kind == "similarity" and record.status == "done"
        for level in record.found["levels"]
    ]
    ordered = sorted(levels, key=lambda each: each[0])
    return [
        _alike(place, [level for _, level in several])
        for place, several in groupby(ordered, key=lambda each: each[0])
    ]


def _place(record: Record, level: dict[str, Json]) -> tuple[bool, str, float, float]:
    control = record.about["of"] == "control"
    name = "control" if control else record.about["method"]
    return control, name, record.about.get("ratio", 0.0), level["level"]


def _alike(place: tuple[bool, str, float, float], found: list[dict[str, Json]]) -> Alike:
    _, name, ratio, level = place
    matching, matching_std = spread([each["matching"] for each in found])
    distance, distance_std = spread([each["distance"] for each in found])
    inside = [each["distance_std"] for each in found if each["distance_std"] is not None]
    return Alike(
        network=name,
        ratio=ratio,
        level=level,
        seeds=len(found),
        n=found[0]["n"],
        draws=found[0]["draws"],
        matching=matching,
        matching_std=matching_std,
        distance=distance,
        distance_std=distance_std,
        distance_std_images=fmean(inside) if inside else None,
    )
