"""What judging files takes, read and checked before anything is written."""

from dataclasses import dataclass
from pathlib import Path

from compressor.brought import Brought, check_names, input_of, read_brought
from compressor.config import GateProject
from compressor.config_schema import Input
from compressor.gate_data import GateData, asked_of, check_shifts, read_gate_data
from compressor.probe import check_models
from compressor.watch import Watch
from exporters.providers import Provider, choose
from policies import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class GateJob:
    """What the user asked for."""

    candidates: tuple[Path, ...]
    """In ascending order of risk: they are one fixed sequence."""
    dense: Path
    policy: Policy
    project: GateProject
    root: Path
    """The project's folder: relative paths and the user's own code start here."""
    run: Path
    trusted: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """Everything that was read."""

    dense: Brought
    candidates: tuple[Brought, ...]
    input: Input
    data: GateData
    provider: Provider


def read_gate_inputs(job: GateJob, watch: Watch) -> GateInputs:
    """Models, images and runtime, loaded and checked against each other.

    Raises:
        ConfigError, DataError, ModelError, SignatureError, ShiftError, ProviderError: unusable
            input, or models that do not fit each other.
        NotRepeatableError, MeasureError, ExportError: a model that cannot be judged.
        TooFewImagesError: a rule cannot be decided.
    """
    project = job.project
    models = read_brought((job.dense, *job.candidates), project, root=job.root, trusted=job.trusted)
    for model in models:
        watch.say(f"{model.name}: {model.signature.precision}, {model.signature.params:,} weights")
    source = input_of(models, project)
    asked = asked_of(project, source, root=job.root)
    check_shifts(job.policy, source)
    data = read_gate_data(asked, job.policy, watch=watch)
    for model in models:
        check_names(model, data.gate.classes)
    provider = choose(project.latency.provider)
    watch.say(f"runtime: {provider.reason}")
    check_models(
        models, data, size=source.size, provider=provider.execution_provider, seed=project.seed
    )
    return GateInputs(
        dense=models[0], candidates=tuple(models[1:]), input=source, data=data, provider=provider
    )
