"""What a source of images holds, before its pixels are decoded."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from compressor.config import (
    ArchiveSource,
    FactorySource,
    FolderSource,
    MaskedSource,
    Source,
    TorchvisionSource,
)
from compressor.factories import FactoryError, call_factory
from compressor.files import sha256_of
from compressor.image_files import class_folders, image_files, images_below, images_by_class
from compressor.listing import Listing, MapStyle, class_names, list_map_style, numbered
from compressor.masks import Masks, mask_array, mask_files
from compressor.pixels import DataError, Pixels


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
        case MaskedSource(images=folder, masks=masks):
            return _list_masked(folder, masks, channels=size[0])
        case ArchiveSource(npz=path):
            return _list_archive(path, size=size)
        case TorchvisionSource(torchvision=name, root=folder, split=split):
            try:
                dataset = _torchvision(name, folder, split)
            except (RuntimeError, OSError, ValueError) as error:
                raise DataError(f"torchvision cannot open {name} in {folder}: {error}") from error
            return list_map_style(dataset, origin=f"torchvision's {name}", channels=size[0])
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
            return list_map_style(cast(MapStyle, made), origin=spec, channels=size[0])


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


def _list_masked(folder: Path, masks: Path, *, channels: int) -> Listing:
    files = image_files(folder, images_below(folder), channels=channels)
    return Listing(
        classes=None,
        labels=mask_files(masks, images=folder, names=files.names),
        names=files.names,
        digest=files.digest,
        read=files.read,
    )


def _list_archive(path: Path, *, size: tuple[int, int, int]) -> Listing:
    expected = (
        "images uint8 [n h w c] or [n c h w], labels int [n] or masks uint8 [n h w], and perhaps "
        "classes str [k]"
    )
    try:
        # Objects are pickles, and a pickle may run code; numpy refuses them by default.
        with path.open("rb") as file, np.load(file) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path} as an npz ({error}); expected {expected}") from error
    answers = [name for name in ("labels", "masks") if name in arrays]
    if "images" not in arrays or len(answers) != 1:
        absent = [name for name in ("images", "labels") if name not in arrays]
        raise DataError(
            f"{path} has {'no ' + ' and no '.join(absent) if absent else 'labels and masks'} (it "
            f"has {', '.join(arrays) or 'nothing'}); expected {expected}"
        )
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(
            f"images of {path} are {images.dtype} {list(images.shape)}; expected {expected}"
        )
    rows, names = _channels_last(images, size=size, path=path), arrays.get("classes")
    labels: NDArray[np.int64] | Masks
    if "masks" in arrays:
        labels = mask_array(arrays["masks"], images=rows.shape, path=path)
    else:
        labels = _labels(arrays["labels"], count=len(images), path=path, expected=expected)
    return Listing(
        classes=class_names(names, labels, origin=str(path)),
        labels=labels,
        names=numbered(len(images)),
        digest=sha256_of(path),
        read=lambda index: rows[index],
    )


def _labels(labels: NDArray[Any], *, count: int, path: Path, expected: str) -> NDArray[np.int64]:
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,):
        raise DataError(
            f"labels of {path} are {labels.dtype} {list(labels.shape)} for {count} images; "
            f"expected {expected}"
        )
    return labels.astype(np.int64)


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


def _torchvision(name: str, folder: Path, split: str) -> MapStyle:
    from torchvision import datasets  # noqa: PLC0415 # seconds at import, and most need it not

    kind: Callable[..., MapStyle] = getattr(datasets, name)
    return kind(folder, **_SPLITS[name](split), download=False)


def _flag(split: str) -> dict[str, object]:
    return {"train": split == "train"}


def _word(split: str) -> dict[str, object]:
    return {"split": split}


_SPLITS: Final[Mapping[str, Callable[[str], dict[str, object]]]] = {
    "CIFAR10": _flag,
    "CIFAR100": _flag,
    "FashionMNIST": _flag,
    "Flowers102": _word,
    "Food101": _word,
    "GTSRB": _word,
    "KMNIST": _flag,
    "MNIST": _flag,
    "STL10": _word,
    "SVHN": _word,
}
"""How torchvision's data sets are told which split is wanted."""
