"""What the commands that end in a report have in common: policy, project, and how they end."""

import sys
from collections.abc import Callable, Mapping
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
        click.echo(f"\nreport: {folder / 'report.md'}")
    log(announce(report, folder, environ))
    return report.exit_code


def log(lines: str) -> None:
    """Where what is printed stays the report alone; GitHub reads both."""
    if lines:
        click.echo(lines, err=True)
