"""The main job: model and policy in, verdict and released file out. Stages meet here."""

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compressor.advisories import advisories
from compressor.climb import Climb, climb
from compressor.exports import write_dense
from compressor.files import write_atomically
from compressor.inputs import Inputs, Job, check_search, read_inputs
from compressor.ladder import Workshop
from compressor.layer_latencies import latency_table, layer_latencies
from compressor.ledger import describe, ledger_path
from compressor.page.draw import draw_report
from compressor.plan import conditions
from compressor.prepared import maker_for, makers_for, plan_for, sequences_for, workshop_for
from compressor.release import measured, publish, release_batch
from compressor.report import Advisories, resize_fields, step_fields, verdict_fields, verdict_on
from compressor.report_chains import chain_fields, joint_end, speed_fields, target_fields
from compressor.report_schema import LintReport, Report
from compressor.runs import RunFolder, lock_plan, opened, plan_digest, versions
from compressor.samples import keep_samples
from compressor.seal import seal
from compressor.speeds import Timed, shown_comparisons, speeds_of
from compressor.training.batches import accuracy
from compressor.trial import Trial, opener
from compressor.uses import check_unspent, claim, entry_of, reuse_fields
from compressor.watch import Watch
from exporters.lint import lint
from exporters.runtime import Preprocessing
from exporters.signature import network_digest
from gates import Verdict
from policies import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def compress(job: Job, watch: Watch) -> Report:
    """Prune, retrain, gate, export, benchmark and report.

    Every error in the user's input is raised before the run folder exists. A run that was
    interrupted goes on from its folder.

    Raises:
        ConfigError, DataError, ModelError, ShiftError, ProviderError: unusable input.
        TooFewImagesError, ExhaustedError: nothing could be decided.
        LatencyError: a layer cannot be timed.
        LedgerError: the count of the uses of the gate's images is not to be trusted.
        RunError: the folder belongs to another job or another process.
        TraceError, TrainingError, ExportError, MeasureError: a stage failed.
    """
    clock = _Clock()
    with clock.stage("load"):
        check_search(job)
        inputs = read_inputs(job, watch)
    with clock.stage("layer times"):
        layers = layer_latencies(
            job.run,
            inputs.model.module,
            search=job.project.search,
            source=job.project.input,
            provider=inputs.provider.execution_provider,
            seed=job.project.seed,
            watch=watch,
        )
    times = latency_table(layers)
    with clock.stage("target"):
        sequences = sequences_for(job, inputs, latencies=times, watch=watch)
    chains = sequences.chains
    plan, ledger = plan_for(job, inputs, layers, sequences=sequences), _ledger(job)
    entry = entry_of(
        job.policy,
        inputs.data,
        job="compress",
        plan_digest=plan_digest(plan),
        dense=inputs.model.sha256,
        candidates=(),
        seed=job.project.seed,
    )
    check_unspent(ledger, entry)
    with opened(job.run) as run:
        digest = lock_plan(run, plan)
        write_atomically(run.policy, job.policy.canonical())
        with clock.stage("trace"):
            shop = workshop_for(
                job, inputs, run, chains=chains, plan_digest=digest, latencies=times
            )
        watch.say(
            f"{len(shop.dense.groups)} channel groups can be cut, "
            f"{len(shop.dense.left_alone)} are left alone"
        )
        with clock.stage("export"):
            write_dense(shop, make=maker_for(job, inputs, "fp32"))
        use = claim(run, ledger, entry)
        watch.say(f"gate images: {describe(use)}")
        trial = _trial(job, inputs, run)
        climbed = climb(
            trial,
            shop,
            chains,
            makers=makers_for(job, inputs, chains),
            stage=clock.stage,
            watch=watch,
        )
        with clock.stage("latency"):
            timed = _timed(job, inputs, run, climbed, watch=watch)
        verdict = verdict_on(
            job.policy,
            climbed.evidence,
            end=joint_end(climbed.ends),
            chains=[chain.name for chain in chains],
            speeds=speeds_of(timed),
            batch=release_batch(job.policy, job.project),
        )
        artifact = publish(run, verdict, climbed.finalists, watch=watch)
        latency = shown_comparisons(verdict, timed, batch=release_batch(job.policy, job.project))
        beside = advisories(trial, climbed.evidence)
        report = Report(
            job="compress",
            **verdict_fields(job.policy, verdict),
            **chain_fields(
                job.policy,
                verdict,
                {c.name: c.precision for c in chains},
                climbed.ends,
                speeds=speeds_of(timed),
                batch=release_batch(job.policy, job.project),
            ),
            **speed_fields(job.policy, verdict, speeds_of(timed)),
            **target_fields(job.project.search.target, latency),
            **resize_fields(job.project.input),
            left_out=dict(sequences.left_out),
            plan_digest=digest,
            artifact_sha256=artifact,
            dense=_dense_facts(inputs, shop),
            steps=_step_facts(job.policy, verdict, climbed, beside),
            reuse=reuse_fields(use),
            left_alone=[asdict(item) for item in shop.dense.left_alone],
            latency=latency,
            lint=_lint(inputs, run) if artifact else None,
            forward_passes=asdict(climbed.spent.passes),
            ratio_of=job.project.search.of,
            provider=inputs.provider.execution_provider,
            versions=versions(),
            command=job.command,
            seconds={**clock.seconds, **_gate_seconds(climbed)},
        )
        seal(run, report, page=draw_report(report, keep_samples(trial, report)))
    return report


