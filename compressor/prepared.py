"""What the main job fixes before it begins: its sequences, its plan, what makes its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from compressor.accounted import accounted_shifts
from compressor.candidate_files import Serialise
from compressor.exports import Chain, chains_of, exporter, finisher, planned, precisions_of
from compressor.inputs import Inputs, Job, recipe
from compressor.ladder import Workshop, examples
from compressor.latency_target import Bench, plan_entry, ratios_for
from compressor.plan import plan_of
from compressor.pruning.candidate import Prunable, prunable
from compressor.pruning.layer_times import LatencyTable
from compressor.release import release_batch
from compressor.runs import Plan, RunFolder
from compressor.watch import Watch
from compressor.workshop import device, labelled, method, preprocessing
from exporters.onnx import serialise
from exporters.precision import Precision

EXAMPLES: Final = 4
"""Training images on which every cut is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """What is tried, in which order, and what is not."""

    chains: tuple[Chain, ...]
    left_out: Mapping[Precision, str]
    """Precisions that are not tried, and why."""
    target: Mapping[str, Any]
    """What the plan says of a latency that was asked for: an entry, or none."""


def sequences_for(job: Job, inputs: Inputs, *, latencies: LatencyTable, watch: Watch) -> Sequences:
    """The sequences of the run: of the ratios that the project gives, or that meet its target.

    Raises:
        ConfigError, LatencyError, RunError, TraceError: no ratio can be found for the target.
    """
    provider, search = inputs.provider.execution_provider, job.project.search
    tried, without = precisions_of(job.project.export, provider=provider)
    left_out, target = dict(without), search.target
    entry: Mapping[str, Any] = {}
    ratios: dict[Precision, Sequence[float]] = dict.fromkeys(tried, search.ratios)
    if target is not None:
        found = ratios_for(
            job.run,
            target,
            tried,
            bounds=(job.policy.ratios.smallest, job.policy.ratios.largest),
            bench=lambda: _bench(job, inputs, latencies=latencies),
            watch=watch,
        )
        entry, ratios = plan_entry(found), {p: (found[p].ratio,) for p in tried if p in found}
        left_out |= {p: f"no ratio comes to {target}" for p in tried if p not in found}
    chains = chains_of(ratios)
    for precision, why in left_out.items():
        watch.say(f"{precision} is left out: {why}")
    if len(chains) > 1:
        names = ", ".join(chain.precision for chain in chains)
        watch.say(f"{names}: each is judged at 1/{len(chains)} of alpha, the fastest is released")
    return Sequences(chains=chains, left_out=left_out, target=entry)


def _bench(job: Job, inputs: Inputs, *, latencies: LatencyTable) -> Bench:
    project, provider = job.project, inputs.provider.execution_provider
    train = labelled(inputs.train, project.input)

    def render(model: nn.Module, images: Tensor, precision: Precision) -> bytes:
        finish = finisher(
            precision, project.export, source=project.input, train=train, provider=provider
        )
        return finish(serialise(model, images, metadata={}))

    return Bench(
        dense=_traced(job, inputs),
        method=method(project.search, latencies=latencies),
        train=train,
        render=render,
        provider=provider,
        device=device(),
        seed=project.seed,
    )


def plan_for(job: Job, inputs: Inputs, layers: Mapping[str, Any], *, sequences: Sequences) -> Plan:
    """What the verdict will rest on; ``layers`` are the layers' times, where they are used."""
    chains = sequences.chains
    project = job.project
    return plan_of(
        job.policy,
        inputs.data,
        job="compress",
        sequence=[
            {
                "name": place.name,
                "position": place.position,
                "ratio": place.ratio,
                "sha256": None,
                **({} if place.chain.name is None else {"chain": place.chain.name}),
            }
            for place in planned(chains)
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
            "export": {
                **project.export.model_dump(mode="json"),
                "batch": release_batch(job.policy, project),
            },
            "chains": [{"name": chain.name, "precision": chain.precision} for chain in chains],
            **sequences.target,
            **layers,
        },
    )


def workshop_for(
    job: Job,
    inputs: Inputs,
    run: RunFolder,
    *,
    chains: Sequence[Chain],
    plan_digest: str,
    latencies: LatencyTable,
) -> Workshop:
    """Everything that making a candidate needs, after the network is traced.

    Raises:
        TraceError: no channel of it can be cut.
    """
    project = job.project
    train = labelled(inputs.train, project.input)
    dense = _traced(job, inputs)

    return Workshop(
        run=run,
        dense=dense,
        train=train,
        tune=labelled(inputs.tune, project.input),
        method=method(project.search, latencies=latencies),
        recipe=recipe(project),
        augment=accounted_shifts(job.policy, seed=project.seed, share=project.retrain.robust),
        device=device(),
        seed=project.seed,
        serialise=maker_for(job, inputs, chains[0].precision),
        metadata={
            "schema_version": 1,
            "dense": inputs.model.sha256,
            "policy": {"name": job.policy.name, "digest": job.policy.digest()},
            "plan": plan_digest,
            "preprocessing": preprocessing(project.input),
            "classes": list(inputs.data.gate.classes),
        },
    )


def maker_for(job: Job, inputs: Inputs, precision: Precision) -> Serialise:
    """What makes the files of one precision."""
    return exporter(
        precision,
        job.project.export,
        source=job.project.input,
        train=labelled(inputs.train, job.project.input),
        provider=inputs.provider.execution_provider,
    )


def makers_for(
    job: Job, inputs: Inputs, chains: Sequence[Chain]
) -> Mapping[str | None, Serialise | None]:
    """Of each sequence; the files of the first are made with the candidates."""
    first, *others = chains
    made = {chain.name: maker_for(job, inputs, chain.precision) for chain in others}
    return {first.name: None, **made}


def _traced(job: Job, inputs: Inputs) -> Prunable:
    project = job.project
    images = examples(labelled(inputs.train, project.input), count=EXAMPLES)
    return prunable(
        inputs.model.module, images, seed=project.seed, time_limit_s=project.search.time_limit_s
    )
