import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.config import (
    ArchiveSource,
    FactorySource,
    FolderSource,
    Source,
    TorchvisionSource,
)
from compressor.data import (
    DataError,
    ImageSet,
    load_images,
)
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


def load(source: Source, folder: Path, *, size: tuple[int, int, int] = SIZE) -> ImageSet:
    return load_images(source, size=size, cache=folder / "cache", root=folder)


def complaint(source: Source, folder: Path, *, size: tuple[int, int, int] = SIZE) -> str:
    with pytest.raises(DataError) as caught:
        load(source, folder, size=size)
    return str(caught.value)


def test_hidden_nested_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    source = make_folder(folder, random_pixels(2), ("a",))
    (folder / "a" / "deep").mkdir()
    (folder / "a" / "000.png").rename(folder / "a" / "deep" / "first.PNG")
    (folder / "a" / ".hidden.png").write_bytes(b"")
    (folder / "a" / "notes.txt").write_text("text")
    (folder / "readme.txt").write_text("text")
    (folder / ".cache").mkdir()
    images = load(source, tmp_path)
    assert images.classes == ("a",)
    assert images.names == ("a/001.png", "a/deep/first.PNG")


@pytest.mark.parametrize("suffix", ["bmp", "jpeg", "jpg", "png", "ppm", "webp"])
def test_common_formats_are_read(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "set" / "a" / f"x.{suffix}")
    images = load(FolderSource(folder=tmp_path / "set"), tmp_path)
    assert np.abs(images.images[0, :, 4, 4].astype(int) - [200, 100, 50]).max() <= 4


def test_other_sizes_are_scaled_to_cover_and_cut_to_the_middle(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    stripes = np.zeros((16, 48, 3), dtype=np.uint8)
    stripes[:, :16, 0], stripes[:, 16:32, 1], stripes[:, 32:, 2] = 255, 255, 255
    Image.fromarray(stripes).save(tmp_path / "set" / "a" / "wide.png")
    images = load(FolderSource(folder=tmp_path / "set"), tmp_path)
    red, green, blue = images.images[0].mean((1, 2))
    assert green > 240
    assert red == blue < 10


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK"])
def test_other_colour_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode).save(tmp_path / f"set/a/x.{suffix}")
    images = load(FolderSource(folder=tmp_path / "set"), tmp_path)
    assert images.images[0, 0].min() > 200


def test_grayscale_files_suit_a_network_of_one_channel(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "set", random_pixels(2, size=(8, 8)), ("a",))
    assert load(source, tmp_path, size=(1, 8, 8)).images.shape == (2, 1, 8, 8)
    message = complaint(source, tmp_path)
    assert "has 1 channels (mode L)" in message
    assert "set input.size to [1, h, w]" in message


def test_colour_files_do_not_suit_a_network_of_one_channel(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "set", random_pixels(2), ("a",))
    assert "set input.size to [3, h, w]" in complaint(source, tmp_path, size=(1, 8, 8))
    assert "give an npz or a factory" in complaint(source, tmp_path, size=(4, 8, 8))


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "cut"])
def test_an_unreadable_image_is_named(content: bytes | None, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "set", random_pixels(2, size=(64, 64, 3)), ("a",))
    bad = tmp_path / "set" / "a" / "001.png"
    bad.write_bytes(bad.read_bytes()[:2000] if content is None else content)
    assert f"cannot decode {bad}" in complaint(source, tmp_path)


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    source = FolderSource(folder=folder)
    assert f"no folder {folder}" in complaint(source, tmp_path)
    folder.mkdir()
    assert "has no class folders" in complaint(source, tmp_path)
    (folder / "empty").mkdir()
    assert "no images in the class folders empty" in complaint(source, tmp_path)


@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_both_layouts_of_an_archive_are_read(first: bool, tmp_path: Path) -> None:
    pixels = random_pixels(4)
    stored = pixels.transpose(0, 3, 1, 2) if first else pixels
    images = load(make_archive(tmp_path / "a.npz", images=stored, labels=[0, 1, 2, 1]), tmp_path)
    assert np.array_equal(images.images, pixels.transpose(0, 3, 1, 2))
    assert images.labels.tolist() == [0, 1, 2, 1]
    assert images.classes == ("0", "1", "2")
    assert images.names[3] == "image 3"


def test_an_archive_can_name_its_classes(tmp_path: Path) -> None:
    source = make_archive(
        tmp_path / "a.npz", images=random_pixels(2), labels=[0, 0], classes=["cat", "dog"]
    )
    assert load(source, tmp_path).classes == ("cat", "dog")


def test_archives_of_many_channels_are_read_but_not_resized(tmp_path: Path) -> None:
    pixels = random_pixels(2, size=(8, 8, 5))
    source = make_archive(tmp_path / "a.npz", images=pixels, labels=[0, 1])
    assert load(source, tmp_path, size=(5, 8, 8)).images.shape == (2, 5, 8, 8)
    assert "are not resized" in complaint(source, tmp_path, size=(5, 4, 4))


