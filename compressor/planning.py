"""What a policy asks of the images at hand, and what judging costs: the command ``plan``.

The gate's images are counted and never shown to a model, and no use of them is recorded.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compressor.answers import Model
from compressor.brought import Brought, check_names, input_of, read_brought
from compressor.config import ConfigError, GateProject
from compressor.config_schema import Input
from compressor.expectations import USUAL, Expectation, assumptions, from_run, rehearsed, timed
from compressor.files import write_atomically
from compressor.gate_data import GateData, asked_of, cache_of, check_shifts, read_gate_data
from compressor.ledger import describe, foresee, ledger_path
from compressor.plan import conditions
from compressor.prospects import CellPlan, Work, cell_plans, work_of
from compressor.runs import opened
from compressor.trial import Trial, opener
from compressor.uses import entry_of
from compressor.watch import Watch
from exporters.providers import choose
from exporters.signature import network_digest
from gates.planning import Outlook, all_pass
from policies import Method, Policy

UNDECIDED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanJob:
    """What the user asked for. Of run, candidate and discordance there is one at most."""

    policy: Policy
    project: GateProject
    root: Path
    """The project's folder: relative paths and the user's own code start here."""
    dense: Path | None = None
    candidate: Path | None = None
    """Rehearsed against ``dense``."""
    run: Path | None = None
    """Of the gate, whose counts are expected again."""
    discordance: float | None = None
    images: int
    """Of the tune split, to rehearse on."""
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One expectation, and what follows from it.

    Attributes:
        expected: where the expectation is from.
        discordance: what is assumed; None where something was seen.
        cells: one for each enforced rule.
        passes: least chance that all of them that decide pass; None where one is unknown.
        passes_without_drop: the same if nothing is lost.
        one: what judging one candidate takes, the dense model's part included.
        ladder: the same for as many candidates as search.ratios has.
    """

    expected: str
    discordance: float | None
    cells: tuple[CellPlan, ...]
    passes: float | None
    passes_without_drop: float | None
    one: Work
    ladder: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlooks:
    """All that there is to say before any compute.

    Attributes:
        schema_version: of this record.
        policy: its name.
        method: when the gate decides.
        alpha: the policy's.
        alpha_per_release: one release's share of it.
        releases: that share the images; None without a limit.
        images: by the name of their set, ``gate`` or the rule whose folder it is.
        candidates: of the ladder.
        scenarios: of assumptions one for each; else one.
        reuse: what the next use of the images would be; a sentence.
        exhausted: whether the images have served as often as the policy allows.
        exit_code: 0 if every rule that decides can be certified in the best case, or is unknown.
    """

    schema_version: int = 1
    policy: str
    method: Method
    alpha: float
    alpha_per_release: float
    releases: int | None
    images: Mapping[str, int]
    candidates: int
    scenarios: tuple[Scenario, ...]
    reuse: str
    exhausted: bool
    exit_code: int


def plan_ahead(job: PlanJob, watch: Watch) -> Outlooks:
    """What can be certified with what certainty, and what that takes.

    Raises:
        ConfigError, DataError, ModelError, SignatureError, ShiftError, ProviderError, RunError:
            unusable input, or models that do not fit each other.
        MeasureError, ExportError: a model that cannot be judged.
        TooFewImagesError: there are fewer images than the policy asks for.
        LedgerError: the count of the uses of the gate's images is not to be trusted.
    """
    policy, project = job.policy, job.project
    models = _models(job)
    source = _input(models, project)
    check_shifts(policy, source)
    data = read_gate_data(asked_of(project, source, root=job.root), policy, watch=watch)
    for model in models:
        check_names(model, data.gate.classes)
    expected = _expectations(job, models, source, data, watch=watch)
    scenarios = tuple(_scenario(job, data, one) for one in expected)
    reuse, exhausted = _reuse(job, data)
    best = [cell for cell in scenarios[0].cells if cell.decides]
    lost = any(cell.prospect and cell.prospect.outlook is Outlook.CANNOT for cell in best)
    return Outlooks(
        policy=policy.name,
        method=policy.method,
        alpha=policy.alpha,
        alpha_per_release=policy.alpha_per_release,
        releases=None if policy.reuse is None else policy.reuse.releases,
        images={
            "gate": len(data.gate.ids),
            **{name: len(images.ids) for name, images in data.fields.items()},
        },
        candidates=len(project.search.ratios),
        scenarios=scenarios,
        reuse=reuse,
        exhausted=exhausted,
        exit_code=UNDECIDED if lost or exhausted else 0,
    )


