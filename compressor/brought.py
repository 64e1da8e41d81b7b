"""Models that were made elsewhere, as files that ONNX Runtime runs; no pruning is involved.

An ONNX file is judged byte for byte. A PyTorch file is exported first, and the export is judged,
since that is what a device runs.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

from compressor.config import ConfigError, GateProject
from compressor.config_schema import Input
from compressor.files import digest_of
from compressor.models import ModelError, load_model
from compressor.pruning.plain import plain
from compressor.pruning.tracing import TraceError
from compressor.resizing import answer_images_at, take_images_at
from compressor.wording import few
from exporters.network_file import data_files, read_model
from exporters.onnx import serialise
from exporters.parity import check_parity
from exporters.runtime import Preprocessing
from exporters.signature import Signature, SignatureError, read_signature

_ONNX: Final = ".onnx"

_PARITY_IMAGES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """One model, read."""

    name: str
    """Of its file, for people."""
    source_sha256: str
    """Of the file that was handed in."""
    content: bytes
    """The ONNX file that is judged."""
    sha256: str
    """Of ``content``."""
    signature: Signature
    parity: Mapping[str, object] | None
    """How far the export is from the network; None where nothing was exported."""
    preprocessing: Preprocessing | None
    """What goes before it; None for a file that takes pixels as they are."""


def read_brought(
    paths: Sequence[Path], project: GateProject, *, root: Path, trusted: Sequence[str]
) -> list[Brought]:
    """The models in these files, the first being the dense one that all must fit.

    Raises:
        ConfigError: files that do not fit each other or the project, or the same one twice.
        ModelError, SignatureError, ExportError: a file that is no usable model.
    """
    _check_paths(paths)
    names = _names(paths)
    found = []
    for name, path in zip(names, paths, strict=True):
        if path.suffix == _ONNX:
            found.append(_read_onnx(name, path, project))
        else:
            found.append(_read_torch(name, path, project, root=root, trusted=trusted))
    for model in found[1:]:
        _check_fits(found[0], model)
    candidates = [model.sha256 for model in found[1:]]
    if len(set(candidates)) < len(candidates):
        raise ConfigError("the same candidate is given twice; give each once")
    return found


def input_of(models: Sequence[Brought], project: GateProject) -> Input:
    """What images the models take: the project's word, or what their own files say.

    Raises:
        ConfigError: nobody says it.
    """
    if project.input is not None:
        return project.input
    size = models[0].signature.size
    known = models[0].preprocessing
    if known is None:  # raw pixels: nothing is subtracted from them
        known = Preprocessing(mean=(0.0,) * size[0], std=(1.0,) * size[0])
    resize = models[0].signature.resize
    return Input(size=size, resize=resize, mean=known.mean, std=known.std)


def check_names(model: Brought, classes: Sequence[str]) -> None:
    """Whether a model's own list of classes, if it has one, is that of the images.

    Raises:
        ConfigError: it is not.
    """
    count, names = model.signature.classes, model.signature.class_names
    if count is not None and count != len(classes):
        raise ConfigError(
            f"{model.name} answers with {count} classes, and data.gate has {len(classes)}; give "
            "the images that the models were trained for"
        )
    if names is None or names == tuple(classes):
        return
    differing = [f"{a} / {b}" for a, b in zip(names, classes, strict=False) if a != b]
    raise ConfigError(
        f"{model.name} says that its classes are {few(names)}, and those of data.gate are "
        f"{few(classes)}; where they first differ: {', '.join(differing[:4]) or 'their number'}"
    )


def _check_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path} is not a file; give an .onnx or .pt file")


def _names(paths: Sequence[Path]) -> list[str]:
    """What people call the files: their names, with as many folders as tell equal names apart."""
    full = [path.resolve().parts for path in paths]
    for parts in range(1, max(map(len, full))):
        names = [Path(*path[-parts:]).as_posix() for path in full]
        if len(set(names)) == len(set(full)):
            return names
    return [str(path) for path in paths]


def _read_onnx(name: str, path: Path, project: GateProject) -> Brought:
    content = path.read_bytes()
    if others := data_files(read_model(path), path):
        raise ConfigError(
            f"{path} keeps its weights in {', '.join(file.name for file in others)}; a verdict is "
            "on one file: save it with its weights inside"
        )
    signature = _signature(name, path, project)
    return Brought(
        name=name,
        source_sha256=digest_of(content),
        content=content,
        sha256=digest_of(content),
        signature=signature,
        parity=None,
        preprocessing=_preprocessing(name, signature, project),
    )


def _signature(name: str, path: Path, project: GateProject) -> Signature:
    """What an ONNX file takes, which is judged as it is: nothing is resized before it.

    Raises:
        ConfigError: it does not resize to what the project says.
    """
    source = project.input
    own = None if source is None else source.resize
    if source is None or own is None:
        return read_signature(path, size=None if source is None else source.size)
    asked = f"input.resize {list(own)} in compress.yaml asks for a file that takes images of "
    asked += f"input.size {list(source.size)} and resizes them itself"
    try:
        found = read_signature(path, size=source.size)
    except SignatureError as error:
        if not _takes(path, (source.size[0], *own)):
            raise
        small = [source.size[0], *own]
        raise ConfigError(
            f"{name} takes images of {small}, and {asked}; give such a file, or the .pt file; or "
            f"set input.size to {small} and leave input.resize out"
        ) from error
    if found.resize is not None and found.resize != own:
        raise ConfigError(f"{name} resizes its images to {list(found.resize)}, and {asked}")
    return found


def _takes(path: Path, size: tuple[int, int, int]) -> bool:
    try:
        read_signature(path, size=size)
    except SignatureError:
        return False
    return True


def _read_torch(
    name: str, path: Path, project: GateProject, *, root: Path, trusted: Sequence[str]
) -> Brought:
    if project.input is None:
        raise ConfigError(f"{name} does not say what images it takes; give input in compress.yaml")
    loaded = load_model(
        path,
        root=root,
        factory=project.model.factory,
        kwargs=project.model.kwargs,
        trusted=(*project.model.trust, *trusted),
    )
    # Noise does for a comparison of a network with its own export, and no data are looked at.
    generator = torch.Generator().manual_seed(project.seed)
    images = torch.randn(_PARITY_IMAGES, *project.input.size, generator=generator)
    take_images_at(loaded.module, project.input)
    try:
        network = plain(loaded.module, images, output=project.model.output).model.eval()
    except TraceError as error:
        raise ModelError(f"{name}: {error}") from error
    answer_images_at(network, project.input)
    content = serialise(network, images, metadata={"source": loaded.sha256})
    parity = check_parity(network, content, images)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(content)
        signature = read_signature(file, size=project.input.size)
    return Brought(
        name=name,
        source_sha256=loaded.sha256,
        content=content,
        sha256=digest_of(content),
        signature=signature,
        parity=asdict(parity),
        preprocessing=_preprocessing(name, signature, project),
    )


def _preprocessing(name: str, signature: Signature, project: GateProject) -> Preprocessing | None:
    """What goes before the model: the file's own word, else the project's.

    Raises:
        ConfigError: the two contradict each other, or neither says it.
    """
    own = signature.preprocessing
    if signature.dtype == "uint8":
        return None
    if project.input is None:
        if own is None:
            raise ConfigError(
                f"{name} does not say how its images are normalised; give input (size, mean, std) "
                "in compress.yaml"
            )
        return own
    asked = Preprocessing(mean=project.input.mean, std=project.input.std)
    if own is not None and own != asked:
        raise ConfigError(
            f"{name} was made for mean {list(own.mean)} and std {list(own.std)}, and input in "
            f"compress.yaml says {list(asked.mean)} and {list(asked.std)}; correct one of them"
        )
    return asked


def _check_fits(dense: Brought, candidate: Brought) -> None:
    """Raise ConfigError unless both take the same images and know the same classes."""
    one, other = dense.signature, candidate.signature
    if one.size != other.size:
        raise ConfigError(
            f"{candidate.name} takes images of {list(other.size)} and {dense.name} of "
            f"{list(one.size)}; a candidate must take what the dense model takes"
        )
    if one.classes is not None and other.classes is not None and one.classes != other.classes:
        raise ConfigError(
            f"{candidate.name} answers with {other.classes} classes and {dense.name} with "
            f"{one.classes}; a candidate must know the same classes"
        )
    names, others = one.class_names, other.class_names
    if names is not None and others is not None and names != others:
        differing = [f"{a} / {b}" for a, b in zip(names, others, strict=False) if a != b]
        raise ConfigError(
            f"{candidate.name} and {dense.name} have their classes in another order: "
            f"{', '.join(differing[:4])}; train or export both with the same list of classes"
        )
