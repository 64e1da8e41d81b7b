"""The command that makes one smaller model and judges nothing."""

import json
import shlex
import sys
from pathlib import Path

import click

from compressor.cli_job import INTERRUPTED, project_file


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--ratio",
    required=True,
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    help="Share to remove, of what search.of says.",
)
@click.option(
    "--out", "--run", "folder", type=click.Path(path_type=Path), help="Folder of the files."
)
@click.option("--project", type=click.Path(path_type=Path), help="compress.yaml, if not found.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a project field."
)
@click.option(
    "--trust-class", "trusted", multiple=True, metavar="CLASS", help="Allow pkg.mod.Class to load."
)
@click.option("--no-retrain", is_flag=True, help="Cut only.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def prune(
    *,
    model: Path,
    ratio: float,
    folder: Path | None,
    project: Path | None,
    settings: tuple[str, ...],
    trusted: tuple[str, ...],
    no_retrain: bool,
    as_json: bool,
) -> None:
    """Prune MODEL to one ratio and retrain it; nothing is judged and nothing is released.

    The folder gets weights.safetensors, candidate.json (which channels stay, and how training
    went), model.onnx and prune.json. Images of the gate are not read, so that compress.yaml need
    not name any; with --no-retrain and an importance that looks at weights alone, no images are
    needed at all. Whether the file may be used is for "compress gate" to say.

    Exit codes: 0 the files are there, 2 unusable input, 5 unusable model.
    """
    from compressor.config import load_prune_project, override_prune  # noqa: PLC0415

    file, root = project_file(project)
    settled = load_prune_project(file) if file else None
    if settled is None or settings:
        settled = override_prune(settled, settings, folder=root)

    from compressor.prune_inputs import PruneJob  # noqa: PLC0415 # loads torch
    from compressor.prune_job import prune as prune_once  # noqa: PLC0415
    from compressor.prune_text import as_text  # noqa: PLC0415
    from compressor.terminal import Terminal  # noqa: PLC0415

    out = folder or root / "runs" / f"prune-{model.stem}-{ratio:.3f}"
    job = PruneJob(
        model=model,
        ratio=ratio,
        project=settled,
        root=root,
        out=out,
        retrain=not no_retrain,
        trusted=trusted,
        command=shlex.join(["compress", *sys.argv[1:]]),
    )
    try:
        with Terminal() as watch:
            record = prune_once(job, watch)
    except KeyboardInterrupt:
        click.echo(
            f"\ninterrupted; whole epochs of retraining are kept in {out}: give the same command "
            "again to go on from there",
            err=True,
        )
        sys.exit(INTERRUPTED)
    click.echo(json.dumps(record, indent=2) if as_json else as_text(record, out))
    click.echo(f"\nfiles: {out}", err=True)
