"""A finished run's verdict once more: counts from the answers, the verdict from the counts.

Every check yields what it finds wrong and goes on, so that one look tells all. Nothing here needs
the network, the images, or the framework that they ran in.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np

from compressor.attestation import Digests
from compressor.differences import differences, short
from compressor.report import Report, cell_reports, verdict_fields, verdict_on
from compressor.runs import RunFolder
from gates import (
    Accepted,
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    Outcome,
    PairedCounts,
    Verdict,
    VerdictError,
    flips,
    paired,
    paired_draws,
)
from policies import FolderRule, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not hold."""

    file: str
    """Its name in the run folder."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What a run says of itself, read."""

    plan: Mapping[str, Any]
    plan_digest: str
    policy: Policy
    evidence: tuple[Evidence, ...]
    report: Report


def checked(run: RunFolder, records: Records, digests: Digests) -> Iterator[Finding]:
    """What does not follow from what it should; ``digests`` are of the files that are there."""
    yield from _plan(records)
    yield from _stamps(run, records, digests)
    yield from _order(records)
    try:
        verdict = verdict_on(records.policy, records.evidence, end=records.report.ladder_end)
    except VerdictError as error:
        yield Finding(file=run.evidence.name, what=f"cannot be judged: {error}")
        return
    yield from _verdict(records, verdict)
    yield from _artifact(records, verdict, digests)
    for item in records.evidence:
        yield from _images(records, item)
        yield from _answers(run, item, digests)
    for index, _ in enumerate(records.report.steps):
        yield from _candidate(run, records, index, digests)


def _plan(records: Records) -> Iterator[Finding]:
    """The plan is the one that the report names; policy and report go with it."""
    plan, policy, report = records.plan, records.policy, records.report
    if records.plan_digest != report.plan_digest:
        yield Finding(
            file="plan.lock",
            what=f"its digest is {records.plan_digest}; the report's plan_digest is "
            f"{report.plan_digest}",
        )
    planned = {name: plan.get(name) for name in ("policy", "alpha", "rules")}
    own = {
        "policy": {"name": policy.name, "digest": policy.digest()},
        "alpha": policy.alpha,
        "rules": [rule.id for rule in policy.shifts],
    }
    for line in differences(own, planned):
        yield Finding(file="policy.json", what=f"does not go with plan.lock: {line}")
    planned = {name: plan.get(name) for name in ("provider", "versions")}
    planned |= {name: _at(plan, "model", name) for name in ("source", "sha256")}
    told = {
        "provider": report.provider,
        "versions": report.versions,
        "source": report.dense.source,
        "sha256": report.dense.sha256,
    }
    for line in differences(told, planned):
        yield Finding(file="report.json", what=f"does not go with plan.lock: {line}")


def _stamps(run: RunFolder, records: Records, digests: Digests) -> Iterator[Finding]:
    """Every network carries the digest of the plan in its metadata, as text."""
    for name in sorted(digests):
        if not name.endswith(".onnx"):
            continue
        content = (run.path / name).read_bytes()
        if records.plan_digest.encode() not in content:
            told = f"does not carry the digest of plan.lock, {records.plan_digest}"
            yield Finding(file=name, what=told)


def _order(records: Records) -> Iterator[Finding]:
    """Every rule, ratio by ratio, from the plan's first ratio on; none left out, none before."""
    ratios = records.plan.get("ratios")
    rules = [rule.id for rule in records.policy.shifts]
    planned = [(r, rule) for r in (ratios if isinstance(ratios, list) else []) for rule in rules]
    found = [(item.ratio, item.shift) for item in records.evidence]
    for number, (line, wanted) in enumerate(zip_longest(found, planned[: len(found)]), start=1):
        if line != wanted:
            told = "nothing" if wanted is None else f"{wanted[1]} at ratio {wanted[0]}"
            yield Finding(
                file="evidence.jsonl",
                what=f"line {number} is of {line[1]} at ratio {line[0]}, where the plan has {told}",
            )
            return
    if len(found) % len(rules):
        yield Finding(
            file="evidence.jsonl",
            what=f"ends with {found[-1][1]}, before the last rule of ratio {found[-1][0]}",
        )


def _verdict(records: Records, verdict: Verdict) -> Iterator[Finding]:
    """The report's verdict, and all that was computed for it, is what the evidence gives."""
    policy, report = records.policy, records.report
    wanted: dict[str, Any] = {
        **verdict_fields(policy, verdict),
        "artifact_sha256": verdict.candidate if isinstance(verdict, Accepted) else None,
        "steps": [
            {
                "ratio": step.ratio,
                "candidate": step.candidate,
                "outcome": step.outcome.value,
                "binding": step.binding.shift,
                "cells": [c.model_dump(mode="json") for c in cell_reports(policy, step)],
            }
            for step in verdict.steps
        ],
    }
    found = report.model_dump(mode="json")
    steps = [{name: step[name] for name in step.keys() & _JUDGED} for step in found["steps"]]
    shown = {name: found[name] for name in wanted} | {"steps": steps}
    for line in differences(shown, json.loads(json.dumps(wanted))):
        yield Finding(file="report.json", what=line)
    stopped = bool(verdict.steps) and verdict.steps[-1].outcome is not Outcome.ACCEPTED
    if stopped != (report.ladder_end is None):
        told = "the gate stopped the ladder" if stopped else "the gate did not stop the ladder"
        yield Finding(file="report.json", what=f"ladder_end is {short(report.ladder_end)}; {told}")


