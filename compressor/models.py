"""The only reader of weights: a file that was handed in -> a network, running none of its code."""

import hashlib
import io
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from compressor.allow_list import TrustError, of_standard_library, rule
from compressor.factories import FactoryError, call_factory
from compressor.networks import NetworkError, fill, finished, unwrapped
from compressor.wording import few

# Where training scripts put the weights inside a checkpoint.
_NESTS: Final = ("state_dict", "model_state_dict", "model")

_SAVE_WEIGHTS: Final = (
    "save its weights with torch.save(model.state_dict(), path) and name the function that builds "
    "the network in compress.yaml (model.factory: 'module:function')"
)

# A damaged or hostile file drives the unpickler into any of these.
_UNREADABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
    struct.error,
)


class ModelError(Exception):
    """The model file is unsafe or cannot be loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A network and the file that it came from."""

    module: nn.Module
    """On the CPU, in eval mode; parameters require gradients as they did when saved or built."""
    sha256: str
    """Of the file, over the very bytes that were loaded."""
    source: str
    """How it was made, for people: "net.pt, weights for my_pkg.nets:resnet20"."""
    notes: tuple[str, ...] = ()
    """What was changed afterwards, so that it can be cut."""


def load_model(
    path: Path,
    *,
    root: Path,
    factory: str | None = None,
    kwargs: Mapping[str, object] = MappingProxyType({}),
    trusted: Sequence[str] = (),
) -> LoadedModel:
    """The network in ``path``: weights for what ``factory`` builds, or a whole pickled module.

    Args:
        path: a ``.safetensors`` file, or one that ``torch.save`` wrote.
        root: the project's folder; importable while the factory or a trusted class loads.
        factory: "module:function" of the user's code; not used when the file is a whole module.
        kwargs: arguments of the factory.
        trusted: classes ("package.module.Class") that a whole module may use beyond the layers of
            torch and torchvision.

    Raises:
        ModelError: the file is missing, damaged, of another kind, asks for code that is not
            allowed, does not fit the factory's network, or holds weights that are no numbers.
    """
    content = _content(path)
    with _blaming(path):
        held = _held(_decoded(content, path, trusted=trusted, root=root), path)
        if isinstance(held, nn.Module):
            module, source = unwrapped(held), f"{path.name}, a whole module"
        else:
            module = unwrapped(_built(factory, kwargs, root=root, weights=held))
            fill(module, held)
            source = f"{path.name}, weights for {factory}"
        module = finished(module)
    return LoadedModel(module=module, sha256=hashlib.sha256(content).hexdigest(), source=source)


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError(f"{path} is a folder; give the file inside it that holds the weights")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if not content:
        raise ModelError(f"{path} is empty: it was never written, or the copy failed")
    if path.suffix == ".onnx":
        raise ModelError(
            f"{path} is an ONNX file, which can be judged (compress gate) but not pruned; give the "
            "PyTorch model that it was exported from"
        )
    return content


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except (FactoryError, NetworkError, TrustError) as error:
        raise ModelError(f"{path}: {error}") from error
    except _UNREADABLE as error:
        raise ModelError(
            f"cannot load {path}: the file is truncated, damaged or malformed "
            f"({type(error).__name__}: {next(iter(str(error).splitlines()), 'no message')})"
        ) from error


def _decoded(content: bytes, path: Path, *, trusted: Sequence[str], root: Path) -> object:
    """What the file holds; nothing outside the allow-list is called."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load(content)
    if content.startswith(b"PK"):
        _check_archive(content, path)
        return _unpickled_archive(content, path, trusted=trusted, root=root)
    if not content.startswith(b"\x80"):
        raise ModelError(
            f"{path} is no PyTorch file; allowed are .safetensors and files that torch.save wrote"
        )
    return _unpickled_legacy(content, path)


def _check_archive(content: bytes, path: Path) -> None:
    """Tell archives of torch.save from the other zip files that carry networks."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path} is truncated or damaged: {error}") from error
    if "constants.pkl" in members:
        raise ModelError(
            f"{path} is a TorchScript archive, whose layers are compiled and cannot be pruned; "
            f"take the Python model that it was made from: {_SAVE_WEIGHTS}"
        )
    if members & {"archive_format", "archive_version"}:
        raise ModelError(
            f"{path} is a torch.export archive (.pt2): its layers cannot be pruned, and loading "
            f"one can run code; take the Python model that it was made from: {_SAVE_WEIGHTS}"
        )
    if "data.pkl" not in members:
        raise ModelError(f"{path} is a zip file, but not one that torch.save wrote")


