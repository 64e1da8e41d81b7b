"""The command that checks a finished run. It imports no framework, whatever comes of it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

HOLDS: Final = 0
NO_RUN: Final = 2
DOES_NOT_HOLD: Final = 3


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--policy", help="The policy that the run must have been judged under.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(*, run: Path, policy: str | None, as_json: bool) -> None:
    """Recompute the verdict of a finished RUN and check the digests of all its files.

    Exit code 0: everything holds, whatever the verdict was. 3: something does not; every file is
    named, with what differs. 2: RUN is no finished run, or there is no such policy.
    """
    from compressor.verify import UnfinishedRunError  # noqa: PLC0415
    from compressor.verify import verify as verified  # noqa: PLC0415
    from policies import PolicyError, load_policy  # noqa: PLC0415

    try:
        result = verified(run, policy=load_policy(policy) if policy else None)
    except (PolicyError, UnfinishedRunError) as error:
        click.echo(f"compress: {error}", err=True)
        sys.exit(NO_RUN)
    except OSError as error:
        click.echo(f"compress: cannot read {error.filename}: {error.strerror}", err=True)
        sys.exit(NO_RUN)
    if as_json:
        click.echo(json.dumps({"holds": not result.findings, **asdict(result)}, indent=2))
        sys.exit(DOES_NOT_HOLD if result.findings else HOLDS)
    if result.headline:
        click.echo(result.headline)
    for finding in result.findings:
        click.echo(f"{finding.file}: {finding.what}")
    if result.not_drawn:
        click.echo(f"report.html was not drawn again: {result.not_drawn}")
    if result.not_covered:
        click.echo(f"not covered: {', '.join(result.not_covered)}")
    if result.findings:
        files = len({finding.file for finding in result.findings})
        told = "1 file is not what it" if files == 1 else f"{files} files are not what they"
        click.echo(f"NOT VERIFIED: {told} should be")
        sys.exit(DOES_NOT_HOLD)
    click.echo(
        f"verified: {result.files} files have the digests that they were sealed with; "
        f"{result.cells} cells and the verdict come out as reported"
    )
    sys.exit(HOLDS)
