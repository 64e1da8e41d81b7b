"""One cut by itself: pruned, retrained if asked, written as files that nobody has judged.

The gate's images are not read, no use of them is recorded, and nothing is released.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from compressor.candidate_files import Serialise, keep, kept
from compressor.exports import exporter
from compressor.files import sha256_of, write_atomically
from compressor.inputs import recipe
from compressor.ladder import StatisticsImages, Workshop, make
from compressor.layer_latencies import latency_table, layer_latencies
from compressor.prune_inputs import EXAMPLES, PruneInputs, PruneJob, read_prune_inputs, trial_images
from compressor.pruning.candidate import Method, Prunable, propose, prunable
from compressor.runs import Plan, RunError, RunFolder, lock_plan, opened, versions
from compressor.training.batchnorm import reestimate
from compressor.watch import Watch
from compressor.workshop import device, preprocessing
from compressor.workshop import method as method_of
from exporters.precision import CALIBRATED
from exporters.providers import choose

NOT_JUDGED: Final = "not judged; compress gate judges it"


def prune(job: PruneJob, watch: Watch) -> Mapping[str, Any]:
    """Make one candidate and its files; the record that says that they are there.

    Every error in the user's input is raised before the folder exists. A job that was interrupted
    goes on from its folder.

    Raises:
        ConfigError, DataError, ModelError: unusable input.
        RunError: the folder belongs to another job or another process.
        TraceError, SurgeryError, TrainingError, ExportError: a stage failed.
        UnreachableRatioError: no aligned widths come near the ratio.
    """
    start = time.perf_counter()
    inputs = read_prune_inputs(job, watch)
    images = trial_images(inputs, job)
    dense = prunable(
        inputs.model.module,
        images[:EXAMPLES],
        seed=job.project.seed,
        time_limit_s=job.project.search.time_limit_s,
    )
    watch.say(
        f"{len(dense.groups)} channel groups can be cut, {len(dense.left_alone)} are left alone"
    )
    layers = _layers(job, inputs, watch)
    with opened(job.out) as run:
        lock_plan(run, {**_plan(job, inputs), **layers})
        record = run.path / "prune.json"
        if record.exists():
            return _finished(record)
        try:
            chosen = method_of(job.project.search, latencies=latency_table(layers))
            _make(job, inputs, dense, run, method=chosen, images=images, watch=watch)
        finally:
            _leave_nothing_behind(run)
        seconds = time.perf_counter() - start
        facts = _record(job, inputs, dense, run.path, seconds=seconds)
        write_atomically(record, json.dumps(facts, indent=2).encode())
    return facts


def _leave_nothing_behind(run: RunFolder) -> None:
    """Remove a folder in which nothing was made: it is for whoever asks for something else."""
    files = list(run.path.iterdir())
    if {file.name for file in files} <= {".lock", run.plan.name}:
        for file in files:
            file.unlink()
        run.path.rmdir()


def _finished(record: Path) -> Mapping[str, Any]:
    """The record of a folder in which all is done.

    Raises:
        RunError: a file is not the one that was written.
    """
    facts: Mapping[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    for name, digest in facts["files"].items():
        file = record.parent / name
        if not file.exists() or sha256_of(file) != digest:
            raise RunError(
                f"{file} is not the file that was written; delete {record.parent} to make it again"
            )
    return facts


def _plan(job: PruneJob, inputs: PruneInputs) -> Plan:
    """What the files hang on: a folder is taken up again by the same job alone."""
    project = job.project
    return {
        "schema_version": 1,
        "job": "prune",
        "model": {
            "sha256": inputs.model.sha256,
            "source": inputs.model.source,
            "kwargs": project.model.kwargs,
        },
        "ratio": job.ratio,
        "search": project.search.model_dump(mode="json", exclude={"ratios"}),
        "retrain": project.retrain.model_dump(mode="json") if job.retrain else None,
        "tune": project.data.tune.model_dump(mode="json") if job.retrain else None,
        "train": inputs.digest,
        "input": project.input.model_dump(mode="json"),
        "export": project.export.model_dump(mode="json"),
        "seed": project.seed,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def _layers(job: PruneJob, inputs: PruneInputs, watch: Watch) -> Mapping[str, Any]:
    """The times of the network's layers, if the ratio is one of latency."""
    project = job.project
    if project.search.of != "latency":
        return {}
    provider = choose(project.latency.provider)
    watch.say(f"runtime: {provider.reason}")
    return layer_latencies(
        job.out,
        inputs.model.module,
        search=project.search,
        source=project.input,
        provider=provider.execution_provider,
        seed=project.seed,
        watch=watch,
    )


