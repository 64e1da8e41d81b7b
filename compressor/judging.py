"""Judge candidates that were made elsewhere against a dense model: the gate as a job of its own."""

import functools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from compressor.advisories import advisories
from compressor.brought import Brought
from compressor.files import sha256_of, write_atomically
from compressor.gate import Spent, Subject, describe, observe
from compressor.gate_data import cache_of
from compressor.gate_job import GateInputs, GateJob, read_gate_inputs
from compressor.ledger import describe as describe_use
from compressor.ledger import ledger_path
from compressor.page.draw import draw_report
from compressor.plan import conditions, plan_of
from compressor.release import measured, publish, release_batch
from compressor.report import resize_fields, step_fields, verdict_fields, verdict_on
from compressor.report_chains import speed_fields
from compressor.report_schema import Report
from compressor.runs import Plan, RunError, RunFolder, lock_plan, opened, plan_digest, versions
from compressor.samples import keep_samples
from compressor.seal import seal
from compressor.speeds import Timed, shown_comparisons, speeds_of
from compressor.trial import Trial, opener
from compressor.uses import check_unspent, claim, entry_of, reuse_fields
from compressor.watch import Watch
from exporters.signature import network_digest
from gates import Evidence, Outcome, Step, Verdict, judge_step


def judge_files(job: GateJob, watch: Watch) -> Report:
    """Gate and report; the accepted candidate that is the farthest in the sequence is released.

    Every error in the user's input is raised before the run folder exists. A run that was
    interrupted goes on from its folder.

    Raises:
        ConfigError, DataError, ModelError, SignatureError, ShiftError, ProviderError: unusable
            input, or models that do not fit each other.
        NotRepeatableError, MeasureError, ExportError: a model that cannot be judged.
        TooFewImagesError, ExhaustedError: nothing could be decided.
        LedgerError: the count of the uses of the gate's images is not to be trusted.
        RunError: the folder belongs to another job or another process.
    """
    started = time.perf_counter()
    inputs = read_gate_inputs(job, watch)
    plan = _plan(job, inputs)
    ledger = job.project.data.ledger or ledger_path(job.project.data.gate, root=job.root)
    entry = entry_of(
        job.policy,
        inputs.data,
        job="gate",
        plan_digest=plan_digest(plan),
        dense=inputs.dense.sha256,
        candidates=[model.sha256 for model in inputs.candidates],
        seed=job.project.seed,
    )
    check_unspent(ledger, entry)
    with opened(job.run) as run:
        digest = lock_plan(run, plan)
        write_atomically(run.policy, job.policy.canonical())
        subjects = _write_models(run, inputs)
        use = claim(run, ledger, entry)
        watch.say(f"gate images: {describe_use(use)}")
        trial = _trial(job, inputs, run, subjects)
        loaded = time.perf_counter()
        evidence, spent, end = _climb(trial, subjects, watch=watch)
        judged = time.perf_counter()
        timed = _timed(job, inputs, run, _last_accepted(evidence, subjects, end=end), watch=watch)
        verdict = verdict_on(job.policy, evidence, end=end, speeds=speeds_of(timed))
        files = {subject.sha256: subject.file for subject in subjects}
        artifact = publish(run, verdict, files, watch=watch)
        report = Report(
            job="gate",
            **verdict_fields(job.policy, verdict),
            **speed_fields(job.policy, verdict, speeds_of(timed)),
            **resize_fields(inputs.input),
            plan_digest=digest,
            artifact_sha256=artifact,
            ladder_end=end,
            dense=_dense_facts(inputs),
            steps=_step_facts(trial, verdict, evidence, inputs),
            reuse=reuse_fields(use),
            left_alone=[],
            latency=shown_comparisons(verdict, timed, batch=release_batch(job.policy, job.project)),
            forward_passes=asdict(spent.passes),
            provider=inputs.provider.execution_provider,
            versions=versions(),
            command=job.command,
            seconds={
                "load": loaded - started,
                "gate": judged - loaded,
                **({"latency": time.perf_counter() - judged} if timed else {}),
                **{f"gate: {work}": share for work, share in asdict(spent.seconds).items()},
            },
        )
        seal(run, report, page=draw_report(report, keep_samples(trial, report)))
    return report


def _plan(job: GateJob, inputs: GateInputs) -> Plan:
    return plan_of(
        job.policy,
        inputs.data,
        job="gate",
        sequence=[
            {"name": model.name, "position": position, "ratio": None, "sha256": model.sha256}
            for position, model in enumerate(inputs.candidates)
        ],
        source=inputs.input,
        seed=job.project.seed,
        provider=inputs.provider.execution_provider,
        own={"dense": {"source": inputs.dense.name, "sha256": inputs.dense.source_sha256}},
    )


