"""Images with masks: folders, archives, data sets of a user's own; what is wrong with them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compressor.config import ArchiveSource, FactorySource, MaskedSource, Source
from compressor.data import DataError, ImageSet, load_images, split, subset
from compressor.labels import NOT_LABELLED
from compressor.masks import fit_mask
from compressor.pixels import fit

CLASSES = ("road", "sky", "car")
SIZE = (3, 8, 8)


def pictures(count: int = 6, *, side: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def masks(count: int = 6, *, side: int = 8) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    found = rng.integers(0, 3, (count, side, side)).astype(np.uint8)
    found[rng.random(found.shape) < 0.2] = NOT_LABELLED
    return found


def folders(root: Path, *, mode: str = "L", side: int = 8) -> MaskedSource:
    """Pictures in folders at any depth, and a PNG for each."""
    pairs = zip(pictures(side=side), masks(side=side), strict=True)
    for index, (picture, mask) in enumerate(pairs):
        place = "a" if index % 2 else "b/c"
        for folder in (root / "images" / place, root / "masks" / place):
            folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / "images" / place / f"{index}.bmp")
        saved = Image.fromarray(mask)
        if mode == "P":
            saved = saved.convert("P")
            saved.putdata(mask.ravel().tolist())
            saved.putpalette(np.random.default_rng(2).integers(0, 256, 768).tolist())
        saved.save(root / "masks" / place / f"{index}.png")
    return MaskedSource(images=root / "images", masks=root / "masks")


def loaded(source: Source, root: Path, **settings: Any) -> ImageSet:  # noqa: ANN401 # arguments of load_images
    asked = {"size": SIZE, "cache": root / "cache", "root": root, "classes": CLASSES}
    return load_images(source, **{**asked, **settings})


def complaint(source: Source, root: Path, **settings: Any) -> str:  # noqa: ANN401 # arguments of load_images
    with pytest.raises(DataError) as caught:
        loaded(source, root, **settings)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_mask_belongs_to_the_image_of_its_name_and_is_read_as_numbers(
    mode: str, tmp_path: Path
) -> None:
    found = loaded(folders(tmp_path, mode=mode), tmp_path)
    assert found.segmented
    assert found.classes == CLASSES
    for index, name in enumerate(found.names):
        number = int(Path(name).stem)
        assert np.array_equal(found.images[index], pictures()[number].transpose(2, 0, 1))
        assert np.array_equal(found.labels[index], masks()[number])


def test_folders_archives_and_data_sets_give_the_same_masks(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=pictures(), masks=masks(), classes=CLASSES)
    archive = loaded(ArchiveSource(npz=tmp_path / "set.npz"), tmp_path, classes=None)
    assert archive.classes == CLASSES
    assert np.array_equal(archive.labels, masks())
    own = loaded(FactorySource(factory="user_masks:made"), tmp_path)
    assert np.array_equal(own.labels, masks())
    assert own.digest == archive.digest


def test_a_second_reading_comes_from_the_cache_and_other_masks_do_not(tmp_path: Path) -> None:
    source = folders(tmp_path)
    first = loaded(source, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    again = loaded(source, tmp_path)
    assert again.digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before
    mask = np.array(Image.open(source.masks / "a" / "1.png"))
    mask[0, 0] = (mask[0, 0] + 1) % 3 if mask[0, 0] != NOT_LABELLED else 0
    Image.fromarray(mask).save(source.masks / "a" / "1.png")
    changed = loaded(source, tmp_path)
    assert changed.digest != first.digest
    assert np.array_equal(changed.ids, first.ids), "images are known by their pixels alone"


def test_the_tune_split_takes_each_image_with_its_mask(tmp_path: Path) -> None:
    whole = loaded(folders(tmp_path), tmp_path)
    by_id = {int(i): mask for i, mask in zip(whole.ids, whole.labels, strict=True)}
    for part in split(whole, fraction=0.5, seed=3):
        assert part.segmented
        for image, mask in zip(part.ids, part.labels, strict=True):
            assert np.array_equal(mask, by_id[int(image)])
    assert subset(whole, [1, 0]).digest != subset(whole, [0, 1]).digest


def test_a_mask_goes_where_its_image_goes_and_keeps_its_classes(tmp_path: Path) -> None:
    """Squares as colours and as classes: resized and cut, they still lie upon each other."""
    rng = np.random.default_rng(0)
    squares = np.kron(rng.integers(0, 3, (3, 5)), np.ones((16, 16), dtype=int))
    picture = (squares[..., None] * 100 * np.ones(3, dtype=int)).astype(np.uint8)
    image = fit(picture, (3, 24, 24), name="made")[0]
    mask = fit_mask(squares.astype(np.uint8), (24, 24))
    assert set(np.unique(mask)) <= {0, 1, 2}
    inside = np.ones(mask.shape, dtype=bool)  # away from edges, where colours are mixed
    for step in np.ndindex(3, 3):
        inside &= mask == np.roll(mask, (step[0] - 1, step[1] - 1), (0, 1))
    inside = np.pad(inside[1:-1, 1:-1], 1)  # what lies beyond the cut is mixed into its border
    assert inside.mean() > 0.4
    assert np.array_equal(image[inside], mask[inside] * 100)
    covered = ImageOps.fit(Image.fromarray(squares.astype(np.uint8)), (24, 24), method=0)
    assert np.array_equal(mask, np.asarray(covered))


def _remove(source: MaskedSource) -> None:
    (source.masks / "a" / "1.png").unlink()


def _add(source: MaskedSource) -> None:
    (source.masks / "a" / "1.png").rename(source.masks / "a" / "1b.png")
    (source.images / "a" / "1.bmp").unlink()


def _double(source: MaskedSource) -> None:
    Image.open(source.images / "a" / "1.bmp").save(source.images / "a" / "1.png")


def _mask(values: NDArray[np.uint8]) -> Callable[[MaskedSource], None]:
    def change(source: MaskedSource) -> None:
        Image.fromarray(values).save(source.masks / "a" / "1.png")

    return change


FAULTS = {
    "an image without a mask": (_remove, ["1 of 6 images", "have no mask: a/1.bmp", "a/1.png"]),
    "a mask without an image": (_add, ["1 masks of", "have no image in", "a/1b.png"]),
    "two images of one name": (_double, ["have one mask together: a/1.bmp, a/1.png"]),
    "another size": (
        _mask(np.zeros((8, 9), np.uint8)),
        ["a/1.png is [8, 9] pixels high and wide, and its image [8, 8]"],
    ),
    "a class that there is not": (
        _mask(np.full((8, 8), 3, np.uint8)),
        ["a/1.png holds the class 3, and there are 3 (road, sky, car), counted from 0"],
    ),
    "nothing labelled": (
        _mask(np.full((8, 8), 255, np.uint8)),
        ["a/1.png has no labelled pixel at 8 x 8", "1 masks are so"],
    ),
    "colours": (
        _mask(np.zeros((8, 8, 3), np.uint8)),
        ["a/1.png is a picture of mode RGB", "save it as a grey or palette PNG"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_a_mask_is_said_with_its_file(name: str, tmp_path: Path) -> None:
    change, said = FAULTS[name]
    source = folders(tmp_path)
    change(source)
    told = complaint(source, tmp_path)
    assert all(part in told for part in said), told
    assert "\n" not in told


def test_a_damaged_mask_is_named(tmp_path: Path) -> None:
    source = folders(tmp_path)
    (source.masks / "a" / "1.png").write_bytes(b"no picture")
    assert "cannot decode" in complaint(source, tmp_path)


def test_a_mask_that_loses_all_labels_to_the_cut_is_named(tmp_path: Path) -> None:
    """Wide images are cut to the middle; a label at their end is gone then."""
    edge = np.full((1, 8, 24), NOT_LABELLED, np.uint8)
    edge[0, :, 0] = 1
    np.savez(tmp_path / "wide.npz", images=np.zeros((1, 8, 24, 3), np.uint8), masks=edge)
    told = complaint(ArchiveSource(npz=tmp_path / "wide.npz"), tmp_path)
    assert "image 0 of" in told and "no labelled pixel at 8 x 8" in told


def test_classes_have_to_be_named_where_masks_hold_numbers(tmp_path: Path) -> None:
    told = complaint(folders(tmp_path), tmp_path, classes=None)
    assert "data: {classes: [road, car, ...]}" in told


def test_names_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=pictures(), masks=masks(), classes=["x", "y", "z"])
    told = complaint(ArchiveSource(npz=tmp_path / "set.npz"), tmp_path)
    assert "data.classes are road, sky, car" in told and "has x, y, z" in told


ARCHIVES: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"labels": [0] * 6, "masks": masks()}, "has labels and masks"),
    "neither": ({}, "has no labels"),
    "another size": ({"masks": masks(side=9)}, "one for each pixel of the images"),
    "floats": ({"masks": masks() / 255}, "are float64 [6, 8, 8]"),
    "negative": ({"masks": masks().astype(int) - 1}, "go from -1 to 254"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_is_wrong_with_an_archive_is_said(name: str, tmp_path: Path) -> None:
    arrays, said = ARCHIVES[name]
    np.savez(tmp_path / "set.npz", images=pictures(), **arrays)
    assert said in complaint(ArchiveSource(npz=tmp_path / "set.npz"), tmp_path)


USER_CODE = """
import numpy as np
from PIL import Image
import sys

