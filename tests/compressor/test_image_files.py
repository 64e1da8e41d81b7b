import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.image_files import class_folders, image_files, images_below, images_by_class
from compressor.pixels import DataError


def fill(folder: Path, *names: str) -> Path:
    """Small images of these names, no two alike."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    return folder


def test_images_are_found_at_any_depth_in_alphabetical_order(tmp_path: Path) -> None:
    fill(tmp_path, "b.png", "monday/cam 1/a.JPG", "monday/a.png", "a.webp")
    assert images_below(tmp_path) == ("a.webp", "b.png", "monday/a.png", "monday/cam 1/a.JPG")


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", ".thumbs/a.png", ".b.png")
    (tmp_path / "notes.txt").write_text("text")
    assert images_below(tmp_path) == ("a.png",)


@pytest.mark.parametrize("link, target", [("x/again", "."), ("x/y", "x"), ("x/z", "a")])
def test_links_to_folders_are_followed_but_never_round_in_circles(
    tmp_path: Path, link: str, target: str
) -> None:
    fill(tmp_path, "a/1.png", "x/2.png")
    (tmp_path / "a" / "x").symlink_to(tmp_path / "x")
    (tmp_path / link).symlink_to(tmp_path / target)
    found = images_below(tmp_path)
    assert found[:3] == ("a/1.png", "a/x/2.png", "x/2.png")
    assert len(found) <= 4


@pytest.mark.parametrize("content", [None, ["notes.txt"], [".a.png"]])
def test_a_folder_without_images_is_named(tmp_path: Path, content: list[str] | None) -> None:
    folder = tmp_path / "field"
    if content is None:
        told = f"no folder {folder}; expected image files in it, at any depth"
    else:
        fill(folder)
        folder.mkdir()
        for name in content:
            (folder / name).touch()
        told = f"no images in {folder}; allowed are .bmp, .jpeg"
    with pytest.raises(DataError) as caught:
        images_below(folder)
    assert told in str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    for find in (images_below, class_folders):
        with pytest.raises(DataError, match=r"no folder .*a\.png; expected"):
            find(tmp_path / "a.png")


def test_a_folder_that_may_not_be_read_is_named_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a/1.png", "b/2.png")
    scan = os.scandir

    def forbidden(path: str) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DataError, match=r"cannot read .*b: Permission denied"):
        images_below(tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*b: Permission denied"):
        images_by_class(tmp_path, ("a", "b"))


def test_images_of_a_class_are_those_below_its_folder(tmp_path: Path) -> None:
    fill(tmp_path, "cat/2.png", "cat/old/1.png", "dog/3.png", "4.png")
    assert class_folders(tmp_path) == ("cat", "dog")
    assert images_by_class(tmp_path, ("dog", "cat")) == (
        ("dog/3.png",),
        ("cat/2.png", "cat/old/1.png"),
    )


def test_files_are_read_by_their_number(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png")
    files = image_files(tmp_path, ("b.png", "a.png"), channels=3)
    assert files.names == ("b.png", "a.png")
    assert [int(np.max(files.read(number))) for number in (0, 1)] == [1, 0]


def test_the_digest_is_of_names_contents_and_order(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png")
    before = image_files(tmp_path, ("a.png", "b.png"), channels=3).digest
    digests = {before, image_files(tmp_path, ("b.png", "a.png"), channels=3).digest}
    fill(tmp_path / "other", "b.png", "a.png")  # the same names, the contents exchanged
    digests.add(image_files(tmp_path / "other", ("a.png", "b.png"), channels=3).digest)
    assert len(digests) == 3
    fill(tmp_path / "copy", "a.png", "b.png")
    assert image_files(tmp_path / "copy", ("a.png", "b.png"), channels=3).digest == before