def _ledger(job: Job) -> Path:
    return job.project.data.ledger or ledger_path(job.project.data.gate, root=job.root)


def _trial(job: Job, inputs: Inputs, run: RunFolder) -> Trial:
    provider = inputs.provider.execution_provider
    before = Preprocessing(mean=job.project.input.mean, std=job.project.input.std)
    return Trial(
        run=run,
        policy=job.policy,
        judged=inputs.data.judged,
        tune=inputs.tune,
        classes=inputs.data.gate.classes,
        dense=run.dense,
        open=opener(lambda _: before, size=job.project.input.size, provider=provider),
        network=functools.cache(network_digest),
        seed=job.project.seed,
        cache=job.cache,
        conditions=conditions(provider, before=before),
    )


def _lint(inputs: Inputs, run: RunFolder) -> LintReport:
    """What costs time in the file that was released; advice."""
    found = lint(run.model, provider=inputs.provider.execution_provider)
    return LintReport.model_validate(asdict(found), strict=False)


def _gate_seconds(climbed: Climb) -> Mapping[str, float]:
    seconds = asdict(climbed.spent.seconds)
    return {f"gate: {work}": share for work, share in seconds.items()}


def _timed(
    job: Job, inputs: Inputs, run: RunFolder, climbed: Climb, *, watch: Watch
) -> tuple[Timed, ...]:
    return measured(
        run,
        climbed.finalists,
        policy=job.policy,
        project=job.project,
        provider=inputs.provider.execution_provider,
        watch=watch,
    )


def _dense_facts(inputs: Inputs, shop: Workshop) -> Any:  # noqa: ANN401 # pydantic validates it
    return {
        "source": inputs.model.source,
        "sha256": inputs.model.sha256,
        "params": shop.dense.cost.params,
        "macs": shop.dense.cost.macs,
        "size_bytes": shop.run.dense.stat().st_size,
        "tune_accuracy": accuracy(shop.dense.model, shop.tune, device=shop.device),
    }


def _step_facts(policy: Policy, verdict: Verdict, climbed: Climb, beside: Advisories) -> Any:  # noqa: ANN401 # pydantic validates it
    steps = {step.candidate: step for step in verdict.steps}
    return [
        {
            **step_fields(policy, steps[item.made.sha256], advisories=beside),
            "file": item.made.file.relative_to(item.made.file.parents[2]).as_posix(),
            "params": item.rung.candidate.cost.params,
            "macs": item.rung.candidate.cost.macs,
            "size_bytes": item.made.size_bytes,
            "tune_accuracy": item.rung.tune_accuracy,
            "self_test_difference": item.rung.candidate.difference,
            "parity": dict(item.made.parity),
            "precision": item.place.chain.precision,
            "epochs": [dict(epoch) for epoch in item.rung.epochs],
            "trainability": dict(item.rung.trainability),
        }
        for item in climbed.judged
    ]
