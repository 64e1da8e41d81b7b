"""The main job: model and policy in, verdict and released file out. Stages meet here."""

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from compressor.accounted import accounted_shifts
from compressor.advisories import advisories
from compressor.climb import Climb, climb, ratio_name
from compressor.files import sha256_of, write_atomically
from compressor.inputs import Inputs, Job, check_search, read_inputs, recipe
from compressor.ladder import PARITY_IMAGES, Workshop, examples
from compressor.layer_latencies import latency_table, layer_latencies
from compressor.ledger import describe, ledger_path
from compressor.plan import conditions, plan_of
from compressor.pruning.candidate import prunable
from compressor.pruning.layer_times import LatencyTable
from compressor.report import Advisories, step_fields, verdict_fields
from compressor.report_schema import Report
from compressor.runs import Plan, RunError, RunFolder, lock_plan, opened, plan_digest, versions
from compressor.seal import seal
from compressor.training.batches import accuracy
from compressor.trial import Trial, opener
from compressor.uses import check_unspent, claim, entry_of, reuse_fields
from compressor.watch import Watch
from compressor.workshop import labelled, method, preprocessing, to_onnx
from exporters.latency import Comparison, compare_latency
from exporters.onnx import export
from exporters.runtime import Preprocessing
from exporters.signature import network_digest
from gates import Accepted
from policies import Policy

EXAMPLES = 4
"""Training images on which every cut is tested."""


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
    plan, ledger = _plan(job, inputs, layers), _ledger(job)
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
            times = latency_table(layers)
            shop = _workshop(job, inputs, run, plan_digest=digest, latencies=times)
        watch.say(
            f"{len(shop.dense.groups)} channel groups can be cut, "
            f"{len(shop.dense.left_alone)} are left alone"
        )
        with clock.stage("export"):
            _write_dense(shop)
        use = claim(run, ledger, entry)
        watch.say(f"gate images: {describe(use)}")
        trial = _trial(job, inputs, run)
        climbed = climb(job, trial, shop, stage=clock.stage, watch=watch)
        with clock.stage("latency"):
            latency = _release(job, inputs, run, climbed, watch=watch)
        beside = advisories(trial, climbed.evidence)
        report = Report(
            job="compress",
            **verdict_fields(job.policy, climbed.verdict),
            plan_digest=digest,
            artifact_sha256=sha256_of(run.model) if run.model.exists() else None,
            ladder_end=climbed.ladder_end,
            dense=_dense_facts(inputs, shop),
            steps=_step_facts(job.policy, climbed, beside),
            reuse=reuse_fields(use),
            left_alone=[asdict(item) for item in shop.dense.left_alone],
            latency=[asdict(entry) for entry in latency],
            forward_passes=asdict(climbed.spent.passes),
            ratio_of=job.project.search.of,
            provider=inputs.provider.execution_provider,
            versions=versions(),
            command=job.command,
            seconds={**clock.seconds, **_gate_seconds(climbed)},
        )
        seal(run, report)
    return report


def _plan(job: Job, inputs: Inputs, layers: Mapping[str, Any]) -> Plan:
    project = job.project
    return plan_of(
        job.policy,
        inputs.data,
        job="compress",
        sequence=[
            {"name": ratio_name(ratio), "position": position, "ratio": ratio, "sha256": None}
            for position, ratio in enumerate(project.search.ratios)
        ],
        source=project.input,
        seed=project.seed,
        provider=inputs.provider.execution_provider,
        own={
            "model": {
                "sha256": inputs.model.sha256,
                "source": inputs.model.source,
                "kwargs": project.model.kwargs,
            },
            "retrain": project.retrain.model_dump(mode="json"),
            "search": project.search.model_dump(mode="json"),
            **layers,
        },
    )


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


def _gate_seconds(climbed: Climb) -> Mapping[str, float]:
    seconds = asdict(climbed.spent.seconds)
    return {f"gate: {work}": share for work, share in seconds.items()}


def _workshop(
    job: Job, inputs: Inputs, run: RunFolder, *, plan_digest: str, latencies: LatencyTable
) -> Workshop:
    project = job.project
    train = labelled(inputs.train, project.input)
    dense = prunable(inputs.model.module, examples(train, count=EXAMPLES), seed=project.seed)

    return Workshop(
        run=run,
        dense=dense,
        train=train,
        tune=labelled(inputs.tune, project.input),
        method=method(project.search, latencies=latencies),
        recipe=recipe(project),
        augment=accounted_shifts(job.policy, seed=project.seed, share=project.retrain.robust),
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        seed=project.seed,
        serialise=to_onnx,
        metadata={
            "schema_version": 1,
            "dense": inputs.model.sha256,
            "policy": {"name": job.policy.name, "digest": job.policy.digest()},
            "plan": plan_digest,
            "preprocessing": preprocessing(project.input),
            "classes": list(inputs.data.gate.classes),
        },
    )


def _write_dense(shop: Workshop) -> None:
    """Write dense.onnx, or check that it is the network at hand: code is in no plan.

    Raises:
        RunError: the run was begun with another network.
    """
    content, _ = shop.serialise(
        shop.dense.model, examples(shop.train, count=PARITY_IMAGES), shop.metadata
    )
    if not shop.run.dense.exists():
        write_atomically(shop.run.dense, content)
    elif shop.run.dense.read_bytes() != content:
        raise RunError(
            f"{shop.run.dense} is not this network: the code that builds it has changed since the "
            "run began, or the file has; give another folder with --run, or delete this one"
        )


def _release(
    job: Job, inputs: Inputs, run: RunFolder, climbed: Climb, *, watch: Watch
) -> tuple[Comparison, ...]:
    """Publish the accepted file, byte for byte, and time it against the dense one."""
    verdict = climbed.verdict
    if not isinstance(verdict, Accepted):
        run.model.unlink(missing_ok=True)  # of an earlier, differently ended, invocation
        return ()
    judged = next(r.file for r in climbed.rungs if r.sha256 == verdict.candidate)
    artifact = export(judged, verdict, path=run.model)
    watch.say(f"released {artifact.path} ({artifact.size_bytes / 1e6:.2f} MB)")
    watch.say("measuring latency")
    return compare_latency(
        run.dense,
        run.model,
        batches=job.project.latency.batches,
        provider=inputs.provider.execution_provider,
        seconds=job.project.latency.seconds,
        seed=job.project.seed,
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


def _step_facts(policy: Policy, climbed: Climb, beside: Advisories) -> Any:  # noqa: ANN401 # pydantic validates it
    steps = {step.candidate: step for step in climbed.verdict.steps}
    return [
        {
            **step_fields(policy, steps[rung.sha256], advisories=beside),
            "file": rung.file.relative_to(rung.file.parents[2]).as_posix(),
            "params": rung.candidate.cost.params,
            "macs": rung.candidate.cost.macs,
            "size_bytes": rung.size_bytes,
            "tune_accuracy": rung.tune_accuracy,
            "self_test_difference": rung.candidate.difference,
            "parity": dict(rung.parity),
            "precision": "fp32",
            "epochs": [dict(epoch) for epoch in rung.epochs],
            "trainability": dict(rung.trainability),
        }
        for rung in climbed.rungs
    ]
