"""The folder of a finished gate job, with answers that nobody measured: drawn, not computed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compressor.files import digest, digest_of
from compressor.measurement import measurement_of, set_of
from compressor.report import step_fields, verdict_fields
from compressor.report_schema import Report
from compressor.runs import RunFolder, write_answers, write_evidence
from compressor.seal import seal
from gates import Accepted, Evidence, Outcome, counts_of, judge, judge_cell, look_sizes
from gates.answers import ANSWER, UNLABELLED_ANSWER, Answers
from policies import FolderRule, Policy, Rule

CLASSES = ("cat", "dog", "car", "bus", "van", "jet")
IMAGES, STREAM_IMAGES, BATCH = 2000, 1500, 256
DENSE = b"the dense network"

Drops = Sequence[float]
"""Of one candidate: the drop of each measurement, in the order in which rules are measured."""


def names(position: int) -> str:
    return f"net-{position}.onnx"


def content(position: int) -> bytes:
    return f"network {position}".encode()


def labelled(rng: np.random.Generator, *, wrong: Any, draws: int) -> Answers:  # noqa: ANN401 # a mask
    """Answers [n draws], wrong where ``wrong`` [n] is."""
    answers = np.zeros((IMAGES, draws), dtype=ANSWER)
    answers["label"] = np.arange(IMAGES)[:, None] % len(CLASSES)
    answers["rank"] = np.where(wrong, 1, 0)[:, None]
    answers["predicted"] = (answers["label"] + answers["rank"]) % len(CLASSES)
    answers["score"] = np.where(wrong, 0.9, 0.1)[:, None]
    answers["confidence"] = 0.7
    return answers


def unlabelled(rng: np.random.Generator, *, flipped: float) -> Answers:
    answers = np.zeros(STREAM_IMAGES, dtype=UNLABELLED_ANSWER)
    answers["predicted"] = rng.random(STREAM_IMAGES) < flipped
    return answers


def answered(policy: Policy, drops: Drops, *, seed: int) -> dict[str, tuple[Answers, Answers]]:
    """Answers of the dense model and of a candidate, by measurement."""
    found: dict[str, tuple[Answers, Answers]] = {}
    for rule in policy.shifts:
        name = measurement_of(policy, rule)
        if name in found:
            continue
        # The dense model answers every candidate alike.
        rng, drop = np.random.default_rng([seed, len(found)]), drops[len(found)]
        if isinstance(rule, FolderRule):
            found[name] = (unlabelled(rng, flipped=0.0), unlabelled(rng, flipped=drop))
            continue
        wrong = np.arange(IMAGES) % 20 == 0
        lost = ~wrong & (rng.random(IMAGES) < drop)
        found[name] = (
            labelled(rng, wrong=wrong, draws=rule.draws),
            labelled(rng, wrong=wrong | lost, draws=rule.draws),
        )
    return found


def observed(
    policy: Policy, rule: Rule, both: tuple[Answers, Answers], *, position: int
) -> Evidence:
    """What a gate sees that looks until the rule is decided."""
    dense, pruned = both
    sizes = look_sizes(policy, len(dense), batch=BATCH)
    for look, size in enumerate(sizes, start=1):
        counts = counts_of(rule, dense[:size], pruned[:size], classes=CLASSES)
        if judge_cell(policy, rule, counts, look=look).outcome is not Outcome.UNDECIDED:
            break
    return evidence_at(policy, rule, both, position=position, look=look)


def evidence_at(
    policy: Policy, rule: Rule, both: tuple[Answers, Answers], *, position: int, look: int
) -> Evidence:
    dense, pruned = both
    size = look_sizes(policy, len(dense), batch=BATCH)[look - 1]
    return Evidence(
        candidate=digest_of(content(position)),
        dense=digest_of(DENSE),
        name=names(position),
        position=position,
        ratio=None,
        shift=rule.id,
        images=f"images of {set_of(rule)}",
        look=look,
        counts=counts_of(rule, dense[:size], pruned[:size], classes=CLASSES),
    )


def finished(path: Path, policy: Policy, candidates: Sequence[Drops]) -> RunFolder:
    """The run of a gate on candidates with these drops, measured in the policy's order."""
    run = RunFolder(path=path)
    evidence: list[Evidence] = []
    run.path.mkdir()
    run.dense.write_bytes(DENSE)
    for position in range(len(candidates)):
        _write_candidate(run, position)
    for position, drops in enumerate(candidates):
        answers = answered(policy, drops, seed=position)
        outcomes = []
        for rule in policy.shifts:
            name = measurement_of(policy, rule)
            both = answers[name]
            for model, kept in zip((DENSE, content(position)), both, strict=True):
                write_answers(run.answers(digest_of(model), name), kept)
            item = observed(policy, rule, both, position=position)
            evidence.append(item)
            cell = judge_cell(policy, rule, item.counts, look=item.look)
            outcomes += [cell.outcome] if rule in policy.deciding else []
            if policy.method != "fixed" and outcomes and outcomes[-1] is Outcome.VIOLATED:
                break
        if any(outcome is not Outcome.ACCEPTED for outcome in outcomes):
            break
    close(run, policy, evidence, candidates=len(candidates))
    return run


