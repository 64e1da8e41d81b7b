"""The user's own folders: which images are taken, and as which classes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.data import DataError, ImageSet, UnlabelledSet
from compressor.field import load_field, read_mapping
from policies import FolderRule

CLASSES = ("cat", "dog", "horse")
"""The model's."""

MAPPING = "mapping.yaml"


def fill(folder: Path, images: Mapping[str, int]) -> None:
    """So many images in each of the folders, no two alike."""
    shade = 0
    for name, count in images.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shade += 1
            Image.new("RGB", (8, 8), (shade, 0, 0)).save(folder / name / f"{number}.png")


def rule(*, labels: str = "folders", classes: str | None = None) -> FolderRule:
    return FolderRule.model_validate(
        {
            "id": "site-a",
            "folder": "field",
            "labels": labels,
            "classes": classes,
            "tolerance": 0.1,
            "reason": "a test",
        }
    )


def load(root: Path, *, labels: str = "folders", mapping: str | None = None) -> ImageSet:
    if mapping is not None:
        (root / MAPPING).write_text(mapping)
    asked = rule(labels=labels, classes=None if mapping is None else MAPPING)
    found = load_field(asked, classes=CLASSES, size=(3, 8, 8), cache=root / "cache", root=root)
    assert isinstance(found, ImageSet)
    return found


def complaint(root: Path, *, labels: str = "folders", mapping: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        load(root, labels=labels, mapping=mapping)
    assert str(caught.value).startswith("rule site-a: ")
    return str(caught.value)


def test_folders_named_as_the_models_classes_need_no_mapping(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"horse": 1, "dog": 1, "cat": 2})
    found = load(tmp_path)
    assert found.classes == CLASSES
    assert found.labels.tolist() == [0, 0, 1, 2]
    assert found.names[-1] == "horse/0.png"


def test_fewer_classes_than_the_model_has_keep_the_models_positions(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"horse": 2})
    found = load(tmp_path)
    assert found.labels.tolist() == [2, 2]
    assert found.classes == CLASSES


def test_a_mapping_says_which_class_a_folder_is_and_which_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"kitty": 1, "pony": 2, "dog": 1, "barn": 3})
    found = load(tmp_path, mapping="kitty: cat\npony: horse\nbarn: null\n")
    assert dict(zip(found.names, found.labels.tolist(), strict=True)) == {
        "dog/0.png": 1,
        "kitty/0.png": 0,
        "pony/0.png": 2,
        "pony/1.png": 2,
    }


def test_classes_may_be_exchanged(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"cat": 1, "dog": 1})
    found = load(tmp_path, mapping="cat: dog\ndog: cat\n")
    assert dict(zip(found.names, found.labels.tolist(), strict=True)) == {
        "cat/0.png": 1,
        "dog/0.png": 0,
    }


def test_a_class_that_is_left_out_is_not_even_read(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"cat": 1, "barn": 1})
    (tmp_path / "field" / "barn" / "0.png").write_bytes(b"no image")
    assert load(tmp_path, mapping="barn: null\n").names == ("cat/0.png",)


def test_numbered_folders_are_mapped_when_quoted(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"0": 1, "1": 1})
    assert load(tmp_path, mapping='"0": cat\n"1": horse\n').labels.tolist() == [0, 2]
    assert "mapping.yaml:1: document: a key is text; quote it" in complaint(
        tmp_path, mapping="0: cat\n1: horse\n"
    )


def test_a_folder_that_is_no_class_is_named_with_an_example(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"kitty": 1, "cat": 1})
    said = complaint(tmp_path)
    assert f"the class folders kitty of {tmp_path / 'field'} are no classes of the model" in said
    assert "(cat, dog, horse)" in said
    assert "as in 'kitty': 'cat', or leaves it out, as in 'kitty': null" in said


MAPPING_FAULTS: Mapping[str, tuple[str, str]] = {
    "unknown folder": (
        "kitty: cat\nkity: null\n",
        "mapping.yaml:2: kity: there is no class folder 'kity'; did you mean 'kitty'? there are: ",
    ),
    "unknown class": (
        "kitty: catt\n",
        "mapping.yaml:1: kitty: 'catt' is no class of the model; did you mean 'cat'? there are: ",
    ),
    "twice a class": ("kitty: dog\n", "the class folders 'dog' and 'kitty' are both 'dog', and a"),
    "twice a folder": ("kitty: cat\nkitty: horse\n", "kitty: given twice, first on line 1"),
    "a number": ("kitty: 3\n", "kitty: Input should be a valid string, not 3"),
    "a list": ("- kitty\n", "Input should be an object"),
    "an alias": ("kitty: &x cat\ndog: *x\n", "aliases are not read"),
    "nothing": ("", "the document is empty"),
    "no YAML": ("kitty: [", "not valid YAML"),
    "all left out": ("kitty: null\ndog: null\n", "are left out; map one to a class at least"),
}


