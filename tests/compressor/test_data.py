import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.config import (
    ArchiveSource,
    FolderSource,
    Source,
)
from compressor.data import (
    DataError,
    ImageSet,
    check_classes,
    check_disjoint,
    check_same_classes,
    load_images,
    split,
    subset,
    unlabelled,
)
from compressor.image_files import image_files
from compressor.pixels import Pixels

SIZE = (3, 8, 8)


def random_pixels(count: int, *, seed: int = 0, size: tuple[int, ...] = (8, 8, 3)) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)


def make_folder(folder: Path, pixels: Pixels, classes: tuple[str, ...]) -> FolderSource:
    """PNG files, dealt out to the classes in turn."""
    for index, image in enumerate(pixels):
        path = folder / classes[index % len(classes)] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return FolderSource(folder=folder)


def make_archive(path: Path, **arrays: object) -> ArchiveSource:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # any array-like; some tests give wrong ones
    return ArchiveSource(npz=path)


def image_set(folder: Path, pixels: Pixels, *, classes: tuple[str, ...]) -> ImageSet:
    labels = np.arange(len(pixels)) % len(classes)
    source = make_archive(folder / "set.npz", images=pixels, labels=labels, classes=classes)
    return load(source, folder)


def load(source: Source, folder: Path, *, size: tuple[int, int, int] = SIZE) -> ImageSet:
    return load_images(source, size=size, cache=folder / "cache", root=folder)