ARCHIVE_FAULTS: Mapping[str, tuple[dict[str, object], str]] = {
    "no labels": ({"images": random_pixels(2)}, "has no labels"),
    "no images": ({"x": [1], "labels": [1]}, "has no images (it has x, labels)"),
    "float": ({"images": random_pixels(2) / 255, "labels": [0, 1]}, "are float64 [2, 8, 8, 3]"),
    "flat": ({"images": random_pixels(2)[..., 0], "labels": [0, 1]}, "are uint8 [2, 8, 8]"),
    "channels": ({"images": random_pixels(2)[..., :2], "labels": [0, 1]}, "with the 3 channels"),
    "short": ({"images": random_pixels(2), "labels": [0]}, "int64 [1] for 2 images"),
    "one hot": ({"images": random_pixels(2), "labels": np.eye(2)}, "float64 [2, 2]"),
    "negative": ({"images": random_pixels(2), "labels": [0, -1]}, "image 1 has -1"),
    "beyond": (
        {"images": random_pixels(2), "labels": [0, 2], "classes": ["a", "b"]},
        "image 1 has 2; labels count from 0, and there are 2 classes",
    ),
    "none": ({"images": random_pixels(0), "labels": np.zeros(0, int)}, "no images in"),
    "objects": ({"images": np.array([{}]), "labels": [0]}, "Object arrays cannot be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ARCHIVE_FAULTS)
def test_a_wrong_archive_is_explained(fault: str, tmp_path: Path) -> None:
    arrays, message = ARCHIVE_FAULTS[fault]
    assert message in complaint(make_archive(tmp_path / "a.npz", **arrays), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04cut"])
def test_an_unreadable_archive_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    assert f"cannot read {path}" in complaint(ArchiveSource(npz=path), tmp_path)
    path.write_bytes(content)
    assert f"cannot read {path}" in complaint(ArchiveSource(npz=path), tmp_path)


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, random_pixels(2))
    assert f"cannot read {path}" in complaint(ArchiveSource(npz=path), tmp_path)


def test_a_torchvision_set_is_read_from_the_disk(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = random_pixels(3, size=(28, 28))
    for part in ("train", "t10k"):
        header = struct.pack(">IIII", 2051, 3, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = struct.pack(">II", 2049, 3) + bytes([7, 0, 9])
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    source = TorchvisionSource(torchvision="MNIST", root=tmp_path, split="test")
    images = load(source, tmp_path, size=(1, 28, 28))
    assert np.array_equal(images.images[:, 0], pixels)
    assert images.labels.tolist() == [7, 0, 9]
    assert images.classes[7] == "7 - seven"


def test_an_absent_torchvision_set_is_not_downloaded(tmp_path: Path) -> None:
    source = TorchvisionSource(torchvision="CIFAR10", root=tmp_path, split="train")
    assert f"torchvision cannot open CIFAR10 in {tmp_path}" in complaint(source, tmp_path)


USER_CODE = """
import numpy as np
import torch
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)

def pictures(): return [(Image.fromarray(p), i % 2) for i, p in enumerate(PIXELS)]
def arrays(): return [(p, i % 2) for i, p in enumerate(PIXELS)]
def tensors(): return [(torch.tensor(p).permute(2, 0, 1), torch.tensor(l)) for p, l in arrays()]

class Named:
    classes = ["cat", "dog"]
    def __len__(self): return 4
    def __getitem__(self, i): return PIXELS[i], i % 2

class Random(Named):
    count = 0
    def __getitem__(self, i):
        self.count += 1
        return np.roll(PIXELS[i], self.count), i % 2

class Failing(Named):
    def __getitem__(self, i): raise LookupError("no such row")

def generator(): return iter(arrays())
def floats(): return [(PIXELS[0] / 255, 0)]
def numbers(): return [3, 4]
def names(): return [(PIXELS[0], "cat")]
def gray(): return [(PIXELS[0][..., 0], 0)]
def failing(): raise LookupError("no such set")
def text(): return "text"
"""


@pytest.fixture
def user_code(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "user_images.py").write_text(USER_CODE)
    yield
    sys.modules.pop("user_images", None)


@pytest.mark.usefixtures("user_code")
def test_every_kind_of_image_gives_the_same_set(tmp_path: Path) -> None:
    digests = {
        load(FactorySource(factory=f"user_images:{kind}"), tmp_path).digest
        for kind in ("pictures", "arrays", "tensors")
    }
    assert len(digests) == 1


@pytest.mark.usefixtures("user_code")
def test_a_data_set_can_name_its_classes(tmp_path: Path) -> None:
    assert load(FactorySource(factory="user_images:Named"), tmp_path).classes == ("cat", "dog")


FACTORY_FAULTS = {
    "Random": "differs when read twice; take out random transforms",
    "Failing": "cannot read image 0 of user_images:Failing: LookupError: no such row",
    "generator": "must return a map-style data set",
    "floats": "of float64; allowed are a PIL image, a uint8 tensor",
    "numbers": "is a int, not a pair",
    "names": "is 'cat', not a class index",
    "gray": "has 1 channels",
    "failing": "LookupError: no such set",
    "absent": "names no function",
    "text": "not a pair",
}


@pytest.mark.usefixtures("user_code")
@pytest.mark.parametrize("name", FACTORY_FAULTS)
def test_a_wrong_data_set_is_explained(name: str, tmp_path: Path) -> None:
    source = FactorySource(factory=f"user_images:{name}")
    assert FACTORY_FAULTS[name] in complaint(source, tmp_path)
