"""The command that draws the page of a finished run, or of two. It loads no framework."""

import sys
from pathlib import Path
from typing import Final

import click

UNUSABLE: Final = 2


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("other", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="The .html file to write."
)
@click.option("--open", "opened", is_flag=True, help="Show it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and draw nothing.")
def report(
    *, run: Path, other: Path | None, target: Path | None, opened: bool, as_json: bool
) -> None:
    """Draw the page of a finished RUN anew, or one that compares it with OTHER.

    Nothing is measured and no image is read: a page shows what report.json holds. The page of one
    run is report.html in its folder, unless that would break the seal of the folder; that of two
    is written to the current folder.

    Exit codes: 0 the page is there, whatever the verdict was; 2 a folder holds no finished run, or
    one of another version.
    """
    from compressor.redraw import redraw  # noqa: PLC0415 # loads matplotlib
    from compressor.runs import RunError  # noqa: PLC0415

    try:
        drawn = redraw(run, other, target=target, as_json=as_json)
    except RunError as error:
        click.echo(f"compress: {error}", err=True)
        sys.exit(UNUSABLE)
    except OSError as error:
        click.echo(f"compress: cannot write {error.filename}: {error.strerror}", err=True)
        sys.exit(UNUSABLE)
    for line in drawn.notes:
        click.echo(line, err=True)
    click.echo(drawn.text)
    if opened and drawn.file is not None and click.launch(drawn.file.resolve().as_uri()):
        click.echo(f"compress: no browser could be started; open {drawn.file}", err=True)
