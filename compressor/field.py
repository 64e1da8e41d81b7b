"""The user's own folders of images, labelled or not, as the gate takes them."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, RootModel

from compressor.data import DataError, ImageSet, UnlabelledSet, labelled, unlabelled
from compressor.data_sources import list_folders
from compressor.decoding import Told
from compressor.image_files import class_folders, image_files, images_below
from compressor.wording import few
from policies import FolderRule
from policies.strict_yaml import DocumentError, parse

Mapped = Mapping[str, str | None]
"""Class folders and the model's classes that they are; None leaves a class out."""


def load_field(
    rule: FolderRule,
    *,
    classes: tuple[str, ...],
    size: tuple[int, int, int],
    cache: Path,
    root: Path,
    told: Told | None = None,
) -> ImageSet | UnlabelledSet:
    """The images of a rule's folder, decoded into ``cache`` and sized as all images are.

    Args:
        rule: its paths are relative to ``root``, the project's folder.
        classes: the model's, in the order of its outputs.
        size: what the network takes: channels, height, width in pixels.
        cache: folder of decoded images.
        root: the project's folder.
        told: hears how many images are decoded, and of how many.

    Raises:
        DataError: naming the rule, and the folder, file or class that is unusable.
    """
    folder = root / Path(rule.folder).expanduser()
    try:
        if rule.labels == "none":
            files = image_files(folder, images_below(folder), channels=size[0])
            return unlabelled(files, size=size, cache=cache, told=told)
        labels = _labels(rule, folder, classes=classes, root=root)
        listing = list_folders(folder, labels, classes=classes, channels=size[0])
        return labelled(listing, size=size, cache=cache, told=told)
    except DataError as error:
        raise DataError(f"rule {rule.id}: {error}") from error


def _labels(
    rule: FolderRule, folder: Path, *, classes: tuple[str, ...], root: Path
) -> Mapping[str, int]:
    """The label of each class folder that is not left out."""
    folders = class_folders(folder)
    given: Mapped = {}
    if rule.classes is not None:
        path = root / Path(rule.classes).expanduser()
        given = read_mapping(path, folders=folders, classes=classes)
    if unknown := [name for name in folders if name not in given and name not in classes]:
        raise DataError(
            f"the class folders {few(unknown)} of {folder} are no classes of the model "
            f"({few(classes)}); give the rule a file, as in classes: classes.yaml, that says for "
            f"each which class it is, as in {unknown[0]!r}: {classes[0]!r}, or leaves it out, as "
            f"in {unknown[0]!r}: null"
        )
    targets = {name: given.get(name, name) for name in folders}
    kept = {name: target for name, target in targets.items() if target is not None}
    _check_one_to_one(kept)
    if not kept:
        raise DataError(f"all class folders of {folder} are left out; map one to a class at least")
    return {name: classes.index(target) for name, target in kept.items()}


def _check_one_to_one(targets: Mapping[str, str]) -> None:
    """Raise DataError where two folders are one class: then two notions were one."""
    first: dict[str, str] = {}
    for name, target in targets.items():
        if target in first:
            raise DataError(
                f"the class folders {first[target]!r} and {name!r} are both {target!r}, and a "
                "mapping of classes is one to one; leave one out with null, or merge the folders"
            )
        first[target] = name


def read_mapping(path: Path, *, folders: Sequence[str], classes: Sequence[str]) -> Mapped:
    """What a mapping file says: the model's class, or None, for some of the class folders.

    Raises:
        DataError: the file is no such mapping, or names a folder or a class that is not there;
            each with its line.
    """

    def folder(name: str) -> str:
        if name not in folders:
            raise ValueError(f"there is no class folder {name!r}; {_advice(name, folders)}")
        return name

    def target(name: str | None) -> str | None:
        if name is not None and name not in classes:
            raise ValueError(f"{name!r} is no class of the model; {_advice(name, classes)}")
        return name

    document = RootModel[
        dict[
            Annotated[str, AfterValidator(folder)],
            Annotated[str | None, AfterValidator(target)],
        ]
    ]
    try:
        return parse(path.read_text(encoding="utf-8"), document, source=str(path)).root
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except DocumentError as error:
        raise DataError(str(error)) from error


def _advice(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}there are: {few(known)}"