def _unpickled_archive(content: bytes, path: Path, *, trusted: Sequence[str], root: Path) -> object:
    names = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content))
    ruling = rule(names, trusted=trusted, root=root)
    if ruling.refused:
        raise ModelError(_refusal(path, ruling.refused))
    with torch.serialization.safe_globals(list(ruling.allowed)):
        return _unpickled(content)


def _unpickled_legacy(content: bytes, path: Path) -> object:
    """A plain pickle, as PyTorch wrote before 1.6; such a file may hold weights only."""
    try:
        return _unpickled(content)
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL (\S+) (?:was not|whose module)", str(error))
        if not names:
            raise
        raise ModelError(
            f"{path} asks for {names[0]}, and a plain pickle may hold nothing but weights; if you "
            f"trust where it comes from, load it in a place that may be lost, and {_SAVE_WEIGHTS}"
        ) from error


def _unpickled(content: bytes) -> object:
    with warnings.catch_warnings():
        # A protocol that torch.save does not choose by itself loads all the same, or fails.
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _refusal(path: Path, names: Sequence[str]) -> str:
    needs = f"{path} asks for {', '.join(names)}, and loading a pickle runs what it asks for."
    if any(name.startswith("torch._dynamo.") for name in names):
        return f"{needs} It holds a torch.compile'd model: take model._orig_mod, {_SAVE_WEIGHTS}"
    if foreign := [name for name in names if of_standard_library(name)]:
        return (
            f"{needs} No network needs {', '.join(foreign)}: do not load this file unless you know "
            f"why it does, and then {_SAVE_WEIGHTS}"
        )
    if any(name.startswith("__main__.") for name in names):
        return f"{needs} A script's own classes cannot be imported: {_SAVE_WEIGHTS}"
    flags = " ".join(f"--trust-class {name}" for name in names)
    return f"{needs} If you know these classes, add {flags}; safer, {_SAVE_WEIGHTS}"


def _held(found: object, path: Path) -> nn.Module | dict[str, object]:
    """Look through the ways in which training scripts wrap what they save."""
    if isinstance(found, Mapping):
        nests = (found.get(name) for name in _NESTS)
        found = next((nest for nest in nests if isinstance(nest, Mapping | nn.Module)), found)
    if isinstance(found, nn.Module):
        return found
    if not isinstance(found, Mapping):
        raise ModelError(f"{path} holds a {type(found).__name__}, neither weights nor a network")
    # Layers may keep state of any kind under the key "..._extra_state".
    if not found or not all(
        isinstance(value, Tensor) or str(key).endswith("_extra_state")
        for key, value in found.items()
    ):
        raise ModelError(
            f"{path} holds no weights: its keys are {few(map(str, found))}; weights may be the "
            f"whole file or lie under {', '.join(_NESTS)}"
        )
    return {str(key): value for key, value in found.items()}


def _built(
    factory: str | None,
    kwargs: Mapping[str, object],
    *,
    root: Path,
    weights: Mapping[str, object],
) -> nn.Module:
    if factory is None:
        raise NetworkError(
            f"the file holds weights without a network (first keys: {few(weights, shown=3)}); name "
            "the function of your code that builds it, in compress.yaml: "
            "model: {factory: 'my_pkg.nets:resnet20'}"
        )
    module = call_factory(factory, kwargs, root=root)
    if not isinstance(module, nn.Module):
        raise NetworkError(
            f"the factory {factory} returns a {type(module).__name__}, not a network"
        )
    return module
