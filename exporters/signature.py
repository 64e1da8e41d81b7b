"""What an ONNX classifier of any origin takes and gives, so that the gate can ask it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnxruntime
from onnx import ModelProto

from exporters.graph_ends import Gives, answers_depend_on_batch, gives, moves_channels_first
from exporters.metadata import Preprocessing, Scaling, class_names_in, scaling_in
from exporters.network_file import SignatureError, data_files, network_digest, read_model
from exporters.providers import ProviderError
from exporters.sessions import CPU, SESSION_ERRORS, session
from exporters.weights import weights_of

__all__ = [
    "Preprocessing",
    "Signature",
    "SignatureError",
    "network_digest",
    "open_network",
    "read_signature",
    "refusal",
    "said",
]

Size = tuple[int, int, int]
Dims = Sequence[int | None]
Layout = Literal["nchw", "nhwc"]
Dtype = Literal["uint8", "float16", "float32"]

_DTYPES: Final[Mapping[str, Dtype]] = {
    "tensor(uint8)": "uint8",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
}
_OUTPUTS: Final = frozenset({"tensor(float16)", "tensor(float)", "tensor(double)"})

# Where each layout has channels, height and width, behind the batch.
_ORDERS: Final[Mapping[Layout, Size]] = {"nchw": (0, 1, 2), "nhwc": (2, 0, 1)}

# Grey and colour: what images have where nothing else is known.
_CHANNELS: Final = (1, 3)

_NEWER: Final = re.compile(r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)")
_NEWER_FORMAT: Final = re.compile(r"IR version: (\d+), max supported IR version: (\d+)")
_CODE: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .* failed:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a file takes, gives and is."""

    size: Size
    """Channels, height, width."""
    layout: Layout
    dtype: Dtype
    """Of the input; uint8 are the pixels themselves, normalised inside the network."""
    batch: int | None
    """The only number of images that it takes at once; None if it takes any."""
    classes: int | None
    """None if the file does not say."""
    per_pixel: bool | None
    """Whether it answers every pixel, with logits [n classes h w]; None if it does not say."""
    gives: Gives
    batch_coupled: bool
    """Whether an image's logits depend on the others in its batch: dynamic quantisation."""
    params: int
    precision: str
    """Of the kernels: "fp32", "fp16", "int8", ..., "mixed", or "unknown" if there are none."""
    preprocessing: Preprocessing | None
    """From our own metadata; None if there is none, or none is needed."""
    class_names: tuple[str, ...] | None
    """From our own metadata."""
    resize: tuple[int, int] | None
    """Height and width to which it resizes its images; from our own metadata, None if that is
    silent."""
    data_files: tuple[Path, ...]
    """Files beside this one that hold its weights: its sha256 does not cover them."""


def read_signature(path: Path, *, size: Size | None = None) -> Signature:
    """Read, load on the CPU, and describe an ONNX file.

    Args:
        path: The file.
        size: Channels, height and width of the images that it will be given; needed where the file
            leaves them open, and checked where it does not.

    Raises:
        SignatureError: It cannot be judged; says why, and what to do.
    """
    _, signature = open_network(path, size=size, provider=CPU, threads=1)
    return signature


def open_network(
    path: Path, *, size: Size | None, provider: str, threads: int
) -> tuple[onnxruntime.InferenceSession, Signature]:
    """The file in a session, and its signature.

    Raises:
        SignatureError: It cannot be judged.
        ProviderError: The network would not run on ``provider``.
    """
    model = read_model(path)
    try:
        opened = session(path, provider=provider, threads=threads)
    except ProviderError:
        raise
    except SESSION_ERRORS as error:
        raise SignatureError(f"{path} {refusal(error)}") from error
    try:
        return opened, _signature(path, model, opened, size)
    except SignatureError as error:
        raise SignatureError(f"{path}: {error}") from error


def said(error: BaseException) -> str:
    """ONNX Runtime's message without codes and line breaks."""
    return " ".join(_CODE.sub("", str(error)).split()).rstrip(".")


def refusal(error: BaseException) -> str:
    """Why ONNX Runtime does not load a file, to be read after the file's name."""
    runtime = f"ONNX Runtime {onnxruntime.__version__}"
    if newer := _NEWER.search(said(error)):
        asked, domain, known = newer.groups()
        return (
            f"needs operator set {asked} of {domain}, {runtime} knows {known}: "
            f"export it with opset_version={known}, or update onnxruntime"
        )
    if newer := _NEWER_FORMAT.search(said(error)):
        asked, known = newer.groups()
        return (
            f"has the format (IR) version {asked}, {runtime} reads {known}: "
            "export it with an older onnx, or update onnxruntime"
        )
    return f"does not load in {runtime}: {said(error)}"


