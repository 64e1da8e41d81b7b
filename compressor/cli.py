"""The command line: parse, call, print, exit code. Heavy imports wait until a command needs them.

Exit codes: 0 accepted, 1 internal error, 2 usage, policy, config or data error, 3 rejected,
4 undecided, 5 model unsafe, not loadable or not prunable; 130 interrupted.
"""

import errno
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

UNUSABLE_INPUT: Final = 2
UNUSABLE_MODEL: Final = 5
INTERRUPTED: Final = 130

# What a disk says that is full, over its quota, limited or protected.
_CANNOT_WRITE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS}


class _MainJob(click.Group):
    """A group whose first word may be a model instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help", "--version"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_MainJob, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("compressor"), prog_name="compress")
def main() -> None:
    r"""Prune a vision model, prove that it survives distribution shift, export it.

    \b
    compress MODEL --policy safety-critical   prune, retrain, gate, export, benchmark, report
    compress demo                             the same on a drawn data set, from nothing
    compress policy list                      the built-in policies

    Everything that the job needs beyond the model and the policy is in compress.yaml, in this
    folder or one above it.
    """


@main.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--policy", required=True, help="A built-in policy or the path of a .yaml file.")
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
    project: Path | None,
    folder: Path | None,
    settings: tuple[str, ...],
    trusted: tuple[str, ...],
    as_json: bool,
) -> None:
    """Prune MODEL as far as POLICY allows and export it ("compress MODEL" for short)."""
    with _explained():
        code = _run(
            model, policy, project=project, folder=folder, settings=settings, trusted=trusted,
            as_json=as_json,
        )  # fmt: skip
    sys.exit(code)


@main.command()
@click.option("--policy", "policies", multiple=True, help="Default: standard, safety-critical.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("compress-demo"), show_default=True
)
def demo(*, policies: tuple[str, ...], folder: Path) -> None:
    """Draw a data set, train a small network, and run the main job on them."""
    with _explained():
        from compressor.demo.job import prepare  # noqa: PLC0415 # loads torch
        from compressor.terminal import Terminal  # noqa: PLC0415

        with Terminal() as watch:
            prepare(folder, watch=watch)
        codes = []
        for policy in policies or ("standard", "safety-critical"):
            typed = f"cd {folder} && compress model.pt --policy {policy}"
            click.echo(f"\n$ {typed}", err=True)
            code = _run(
                folder / "model.pt", policy, project=folder / "compress.yaml", folder=None,
                settings=(), trusted=(), as_json=False,
            )  # fmt: skip
            codes.append(code)
    sys.exit(codes[0])


@main.group()
def policy() -> None:
    """Look at policies and check them."""


@policy.command("list")
def policy_list() -> None:
    """The built-in policies, from lenient to strict."""
    from policies import built_in, load_policy  # noqa: PLC0415

    for name in built_in():
        found = load_policy(name)
        click.echo(f"{name:16} {len(found.enforced):2} enforced shifts  {found.summary}")


@policy.command("show")
@click.argument("name")
def policy_show(name: str) -> None:
    """The YAML of a built-in policy."""
    with _explained():
        from policies import source_of  # noqa: PLC0415

        click.echo(source_of(name), nl=False)


@policy.command("lint")
@click.argument("file", type=click.Path(path_type=Path))
def policy_lint(file: Path) -> None:
    """Check a policy file: keys, values, and that its shifts exist."""
    with _explained():
        from gates.shifts import parameters  # noqa: PLC0415 # loads torch
        from policies import load_policy  # noqa: PLC0415

        found = load_policy(str(file))
        for rule in found.shifts:
            parameters(rule.name, severity=rule.severity, profile=found.profile, side=32)
        click.echo(f"{file}: {found.name}, {len(found.enforced)} enforced shifts, no errors")


@policy.command("schema")
def policy_schema() -> None:
    """The JSON Schema of policies, for editors."""
    from policies import schema_json  # noqa: PLC0415

    click.echo(schema_json())


def _run(
    model: Path,
    policy_name: str,
    *,
    project: Path | None,
    folder: Path | None,
    settings: Sequence[str],
    trusted: tuple[str, ...],
    as_json: bool,
) -> int:
    from compressor.config import find_project, load_project, override  # noqa: PLC0415
    from policies import load_policy  # noqa: PLC0415

    found = load_policy(policy_name)
    file = project or find_project(Path.cwd())
    root = file.resolve().parent if file else Path.cwd()
    settled = load_project(file) if file else None
    if settled is None or settings:
        settled = override(settled, settings, folder=root)

    from compressor.inputs import Job  # noqa: PLC0415 # loads torch
    from compressor.pipeline import compress  # noqa: PLC0415
    from compressor.render import summary  # noqa: PLC0415
    from compressor.terminal import Terminal  # noqa: PLC0415

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
    try:
        with Terminal() as watch:
            report = compress(job, watch)
    except KeyboardInterrupt:
        click.echo(
            f"\ninterrupted; everything up to the last whole step is in {run_folder}: give the "
            "same command again to go on from there",
            err=True,
        )
        sys.exit(INTERRUPTED)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        click.echo(summary(report))
        click.echo(f"\nreport: {run_folder / 'report.md'}")
    return report.exit_code


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a user can mend into one message and its exit code; bugs keep their traceback."""
    try:
        yield
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
    click.echo(f"compress: {message}", err=True)
    sys.exit(code)


def _exit_codes() -> dict[type[Exception], int]:
    """What a user can mend, and its exit code. Imported here, once something was raised."""
    from compressor.config import ConfigError  # noqa: PLC0415
    from compressor.data import DataError  # noqa: PLC0415
    from compressor.models import ModelError  # noqa: PLC0415
    from compressor.pruning.tracing import TraceError  # noqa: PLC0415
    from compressor.runs import RunError  # noqa: PLC0415
    from compressor.training.recipe import TrainingError  # noqa: PLC0415
    from exporters.latency import LatencyError  # noqa: PLC0415
    from exporters.onnx import ExportError  # noqa: PLC0415
    from exporters.providers import ProviderError  # noqa: PLC0415
    from gates.measure import MeasureError  # noqa: PLC0415
    from gates.shifts import ShiftError  # noqa: PLC0415
    from policies import PolicyError  # noqa: PLC0415

    inputs = (ConfigError, DataError, LatencyError, PolicyError, ProviderError, RunError)
    return {
        **dict.fromkeys((*inputs, ShiftError, TrainingError), UNUSABLE_INPUT),
        **dict.fromkeys((ExportError, MeasureError, ModelError, TraceError), UNUSABLE_MODEL),
    }
