"""The command that hands over the file of an accepted run. It loads no framework."""

import sys
from pathlib import Path
from typing import Final

import click

UNUSABLE: Final = 2


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    help="The .onnx file to write, or a folder.",
)
def export(*, run: Path, target: Path) -> None:
    """Copy the accepted file of a finished RUN, byte for byte, after verifying the run.

    Exit codes: 0 the file is there; 3 the run was rejected, or something in it is not what it was
    sealed with; 4 it was undecided; 2 RUN is no finished run of this version, or another file is in
    the way.
    """
    from compressor.hand_over import NotAcceptedError, hand_over  # noqa: PLC0415
    from compressor.runs import RunError  # noqa: PLC0415

    try:
        done = hand_over(run, target)
    except NotAcceptedError as error:
        click.echo(f"compress: {error}", err=True)
        sys.exit(error.exit_code)
    except RunError as error:
        click.echo(f"compress: {error}", err=True)
        sys.exit(UNUSABLE)
    except OSError as error:
        click.echo(f"compress: cannot write {error.filename}: {error.strerror}", err=True)
        sys.exit(UNUSABLE)
    click.echo(done.headline)
    click.echo(f"{done.path}: {done.size_bytes / 1e6:.2f} MB, sha256 {done.sha256}")