def _signature(
    path: Path, model: ModelProto, opened: onnxruntime.InferenceSession, size: Size | None
) -> Signature:
    source, output = _only(opened.get_inputs(), "inputs"), _only(opened.get_outputs(), "outputs")
    if source.type not in _DTYPES:
        raise SignatureError(
            f"its input is {source.type}; images are tensors of uint8, float16 or float (32 bits)"
        )
    dtype = _DTYPES[source.type]
    batch, *dims = _dims(source.shape)
    scaling = scaling_in(model)
    size = size or _fitting(dims, scaling)
    layout = _layout(dims, size, channels_last=moves_channels_first(model, source.name))
    size = size or _closed(dims, layout)
    classes, per_pixel = _classes(output), _per_pixel(output, size)
    names = class_names_in(model)
    params, precision = weights_of(model)
    return Signature(
        size=size,
        layout=layout,
        dtype=dtype,
        batch=batch,
        classes=classes,
        per_pixel=per_pixel,
        gives=gives(model, per_pixel=bool(per_pixel)),
        batch_coupled=answers_depend_on_batch(model),
        params=params,
        precision=precision,
        preprocessing=_preprocessing(scaling, dtype, channels=size[0]),
        class_names=names if names and len(names) == (classes or len(names)) else None,
        resize=None if scaling is None else scaling.resize,
        data_files=data_files(model, path),
    )


def _only(values: Sequence[onnxruntime.NodeArg], what: str) -> onnxruntime.NodeArg:
    if len(values) != 1:
        names = ", ".join(value.name for value in values) or "none"
        raise SignatureError(
            f"it has {len(values)} {what} ({names}); a classifier has one: export it with images "
            "in and logits out only"
        )
    return values[0]


def _dims(shape: Sequence[int | str | None]) -> Dims:
    """The input's four dimensions; None for those that the file leaves open."""
    if len(shape) != 4:
        raise SignatureError(f"its input has the shape {list(shape)}; images are [n c h w]")
    if 0 in shape:
        raise SignatureError(f"its input has the shape {list(shape)}, which holds no pixel")
    return [dim if isinstance(dim, int) else None for dim in shape]


def _layout(dims: Dims, size: Size | None, *, channels_last: bool) -> Layout:
    """Where the channels are; where the shape alone does not tell, the network's first operator."""
    fits = [layout for layout in _ORDERS if _fits(dims, layout, size)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        return "nhwc" if channels_last else "nchw"
    if size:
        raise SignatureError(f"it takes images {_words(dims)}, not {_words(size)} (c h w)")
    raise SignatureError(
        f"it takes images {_words(dims)}; neither the first nor the last of these is 1 or 3 "
        "channels: say the size (c h w) of the images"
    )


def _fits(dims: Dims, layout: Layout, size: Size | None) -> bool:
    ordered = [dims[place] for place in _ORDERS[layout]]
    if size is None:
        return ordered[0] in _CHANNELS
    return all(dim in {None, wanted} for dim, wanted in zip(ordered, size, strict=True))


def _closed(dims: Dims, layout: Layout) -> Size:
    """The size, if the file leaves nothing of it open."""
    channels, height, width = (dims[place] for place in _ORDERS[layout])
    if channels is None or height is None or width is None:
        raise SignatureError(
            f"it takes images {_words(dims)} and leaves their size open: say the size (c h w)"
        )
    return channels, height, width


def _words(dims: Dims) -> str:
    return f"[{' '.join('?' if dim is None else str(dim) for dim in dims)}]"


def _classes(output: onnxruntime.NodeArg) -> int | None:
    if output.type not in _OUTPUTS:
        raise SignatureError(
            f"its output is {output.type}; the gate needs a float for every class: "
            "export it without the operators that choose one"
        )
    # ONNX Runtime says [] where it does not know how many dimensions there are.
    if not output.shape:
        return None
    if len(output.shape) not in {2, 4}:
        raise SignatureError(
            f"its output has the shape {output.shape}; logits are [n classes]: flatten them, or "
            "[n classes h w] of a segmentation"
        )
    classes = output.shape[1]
    if not isinstance(classes, int):
        return None
    if classes < 2:
        raise SignatureError(f"it gives {classes} number per image, which decides nothing")
    return classes


def _per_pixel(output: onnxruntime.NodeArg, size: Size) -> bool | None:
    """Whether the output is [n classes h w], at the size of the images."""
    if not output.shape:
        return None
    places = output.shape[2:]
    wrong = [
        there
        for there, wanted in zip(places, size[1:], strict=False)
        if isinstance(there, int) and there != wanted
    ]
    if wrong:
        raise SignatureError(
            f"its output has the shape {output.shape}; logits are [n classes]: flatten them, or of "
            f"a segmentation [n classes {size[1]} {size[2]}], as high and wide as the images: let "
            "it end in a resize, channels first"
        )
    return bool(places)


def _fitting(dims: Dims, scaling: Scaling | None) -> Size | None:
    """The size in the metadata, unless the network has been changed to take another."""
    if scaling is None or not any(_fits(dims, layout, scaling.size) for layout in _ORDERS):
        return None
    return scaling.size


def _preprocessing(scaling: Scaling | None, dtype: Dtype, *, channels: int) -> Preprocessing | None:
    if scaling is None or dtype == "uint8":
        return None
    found = scaling.preprocessing
    return found if len(found.mean) == len(found.std) == channels else None
