"""What the commands that end in a report have in common: policy, project, and how they end."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from compressor.cli_policy import today

if TYPE_CHECKING:  # these load pydantic, and a command's own help needs none
    from compressor.report_schema import Report
    from compressor.watch import Watch
    from policies import Policy

INTERRUPTED: Final = 130


def settled_policy(name: str, waivers: Path | None) -> "Policy":
    """The policy of this name, with the waivers of a file of the user's own.

    Raises:
        PolicyError: one of them is unusable.
    """
    from policies import load_policy, load_waivers, waived  # noqa: PLC0415

    own = load_waivers(waivers) if waivers else ()
    return waived(load_policy(name), own, today=today())


def project_file(given: Path | None) -> tuple[Path | None, Path]:
    """The compress.yaml that holds, if there is one, and the folder that paths start from."""
    from compressor.config import find_project  # noqa: PLC0415

    file = given or find_project(Path.cwd())
    return file, file.resolve().parent if file else Path.cwd()


def run_job(
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
    """Prune, judge and release a model, print its report; the exit code."""
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


def carry_out(
    work: "Callable[[Watch], Report]",
    folder: Path,
    *,
    as_json: bool,
    environ: Mapping[str, str],
) -> int:
    """Do the work, print its report, tell GitHub if it listens; the exit code."""
    from compressor.ci import announce  # noqa: PLC0415
    from compressor.render import summary  # noqa: PLC0415
    from compressor.terminal import Terminal  # noqa: PLC0415

    try:
        with Terminal() as watch:
            report = work(watch)
    except KeyboardInterrupt:
        click.echo(
            f"\ninterrupted; everything up to the last whole step is in {folder}: give the "
            "same command again to go on from there",
            err=True,
        )
        sys.exit(INTERRUPTED)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        click.echo(summary(report))
        click.echo(f"\nreport: {folder / 'report.html'}")
    log(announce(report, folder, environ))
    return report.exit_code


def log(lines: str) -> None:
    """Where what is printed stays the report alone; GitHub reads both."""
    if lines:
        click.echo(lines, err=True)