def complaint(source: Source, folder: Path, *, size: tuple[int, int, int] = SIZE) -> str:
    with pytest.raises(DataError) as caught:
        load(source, folder, size=size)
    return str(caught.value)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that Pillow was asked to open."""
    opened: list[str] = []
    really_open = Image.open

    def counting(path: Path) -> Image.Image:
        opened.append(path.name)
        return really_open(path)

    monkeypatch.setattr(Image, "open", counting)
    return opened


def test_a_folder_gives_its_pixels_labels_and_names(tmp_path: Path) -> None:
    pixels = random_pixels(4)
    images = load(make_folder(tmp_path / "set", pixels, ("dog", "cat")), tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.names == ("cat/001.png", "cat/003.png", "dog/000.png", "dog/002.png")
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(images.images, pixels[[1, 3, 0, 2]].transpose(0, 3, 1, 2))


def test_loaded_images_are_mapped_and_cannot_be_changed(tmp_path: Path) -> None:
    images = load(make_folder(tmp_path / "set", random_pixels(2), ("a",)), tmp_path)
    assert isinstance(images.images, np.memmap)
    assert not images.images.flags.writeable
    arrays = (images.images, images.labels, images.ids)
    assert [str(array.dtype) for array in arrays] == ["uint8", "int64", "uint64"]


def test_ids_are_the_first_bytes_of_the_sha256_of_the_pixels(tmp_path: Path) -> None:
    images = load(make_folder(tmp_path / "set", random_pixels(3), ("a",)), tmp_path)
    expected = [
        int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "little")
        for image in images.images
    ]
    assert images.ids.tolist() == expected


def test_a_second_load_decodes_nothing(tmp_path: Path, decoded: list[str]) -> None:
    source = make_folder(tmp_path / "set", random_pixels(6), ("a", "b"))
    first = load(source, tmp_path)
    assert len(decoded) == 6
    second = load(source, tmp_path)
    assert len(decoded) == 6
    assert second.digest == first.digest
    assert np.array_equal(second.images, first.images)


def test_a_copy_elsewhere_is_the_same_source(tmp_path: Path, decoded: list[str]) -> None:
    load(make_folder(tmp_path / "set", random_pixels(2), ("a",)), tmp_path)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    load(FolderSource(folder=tmp_path / "copy"), tmp_path)
    assert len(decoded) == 2


CHANGES: Mapping[str, Callable[[Path], object]] = {
    "bytes": lambda folder: Image.fromarray(random_pixels(1, seed=9)[0]).save(folder / "a/000.png"),
    "name": lambda folder: (folder / "a/000.png").rename(folder / "a/999.png"),
    "class": lambda folder: (folder / "a").rename(folder / "c"),
    "added": lambda folder: Image.fromarray(random_pixels(1, seed=9)[0]).save(folder / "a/9.png"),
    "removed": lambda folder: (folder / "a/000.png").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_the_files_is_noticed(change: str, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "set", random_pixels(4), ("a", "b"))
    before = load(source, tmp_path)
    CHANGES[change](tmp_path / "set")
    assert load(source, tmp_path).digest != before.digest


def test_another_size_has_a_cache_of_its_own(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "set", random_pixels(2), ("a",))
    assert load(source, tmp_path).images.shape == (2, 3, 8, 8)
    assert load(source, tmp_path, size=(3, 4, 6)).images.shape == (2, 3, 4, 6)


def test_a_failed_decoding_leaves_no_cache(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "set", random_pixels(2), ("a",))
    (tmp_path / "set" / "a" / "bad.png").write_bytes(b"no image")
    complaint(source, tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "set", random_pixels(2), ("a",))
    load(source, tmp_path)
    (images,) = (tmp_path / "cache").glob("*.images.npy")
    images.write_bytes(images.read_bytes()[:150])
    assert "is damaged" in complaint(source, tmp_path)


def test_the_digest_covers_classes_labels_and_order(tmp_path: Path) -> None:
    pixels, labels = random_pixels(3), np.array([0, 1, 0])
    variants: list[dict[str, object]] = [
        {"images": pixels, "labels": labels, "classes": ["a", "b"]},
        {"images": pixels, "labels": labels, "classes": ["a", "c"]},
        {"images": pixels, "labels": 1 - labels, "classes": ["a", "b"]},
        {"images": pixels[::-1], "labels": labels, "classes": ["a", "b"]},
        {"images": random_pixels(3, seed=1), "labels": labels, "classes": ["a", "b"]},
    ]
    digests = {
        load(make_archive(tmp_path / "a.npz", **arrays), tmp_path).digest for arrays in variants
    }
    assert len(digests) == len(variants)


def test_the_digest_does_not_depend_on_the_kind_of_source(tmp_path: Path) -> None:
    pixels = random_pixels(4)
    folder = load(make_folder(tmp_path / "set", pixels, ("a",)), tmp_path)
    archive = make_archive(tmp_path / "a.npz", images=pixels, labels=[0] * 4, classes=["a"])
    assert load(archive, tmp_path).digest == folder.digest


def test_a_subset_holds_the_chosen_images(tmp_path: Path) -> None:
    images = image_set(tmp_path, random_pixels(5), classes=("a", "b"))
    chosen = subset(images, [3, 0])
    assert np.array_equal(chosen.images, images.images[[3, 0]])
    assert chosen.labels.tolist() == [1, 0]
    assert chosen.ids.tolist() == [images.ids[3], images.ids[0]]
    assert chosen.names == ("image 3", "image 0")
    assert chosen.classes == images.classes
    assert subset(images, range(5)).digest == images.digest


def test_a_split_parts_the_images_by_about_the_fraction(tmp_path: Path) -> None:
    images = image_set(tmp_path, random_pixels(600), classes=("a",))
    rest, part = split(images, fraction=0.25, seed=0)
    assert sorted([*rest.names, *part.names]) == sorted(images.names)
    assert abs(len(part.ids) / 600 - 0.25) < 0.06


def test_a_split_depends_on_seed_and_image_alone(tmp_path: Path) -> None:
    images = image_set(tmp_path, random_pixels(100), classes=("a",))
    backwards = subset(images, range(99, 19, -1))
    part = set(split(images, fraction=0.3, seed=1)[1].ids.tolist())
    other = set(split(backwards, fraction=0.3, seed=1)[1].ids.tolist())
    assert other == part & set(backwards.ids.tolist())
    assert part != set(split(images, fraction=0.3, seed=2)[1].ids.tolist())


def test_equal_images_fall_on_the_same_side(tmp_path: Path) -> None:
    pixels = random_pixels(40)
    images = image_set(tmp_path, np.concatenate([pixels, pixels]), classes=("a",))
    for seed in range(5):
        rest, part = split(images, fraction=0.5, seed=seed)
        assert not set(rest.ids.tolist()) & set(part.ids.tolist())


def test_a_larger_part_holds_the_smaller_one(tmp_path: Path) -> None:
    images = image_set(tmp_path, random_pixels(100), classes=("a",))
    small, large = (set(split(images, fraction=share, seed=0)[1].names) for share in (0.2, 0.6))
    assert small < large


def test_a_split_with_an_empty_side_is_an_error(tmp_path: Path) -> None:
    images = image_set(tmp_path, random_pixels(3), classes=("a",))
    with pytest.raises(DataError, match="leaves one side empty"):
        split(images, fraction=1e-9, seed=0)


def test_shared_images_are_counted_and_named(tmp_path: Path) -> None:
    pixels = random_pixels(6)
    train = image_set(tmp_path, pixels[:4], classes=("a",))
    apart = image_set(tmp_path, pixels[4:], classes=("a",))
    check_disjoint(train, apart, source="data.gate")
    gate = image_set(tmp_path, pixels[3:], classes=("a",))
    told = (
        r"1 of 3 images of data\.gate are training images too, pixel by pixel \(in data\.gate: "
        r"image 0\); remove them there or from data\.train"
    )
    with pytest.raises(DataError, match=told):
        check_disjoint(train, gate, source="data.gate")


def test_images_without_labels_have_pixels_ids_and_names_as_labelled_ones(tmp_path: Path) -> None:
    pixels = random_pixels(4)
    known = load(make_folder(tmp_path / "set", pixels, ("a", "b")), tmp_path)
    files = image_files(tmp_path / "set", known.names, channels=3)
    unknown = unlabelled(files, size=SIZE, cache=tmp_path / "cache")
    assert np.array_equal(unknown.images, known.images)
    assert np.array_equal(unknown.ids, known.ids)
    assert unknown.names == known.names
    assert not hasattr(unknown, "labels")


def test_the_digest_without_labels_is_of_pixels_and_order_not_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    names = load(make_folder(folder, random_pixels(3), ("a",)), tmp_path).names

    def found(*chosen: str) -> str:
        files = image_files(folder, chosen, channels=3)
        return unlabelled(files, size=SIZE, cache=tmp_path / "cache").digest

    before = found(*names)
    assert found(*reversed(names)) != before
    assert found(*names[:2]) != before
    (folder / names[2]).rename(folder / "z.png")
    assert found(*names[:2], "z.png") == before


def test_an_unlabelled_image_that_was_trained_on_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "set", random_pixels(3), ("a",))
    train = image_set(tmp_path, random_pixels(1), classes=("a",))
    files = image_files(tmp_path / "set", ["a/002.png", "a/000.png"], channels=3)
    judged = unlabelled(files, size=SIZE, cache=tmp_path / "cache")
    with pytest.raises(DataError, match=r"1 of 2 images of rule site .*\(in rule site: a/000\.png"):
        check_disjoint(train, judged, source="rule site")


def test_a_network_needs_one_output_per_class(tmp_path: Path) -> None:
    images = image_set(tmp_path, random_pixels(2), classes=("a", "b"))
    check_classes(images, 2)
    for outputs in (1, 3):
        with pytest.raises(DataError, match=f"{outputs} outputs, and the images 2 classes"):
            check_classes(images, outputs)


@pytest.mark.parametrize("classes", [("a",), ("a", "c"), ("b", "a"), ("a", "b", "c")])
def test_both_sets_need_the_same_classes(classes: tuple[str, ...], tmp_path: Path) -> None:
    train = image_set(tmp_path, random_pixels(6), classes=("a", "b"))
    check_same_classes(train, train)
    with pytest.raises(DataError, match="both need the same classes"):
        check_same_classes(train, image_set(tmp_path, random_pixels(6), classes=classes))