def _write_models(run: RunFolder, inputs: GateInputs) -> tuple[Subject, ...]:
    """The judged files in the run folder, and what the gate calls them.

    Raises:
        RunError: the folder has another file in the place of one.
    """
    _place(run.dense, inputs.dense)
    subjects = []
    for position, model in enumerate(inputs.candidates):
        folder = run.candidate(f"{position + 1:02d}")
        record = {
            "name": model.name,
            "position": position,
            "source": model.name,
            "source_sha256": model.source_sha256,
            "sha256": model.sha256,
            "params": model.signature.params,
            "precision": model.signature.precision,
            "parity": model.parity,
        }
        _place(folder / "model.onnx", model)
        write_atomically(folder / "candidate.json", json.dumps(record, indent=2).encode())
        subjects.append(
            Subject(
                name=model.name,
                position=position,
                ratio=None,
                file=folder / "model.onnx",
                sha256=model.sha256,
            )
        )
    return tuple(subjects)


def _place(file: Path, model: Brought) -> None:
    if not file.exists():
        write_atomically(file, model.content)
    elif sha256_of(file) != model.sha256:
        raise RunError(
            f"{file} is not {model.name}, and a run judges one file in each place; give another "
            "folder with --run, or delete this one"
        )


def _trial(job: GateJob, inputs: GateInputs, run: RunFolder, subjects: Sequence[Subject]) -> Trial:
    provider = inputs.provider.execution_provider
    before = {run.dense: inputs.dense.preprocessing} | {
        subject.file: model.preprocessing
        for subject, model in zip(subjects, inputs.candidates, strict=True)
    }
    return Trial(
        run=run,
        policy=job.policy,
        judged=inputs.data.judged,
        tune=inputs.data.tune,
        classes=inputs.data.gate.classes,
        dense=run.dense,
        open=opener(before.__getitem__, size=inputs.input.size, provider=provider),
        network=functools.cache(network_digest),
        seed=job.project.seed,
        cache=cache_of(job.root),
        conditions=conditions(provider, before=inputs.dense.preprocessing),
    )


def _climb(
    trial: Trial, subjects: Sequence[Subject], *, watch: Watch
) -> tuple[list[Evidence], Spent, str | None]:
    """Evidence of all candidates up to the first that is not accepted, and why there is no more."""
    evidence: list[Evidence] = []
    spent = Spent()
    for subject in subjects:
        seen = observe(trial, subject, before=evidence, watch=watch)
        evidence += seen.evidence
        spent += seen.spent
        step = judge_step(trial.policy, seen.evidence)
        watch.say(f"{step.name}: {step.outcome.value}{describe(seen.spent)}")
        if step.outcome is not Outcome.ACCEPTED:
            return evidence, spent, None
    count = len(subjects)
    if count == 1:
        return evidence, spent, "the one candidate that there is was accepted"
    return evidence, spent, f"all {count} candidates were accepted; there are no others"


def _last_accepted(
    evidence: Sequence[Evidence], subjects: Sequence[Subject], *, end: str | None
) -> Subject | None:
    """The candidate before the one that ended the sequence, or the last; None where none is."""
    judged = len({item.position for item in evidence})
    accepted = judged if end else judged - 1
    return subjects[accepted - 1] if accepted else None


def _timed(
    job: GateJob, inputs: GateInputs, run: RunFolder, subject: Subject | None, *, watch: Watch
) -> tuple[Timed, ...]:
    """How fast the accepted candidate is, where the policy asks for a speed-up; else nothing."""
    if job.policy.min_speedup is None or subject is None:
        return ()
    return measured(
        run,
        {subject.sha256: subject.file},
        policy=job.policy,
        project=job.project,
        provider=inputs.provider.execution_provider,
        watch=watch,
    )


def _dense_facts(inputs: GateInputs) -> Mapping[str, object]:
    model = inputs.dense
    return {
        "source": model.name,
        "sha256": model.source_sha256,
        "params": model.signature.params,
        "macs": None,
        "size_bytes": len(model.content),
        "tune_accuracy": None,
    }


def _step_facts(
    trial: Trial, verdict: Verdict, evidence: Sequence[Evidence], inputs: GateInputs
) -> list[Mapping[str, object]]:
    beside = advisories(trial, evidence)

    def facts(step: Step) -> Mapping[str, object]:
        model = inputs.candidates[step.position]
        return {
            **step_fields(trial.policy, step, advisories=beside),
            "file": f"candidates/{step.position + 1:02d}/model.onnx",
            "params": model.signature.params,
            "macs": None,
            "size_bytes": len(model.content),
            "tune_accuracy": None,
            "self_test_difference": None,
            "parity": None if model.parity is None else dict(model.parity),
            "precision": model.signature.precision,
            "epochs": [],
        }

    return [facts(step) for step in verdict.steps]
