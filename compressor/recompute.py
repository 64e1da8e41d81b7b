"""A finished run's verdict once more: counts from the answers, the verdict from the counts.

Every check yields what it finds wrong and goes on, so that one look tells all. Nothing here needs
the network, the images, or the framework that they ran in.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from compressor.attestation import Digests
from compressor.config_search import parse_target
from compressor.differences import differences, short
from compressor.records import Finding, Records, at, planned_chains, read_json, sequence_of
from compressor.recount import planned_looks, recounted
from compressor.recount_files import artifact_findings, brought_findings, candidate_findings
from compressor.report import step_fields, verdict_fields, verdict_on
from compressor.report_chains import chain_fields, speed_fields, target_fields
from compressor.runs import RunError, RunFolder
from compressor.speeds import Timed, read_timed, shown_comparisons, speeds_of
from gates import Accepted, Outcome, Verdict, VerdictError

_BESIDE: Final = {"calibration", "overlap", "worst_class"}
"""Fields of a cell that nothing hangs on; they are not computed again."""


def checked(run: RunFolder, records: Records, digests: Digests) -> Iterator[Finding]:
    """What does not follow from what it should; ``digests`` are of the files that are there."""
    yield from _plan(records)
    yield from _use(run, records)
    if records.report.job == "compress":
        yield from _stamps(run, records, digests)
    yield from _order(records)
    try:
        timed = read_timed(run)
    except RunError as error:
        yield Finding(file=run.speeds.name, what=str(error).removeprefix(f"{run.speeds} "))
        return
    try:
        verdict = verdict_on(
            records.policy,
            records.evidence,
            end=records.report.ladder_end,
            chains=tuple(planned_chains(records)),
            speeds=speeds_of(timed),
            batch=_release_batch(records),
        )
    except VerdictError as error:
        yield Finding(file=run.evidence.name, what=f"cannot be judged: {error}")
        return
    yield from _verdict(records, verdict, timed)
    yield from artifact_findings(records, verdict, digests)
    yield from recounted(run, records, digests)
    for step in records.report.steps:
        yield from candidate_findings(run, records, step, digests)
    if records.report.job == "gate":
        yield from brought_findings(records, digests)


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
    told: dict[str, object] = {
        "job": report.job,
        "provider": report.provider,
        "versions": report.versions,
        "source": report.dense.source,
        "sha256": report.dense.sha256,
    }
    planned = {name: plan.get(name) for name in ("job", "provider", "versions")}
    dense = "model" if report.job == "compress" else "dense"
    planned |= {name: at(plan, dense, name) for name in ("source", "sha256")}
    told["resize"] = None if report.resize is None else report.resize.model_dump(mode="json")
    planned["resize"] = _planned_resize(plan)
    for line in differences(told, planned):
        yield Finding(file="report.json", what=f"does not go with plan.lock: {line}")


def _planned_resize(plan: object) -> object:
    """As a report has it: from the images' size to the network's; None where it is the same."""
    size, own = at(plan, "input", "size"), at(plan, "input", "resize")
    images = size[1:] if isinstance(size, list) else None
    return None if own is None else {"images": images, "network": own}


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
    planned = {
        chain: [
            (at(entry, "name"), at(entry, "position"), at(entry, "ratio"), rule)
            for entry in sequence_of(records)
            if at(entry, "chain") == chain
            for rule in rules
        ]
        for chain in planned_chains(records)
    }
    step = len(rules) if records.policy.method != "fixed" else 1
    all_done = dict.fromkeys(planned, 0)
    for number, item in enumerate(records.evidence, start=1):
        done = all_done.get(item.chain, 0)
        # Up to the end of this candidate's rules, and, once it has some, of the next one's.
        until = (-(-done // step) + 1) * step
        line = (item.name, item.position, item.ratio, item.shift)
        window = planned.get(item.chain, [])[done:until]
        if line not in window:
            wanted = f"{window[0][3]} of {window[0][0]}" if window else "nothing"
            told = f"line {number} is of {item.shift} of {item.name}, where the plan has {wanted}"
            yield Finding(file="evidence.jsonl", what=told)
            return
        all_done[item.chain] = done + window.index(line) + 1


def _verdict(records: Records, verdict: Verdict, timed: Sequence[Timed]) -> Iterator[Finding]:
    """The report's verdict, and all that was computed for it, is what the evidence gives."""
    policy, report = records.policy, records.report
    fields = (step_fields(policy, step) for step in verdict.steps)
    steps = [
        _judged({**step, "cells": [cell.model_dump(mode="json") for cell in step["cells"]]})
        for step in fields
    ]
    wanted: dict[str, Any] = {
        **verdict_fields(policy, verdict),
        **speed_fields(policy, verdict, speeds_of(timed)),
        **_latency(records, verdict, timed),
        **_chains(records, verdict, timed),
        "artifact_sha256": verdict.candidate if isinstance(verdict, Accepted) else None,
        "steps": steps,
    }
    found = report.model_dump(mode="json")
    names = set(steps[0]) if steps else {"cells"}
    told = [_judged({name: step[name] for name in names}) for step in found["steps"]]
    shown = {name: found[name] for name in wanted} | {"steps": told}
    for line in differences(shown, json.loads(json.dumps(wanted))):
        yield Finding(file="report.json", what=line)
    ends = {chain.name: chain.ladder_end for chain in report.chains}
    if len(ends) < 2:
        ends = {None: report.ladder_end}
    for name, end in ends.items():
        own = [step for step in verdict.steps if step.chain == name]
        stopped = bool(own) and own[-1].outcome is not Outcome.ACCEPTED
        if stopped != (end is None):
            what = "the gate stopped the ladder" if stopped else "the gate did not stop the ladder"
            of = "" if name is None else f" of {name}"
            yield Finding(file="report.json", what=f"ladder_end{of} is {short(end)}; {what}")


def _latency(records: Records, verdict: Verdict, timed: Sequence[Timed]) -> dict[str, Any]:
    """What the report should show of what was measured, and say of what was asked for."""
    shown = shown_comparisons(verdict, timed, batch=_release_batch(records))
    target = at(records.plan, "search", "target_latency")
    asked = parse_target(target) if isinstance(target, str) else None
    return {"latency": shown, **target_fields(asked, shown)}


def _chains(records: Records, verdict: Verdict, timed: Sequence[Timed]) -> dict[str, Any]:
    """What the report should say of its sequences, whose ends nobody can know again."""
    report = records.report
    if report.job != "compress":
        return {"chains": []}
    told = {chain.name: chain.ladder_end for chain in report.chains}
    precisions = planned_chains(records)
    ends = {name: told.get(name) for name in precisions}
    return chain_fields(
        records.policy,
        verdict,
        precisions,
        ends,
        speeds=speeds_of(timed),
        batch=_release_batch(records),
    )


def _release_batch(records: Records) -> int:
    """Images per call at which accepted candidates were compared."""
    batch = at(records.plan, "export", "batch")
    asked = records.policy.min_speedup
    return batch if isinstance(batch, int) else 1 if asked is None else asked.batch


def _judged(step: dict[str, Any]) -> dict[str, Any]:
    """A step without what nothing hangs on."""
    cells = [{k: v for k, v in cell.items() if k not in _BESIDE} for cell in step["cells"]]
    return {**step, "cells": cells}