def _make(
    job: PruneJob,
    inputs: PruneInputs,
    dense: Prunable,
    run: RunFolder,
    *,
    method: Method,
    images: Tensor,
    watch: Watch,
) -> None:
    """Write weights, plan and file, unless they are there."""
    project, metadata = job.project, _metadata(job, inputs)
    if inputs.train is None or inputs.tune is None:
        _only_cut(job, inputs, dense, run.path, method=method, images=images, metadata=metadata)
        return
    shop = Workshop(
        run=run,
        dense=dense,
        train=inputs.train,
        tune=inputs.tune,
        method=method,
        recipe=recipe(project),
        augment=None,  # which shifts to train with is the policy's word
        device=device(),
        seed=project.seed,
        serialise=_exporter(job, inputs),
        metadata=metadata,
    )
    make(shop, None, ratio=job.ratio, folder=run.path, watch=watch)


def _only_cut(
    job: PruneJob,
    inputs: PruneInputs,
    dense: Prunable,
    folder: Path,
    *,
    method: Method,
    images: Tensor,
    metadata: Mapping[str, object],
) -> None:
    seen = None if inputs.train is None else StatisticsImages(data=inputs.train)
    if seen is None:
        method = replace(method, compensate=False)  # for that, images have to go through it
    candidate = propose(
        dense,
        None,
        ratio=job.ratio,
        method=method,
        batches=seen or (),
        seed=job.project.seed,
        device=device(),
    )
    model = candidate.model if seen is None else reestimate(candidate.model, seen.images)
    keep(
        folder,
        candidate,
        model.eval(),
        serialise=_exporter(job, inputs),
        images=images,
        metadata=metadata,
        learnt={"tune_accuracy": None, "epochs": [], "trainability": None},
    )


def _exporter(job: PruneJob, inputs: PruneInputs) -> Serialise:
    """What makes the file, in the form that the project asks for."""
    project = job.project
    precision, where = project.export.precision, project.latency.provider
    assert precision != "auto", "read_prune_inputs refuses it: it takes a gate to choose"
    return exporter(
        precision,
        project.export,
        source=project.input,
        train=inputs.train,
        provider=choose(where if precision in CALIBRATED else "cpu").execution_provider,
    )


def _metadata(job: PruneJob, inputs: PruneInputs) -> Mapping[str, object]:
    """What the ONNX file says of itself."""
    known = {} if inputs.classes is None else {"classes": list(inputs.classes)}
    return {
        "schema_version": 1,
        "dense": inputs.model.sha256,
        "judged": False,
        "preprocessing": preprocessing(job.project.input),
        **known,
    }


def _record(
    job: PruneJob, inputs: PruneInputs, dense: Prunable, folder: Path, *, seconds: float
) -> Mapping[str, object]:
    """What was made and how; ``candidate.json`` has the units that stay and the training log."""
    made = kept(folder)
    names = ("weights.safetensors", "candidate.json", "model.onnx")
    return {
        "schema_version": 1,
        "job": "prune",
        "judged": False,
        "note": NOT_JUDGED,
        "dense": {
            "source": inputs.model.source,
            "sha256": inputs.model.sha256,
            "params": dense.cost.params,
            "macs": dense.cost.macs,
        },
        "ratio": job.ratio,
        "params": made["params"],
        "macs": made["macs"],
        "size_bytes": (folder / "model.onnx").stat().st_size,
        "self_test_difference": made["difference"],
        "parity": made["parity"],
        "retrained_epochs": len(made["epochs"]),
        "tune_accuracy": made["tune_accuracy"],
        "train_images": None if inputs.train is None else len(inputs.train.labels),
        "left_alone": [asdict(item) for item in dense.left_alone],
        "notes": list(inputs.model.notes),
        "files": {name: sha256_of(folder / name) for name in names},
        "command": job.command,
        "seconds": seconds,
        "versions": versions(),
    }