def _models(job: PlanJob) -> Sequence[Brought]:
    """The dense model and the candidate, as far as they are needed and given."""
    if job.run is not None and job.project.input is not None:
        return []
    paths = [path for path in (job.dense, job.candidate) if path is not None]
    return read_brought(paths, job.project, root=job.root, trusted=job.trusted) if paths else []


def _input(models: Sequence[Brought], project: GateProject) -> Input:
    if models:
        return input_of(models, project)
    if project.input is None:
        raise ConfigError("input is missing in compress.yaml, and no model says it; add it")
    return project.input


def _expectations(
    job: PlanJob, models: Sequence[Brought], source: Input, data: GateData, *, watch: Watch
) -> tuple[Expectation, ...]:
    """What is expected; the best of several assumptions first."""
    if job.run is not None:
        return (from_run(job.policy, job.run, gate=data.gate.digest),)
    if job.candidate is None:
        if data.gate.segmented:
            raise ConfigError(
                "data.gate has masks, and nobody knows beforehand by how much a share of right "
                "pixels differs from image to image; give --candidate, which is rehearsed on the "
                "tune split, or --from RUN"
            )
        seconds: Mapping[str, float] = {}
        if models and data.tune is not None:
            with _stage(job, models, source, data) as (trial, (dense,)):
                seconds = timed(trial, dense, watch=watch)
        shown = USUAL if job.discordance is None else (job.discordance,)
        return tuple(assumptions(job.policy, share, seconds=seconds) for share in shown)
    with _stage(job, models, source, data) as (trial, (dense, candidate)):
        name = models[1].name
        seen = rehearsed(trial, dense, candidate, name=name, images=job.images, watch=watch)
    return (seen,)


@contextmanager
def _stage(
    job: PlanJob, models: Sequence[Brought], source: Input, data: GateData
) -> Iterator[tuple[Trial, list[Model]]]:
    """A trial of these models, dense first, in a folder that is gone afterwards."""
    provider = choose(job.project.latency.provider).execution_provider
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as run:
        files = [run.path / f"{place}.onnx" for place in range(len(models))]
        for file, model in zip(files, models, strict=True):
            write_atomically(file, model.content)
        before = {file: model.preprocessing for file, model in zip(files, models, strict=True)}
        trial = Trial(
            run=run,
            policy=job.policy,
            judged=data.judged,
            tune=data.tune,
            classes=data.gate.classes,
            dense=files[0],
            open=opener(before.__getitem__, size=source.size, provider=provider),
            network=network_digest,
            seed=job.project.seed,
            cache=cache_of(job.root),
            conditions=conditions(provider, before=models[0].preprocessing),
        )
        yield (
            trial,
            [
                Model(file=file, sha256=model.sha256, cached=False)
                for file, model in zip(files, models, strict=True)
            ],
        )


def _scenario(job: PlanJob, data: GateData, expected: Expectation) -> Scenario:
    policy = job.policy
    plans = cell_plans(policy, data, expected, seed=job.project.seed)
    deciding = [cell.prospect for cell in plans if cell.decides]
    known = [found for found in deciding if found is not None]
    everything = len(known) == len(deciding)

    def work(candidates: int) -> Work:
        return work_of(policy, data, plans, candidates=candidates, seconds=expected.seconds)

    return Scenario(
        expected=expected.source,
        discordance=expected.discordance,
        cells=tuple(cell for cell in plans if cell.enforced),
        passes=all_pass(found.power for found in known) if everything else None,
        passes_without_drop=(
            all_pass(found.power_without_drop for found in known) if everything else None
        ),
        one=work(1),
        ladder=work(len(job.project.search.ratios)),
    )


def _reuse(job: PlanJob, data: GateData) -> tuple[str, bool]:
    """What the next use of the gate's images would be, and whether it would be one too many."""
    place = job.project.data
    entry = entry_of(
        job.policy,
        data,
        job="gate",
        plan_digest="",
        dense="",
        candidates=(),
        seed=job.project.seed,
    )
    use = foresee(place.ledger or ledger_path(place.gate, root=job.root), entry)
    return describe(use), use.exhausted
