"""What a source of images holds, before its pixels are decoded; and data sets of a user's code."""

import operator
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compressor.files import digest
from compressor.labels import Mask
from compressor.masks import Masks, to_mask
from compressor.pixels import DataError, Pixels, pixels_digest, to_pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The images of a source: all but their pixels."""

    classes: tuple[str, ...] | None
    """None where nobody names them: masks hold numbers."""
    labels: NDArray[np.int64] | Masks
    names: tuple[str, ...]
    """For messages: the file's name, or the image's number."""
    digest: str
    """Of everything that decides the pixels and their order."""
    read: Callable[[int], Pixels]
    """Pixels [h w c] of the image with this number; may be called from several threads."""


class MapStyle(Protocol):
    """A data set that torch's DataLoader would take."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> object: ...


def list_map_style(dataset: MapStyle, *, origin: str, channels: int) -> Listing:
    """Read every image once for its digest: only the data set's own code knows what it gives.

    Raises:
        DataError: an item that cannot be read or is of another kind than the others.
    """
    source = _MapStyleReader(dataset=dataset, origin=origin, channels=channels)
    seen = [_seen(*source(index)) for index in range(len(dataset))]
    names = numbered(len(seen))

    def read(index: int) -> Pixels:
        pixels, _ = source(index)
        if pixels_digest(pixels) != seen[index].pixels:
            raise source.unsteady(index)
        return pixels

    def read_mask(index: int) -> Mask:
        _, mask = source(index)
        if isinstance(mask, int) or pixels_digest(mask) != seen[index].label:
            raise source.unsteady(index)
        return mask

    masks = [item.label for item in seen if isinstance(item.label, bytes)]
    numbers = [item.label for item in seen if isinstance(item.label, int)]
    if masks and numbers:
        raise DataError(
            f"{origin} gives a mask with {len(masks)} images and a class index with "
            f"{len(numbers)}; give one kind"
        )
    labels: NDArray[np.int64] | Masks = np.array(numbers, dtype=np.int64)
    if masks:
        labels = Masks(
            names=tuple(f"the mask of image {index} of {origin}" for index in range(len(seen))),
            digest=digest(*masks),
            read=read_mask,
            image_size=lambda index: seen[index].size,
        )
    return Listing(
        classes=class_names(getattr(dataset, "classes", None), labels, origin=origin),
        labels=labels,
        names=names,
        digest=digest(*(item.pixels for item in seen)),
        read=read,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What is remembered of an item that was read."""

    pixels: bytes
    """Their digest."""
    size: tuple[int, int]
    """Height and width."""
    label: int | bytes
    """The class, or the mask's digest."""


def _seen(pixels: Pixels, label: int | Mask) -> _Seen:
    return _Seen(
        pixels=pixels_digest(pixels),
        size=(pixels.shape[0], pixels.shape[1]),
        label=label if isinstance(label, int) else pixels_digest(label),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _MapStyleReader:
    """The items of a data set: pixels, and a class or a mask."""

    dataset: MapStyle
    origin: str
    channels: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Few data sets are written for several threads."""

    def __call__(self, index: int) -> tuple[Pixels, int | Mask]:
        name = f"image {index} of {self.origin}"
        with self.lock:
            return _item(self.dataset, index, name=name, channels=self.channels)

    def unsteady(self, index: int) -> DataError:
        return DataError(
            f"image {index} of {self.origin} differs when read twice; take out random transforms"
        )


def _item(dataset: MapStyle, index: int, *, name: str, channels: int) -> tuple[Pixels, int | Mask]:
    try:
        found = dataset[index]
    # A data set is the user's own code and may raise anything. It is told as an error in the data,
    # with the image's name, and chained; KeyboardInterrupt and SystemExit pass.
    except Exception as error:
        raise DataError(f"cannot read {name}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, tuple | list) and len(found) == 2):
        raise DataError(f"{name} is a {type(found).__name__}, not a pair (image, class index)")
    image, label = found
    pixels, mask = to_pixels(image, name=name, channels=channels), to_mask(label, name=name)
    if mask is not None:
        return pixels, mask
    try:
        return pixels, operator.index(label)
    except TypeError as error:
        raise DataError(
            f"the label of {name} is {label!r}, not a class index (int) or a mask"
        ) from error


def class_names(
    names: object, labels: NDArray[np.int64] | Masks, *, origin: str
) -> tuple[str, ...] | None:
    """``names`` as text; without names classes are numbered up to the largest label.

    Masks have no largest label before they are read: then it is None.

    Raises:
        DataError: the names are no list.
    """
    if names is None and isinstance(labels, Masks):
        return None
    if names is None:
        assert not isinstance(labels, Masks)
        count = int(labels.max(initial=-1)) + 1
        return tuple(map(str, range(count)))
    if not isinstance(names, Sequence | np.ndarray) or isinstance(names, str):
        raise DataError(
            f"the classes of {origin} are a {type(names).__name__}, not a list of names"
        )
    return tuple(map(str, names))


def numbered(count: int) -> tuple[str, ...]:
    """What images without file names are called."""
    return tuple(f"image {index}" for index in range(count))
