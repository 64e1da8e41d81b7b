"""The command line: parse, call, print, exit code. Heavy imports wait until a command needs them.

Exit codes: 0 accepted, 1 internal error, 2 usage, policy, config or data error, 3 rejected,
4 undecided, 5 model unsafe, not loadable or not prunable; 130 interrupted.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from compressor.cli_bench import bench, lint
from compressor.cli_demo import demo
from compressor.cli_doctor import doctor
from compressor.cli_export import export
from compressor.cli_gate import gate
from compressor.cli_job import INTERRUPTED, log, run_job
from compressor.cli_ledger import ledger
from compressor.cli_plan import plan
from compressor.cli_policy import policy
from compressor.cli_prune import prune
from compressor.cli_report import report
from compressor.cli_shifts import shifts
from compressor.cli_study import study
from compressor.cli_verify import verify

UNUSABLE_INPUT: Final = 2
UNDECIDED: Final = 4
UNUSABLE_MODEL: Final = 5

# What a disk says that is full, over its quota, limited or protected.
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS}
# Mended by the user as well: a file, or a link to nowhere, that is in the way.
_IN_THE_WAY: Final = {errno.ENOTDIR}


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
    compress study FILE                       what is lost, by method, ratio, seed, distribution
    compress policy list                      the built-in policies
    compress shifts list                      the shifts that policies name
    compress verify RUN                       check a finished run and its verdict again
    compress report RUN [OTHER]               its page, report.html, drawn anew; or two compared
    compress ledger show                      how often the gate's images were used
    compress export RUN --to FILE             the file of an accepted run, verified and copied
    compress bench A.onnx B.onnx              how fast files are, paired, with intervals
    compress lint A.onnx                      what keeps a file from being fast
    compress doctor                           what this machine can run networks on

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
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    help="Of the released file; auto: the fastest that the policy accepts.",
)
@click.option(
    "--target-latency",
    metavar="MS@BATCH",
    help="As 2.0ms@batch=8: judge the smallest ratio whose file is that fast.",
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
    precision: str | None,
    target_latency: str | None,
    as_json: bool,
) -> None:
    """Prune MODEL as far as POLICY allows and export it ("compress MODEL" for short)."""
    code = run_job(
        model, policy, waivers=waivers, project=project, folder=folder, trusted=trusted,
        settings=(*settings, *_shorthands(precision, target_latency)),
        as_json=as_json, environ=os.environ,
    )  # fmt: skip
    sys.exit(code)


def _shorthands(precision: str | None, target: str | None) -> Iterator[str]:
    """What options of their own say, as settings of the project."""
    if precision is not None:
        yield f"export.precision={precision}"
    if target is not None:
        yield f"search.target_latency={target}"
        # Shares of the layers' measured times, for the batch that is asked about.
        yield "search.of=latency"
        if batch := target.partition("@batch=")[2]:
            yield f"search.latency_batch={batch}"


main.add_command(demo)
main.add_command(bench)
main.add_command(doctor)
main.add_command(export)
main.add_command(gate)
main.add_command(ledger)
main.add_command(lint)
main.add_command(plan)
main.add_command(policy)
main.add_command(prune)
main.add_command(report)
main.add_command(shifts)
main.add_command(study)
main.add_command(verify)


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
        if error.errno in _NO_ROOM:
            mend = "free some space, or give another folder with --run"
        elif error.errno in _IN_THE_WAY:
            mend = "move it away, or give another name"
        else:
            raise
        place = f" to {error.filename}" if error.filename else ""
        _stop(f"cannot write{place}: {error.strerror}; {mend}", UNUSABLE_INPUT)
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
    from compressor.study.crew import EngineError  # noqa: PLC0415
    from compressor.study.trial_ledger import StudyLedgerError  # noqa: PLC0415
    from compressor.training.recipe import TrainingError  # noqa: PLC0415
    from compressor.uses import ExhaustedError  # noqa: PLC0415
    from exporters.intake import IncomparableError  # noqa: PLC0415
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
                EngineError,
                IncomparableError,
                LedgerError,
                SheetError,
                ShiftError,
                StudyLedgerError,
                TrainingError,
                UnreachableRatioError,
                UnscorableError,
            ),
            UNUSABLE_INPUT,
        ),
        **dict.fromkeys((ExhaustedError, TooFewImagesError), UNDECIDED),
        **dict.fromkeys(models, UNUSABLE_MODEL),
    }