def close(run: RunFolder, policy: Policy, evidence: Sequence[Evidence], *, candidates: int) -> None:
    """Write all that follows from the evidence, as whoever ran the gate would."""
    plan = json.dumps(planned(policy, candidates=candidates)).encode()
    run.plan.write_bytes(plan)
    run.policy.write_bytes(policy.canonical())
    write_evidence(run, evidence)
    verdict = judge(policy, evidence)
    run.model.unlink(missing_ok=True)
    if isinstance(verdict, Accepted):
        run.model.write_bytes(content(verdict.position))
    stopped = verdict.steps[-1].outcome is not Outcome.ACCEPTED
    report = Report(
        job="gate",
        **verdict_fields(policy, verdict),
        plan_digest=digest(plan),
        artifact_sha256=verdict.candidate if isinstance(verdict, Accepted) else None,
        ladder_end=None if stopped else "all were accepted",
        dense={
            "source": "dense.onnx", "sha256": digest_of(DENSE), "params": 10, "macs": None,
            "size_bytes": len(DENSE), "tune_accuracy": None,
        },
        steps=[
            step_fields(policy, step)
            | {"file": f"candidates/{step.position + 1:02d}/model.onnx", "size_bytes": 1}
            | {"params": 5, "macs": None, "tune_accuracy": None, "self_test_difference": None}
            | {"parity": None, "precision": "int8", "epochs": []}
            for step in verdict.steps
        ],
        left_alone=[],
        latency=[],
        forward_passes={"dense": 0, "candidates": 0},
        provider="CPUExecutionProvider",
        versions={"compressor": "0.1.0"},
        command="compress gate",
        seconds={},
    )  # fmt: skip
    seal(run, report)


def planned(policy: Policy, *, candidates: int) -> Mapping[str, object]:
    sizes = {set_of(rule): IMAGES for rule in policy.shifts if set_of(rule) == "gate"}
    own = {r.id: STREAM_IMAGES for r in policy.shifts if isinstance(r, FolderRule)}
    return {
        "job": "gate",
        "policy": {"name": policy.name, "digest": policy.digest()},
        "alpha": policy.alpha,
        "method": policy.method,
        "rules": [rule.id for rule in policy.shifts],
        "looks": {
            name: list(look_sizes(policy, n, batch=BATCH)) for name, n in (sizes | own).items()
        },
        "sequence": [
            {"name": names(p), "position": p, "ratio": None, "sha256": digest_of(content(p))}
            for p in range(candidates)
        ],
        "classes": list(CLASSES),
        "data": {"gate": "images of gate", "gate_images": IMAGES},
        "fields": {name: {"digest": f"images of {name}", "images": n} for name, n in own.items()},
        "gate_batch": BATCH,
        "provider": "CPUExecutionProvider",
        "versions": {"compressor": "0.1.0"},
        "dense": {"source": "dense.onnx", "sha256": digest_of(DENSE)},
    }


def _write_candidate(run: RunFolder, position: int) -> None:
    folder = run.candidate(f"{position + 1:02d}")
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content(position))
    record = {
        "name": names(position),
        "position": position,
        "source": names(position),
        "source_sha256": digest_of(content(position)),
        "sha256": digest_of(content(position)),
        "params": 5,
        "precision": "int8",
        "parity": None,
    }
    (folder / "candidate.json").write_text(json.dumps(record))
