"""Which classes a pickled network may use.

A pickle names functions, and loading it calls them: this list is what keeps a model file from
running a program. A class enters it only if it is a layer of torch or torchvision, one of a few
helpers that were read line by line, or trusted by name by the user.
"""

import argparse
import functools
import importlib
import sys
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from torch import nn
from torch.fx import GraphModule
from torch.jit import ScriptModule
from torch.nn import functional

from compressor.factories import import_from

_LAYERS: Final = (
    "torch.nn.modules.",
    "torchvision.models.",
    "torchvision.ops.",
    "compressor.pruning.attention.",  # what takes the place of torch's in networks that are cut
)

# Modules that compile Python source when they are built or restored.
_COMPILING: Final = (GraphModule, ScriptModule)

# Calling one of these with any arguments reads no file, starts no program and imports nothing.
_HELPERS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        # torchvision's ViT keeps partial(LayerNorm, eps=1e-6). A partial calls what it was given,
        # and in a pickle that can only be something else on this list.
        "functools.partial": functools.partial,
        # nn.TransformerEncoderLayer keeps its activation as a function.
        "torch.nn.functional.relu": functional.relu,
        "torch._C._nn.gelu": functional.gelu,
        # A wrapper around one layer; it moves tensors between devices.
        "torch.nn.parallel.data_parallel.DataParallel": nn.DataParallel,
        # The command line that many training scripts save beside the weights: a bag of values.
        "argparse.Namespace": argparse.Namespace,
    }
)


class TrustError(Exception):
    """A class that the user trusts cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a pickle may have of what it asks for."""

    allowed: tuple[tuple[Callable[..., object], str], ...]
    """Pairs of (object, the name in the file)."""
    refused: tuple[str, ...]


def rule(names: Iterable[str], *, trusted: Sequence[str], root: Path) -> Ruling:
    """Decide about each of ``names`` ("package.module.Class"), the globals of a pickle.

    Only modules of torch, of torchvision and of trusted classes are imported, never one that the
    file alone names; modules of trusted classes may lie in ``root``.

    Raises:
        TrustError: a trusted name that the file needs is no class, or belongs to Python's standard
            library.
        FactoryError: the module of a trusted class cannot be imported.
    """
    allowed: list[tuple[Callable[..., object], str]] = []
    refused: list[str] = []
    for name in sorted(names):
        if name in _HELPERS:
            allowed.append((_HELPERS[name], name))
        elif name in trusted:
            allowed.append((_trusted(name, root=root), name))
        elif (layer := _layer(name)) is not None:
            allowed.append((layer, name))
        else:
            refused.append(name)
    return Ruling(allowed=tuple(allowed), refused=tuple(refused))


def of_standard_library(name: str) -> bool:
    """Whether ``name`` lies in Python's standard library, where classes that run programs live."""
    package = name.partition(".")[0]
    # Pickles of torch.save use Python 2's names: subprocess.Popen is written as commands.Popen.
    return package in sys.stdlib_module_names or package in IMPORT_MAPPING


def _layer(name: str) -> type[nn.Module] | None:
    """The layer of torch or torchvision with this name, or None."""
    if not name.startswith(_LAYERS):
        return None
    module_name, _, class_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError:
        return None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        return None
    # The module that defines a class decides, not the one that happens to import it.
    if not found.__module__.startswith(_LAYERS) or issubclass(found, _COMPILING):
        return None
    return found


def _trusted(name: str, *, root: Path) -> type:
    if of_standard_library(name):
        raise TrustError(
            f"{name} belongs to Python's standard library and cannot be trusted: no network needs "
            "it, and some of its classes run programs"
        )
    module_name, _, class_name = name.rpartition(".")
    found = getattr(import_from(root, module_name), class_name, None)
    if not isinstance(found, type):
        raise TrustError(f"{name} cannot be trusted: {module_name} has no class {class_name!r}")
    return found