_JUDGED: Final = {"ratio", "candidate", "outcome", "binding", "cells"}
"""Fields of a step that the verdict alone decides."""


def _artifact(records: Records, verdict: Verdict, digests: Digests) -> Iterator[Finding]:
    """The released file is the accepted one; the dense one is that of the evidence."""
    released = verdict.candidate if isinstance(verdict, Accepted) else None
    yield from _file("model.onnx", digests, released)
    for dense in sorted({item.dense for item in records.evidence}):
        yield from _file("dense.onnx", digests, dense)


def _candidate(run: RunFolder, records: Records, index: int, digests: Digests) -> Iterator[Finding]:
    """The files of a candidate are those that its record and the report tell of."""
    step = records.report.steps[index]
    folder = run.candidate(step.ratio)
    name = folder.relative_to(run.path).as_posix()
    record = read_json(folder / "candidate.json")
    if not isinstance(record, dict):
        yield Finding(file=f"{name}/candidate.json", what="is missing, or not what a run writes")
        return
    wanted = {
        "ratio": step.ratio,
        "params": step.params,
        "macs": step.macs,
        "tune_accuracy": step.tune_accuracy,
        "difference": step.self_test_difference,
        "parity": step.parity,
        "epochs": step.epochs,
        "sha256": step.candidate,
    }
    for line in differences({key: record.get(key) for key in wanted}, wanted):
        yield Finding(file=f"{name}/candidate.json", what=line)
    yield from _file(f"{name}/model.onnx", digests, step.candidate)
    yield from _file(f"{name}/weights.safetensors", digests, record.get("weights_sha256"))


def _file(name: str, digests: Digests, wanted: str | None) -> Iterator[Finding]:
    found = digests.get(name)
    if found == wanted:
        return
    if wanted is None:
        yield Finding(file=name, what="is there, and nothing was accepted")
    elif found is None:
        yield Finding(file=name, what="is missing")
    else:
        yield Finding(file=name, what=f"its sha256 is {found}; it should be {wanted}")


def _images(records: Records, item: Evidence) -> Iterator[Finding]:
    """The evidence is on the images that the plan has for its rule."""
    own = [r.id for r in records.policy.shifts if isinstance(r, FolderRule)]
    if item.shift in own:
        place: tuple[str, ...] = ("fields", item.shift)
        images, n = (_at(records.plan, *place, key) for key in ("digest", "images"))
    else:
        images, n = (_at(records.plan, "data", key) for key in ("gate", "gate_images"))
    if (item.images, item.counts.n) != (images, n):
        yield Finding(
            file="evidence.jsonl",
            what=f"{item.shift} at ratio {item.ratio} is on {item.counts.n} images of digest "
            f"{item.images}; the plan has {n} of {images}",
        )


def _answers(run: RunFolder, item: Evidence, digests: Digests) -> Iterator[Finding]:
    """The counts are those of the answers that were kept."""
    files = [run.answers(sha256, item.shift) for sha256 in (item.dense, item.candidate)]
    names = [file.relative_to(run.path).as_posix() for file in files]
    for name in names:
        if name not in digests:
            yield Finding(file=name, what="is missing")
    if not digests.keys() >= set(names):
        return
    try:
        counts = _counted(item.counts, *files)
    # A damaged header can be wrong in every way that text can be.
    except (ValueError, IndexError, TypeError, SyntaxError, OSError) as error:
        yield Finding(file=names[1], what=f"or {names[0]} cannot be counted: {error}")
        return
    if counts != item.counts:
        yield Finding(
            file=names[1],
            what=f"with {names[0]} gives {counts}; evidence.jsonl has {item.counts}",
        )


def _counted(kind: Counts, dense: Path, pruned: Path) -> Counts:
    # Mapped, so that a header that asks for more than the file has is an error at once.
    first, second = (np.load(path, mmap_mode="r") for path in (dense, pruned))
    match kind:
        case PairedCounts():
            return paired(first[:, 0], second[:, 0])
        case DrawCounts():
            return paired_draws(first, second)
        case FlipCounts():
            return flips(first, second)


def read_json(path: Path) -> object:
    """What the file holds; None if it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _at(plan: Mapping[str, Any], *keys: str) -> object:
    value: object = plan
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
