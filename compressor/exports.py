"""The files that networks become: in which precisions, with what inside, in which order judged."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.candidate_files import Serialise
from compressor.config_export import Export
from compressor.config_schema import Input
from compressor.files import sha256_of, write_atomically
from compressor.ladder import PARITY_IMAGES, Rung, StatisticsImages, Workshop, examples
from compressor.runs import RunError
from compressor.training.batches import LabelledImages
from exporters.closeness import closeness, pixels_of, require_exact
from exporters.metadata import Preprocessing
from exporters.onnx import serialise
from exporters.parity import check_parity
from exporters.pixel_input import with_pixel_input
from exporters.precision import CALIBRATED, PRECISIONS, Precision, worth_trying


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One precision of the candidates: a sequence that the gate goes up by itself."""

    name: str | None
    """None where it is the only one."""
    precision: Precision
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A place in the sequences of a run."""

    chain: Chain
    ratio: float
    position: int
    name: str
    """What people call the candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file that the gate judges, and how near it comes to its network."""

    file: Path
    sha256: str
    size_bytes: int
    parity: Mapping[str, Any]


def precisions_of(
    export: Export, *, provider: str
) -> tuple[tuple[Precision, ...], Mapping[Precision, str]]:
    """The precisions that are tried, fp32 first, and why others are left out."""
    return worth_trying(provider) if export.precision == "auto" else ((export.precision,), {})


def chains_of(ratios: Mapping[Precision, Sequence[float]]) -> tuple[Chain, ...]:
    """The sequences of a run, from the ratios of each precision."""
    alone = len(ratios) == 1
    return tuple(
        Chain(name=None if alone else precision, precision=precision, ratios=tuple(own))
        for precision, own in ratios.items()
    )


def planned(chains: Sequence[Chain]) -> tuple[Planned, ...]:
    """Every candidate that may be judged: chain by chain, each in ascending ratio."""
    pairs = [(chain, ratio) for chain in chains for ratio in chain.ratios]
    return tuple(
        Planned(chain=chain, ratio=ratio, position=position, name=candidate_name(chain, ratio))
        for position, (chain, ratio) in enumerate(pairs)
    )


def candidate_name(chain: Chain, ratio: float) -> str:
    """What people call the candidate of a ratio."""
    return f"ratio {ratio:.2f}" + ("" if chain.name is None else f" {chain.name}")


def exporter(
    precision: Precision,
    export: Export,
    *,
    source: Input,
    train: LabelledImages | None,
    provider: str,
) -> Serialise:
    """Makes the file of a network in one precision, compared with the network.

    What is only converted, not changed, must agree to 1e-4; of another precision the distance is
    told, and the gate decides.

    Args:
        precision: of the file.
        export: what else is asked of it.
        source: what its images are, and how they are normalised.
        train: images to calibrate with, where the precision wants any.
        provider: ONNX Runtime's name of where it is to run.
    """
    finish = finisher(precision, export, source=source, train=train, provider=provider)

    def made(
        model: nn.Module, images: Tensor, metadata: Mapping[str, object]
    ) -> tuple[bytes, Mapping[str, object]]:
        float_file = serialise(model, images, metadata={**metadata, "precision": precision})
        exact = check_parity(model, float_file, images)
        if precision == "fp32" and not export.preprocessing:
            return float_file, asdict(exact)
        content = finish(float_file)
        pixels = pixels_of(images, mean=source.mean, std=source.std)
        found = closeness(model, content, images, pixels=pixels)
        return content, asdict(require_exact(found) if precision == "fp32" else found)

    return made


def finisher(
    precision: Precision,
    export: Export,
    *,
    source: Input,
    train: LabelledImages | None,
    provider: str,
) -> Callable[[bytes], bytes]:
    """From a file of float32 images to that of a precision, with preprocessing inside if asked.

    The arguments are those of ``exporter``.
    """
    before = Preprocessing(mean=source.mean, std=source.std)
    seen = _calibration(precision, export, train)

    def finish(float_file: bytes) -> bytes:
        content = PRECISIONS[precision](float_file, calibration=seen(), provider=provider)
        return with_pixel_input(content, before) if export.preprocessing else content

    return finish


def exported(shop: Workshop, rung: Rung, chain: Chain, *, make: Serialise | None) -> Exported:
    """The file of a rung in a chain's precision: of the first, made with it; else made now.

    Args:
        shop: what made the rung.
        rung: the candidate.
        chain: whose file is wanted.
        make: None for the chain whose files are made with the candidates.

    Raises:
        ExportError: the network cannot have this precision.
        RunError: the file in the run folder is not the one that was made.
    """
    if make is None:
        return Exported(
            file=rung.file, sha256=rung.sha256, size_bytes=rung.size_bytes, parity=rung.parity
        )
    file = rung.file.with_name(f"model.{chain.precision}.onnx")
    note = file.with_suffix(".json")
    if not note.exists():
        cost = rung.candidate.cost
        facts = {"ratio": rung.candidate.ratio, "params": cost.params, "macs": cost.macs}
        content, parity = make(
            rung.candidate.model,
            examples(shop.train, count=PARITY_IMAGES),
            {**shop.metadata, **facts},
        )
        write_atomically(file, content)
        told = {"precision": chain.precision, "parity": parity, "sha256": sha256_of(file)}
        write_atomically(note, json.dumps(told, indent=2).encode())
    record = json.loads(note.read_text(encoding="utf-8"))
    if not file.exists() or sha256_of(file) != record["sha256"]:
        raise RunError(f"{file} is not the file that the run wrote; delete {note} to make it again")
    return Exported(
        file=file,
        sha256=record["sha256"],
        size_bytes=file.stat().st_size,
        parity=record["parity"],
    )


def write_dense(shop: Workshop, *, make: Serialise) -> None:
    """Write dense.onnx, or check that it is the network at hand: code is in no plan.

    Raises:
        RunError: the run was begun with another network.
    """
    images = examples(shop.train, count=PARITY_IMAGES)
    content, _ = make(shop.dense.model, images, shop.metadata)
    if not shop.run.dense.exists():
        write_atomically(shop.run.dense, content)
    elif shop.run.dense.read_bytes() != content:
        raise RunError(
            f"{shop.run.dense} is not this network: the code that builds it has changed since the "
            "run began, or the file has; give another folder with --run, or delete this one"
        )


def _calibration(
    precision: Precision, export: Export, train: LabelledImages | None
) -> Callable[[], NDArray[np.float32]]:
    """Normalised training images [n c h w], read once, when they are first wanted."""

    @functools.cache
    def images() -> NDArray[np.float32]:
        if precision not in CALIBRATED or train is None:
            return np.empty((0, 0, 0, 0), np.float32)
        batches: list[Tensor] = []
        for batch in StatisticsImages(data=train).images:
            batches.append(batch)
            if sum(map(len, batches)) >= export.calibration_images:
                break
        return torch.cat(batches)[: export.calibration_images].numpy()

    return images
