"""The commands that time ONNX files of any origin, and that read in them why they are slow."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from compressor.cli_job import project_file

if TYPE_CHECKING:  # these load ONNX Runtime and torch, and a command's own help needs none
    from compressor.bench_job import Asked, TorchModel


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    help="May be given more than once; must work.",
)
@click.option(
    "--batch", "batches", multiple=True, type=click.IntRange(min=1), help="Images per run: 1, 8."
)
@click.option("--quick", is_flag=True, help="Under 90 s on two processors; less of everything.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="For each measurement: 30; 6.")
@click.option("--threads", type=click.IntRange(min=1), help="Of the CPU; else one and all.")
@click.option(
    "--dim", "dims", multiple=True, metavar="NAME=SIZE", help="Size of a dimension left open."
)
@click.option("--torch", "model", type=click.Path(path_type=Path), help="The first file's .pt.")
@click.option("--project", type=click.Path(path_type=Path), help="compress.yaml, if not found.")
@click.option(
    "--trust-class", "trusted", multiple=True, metavar="CLASS", help="Allow pkg.mod.Class to load."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the JSON there too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def bench(
    *,
    files: tuple[Path, ...],
    providers: tuple["Asked", ...],
    batches: tuple[int, ...],
    quick: bool,
    seconds: float | None,
    threads: int | None,
    dims: tuple[str, ...],
    model: Path | None,
    project: Path | None,
    trusted: tuple[str, ...],
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time ONNX FILES against the first of them, so that a sceptic would accept it.

    Every file is set up as it runs best, from the same few options. Runs are interleaved in random
    order in a process of their own; a speed-up has a 95 % interval, and is told only where it lies
    beyond what the first file differs from itself. With --torch and a compress.yaml, the first
    file's network is timed in PyTorch as well.

    Exit codes: 0 timed, 2 unusable input or provider, 5 a file that cannot be read or run.
    """
    sizes = _dims(dims)
    from compressor.bench_job import BENCH, BenchJob  # noqa: PLC0415 # loads torch
    from compressor.bench_job import bench as timed  # noqa: PLC0415
    from compressor.bench_text import as_text  # noqa: PLC0415
    from compressor.files import write_atomically  # noqa: PLC0415
    from compressor.terminal import Terminal  # noqa: PLC0415

    job = BenchJob(
        files=files,
        providers=providers or ("auto",),
        batches=batches,
        seconds=seconds,
        quick=quick,
        threads=threads,
        dims=sizes,
        torch=_torch_model(model, project, trusted),
        seed=seed,
        command=shlex.join(["compress", *sys.argv[1:]]),
    )
    with Terminal() as watch:
        found = timed(job, watch)
    content = BENCH.dump_json(found, indent=2)
    if out is not None:
        write_atomically(out, content)
    click.echo(content.decode() if as_json else as_text(found))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--provider", type=click.Choice(["cpu", "cuda", "tensorrt"]), default="cpu")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lint(
    *,
    files: tuple[Path, ...],
    provider: Literal["cpu", "cuda", "tensorrt"],
    as_json: bool,
) -> None:
    """Say what in ONNX FILES keeps them from being as fast as their multiply-adds promise.

    Nothing is timed, and no GPU is needed: operators that a GPU leaves to the CPU, control flow,
    convolutions off ONNX Runtime's fast kernels, widths that no kernel likes, a fixed batch; each
    with what to do about it.

    Exit codes: 0 whatever was found, 5 a file that cannot be read or loaded.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415

    from compressor.bench_text import findings_text  # noqa: PLC0415 # loads torch
    from exporters.lint import Linted  # noqa: PLC0415
    from exporters.lint import lint as read  # noqa: PLC0415
    from exporters.providers import EXECUTION_PROVIDERS  # noqa: PLC0415

    found = {str(file): read(file, provider=EXECUTION_PROVIDERS[provider]) for file in files}
    if as_json:
        click.echo(TypeAdapter(dict[str, Linted]).dump_json(found, indent=2).decode())
        return
    for name, linted in found.items():
        fast = "" if linted.fast is None else f", {linted.fast} of them on fast kernels"
        click.echo(f"{name}: {linted.convolutions} convolutions{fast}")
        for line in findings_text(linted.findings) or ["nothing found"]:
            click.echo(f"  {line}")


def _dims(given: Sequence[str]) -> dict[str, int]:
    pairs = [entry.partition("=") for entry in given]
    for entry, (name, _, size) in zip(given, pairs, strict=True):
        if not name or not size.isdecimal() or int(size) < 1:
            raise click.BadParameter(f"--dim {entry!r}: write NAME=SIZE, as in --dim height=224")
    return {name: int(size) for name, _, size in pairs}


def _torch_model(
    model: Path | None, project: Path | None, trusted: tuple[str, ...]
) -> "TorchModel | None":
    """The network of ``--torch`` with the compress.yaml that says how it becomes one."""
    if model is None:
        return None
    from compressor.bench_job import TorchModel  # noqa: PLC0415 # loads torch
    from compressor.config import load_prune_project, override_prune  # noqa: PLC0415

    file, root = project_file(project)
    settled = load_prune_project(file) if file else override_prune(None, (), folder=root)
    return TorchModel(path=model, project=settled, root=root, trusted=trusted)
