"""The commands about the record of uses of gate images. They import no framework."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

UNUSABLE: Final = 2


@click.group()
def ledger() -> None:
    """Look at how often the gate's images were used."""


@ledger.command("show")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ledger_show(*, file: Path | None, as_json: bool) -> None:
    """Every recorded use of gate images, and whether a line was changed since it was written.

    FILE is the ledger; without it, that of the project in this folder or one above it. Exit code
    0: no line was changed, removed or moved. 2: one was, or there is none.
    """
    from compressor.config import ConfigError  # noqa: PLC0415
    from compressor.ledger import LedgerError, read_ledger  # noqa: PLC0415
    from compressor.ledger_list import ledger_list  # noqa: PLC0415

    try:
        path = file or _of_project()
        lines = read_ledger(path)
    except (ConfigError, LedgerError) as error:
        click.echo(f"compress: {error}", err=True)
        sys.exit(UNUSABLE)
    if not lines:
        click.echo(
            f"compress: no use is recorded in {path}: no gate looked at these images yet, or the "
            "file was lost; if there was one, restore it from version control",
            err=True,
        )
        sys.exit(UNUSABLE)
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    click.echo(ledger_list(lines))
    click.echo(f"\n{path}: no line was changed or moved; the last is {lines[-1].digest}")


def _of_project() -> Path:
    from compressor.config import ConfigError, find_project, load_project  # noqa: PLC0415
    from compressor.ledger import ledger_path  # noqa: PLC0415

    found = find_project(Path.cwd())
    if found is None:
        raise ConfigError(
            "no compress.yaml in this folder or one above it; give the path of the ledger"
        )
    data = load_project(found).data
    return data.ledger or ledger_path(data.gate, root=found.parent)
