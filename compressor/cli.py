"""The command line: parse, call, print, exit code. Heavy imports wait until a command needs them.

Exit codes: 0 accepted, 1 internal error, 2 usage, policy, config or data error, 3 rejected,
4 undecided, 5 model unsafe, not loadable or not prunable; 130 interrupted.
"""

import errno
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from compressor.cli_gate import gate
from compressor.cli_job import INTERRUPTED, carry_out, log, project_file, settled_policy
from compressor.cli_ledger import ledger
from compressor.cli_plan import plan
from compressor.cli_policy import policy
from compressor.cli_prune import prune
from compressor.cli_shifts import shifts
from compressor.cli_verify import verify

UNUSABLE_INPUT: Final = 2
UNDECIDED: Final = 4
UNUSABLE_MODEL: Final = 5

# What a disk says that is full, over its quota, limited or protected.
_CANNOT_WRITE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS}


class _MainJob(click.Group):
    """A group whose first word may be a model instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help", "--version"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        with _explained():
            return super().invoke(ctx)


@click.group(cls=_MainJob, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("compressor"), prog_name="compress")
def main() -> None:
    """Prune a vision model, prove that it survives distribution shift, export it.

    \b
    compress MODEL --policy safety-critical   prune, retrain, gate, export, benchmark, report
    compress gate CANDIDATE --dense MODEL --policy P   judge a model from any tool; prune nothing
    compress plan MODEL --policy P            what the images can certify, before any compute
    compress prune MODEL --ratio 0.5          one smaller model, retrained; nothing is judged
    compress demo                             the same on a drawn data set, from nothing
    compress policy list                      the built-in policies
    compress shifts list                      the shifts that policies name
    compress verify RUN                       check a finished run and its verdict again
    compress ledger show                      how often the gate's images were used

    Everything that the job needs beyond the model and the policy is in compress.yaml, in this
    folder or one above it.
    """  # noqa: D301 # click wants the character itself


@main.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--policy", required=True, help="A built-in policy or the path of a .yaml file.")
@click.option("--waivers", type=click.Path(path_type=Path), help="YAML file of waivers.")
@click.option("--project", type=click.Path(path_type=Path), help="compress.yaml, if not found.")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a project field."
)
@click.option(
    "--trust-class", "trusted", multiple=True, metavar="CLASS", help="Allow pkg.mod.Class to load."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run(
    *,
    model: Path,
    policy: str,
    waivers: Path | None,
    project: Path | None,
    folder: Path | None,
    settings: tuple[str, ...],
    trusted: tuple[str, ...],
    as_json: bool,
) -> None:
    """Prune MODEL as far as POLICY allows and export it ("compress MODEL" for short)."""
    code = _run(
        model, policy, waivers=waivers, project=project, folder=folder, settings=settings,
        trusted=trusted,
        as_json=as_json, environ=os.environ,
    )  # fmt: skip
    sys.exit(code)


@main.command()
@click.option("--policy", "policies", multiple=True, help="Default: standard, safety-critical.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("compress-demo"), show_default=True
)
def demo(*, policies: tuple[str, ...], folder: Path) -> None:
    """Draw a data set, train a small network, and run the main job on them."""
    from compressor.demo.job import prepare  # noqa: PLC0415 # loads torch
    from compressor.terminal import Terminal  # noqa: PLC0415

    with Terminal() as watch:
        prepare(folder, watch=watch)
    codes = []
    for name in policies or ("standard", "safety-critical"):
        typed = f"cd {folder} && compress model.pt --policy {name}"
        click.echo(f"\n$ {typed}", err=True)
        code = _run(
            folder / "model.pt", name, waivers=None, project=folder / "compress.yaml", folder=None,
            settings=(), trusted=(), as_json=False, environ={},  # two verdicts have no outputs
        )  # fmt: skip
        codes.append(code)
    sys.exit(codes[0])


main.add_command(gate)
main.add_command(ledger)
main.add_command(plan)
main.add_command(policy)
main.add_command(prune)
main.add_command(shifts)
main.add_command(verify)


def _run(
    model: Path,
    policy_name: str,
    *,
    waivers: Path | None,
    project: Path | None,
    folder: Path | None,
    settings: Sequence[str],
    trusted: tuple[str, ...],
    as_json: bool,
    environ: Mapping[str, str],
) -> int:
    from compressor.config import load_project, override  # noqa: PLC0415

    found = settled_policy(policy_name, waivers)
    file, root = project_file(project)
    settled = load_project(file) if file else None
    if settled is None or settings:
        settled = override(settled, settings, folder=root)

    from compressor.inputs import Job  # noqa: PLC0415 # loads torch
    from compressor.pipeline import compress  # noqa: PLC0415

    run_folder = folder or root / "runs" / f"{model.stem}-{found.name}"
    job = Job(
        model=model,
        policy=found,
        project=settled,
        root=root,
        run=run_folder,
        trusted=trusted,
        command=shlex.join(["compress", *sys.argv[1:]]),
    )
    return carry_out(
        lambda watch: compress(job, watch), run_folder, as_json=as_json, environ=environ
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a user can mend into one message and its exit code; bugs keep their traceback."""
    try:
        yield
    except SystemExit:
        raise  # with nothing to explain, and what is asked below loads torch
    except KeyboardInterrupt:
        _stop("interrupted", INTERRUPTED)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        place = f" to {error.filename}" if error.filename else ""
        _stop(
            f"cannot write{place}: {error.strerror}; free some space, or give another folder with "
            "--run",
            UNUSABLE_INPUT,
        )
    except tuple(_exit_codes()) as error:
        codes = (code for kind, code in _exit_codes().items() if isinstance(error, kind))
        _stop(str(error), next(codes))