own = sys.modules["TESTS"]
PAIRS = [(p, m) for p, m in zip(own.pictures(), own.masks())]

def made():
    return [(Image.fromarray(p), Image.fromarray(m)) for p, m in PAIRS]

def mixed():
    return [PAIRS[0], (PAIRS[1][0], 2)]

def floats():
    return [(p, m / 255) for p, m in PAIRS]

def smaller():
    return [(p, m[:4]) for p, m in PAIRS]

class Flickering(list):
    def __getitem__(self, index):
        picture, mask = super().__getitem__(index)
        flicker.append(0)
        return picture, np.roll(mask, len(flicker), axis=0)

flicker = []

def unsteady():
    return Flickering(PAIRS)
"""


@pytest.fixture(autouse=True)
def user_code(tmp_path: Path) -> Iterator[None]:
    code = USER_CODE.replace("TESTS", __name__)
    (tmp_path / "user_masks.py").write_text(code)
    yield
    sys.modules.pop("user_masks", None)


@pytest.mark.parametrize(
    "name, said",
    [
        ("mixed", "a mask with 1 images and a class index with 1; give one kind"),
        ("floats", "the mask of image 0 of user_masks:floats is float64 [8, 8]"),
        ("smaller", "the mask of image 0 of user_masks:smaller is [4, 8] pixels high and wide"),
        ("unsteady", "differs when read twice"),
    ],
)
def test_a_data_set_with_wrong_masks_is_explained(name: str, said: str, tmp_path: Path) -> None:
    assert said in complaint(FactorySource(factory=f"user_masks:{name}"), tmp_path)
