"""What a benchmark must know of ONNX files before it runs them, and whether they compare."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from compressor.files import sha256_of
from exporters.feeds import input_shape, random_input
from exporters.lint import Linted, lint
from exporters.network_file import SignatureError, data_files, nodes, read_model
from exporters.products import macs
from exporters.sessions import CPU, SESSION_ERRORS, Tuning, session
from exporters.signature import refusal, said
from exporters.weights import weights_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenInput:
    """One input; None for a dimension that the file leaves open."""

    name: str
    type: str
    dims: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One file of a benchmark."""

    name: str
    """Unique among the files that are compared."""
    path: Path
    sha256: str
    size_bytes: int
    """With the files beside it that hold weights."""
    precision: str
    params: int
    macs: int | None
    """For one image; None where the file does not tell."""
    nodes: int
    inputs: tuple[TakenInput, ...]
    batch: int | None
    """The only number of images that it takes at once; None if it takes any."""
    batch_name: str | None
    """Of the open first dimension."""
    lint: Linted


class IncomparableError(ValueError):
    """The files do not do the same work, or not at the sizes that were asked for."""


def read_files(
    paths: Sequence[Path], *, provider: str = CPU, dims: Mapping[str, int]
) -> tuple[Intake, ...]:
    """Read files that are to be compared, and run each once on two images, on the CPU.

    Args:
        paths: The first is what the others are compared with.
        provider: What findings are about (ONNX Runtime's name).
        dims: Sizes for named dimensions that files leave open.

    Raises:
        SignatureError: A file cannot be read, loaded or run.
        IncomparableError: They take different images.
    """
    named = zip(_names(paths), paths, strict=True)
    files = tuple(_read(name, path, provider=provider, dims=dims) for name, path in named)
    first = files[0]
    for other in files[1:]:
        if _sizes(first) != _sizes(other):
            raise IncomparableError(
                f"{first.path} takes {_words(first)} and {other.path} takes {_words(other)}: "
                "compare files that take the same images"
            )
    return files


def batches_for(
    files: Sequence[Intake], asked: Sequence[int], *, default: Sequence[int]
) -> tuple[int, ...]:
    """The batches at which all of the files run.

    Raises:
        IncomparableError: A file takes one number of images alone, and another was asked for.
    """
    fixed = {file.batch: file for file in files if file.batch is not None}
    if len(fixed) > 1:
        one, two = list(fixed.values())[:2]
        raise IncomparableError(
            f"{one.path} takes batches of {one.batch} only and {two.path} of {two.batch}: export "
            "both with the same batch, or with an open one"
        )
    if not fixed:
        return tuple(dict.fromkeys(asked or default))
    ((batch, file),) = fixed.items()
    if asked and set(asked) != {batch}:
        others = ", ".join(str(number) for number in asked if number != batch)
        raise IncomparableError(
            f"{file.path} takes batches of {batch} only, not {others}: ask for --batch {batch}, or "
            "export it with an open batch"
        )
    assert batch is not None, "files with an open batch were left out"
    return (batch,)


def _read(name: str, path: Path, *, provider: str, dims: Mapping[str, int]) -> Intake:
    model = read_model(path)
    try:
        opened = session(path, threads=1, tuning=Tuning(dims=dims))
    except SESSION_ERRORS as error:
        raise SignatureError(f"{path} {refusal(error)}") from error
    sources = opened.get_inputs()
    if not sources:
        raise SignatureError(f"{path} has no input: there is nothing to give it")
    _run_once(opened, path)
    beside = data_files(model, path)
    params, precision = weights_of(model)
    first = sources[0].shape[0] if sources[0].shape else None
    return Intake(
        name=name,
        path=path,
        sha256=sha256_of(path),
        size_bytes=sum(file.stat().st_size for file in (path, *beside)),
        precision=precision,
        params=params,
        macs=macs(model),
        nodes=sum(1 for _ in nodes(model.graph)),
        inputs=tuple(
            TakenInput(name=s.name, type=s.type, dims=tuple(_open(dim) for dim in s.shape))
            for s in sources
        ),
        batch=first if isinstance(first, int) else None,
        batch_name=first if isinstance(first, str) else None,
        lint=lint(path, provider=provider),
    )


def _run_once(opened: onnxruntime.InferenceSession, path: Path) -> None:
    """Fail now, with a sentence, and not in the middle of a measurement."""
    first = opened.get_inputs()[0].shape[:1]
    batch = first[0] if first and isinstance(first[0], int) else 2
    try:
        feeds = {
            source.name: random_input(source, batch=batch, generator=0)
            for source in opened.get_inputs()
        }
        opened.run(None, feeds)
    except SignatureError as error:
        raise SignatureError(f"{path}: {error}; --dim NAME=SIZE fixes a named dimension") from error
    except SESSION_ERRORS as error:
        shapes = [input_shape(source, batch=batch) for source in opened.get_inputs()]
        raise SignatureError(f"{path} fails on random images {shapes}: {said(error)}") from error


def _names(paths: Sequence[Path]) -> Iterator[str]:
    """The files' own names, as much of their paths as tells them apart, or a number."""
    stems = [path.stem for path in paths]
    longer = [f"{path.parent.name}/{path.stem}" for path in paths]
    for number, stem in enumerate(stems):
        if stems.count(stem) == 1:
            yield stem
        elif longer.count(longer[number]) == 1:
            yield longer[number]
        else:
            yield f"{longer[number]} ({longer[: number + 1].count(longer[number])})"


def _open(dim: int | str | None) -> int | None:
    return dim if isinstance(dim, int) else None


def _sizes(file: Intake) -> list[list[int]]:
    """Of one image for each input; one file may take [n c h w] and another [n h w c]."""
    return [sorted(dim or 0 for dim in taken.dims[1:]) for taken in file.inputs]


def _words(file: Intake) -> str:
    return " and ".join(
        f"{taken.type.removeprefix('tensor')} "
        f"[{' '.join('?' if dim is None else str(dim) for dim in taken.dims)}]"
        for taken in file.inputs
    )
