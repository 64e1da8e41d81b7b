"""What a source of images holds, before its pixels are decoded."""

import operator
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from compressor.config import (
    ArchiveSource,
    FactorySource,
    FolderSource,
    Source,
    TorchvisionSource,
)
from compressor.factories import FactoryError, call_factory
from compressor.files import digest, sha256_of
from compressor.image_files import class_folders, image_files, images_by_class
from compressor.pixels import DataError, Pixels, pixels_digest, to_pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The images of a source: all but their pixels."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    """For messages: the file's name, or the image's number."""
    digest: str
    """Of everything that decides the pixels and their order."""
    read: Callable[[int], Pixels]
    """Pixels [h w c] of the image with this number; may be called from several threads."""


class _MapStyle(Protocol):
    """A data set that torch's DataLoader would take."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> object: ...


def list_images(source: Source, *, size: tuple[int, int, int], root: Path) -> Listing:
    """What ``source`` holds, for a network that takes ``size`` (c, h, w).

    Raises:
        DataError: saying what is wrong with which file, class or image.
    """
    match source:
        case FolderSource(folder=folder):
            classes = class_folders(folder)
            labels = {name: label for label, name in enumerate(classes)}
            return list_folders(folder, labels, classes=classes, channels=size[0])
        case ArchiveSource(npz=path):
            return _list_archive(path, size=size)
        case TorchvisionSource(torchvision=name, root=folder, split=split):
            try:
                dataset = _TORCHVISION[name](folder, split)
            except (RuntimeError, OSError, ValueError) as error:
                raise DataError(f"torchvision cannot open {name} in {folder}: {error}") from error
            return _list_map_style(dataset, origin=f"torchvision's {name}", channels=size[0])
        case FactorySource(factory=spec, kwargs=kwargs):
            try:
                made = call_factory(spec, kwargs, root=root)
            except FactoryError as error:
                raise DataError(str(error)) from error
            if not (hasattr(made, "__len__") and hasattr(made, "__getitem__")):
                raise DataError(
                    f"{spec} returns a {type(made).__name__}; it must return a map-style data set, "
                    "which has a length and gives (image, class index) for a number"
                )
            return _list_map_style(cast(_MapStyle, made), origin=spec, channels=size[0])


def list_folders(
    folder: Path, labels: Mapping[str, int], *, classes: tuple[str, ...], channels: int
) -> Listing:
    """The images of the class folders that ``labels`` names, each with the label given there.

    Raises:
        DataError: a class folder has no images, or something cannot be read.
    """
    found = images_by_class(folder, tuple(labels))
    files = image_files(folder, [name for names in found for name in names], channels=channels)
    return Listing(
        classes=classes,
        labels=np.repeat(
            np.array(list(labels.values()), dtype=np.int64), [len(names) for names in found]
        ),
        names=files.names,
        digest=files.digest,
        read=files.read,
    )


def _list_archive(path: Path, *, size: tuple[int, int, int]) -> Listing:
    expected = "images uint8 [n h w c] or [n c h w], labels int [n], and perhaps classes str [k]"
    try:
        # Objects are pickles, and a pickle may run code; numpy refuses them by default.
        with path.open("rb") as file, np.load(file) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path} as an npz ({error}); expected {expected}") from error
    if absent := {"images", "labels"} - arrays.keys():
        raise DataError(
            f"{path} has no {' and no '.join(sorted(absent))} (it has "
            f"{', '.join(arrays) or 'nothing'}); expected {expected}"
        )
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(
            f"images of {path} are {images.dtype} {list(images.shape)}; expected {expected}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise DataError(
            f"labels of {path} are {labels.dtype} {list(labels.shape)} for {len(images)} images; "
            f"expected {expected}"
        )
    rows = _channels_last(images, size=size, path=path)
    names = arrays.get("classes")
    return Listing(
        classes=_classes(names, labels, origin=str(path)),
        labels=labels.astype(np.int64),
        names=_numbered(len(images)),
        digest=sha256_of(path),
        read=lambda index: rows[index],
    )


