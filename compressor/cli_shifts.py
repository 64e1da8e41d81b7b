"""The commands about shifts. Heavy imports wait until a command needs them."""

import json
from pathlib import Path

import click


@click.group()
def shifts() -> None:
    """Look at the shifts that a policy can name."""


@shifts.command("list")
@click.option(
    "--profile", default="cifar-10-c", show_default=True, help="The table whose numbers are shown."
)
@click.option("--severity", type=int, metavar="1-5", help="One severity only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def shifts_list(*, profile: str, severity: int | None, as_json: bool) -> None:
    """Every shift, its parameters at each severity, and what is not installed."""
    from compressor.shift_list import shift_list, shift_records  # noqa: PLC0415 # loads torch

    if as_json:
        click.echo(json.dumps(shift_records(profile=profile, severity=severity), indent=2))
        return
    click.echo(shift_list(profile=profile, severity=severity))


@shifts.command("preview")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path),
    help="The picture to write: .png or .jpg.",
)  # fmt: skip
@click.option(
    "--image", "number", type=int, default=0, show_default=True,
    help="Number of the image, in the order of their paths.",
)  # fmt: skip
@click.option(
    "--side", type=int, metavar="PIXELS",
    help="Scale the image to this side. Default: its shorter one, at most 224.",
)  # fmt: skip
@click.option("--shift", "names", multiple=True, metavar="NAME", help="Default: all shifts.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random draws.")
@click.option(
    "--profile",
    default="auto",
    show_default=True,
    help="The table of strengths; auto: by the side.",
)
def shifts_preview(
    *,
    folder: Path,
    target: Path,
    number: int,
    side: int | None,
    names: tuple[str, ...],
    seed: int,
    profile: str,
) -> None:
    """A contact sheet: what each shift does to one image of FOLDER, at five severities."""
    from compressor.preview import preview  # noqa: PLC0415 # loads torch

    missing = preview(
        folder, target, number=number, side=side, names=names, seed=seed, profile=profile
    )
    for line in missing:
        click.echo(line, err=True)
    click.echo(target)
