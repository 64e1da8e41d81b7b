"""The commands of studies. Heavy imports wait until a command needs them."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.cli_job import INTERRUPTED

if TYPE_CHECKING:  # these load torch
    from compressor.study.crew import Crew
    from compressor.study.setup import Setup


class _StudyJob(click.Group):
    """A group whose first word may be a file instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_StudyJob)
def study() -> None:
    """Measure what is lost in pruning, over methods, ratios, seeds and distributions.

    \b
    compress study study.yaml            every trial of a grid, and what they say
    compress study compare A B           finished studies side by side, as far as that is fair

    Nothing is judged and nothing is released.
    """  # noqa: D301 # click wants the character itself


@study.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the study.")
@click.option(
    "--engine",
    type=click.Choice(["serial", "process", "ray"]),
    default="process",
    show_default=True,
    help="Who does the trials.",
)
@click.option("--workers", type=click.IntRange(min=1), help="At once. Default: as fit here.")
@click.option(
    "--gpus", type=click.FloatRange(min=0), help="Of each worker. Default: retraining's processes."
)
@click.option("--address", help="Of a Ray cluster. Default: Ray on this machine.")
@click.option("--retry-failed", is_flag=True, help="Do trials again that crashed before.")
@click.option(
    "--trust-class", "trusted", multiple=True, metavar="CLASS", help="Allow pkg.mod.Class to load."
)
@click.option("--json", "as_json", is_flag=True, help="Print study.json.")
def run(
    *,
    file: Path,
    out: Path | None,
    engine: str,
    workers: int | None,
    gpus: float | None,
    address: str | None,
    retry_failed: bool,
    trusted: tuple[str, ...],
    as_json: bool,
) -> None:
    """Do the trials of a grid that are not done yet, and tell what all of them say.

    Exit codes: 0 done, whatever was found and even if trials failed; 2 unusable input, 5 unusable
    model.
    """
    setup = _setup(file, out, trusted=trusted)
    crew = _crew(setup, workers, gpus=gpus, address=address)

    from compressor.study.finish import finish  # noqa: PLC0415 # loads torch
    from compressor.study.job import run as run_study  # noqa: PLC0415
    from compressor.study.study_text import summary  # noqa: PLC0415
    from compressor.terminal import Terminal  # noqa: PLC0415

    try:
        with Terminal() as watch:
            ran = run_study(setup, engine=engine, crew=crew, again=retry_failed, watch=watch)
            found = finish(setup, ran, watch=watch)
    except KeyboardInterrupt:
        click.echo(
            f"\ninterrupted; every trial that ended is in {setup.out}, and whole epochs of the "
            "others: give the same command again to go on from there",
            err=True,
        )
        sys.exit(INTERRUPTED)
    click.echo(found.model_dump_json(indent=2) if as_json else summary(found))
    click.echo(f"\nfiles: {setup.out}", err=True)


@study.command("compare")
@click.argument("studies", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--at-least",
    "level",
    type=click.Choice(["S1", "S2", "S3.1", "S3.2", "S4.1", "S4.2"]),
    default="S3.2",
    show_default=True,
    help="How much alike networks must have been made to be ranked.",
)
@click.option("--regardless", is_flag=True, help="Rank whatever stands side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(*, studies: tuple[Path, ...], level: str, regardless: bool, as_json: bool) -> None:
    """Rank the networks of finished studies, each ratio by itself, where that is fair.

    Setups are those of Wang et al. 2023 (arXiv:2301.05219): S1 the same data and dense network, S2
    the same weights of it, S3.1 as many epochs of retraining, S3.2 at the same learning rates, S4.1
    as many epochs of pruning, S4.2 at the same learning rates. Below S3.2 a better network may owe
    it to its retraining.

    Exit codes: 0 compared, 2 unusable input.
    """
    from compressor.study.comparing import as_json as to_json  # noqa: PLC0415 # loads torch
    from compressor.study.comparing import as_text, entries_of, read_study  # noqa: PLC0415

    entries = entries_of([read_study(path) for path in studies])
    at_least = None if regardless else level
    if as_json:
        click.echo(json.dumps(to_json(entries, at_least=at_least), indent=2))
    else:
        click.echo(as_text(entries, at_least=at_least))


def _setup(file: Path, out: Path | None, *, trusted: tuple[str, ...]) -> "Setup":
    import torch  # noqa: PLC0415

    from compressor.config import ConfigError, find_project, load_prune_project  # noqa: PLC0415
    from compressor.study.grid import load_grid  # noqa: PLC0415 # loads torch
    from compressor.study.setup import Setup  # noqa: PLC0415

    grid = load_grid(file)
    home = file.resolve().parent
    named = home / grid.project if grid.project else find_project(home)
    if named is None:
        raise ConfigError(
            f"no compress.yaml in {home} or above it; write one, or name it with project: in {file}"
        )
    root = named.resolve().parent
    return Setup(
        grid=grid,
        project=load_prune_project(named),
        models=home,
        root=root,
        out=(out or root / "studies" / grid.name).resolve(),
        device="cuda" if torch.cuda.is_available() else "cpu",
        trusted=trusted,
    )


def _crew(
    setup: "Setup", workers: int | None, *, gpus: float | None, address: str | None
) -> "Crew":
    from compressor.study.crew import Crew  # noqa: PLC0415
    from compressor.study.engines import workers_here  # noqa: PLC0415 # loads torch

    team = (setup.grid.retrain or setup.project.retrain).processes
    here = workers_here(setup.grid.threads, device=setup.device)
    return Crew(
        workers=workers or max(1, here // team),
        cpus=setup.grid.threads,
        gpus=(float(team) if setup.device == "cuda" else 0.0) if gpus is None else gpus,
        address=address or os.environ.get("RAY_ADDRESS"),
    )