def _channels_last(images: Pixels, *, size: tuple[int, int, int], path: Path) -> Pixels:
    channels, height, width = size
    first, last = images.shape[1] == channels, images.shape[3] == channels
    if first and (not last or images.shape[1:] == (channels, height, width)):
        return images.transpose(0, 2, 3, 1)
    if last:
        return images
    raise DataError(
        f"images of {path} are {list(images.shape)}: neither [n h w c] nor [n c h w] with the "
        f"{channels} channels of input.size"
    )


def _list_map_style(dataset: _MapStyle, *, origin: str, channels: int) -> Listing:
    """Read every image once for its digest: only the data set's own code knows what it gives."""
    lock = threading.Lock()  # few data sets are written for several threads

    def item(index: int) -> tuple[Pixels, int]:
        name = f"image {index} of {origin}"
        with lock:
            return _item(dataset, index, name=name, channels=channels)

    digests, labels = [], []
    for index in range(len(dataset)):
        pixels, label = item(index)
        digests.append(pixels_digest(pixels))
        labels.append(label)

    def read(index: int) -> Pixels:
        pixels, _ = item(index)
        if pixels_digest(pixels) != digests[index]:
            raise DataError(
                f"image {index} of {origin} differs when read twice; take out random transforms"
            )
        return pixels

    all_labels = np.array(labels, dtype=np.int64)
    return Listing(
        classes=_classes(getattr(dataset, "classes", None), all_labels, origin=origin),
        labels=all_labels,
        names=_numbered(len(labels)),
        digest=digest(*digests),
        read=read,
    )


def _item(dataset: _MapStyle, index: int, *, name: str, channels: int) -> tuple[Pixels, int]:
    try:
        found = dataset[index]
    # A data set is the user's own code and may raise anything. It is told as an error in the data,
    # with the image's name, and chained; KeyboardInterrupt and SystemExit pass.
    except Exception as error:
        raise DataError(f"cannot read {name}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, tuple | list) and len(found) == 2):
        raise DataError(f"{name} is a {type(found).__name__}, not a pair (image, class index)")
    image, label = found
    try:
        number = operator.index(label)
    except TypeError as error:
        raise DataError(f"the label of {name} is {label!r}, not a class index (int)") from error
    return to_pixels(image, name=name, channels=channels), number


def _classes(names: object, labels: NDArray[np.integer], *, origin: str) -> tuple[str, ...]:
    """``names`` as text; without names the classes are numbered up to the largest label."""
    if names is None:
        count = int(labels.max(initial=-1)) + 1
        return tuple(map(str, range(count)))
    if not isinstance(names, Sequence | np.ndarray) or isinstance(names, str):
        raise DataError(
            f"the classes of {origin} are a {type(names).__name__}, not a list of names"
        )
    return tuple(map(str, names))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"image {index}" for index in range(count))


def _by_flag(kind: Callable[..., _MapStyle]) -> Callable[[Path, str], _MapStyle]:
    return lambda root, split: kind(root, train=split == "train", download=False)


def _by_split(kind: Callable[..., _MapStyle]) -> Callable[[Path, str], _MapStyle]:
    return lambda root, split: kind(root, split=split, download=False)


_TORCHVISION: Final[Mapping[str, Callable[[Path, str], _MapStyle]]] = {
    "CIFAR10": _by_flag(datasets.CIFAR10),
    "CIFAR100": _by_flag(datasets.CIFAR100),
    "FashionMNIST": _by_flag(datasets.FashionMNIST),
    "Flowers102": _by_split(datasets.Flowers102),
    "Food101": _by_split(datasets.Food101),
    "GTSRB": _by_split(datasets.GTSRB),
    "KMNIST": _by_flag(datasets.KMNIST),
    "MNIST": _by_flag(datasets.MNIST),
    "STL10": _by_split(datasets.STL10),
    "SVHN": _by_split(datasets.SVHN),
}
