"""The command that says what this machine can run networks on."""

import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:  # it loads ONNX Runtime, and the command's own help needs none
    from exporters.providers import Name

UNUSABLE: Final = 2


@click.command()
@click.option(
    "--provider",
    "asked",
    multiple=True,
    type=click.Choice(["cpu", "cuda", "tensorrt"]),
    help="Must work; may be given more than once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(*, asked: tuple["Name", ...], as_json: bool) -> None:
    """Say what works here: versions, processor, GPUs, and each execution provider, tried.

    ONNX Runtime lists providers that it cannot load and then runs on the CPU without an error. So
    each is tried in a process of its own, with a small network whose nodes are then counted by
    where they ran; one that does not work is told with what it lacks and what brings it.

    Exit codes: 0, 2 if a provider that was asked for with --provider does not work.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415

    from compressor.doctor_text import as_text  # noqa: PLC0415 # loads ONNX Runtime
    from exporters.doctor import Health, examine  # noqa: PLC0415

    health = examine()
    if as_json:
        click.echo(TypeAdapter(Health).dump_json(health, indent=2).decode())
    else:
        click.echo(as_text(health))
    broken = [
        diagnosis.provider
        for diagnosis in health.providers
        if diagnosis.provider.name in asked and not diagnosis.provider.usable
    ]
    for provider in broken:
        click.echo(f"compress: cannot run on {provider.name}: {provider.reason}", err=True)
    if broken:
        sys.exit(UNUSABLE)
