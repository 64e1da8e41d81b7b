"""Images as memory-mapped uint8 arrays, decoded once, and what must hold between two sets."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.config import Source
from compressor.data_sources import list_images
from compressor.decoding import Told, decoded_pixels
from compressor.files import digest
from compressor.image_files import ImageFiles
from compressor.labels import Labels, are_masks
from compressor.listing import Listing
from compressor.masks import Masks, decoded
from compressor.pixels import DataError, Pixels, pixels_digest
from compressor.wording import few

__all__ = [
    "DataError",
    "ImageSet",
    "UnlabelledSet",
    "check_classes",
    "check_disjoint",
    "check_same_classes",
    "labelled",
    "load_images",
    "split",
    "subset",
    "unlabelled",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """n images and their classes. Two sets hold the same when their digests are equal."""

    images: Pixels
    """[n c h w], channels first, before any normalisation; memory-mapped as loaded."""
    labels: Labels
    """[n], positions in ``classes``; or masks of them [n h w], memory-mapped as loaded."""
    ids: NDArray[np.uint64]
    """[n], the first 8 bytes (little endian) of the sha256 of an image's pixels [c h w]."""
    names: tuple[str, ...]
    """[n], for messages: the file's name, or the image's number."""
    classes: tuple[str, ...]
    digest: str
    """Of classes, labels and ids, in their order."""

    @property
    def segmented(self) -> bool:
        """Whether the labels are masks: a class for every pixel."""
        return are_masks(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnlabelledSet:
    """n images whose classes nobody knows."""

    images: Pixels
    """[n c h w], as in an ``ImageSet``."""
    ids: NDArray[np.uint64]
    """[n], as in an ``ImageSet``."""
    names: tuple[str, ...]
    """[n], for messages."""
    digest: str
    """Of the ids, in their order."""


def load_images(
    source: Source,
    *,
    size: tuple[int, int, int],
    cache: Path,
    root: Path,
    classes: tuple[str, ...] | None = None,
    told: Told | None = None,
) -> ImageSet:
    """The images of ``source``, decoded into ``cache`` unless the same are there already.

    Images of another size are scaled until they just cover the size, bilinear with antialiasing,
    and cut to the middle. To evaluate in another way, give images that have the right size.

    Args:
        source: one of the kinds that compress.yaml knows.
        size: what the network takes: channels, height, width in pixels.
        cache: folder of decoded images; files in it are only ever added.
        root: the project's folder; importable while a factory makes its data set.
        classes: their names, for masks that hold numbers; where the source has names, the same.
        told: hears how many images are decoded, and of how many, while it takes its time.

    Raises:
        DataError: saying which file, class or image is unusable, and why.
    """
    listing = list_images(source, size=size, root=root)
    if not listing.names:
        raise DataError(f"no images in the source {source!r}")
    return labelled(_named(listing, classes, source), size=size, cache=cache, told=told)


def _named(listing: Listing, classes: tuple[str, ...] | None, source: Source) -> Listing:
    """The listing with names of its classes.

    Raises:
        DataError: it has none and none are given, or has others than are given.
    """
    if listing.classes is None and classes is None:
        raise DataError(
            "masks hold numbers, and nobody says which classes they are; add to compress.yaml, in "
            "the order of the network's outputs: data: {classes: [road, car, ...]}"
        )
    if classes is not None and listing.classes not in {None, classes}:
        raise DataError(
            f"data.classes are {few(classes)}, and the source {source!r} has {few(listing.classes)}"
            "; name the same in the same order, or leave data.classes out"
        )
    return replace(listing, classes=classes or listing.classes)


def labelled(
    listing: Listing, *, size: tuple[int, int, int], cache: Path, told: Told | None = None
) -> ImageSet:
    """The images of ``listing``, decoded as ``load_images`` says.

    Raises:
        DataError: a label out of range, or an image or mask that is unusable.
    """
    classes, labels = listing.classes or (), listing.labels
    if isinstance(labels, Masks):
        masks = decoded(labels, size=size[1:], classes=classes, cache=cache)
        images, ids = decoded_pixels(listing, size=size, cache=cache, told=told)
        return _image_set(images, masks, ids, names=listing.names, classes=classes)
    _check_labels(labels, listing.names, count=len(classes))
    images, ids = decoded_pixels(listing, size=size, cache=cache, told=told)
    return _image_set(images, labels, ids, names=listing.names, classes=classes)


def unlabelled(
    files: ImageFiles, *, size: tuple[int, int, int], cache: Path, told: Told | None = None
) -> UnlabelledSet:
    """The images of ``files``, decoded as ``load_images`` says.

    Raises:
        DataError: an image is unusable.
    """
    images, ids = decoded_pixels(files, size=size, cache=cache, told=told)
    return UnlabelledSet(
        images=images, ids=ids, names=files.names, digest=digest(ids.astype("<u8").tobytes())
    )


def subset(images: ImageSet, indices: NDArray[np.integer] | Sequence[int]) -> ImageSet:
    """The images with these numbers, in this order, copied into memory."""
    chosen = np.asarray(indices, dtype=np.int64)
    return _image_set(
        images.images[chosen],
        images.labels[chosen],
        images.ids[chosen],
        names=tuple(images.names[index] for index in chosen),
        classes=images.classes,
    )


def split(images: ImageSet, *, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """(rest, part), where part has about ``fraction`` of the images.

    Whether an image goes into part hangs on ``seed`` and its own pixels alone: equal images go the
    same way, and neither the order nor the other images matter.

    Raises:
        DataError: the images are so few that a side is empty.
    """
    limit = int(fraction * 2**64)
    inside = np.array([_draw(seed, int(image)) < limit for image in images.ids])
    if inside.all() or not inside.any():
        raise DataError(
            f"a fraction of {fraction} of {len(inside)} images leaves one side empty; give more "
            "images or another fraction"
        )
    return subset(images, np.flatnonzero(~inside)), subset(images, np.flatnonzero(inside))


def check_disjoint(train: ImageSet, judged: ImageSet | UnlabelledSet, *, source: str) -> None:
    """No image of the gate may have been trained on, for its answer would prove nothing.

    Raises:
        DataError: with the number of equal images, and some of their names in ``source``.
    """
    shared = np.flatnonzero(np.isin(judged.ids, train.ids))
    if shared.size:
        examples = few(judged.names[index] for index in shared)
        raise DataError(
            f"{shared.size} of {len(judged.ids)} images of {source} are training images too, pixel "
            f"by pixel (in {source}: {examples}); remove them there or from data.train"
        )


def check_classes(images: ImageSet, outputs: int) -> None:
    """The network must have one output per class.

    Raises:
        DataError: with both numbers.
    """
    if len(images.classes) != outputs:
        raise DataError(
            f"the network has {outputs} outputs, and the images {len(images.classes)} classes "
            f"({few(images.classes)}); give images of the classes that it was trained on, in the "
            "same order (class folders count in alphabetical order)"
        )


def check_same_classes(train: ImageSet, gate: ImageSet) -> None:
    """A class must have the same position in both sets.

    Raises:
        DataError: with the classes that only one set has.
    """
    if train.classes != gate.classes:
        differing = sorted(set(train.classes) ^ set(gate.classes)) or ["their order"]
        raise DataError(
            f"data.train has {len(train.classes)} classes and data.gate {len(gate.classes)}; they "
            f"differ in {few(differing)}. A network answers with a class's position, so both need "
            "the same classes"
        )


def _image_set(
    images: Pixels,
    labels: Labels,
    ids: NDArray[np.uint64],
    *,
    names: tuple[str, ...],
    classes: tuple[str, ...],
) -> ImageSet:
    if are_masks(labels):  # one by one: together they may not fit into memory
        answers = b"".join(pixels_digest(mask) for mask in labels)
    else:
        answers = labels.astype("<i8").tobytes()
    content = (json.dumps(classes), answers, ids.astype("<u8").tobytes())
    return ImageSet(
        images=images, labels=labels, ids=ids, names=names, classes=classes, digest=digest(*content)
    )


def _check_labels(labels: NDArray[np.int64], names: Sequence[str], *, count: int) -> None:
    outside = np.flatnonzero((labels < 0) | (labels >= count))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"{outside.size} labels are out of range: {names[first]} has "
            f"{labels[first]}; labels count from 0, and there are {count} classes"
        )


def _draw(seed: int, image: int) -> int:
    """A number below 2**64 that is as good as random, and always the same."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{image}".encode()).digest()[:8], "little")
