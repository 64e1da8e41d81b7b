"""The command that judges models which others have made."""

import os
import shlex
import sys
from pathlib import Path

import click

from compressor.cli_job import carry_out, project_file, settled_policy


@click.command()
@click.argument("candidates", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--dense", required=True, type=click.Path(path_type=Path), help="The model before compression."
)
@click.option("--policy", required=True, help="A built-in policy or the path of a .yaml file.")
@click.option("--waivers", type=click.Path(path_type=Path), help="YAML file of waivers.")
@click.option("--project", type=click.Path(path_type=Path), help="compress.yaml, if not found.")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a project field."
)
@click.option(
    "--trust-class", "trusted", multiple=True, metavar="CLASS", help="Allow pkg.mod.Class to load."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def gate(
    *,
    candidates: tuple[Path, ...],
    dense: Path,
    policy: str,
    waivers: Path | None,
    project: Path | None,
    folder: Path | None,
    settings: tuple[str, ...],
    trusted: tuple[str, ...],
    as_json: bool,
) -> None:
    """Judge CANDIDATES against the dense model; nothing is pruned, retrained or changed.

    A candidate is an .onnx file from any tool (fp32, fp16 or int8), or a .pt file, which is
    exported first. Several are one sequence: give the least risky first. The last one that is
    accepted, with all before it, is released.

    Exit codes: 0 accepted, 3 rejected, 4 undecided, 2 unusable input, 5 unusable model.
    """
    from compressor.config import load_gate_project, override_gate  # noqa: PLC0415

    found = settled_policy(policy, waivers)
    file, root = project_file(project)
    settled = load_gate_project(file) if file else None
    if settled is None or settings:
        settled = override_gate(settled, settings, folder=root)

    from compressor.gate_job import GateJob  # noqa: PLC0415 # loads torch
    from compressor.judging import judge_files  # noqa: PLC0415 # loads torch

    run = folder or root / "runs" / f"gate-{candidates[0].stem}-{found.name}"
    job = GateJob(
        candidates=candidates,
        dense=dense,
        policy=found,
        project=settled,
        root=root,
        run=run,
        trusted=trusted,
        command=shlex.join(["compress", *sys.argv[1:]]),
    )
    code = carry_out(
        lambda watch: judge_files(job, watch), run, as_json=as_json, environ=os.environ
    )
    sys.exit(code)