@pytest.mark.parametrize("fault", MAPPING_FAULTS)
def test_a_wrong_mapping_is_explained(fault: str, tmp_path: Path) -> None:
    mapping, told = MAPPING_FAULTS[fault]
    fill(tmp_path / "field", {"kitty": 1, "dog": 1})
    assert told in complaint(tmp_path, mapping=mapping)


def test_all_faults_of_a_mapping_are_told_at_once(tmp_path: Path) -> None:
    fill(tmp_path / "field", {"kitty": 1, "dog": 1})
    said = complaint(tmp_path, mapping="kity: cat\ndog: dogg\n")
    assert "mapping.yaml:1: kity: there is no class folder" in said
    assert "mapping.yaml:2: dog: 'dogg' is no class" in said


def test_a_mapping_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / MAPPING
    with pytest.raises(DataError, match=f"cannot read {file}: No such file"):
        read_mapping(file, folders=["kitty"], classes=CLASSES)
    file.write_bytes(b"kitty: \xff")
    with pytest.raises(DataError, match=r"is not UTF-8 text \(byte 7\)"):
        read_mapping(file, folders=["kitty"], classes=CLASSES)


def test_images_without_labels_are_taken_from_any_depth(tmp_path: Path) -> None:
    fill(tmp_path / "field", {".": 2, "monday/cam1": 1})
    found = load_field(
        rule(labels="none"),
        classes=CLASSES,
        size=(3, 8, 8),
        cache=tmp_path / "cache",
        root=tmp_path,
    )
    assert isinstance(found, UnlabelledSet)
    assert found.names == ("0.png", "1.png", "monday/cam1/0.png")
    assert found.images.shape == (3, 3, 8, 8)


@pytest.mark.parametrize("labels", ["folders", "none"])
def test_field_images_are_sized_as_all_images_are(tmp_path: Path, labels: str) -> None:
    stripes = np.zeros((16, 48, 3), dtype=np.uint8)
    stripes[:, :16, 0], stripes[:, 16:32, 1], stripes[:, 32:, 2] = 255, 255, 255
    (tmp_path / "field" / "cat").mkdir(parents=True)
    Image.fromarray(stripes).save(tmp_path / "field" / "cat" / "wide.png")
    found = load_field(
        rule(labels=labels),
        classes=CLASSES,
        size=(3, 8, 8),
        cache=tmp_path / "cache",
        root=tmp_path,
    )
    red, green, blue = found.images[0].mean((1, 2))
    assert green > 240
    assert red == blue < 10


def test_field_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "field", {"cat": 2})
    first = load(tmp_path)
    monkeypatch.setattr(Image, "open", None)
    assert np.array_equal(load(tmp_path).images, first.images)


FOLDER_FAULTS: Mapping[str, tuple[Mapping[str, int] | None, str, str]] = {
    "no folder": (None, "folders", "no folder "),
    "no folder without labels": (None, "none", "no folder "),
    "no class folders": ({".": 1}, "folders", "has no class folders; expected "),
    "an empty class": ({"cat": 1, "dog": 0}, "folders", "no images in the class folders dog of"),
    "no images": ({"monday": 0}, "none", "no images in "),
}


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
def test_a_wrong_folder_is_explained(fault: str, tmp_path: Path) -> None:
    images, labels, told = FOLDER_FAULTS[fault]
    if images is not None:
        fill(tmp_path / "field", images)
    assert told in complaint(tmp_path, labels=labels)


@pytest.mark.parametrize("labels", ["folders", "none"])
def test_an_unreadable_image_is_named(tmp_path: Path, labels: str) -> None:
    fill(tmp_path / "field", {"cat": 2})
    (tmp_path / "field" / "cat" / "1.png").write_bytes(b"no image")
    assert "cannot decode " in complaint(tmp_path, labels=labels)


@pytest.mark.parametrize("home", [True, False])
def test_paths_may_be_absolute_or_start_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: bool
) -> None:
    fill(tmp_path / "field", {"cat": 1})
    (tmp_path / MAPPING).write_text("cat: dog\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    start = "~" if home else str(tmp_path)
    asked = rule().model_copy(update={"folder": f"{start}/field", "classes": f"{start}/{MAPPING}"})
    elsewhere = tmp_path / "elsewhere"
    found = load_field(
        asked, classes=CLASSES, size=(3, 8, 8), cache=tmp_path / "cache", root=elsewhere
    )
    assert isinstance(found, ImageSet)
    assert found.labels.tolist() == [1]
