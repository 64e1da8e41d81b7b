"""From accepted candidates to the one that is released: timed where that decides, published."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from compressor.config import GateProject, Project
from compressor.runs import RunFolder
from compressor.speeds import Timed, read_timed, write_timed
from compressor.watch import Watch
from exporters.latency import compare_latency
from exporters.onnx import export
from gates import Accepted, Verdict
from policies import Policy


def release_batch(policy: Policy, project: Project | GateProject) -> int:
    """Images per call at which candidates are compared: the policy's word, or the project's."""
    if policy.min_speedup is not None:
        return policy.min_speedup.batch
    target = project.search.target
    return project.latency.batches[0] if target is None else target.batch


def measured(
    run: RunFolder,
    finalists: Mapping[str, Path],
    *,
    policy: Policy,
    project: Project | GateProject,
    provider: str,
    watch: Watch,
) -> tuple[Timed, ...]:
    """How fast each of these files is against the dense one; measured once in a run.

    Args:
        run: whose dense model; what was measured is kept in it.
        finalists: files by their sha256.
        policy: may ask for a batch size of its own.
        project: batch sizes, and how long each is measured.
        provider: ONNX Runtime's name of where.
        watch: is told.

    Raises:
        LatencyError: a file cannot be timed.
        RunError: what was kept is damaged.
    """
    target, latency = project.search.target, project.latency
    asked = {*latency.batches, release_batch(policy, project)}
    batches = tuple(sorted(asked | (set() if target is None else {target.batch})))
    known = {item.candidate: item for item in read_timed(run)}
    timed = []
    for sha256, file in finalists.items():
        item = known.get(sha256)
        if item is None or item.batches != set(batches):
            # No bar: what moves it would run beside what is timed.
            watch.say(
                f"measuring latency of {file.relative_to(run.path)}, {len(batches)} batch sizes, "
                f"up to {latency.seconds:g} s each"
            )
            comparisons = compare_latency(
                run.dense,
                file,
                batches=batches,
                provider=provider,
                seconds=latency.seconds,
                seed=project.seed,
            )
            item = Timed(candidate=sha256, comparisons=[asdict(found) for found in comparisons])
        timed.append(item)
        write_timed(run, timed)
    return tuple(timed)


def publish(
    run: RunFolder, verdict: Verdict, files: Mapping[str, Path], *, watch: Watch
) -> str | None:
    """Publish the accepted file, byte for byte; its sha256, None where nothing is accepted.

    Raises:
        ExportError: the file is not the one that was judged.
    """
    if not isinstance(verdict, Accepted):
        run.model.unlink(missing_ok=True)  # of an earlier, differently ended, invocation
        return None
    artifact = export(files[verdict.candidate], verdict, path=run.model)
    watch.say(f"released {artifact.path} ({artifact.size_bytes / 1e6:.2f} MB)")
    return artifact.sha256
