"""A finished run's verdict once more: counts from the answers, the verdict from the counts.

Every check yields what it finds wrong and goes on, so that one look tells all. Nothing here needs
the network, the images, or the framework that they ran in.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from compressor.attestation import Digests
from compressor.differences import differences, short
from compressor.records import Finding, Records, at, read_json
from compressor.recount import planned_looks, recounted
from compressor.report import step_fields, verdict_fields, verdict_on
from compressor.report_schema import StepReport
from compressor.runs import RunFolder
from gates import Accepted, Outcome, Verdict, VerdictError

_BESIDE: Final = {"calibration", "worst_class"}
"""Fields of a cell that nothing hangs on; they are not computed again."""


def checked(run: RunFolder, records: Records, digests: Digests) -> Iterator[Finding]:
    """What does not follow from what it should; ``digests`` are of the files that are there."""
    yield from _plan(records)
    yield from _use(run, records)
    if records.report.job == "compress":
        yield from _stamps(run, records, digests)
    yield from _order(records)
    try:
        verdict = verdict_on(records.policy, records.evidence, end=records.report.ladder_end)
    except VerdictError as error:
        yield Finding(file=run.evidence.name, what=f"cannot be judged: {error}")
        return
    yield from _verdict(records, verdict)
    yield from _artifact(records, verdict, digests)
    yield from recounted(run, records, digests)
    for step in records.report.steps:
        yield from _candidate(run, records, step, digests)
    if records.report.job == "gate":
        yield from _brought(records, digests)


def _plan(records: Records) -> Iterator[Finding]:
    """The plan is the one that the report names; policy and report go with it."""
    plan, policy, report = records.plan, records.policy, records.report
    if records.plan_digest != report.plan_digest:
        yield Finding(
            file="plan.lock",
            what=f"its digest is {records.plan_digest}; the report's plan_digest is "
            f"{report.plan_digest}",
        )
    own = {
        "policy": {"name": policy.name, "digest": policy.digest()},
        "alpha": policy.alpha,
        "method": policy.method,
        "rules": [rule.id for rule in policy.shifts],
        "looks": planned_looks(records),
    }
    for line in differences(own, {name: plan.get(name) for name in own}):
        yield Finding(file="policy.json", what=f"does not go with plan.lock: {line}")
    told = {
        "job": report.job,
        "provider": report.provider,
        "versions": report.versions,
        "source": report.dense.source,
        "sha256": report.dense.sha256,
    }
    planned = {name: plan.get(name) for name in ("job", "provider", "versions")}
    dense = "model" if report.job == "compress" else "dense"
    planned |= {name: at(plan, dense, name) for name in ("source", "sha256")}
    for line in differences(told, planned):
        yield Finding(file="report.json", what=f"does not go with plan.lock: {line}")


def _use(run: RunFolder, records: Records) -> Iterator[Finding]:
    """What the report says of the use of the images is what the policy and the run's note say."""
    reuse, policy = records.report.reuse, records.policy.reuse
    noted = at(read_json(run.use), "entry")
    if (told := None if reuse is None else reuse.entry) != noted:
        yield Finding(
            file=run.use.name,
            what=f"has the ledger's entry {short(noted)}; the report has {short(told)}",
        )
    allowed = None if policy is None else policy.releases
    if reuse is not None and reuse.releases != allowed:
        yield Finding(
            file="report.json",
            what=f"reuse.releases is {short(reuse.releases)}; it should be {short(allowed)}",
        )


def _stamps(run: RunFolder, records: Records, digests: Digests) -> Iterator[Finding]:
    """Every network that was made here carries the digest of the plan in its metadata, as text."""
    for name in sorted(digests):
        if not name.endswith(".onnx"):
            continue
        content = (run.path / name).read_bytes()
        if records.plan_digest.encode() not in content:
            told = f"does not carry the digest of plan.lock, {records.plan_digest}"
            yield Finding(file=name, what=told)


