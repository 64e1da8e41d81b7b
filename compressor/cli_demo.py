"""The command ``compress demo``: everything from nothing."""

import sys
from pathlib import Path
from typing import Final, Literal

import click

from compressor.cli_job import run_job

_FOLDERS: Final = {"classification": "compress-demo", "segmentation": "compress-demo-streets"}


@click.command()
@click.option("--policy", "policies", multiple=True, help="Default: standard, safety-critical.")
@click.option(
    "--task",
    type=click.Choice(["classification", "segmentation"]),
    default="classification",
    show_default=True,
    help="Traffic signs, or street scenes with a class for every pixel.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Default: compress-demo, for streets compress-demo-streets.",
)
def demo(
    *,
    policies: tuple[str, ...],
    task: Literal["classification", "segmentation"],
    folder: Path | None,
) -> None:
    """Draw a data set, train a small network, and run the main job on them."""
    folder = folder or Path(_FOLDERS[task])
    from compressor.demo.job import prepare  # noqa: PLC0415 # loads torch
    from compressor.terminal import Terminal  # noqa: PLC0415

    with Terminal() as watch:
        prepare(folder, watch=watch, task=task)
    codes = []
    for name in policies or ("standard", "safety-critical"):
        typed = f"cd {folder} && compress model.pt --policy {name}"
        click.echo(f"\n$ {typed}", err=True)
        code = run_job(
            folder / "model.pt", name, waivers=None, project=folder / "compress.yaml", folder=None,
            settings=(), trusted=(), as_json=False, environ={},  # two verdicts have no outputs
        )  # fmt: skip
        codes.append(code)
    sys.exit(codes[0])
