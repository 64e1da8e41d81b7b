"""Where images come from: each kind of source that compress.yaml knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag

from compressor.config_fields import Record as _Record


def _names_function(value: str) -> str:
    module, colon, function = value.partition(":")
    if not (colon and function.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        raise ValueError(f"{value!r} is not 'module:function', as in my_pkg.nets:resnet20")
    return value


Spec = Annotated[str, AfterValidator(_names_function)]


class FolderSource(_Record):
    """Image files, one folder a class."""

    folder: Path = Field(description="holds one folder a class; relative to compress.yaml")


class ArchiveSource(_Record):
    """Arrays in a numpy archive."""

    npz: Path = Field(
        description="images uint8 [n h w c] or [n c h w], labels int [n] or masks uint8 [n h w], "
        "and perhaps classes [k]; relative to compress.yaml"
    )


class MaskedSource(_Record):
    """Image files, and for each a mask: a picture whose pixels are numbers of classes."""

    images: Path = Field(description="holds images at any depth; relative to compress.yaml")
    masks: Path = Field(
        description="holds a PNG of each image's name and place: a pixel is a position in "
        "data.classes, or 255 where nothing is labelled; relative to compress.yaml"
    )


class TorchvisionSource(_Record):
    """A data set that torchvision knows, already on the disk."""

    torchvision: Literal[
        "CIFAR10", "CIFAR100", "FashionMNIST", "Flowers102", "Food101", "GTSRB", "KMNIST", "MNIST",
        "STL10", "SVHN",
    ] = Field(description="its class in torchvision.datasets; never downloaded")  # fmt: skip
    root: Path = Field(description="folder that holds it; relative to compress.yaml")
    split: Literal["train", "test"] = Field(description="which of its parts")


class FactorySource(_Record):
    """A data set that the user's own code makes."""

    factory: Spec = Field(
        description="'module:function' that returns a map-style data set of (image, class index) "
        "or (image, mask)"
    )
    kwargs: dict[str, JsonValue] = Field(default={}, description="arguments of the factory")


# The key that tells each kind, and the tag of the kind. A tag is no key of the file, so that the
# key paths in error messages can leave it out.
_KINDS: Final = {
    "folder": "FolderSource",
    "images": "MaskedSource",
    "npz": "ArchiveSource",
    "torchvision": "TorchvisionSource",
    "factory": "FactorySource",
}


def _kind(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return type(value).__name__
    kinds = [kind for key, kind in _KINDS.items() if key in value]
    return kinds[0] if len(kinds) == 1 else None


Source = Annotated[
    Annotated[FolderSource, Tag("FolderSource")]
    | Annotated[MaskedSource, Tag("MaskedSource")]
    | Annotated[ArchiveSource, Tag("ArchiveSource")]
    | Annotated[TorchvisionSource, Tag("TorchvisionSource")]
    | Annotated[FactorySource, Tag("FactorySource")],
    Discriminator(
        _kind,
        custom_error_type="source",
        custom_error_message="a source has exactly one of folder, npz, torchvision, factory and "
        "images (with masks)",
    ),
]