def _stop(message: str, code: int) -> None:
    from compressor.ci import refuse  # noqa: PLC0415

    click.echo(f"compress: {message}", err=True)
    log(refuse(message, os.environ))
    sys.exit(code)


def _exit_codes() -> dict[type[Exception], int]:
    """What a user can mend, and its exit code. Imported here, once something was raised."""
    from compressor.config import ConfigError  # noqa: PLC0415
    from compressor.data import DataError  # noqa: PLC0415
    from compressor.gate_data import TooFewImagesError  # noqa: PLC0415
    from compressor.ledger import LedgerError  # noqa: PLC0415
    from compressor.models import ModelError  # noqa: PLC0415
    from compressor.pruning.allocation import UnreachableRatioError  # noqa: PLC0415
    from compressor.pruning.importance import UnscorableError  # noqa: PLC0415
    from compressor.pruning.surgery import SurgeryError  # noqa: PLC0415
    from compressor.pruning.tracing import TraceError  # noqa: PLC0415
    from compressor.runs import RunError  # noqa: PLC0415
    from compressor.sheet import SheetError  # noqa: PLC0415
    from compressor.training.recipe import TrainingError  # noqa: PLC0415
    from compressor.uses import ExhaustedError  # noqa: PLC0415
    from exporters.latency import LatencyError  # noqa: PLC0415
    from exporters.network_file import SignatureError  # noqa: PLC0415
    from exporters.onnx import ExportError  # noqa: PLC0415
    from exporters.providers import ProviderError  # noqa: PLC0415
    from exporters.repeat import NotRepeatableError  # noqa: PLC0415
    from gates.measure import MeasureError  # noqa: PLC0415
    from gates.shifts import ShiftError  # noqa: PLC0415
    from policies import PolicyError  # noqa: PLC0415

    inputs = (ConfigError, DataError, LatencyError, PolicyError, ProviderError, RunError)
    models = (
        ExportError, MeasureError, ModelError, NotRepeatableError, SignatureError, SurgeryError,
        TraceError,
    )  # fmt: skip
    return {
        **dict.fromkeys(
            (
                *inputs,
                LedgerError,
                SheetError,
                ShiftError,
                TrainingError,
                UnreachableRatioError,
                UnscorableError,
            ),
            UNUSABLE_INPUT,
        ),
        **dict.fromkeys((ExhaustedError, TooFewImagesError), UNDECIDED),
        **dict.fromkeys(models, UNUSABLE_MODEL),
    }