def _order(records: Records) -> Iterator[Finding]:
    """Every rule, candidate by candidate, from the plan's first on; no candidate is left out.

    Where a violation may end the measuring, rules may be missing; whether they may in this case,
    the verdict tells.
    """
    rules = [rule.id for rule in records.policy.shifts]
    planned = [
        (at(entry, "name"), at(entry, "position"), at(entry, "ratio"), rule)
        for entry in _sequence(records)
        for rule in rules
    ]
    step = len(rules) if records.policy.method != "fixed" else 1
    done = 0
    for number, item in enumerate(records.evidence, start=1):
        # Up to the end of this candidate's rules, and, once it has some, of the next one's.
        until = (-(-done // step) + 1) * step
        line = (item.name, item.position, item.ratio, item.shift)
        window = planned[done:until]
        if line not in window:
            wanted = f"{window[0][3]} of {window[0][0]}" if window else "nothing"
            told = f"line {number} is of {item.shift} of {item.name}, where the plan has {wanted}"
            yield Finding(file="evidence.jsonl", what=told)
            return
        done += window.index(line) + 1


def _sequence(records: Records) -> list[object]:
    sequence = records.plan.get("sequence")
    return sequence if isinstance(sequence, list) else []


def _verdict(records: Records, verdict: Verdict) -> Iterator[Finding]:
    """The report's verdict, and all that was computed for it, is what the evidence gives."""
    policy, report = records.policy, records.report
    fields = (step_fields(policy, step) for step in verdict.steps)
    steps = [
        _judged({**step, "cells": [cell.model_dump(mode="json") for cell in step["cells"]]})
        for step in fields
    ]
    wanted: dict[str, Any] = {
        **verdict_fields(policy, verdict),
        "artifact_sha256": verdict.candidate if isinstance(verdict, Accepted) else None,
        "steps": steps,
    }
    found = report.model_dump(mode="json")
    names = set(steps[0]) if steps else {"cells"}
    told = [_judged({name: step[name] for name in names}) for step in found["steps"]]
    shown = {name: found[name] for name in wanted} | {"steps": told}
    for line in differences(shown, json.loads(json.dumps(wanted))):
        yield Finding(file="report.json", what=line)
    stopped = bool(verdict.steps) and verdict.steps[-1].outcome is not Outcome.ACCEPTED
    if stopped != (report.ladder_end is None):
        what = "the gate stopped the ladder" if stopped else "the gate did not stop the ladder"
        yield Finding(file="report.json", what=f"ladder_end is {short(report.ladder_end)}; {what}")


def _judged(step: dict[str, Any]) -> dict[str, Any]:
    """A step without what nothing hangs on."""
    cells = [{k: v for k, v in cell.items() if k not in _BESIDE} for cell in step["cells"]]
    return {**step, "cells": cells}


def _artifact(records: Records, verdict: Verdict, digests: Digests) -> Iterator[Finding]:
    """The released file is the accepted one; the dense one is that of the evidence."""
    released = verdict.candidate if isinstance(verdict, Accepted) else None
    yield from _file("model.onnx", digests, released)
    for dense in sorted({item.dense for item in records.evidence}):
        yield from _file("dense.onnx", digests, dense)


def _brought(records: Records, digests: Digests) -> Iterator[Finding]:
    """The models that were handed in are those of the plan, byte for byte, judged or not."""
    for index, entry in enumerate(_sequence(records)):
        yield from _file(f"{_folder(index)}/model.onnx", digests, _text(at(entry, "sha256")))
    source = _text(at(records.plan, "dense", "source"))
    if _is_onnx(source):
        yield from _file("dense.onnx", digests, _text(at(records.plan, "dense", "sha256")))


def _candidate(
    run: RunFolder, records: Records, step: StepReport, digests: Digests
) -> Iterator[Finding]:
    """The files of a candidate are those that its record and the report tell of."""
    folder = _folder(step.position) if step.ratio is None else f"candidates/{step.ratio:.3f}"
    if step.file != f"{folder}/model.onnx":
        told = f"{step.name} is said to be in {step.file}; it should be in {folder}/model.onnx"
        yield Finding(file="report.json", what=told)
    record = read_json(run.path / folder / "candidate.json")
    if not isinstance(record, dict):
        yield Finding(file=f"{folder}/candidate.json", what="is missing, or not what a run writes")
        return
    wanted = _made(step) if records.report.job == "compress" else _handed_in(step, record)
    for line in differences({key: record.get(key) for key in wanted}, wanted):
        yield Finding(file=f"{folder}/candidate.json", what=line)
    yield from _file(f"{folder}/model.onnx", digests, step.candidate)
    if records.report.job == "compress":
        weights = _text(record.get("weights_sha256"))
        yield from _file(f"{folder}/weights.safetensors", digests, weights)


def _made(step: StepReport) -> dict[str, object]:
    """What the record of a candidate holds that was made here."""
    return {
        "ratio": step.ratio,
        "params": step.params,
        "macs": step.macs,
        "tune_accuracy": step.tune_accuracy,
        "difference": step.self_test_difference,
        "parity": step.parity,
        "epochs": step.epochs,
        "trainability": step.trainability,
        "sha256": step.candidate,
    }


def _handed_in(step: StepReport, record: dict[str, Any]) -> dict[str, object]:
    """What the record of a candidate holds that was handed in; an ONNX file is judged as it is."""
    source = record.get("source")
    return {
        "name": step.name,
        "position": step.position,
        "params": step.params,
        "precision": step.precision,
        "parity": step.parity,
        "sha256": step.candidate,
        "source_sha256": step.candidate if _is_onnx(source) else record.get("source_sha256"),
    }


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


def _folder(position: int) -> str:
    """Where a candidate lies that was handed in."""
    return f"candidates/{position + 1:02d}"


def _is_onnx(source: object) -> bool:
    return isinstance(source, str) and source.endswith(".onnx")


def _text(value: object) -> str:
    """The value as a digest would be written; what is none is no file's."""
    return value if isinstance(value, str) else "not told"
