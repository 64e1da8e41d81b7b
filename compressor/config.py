"""The project file, compress.yaml: finding it, reading it, overriding it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import yaml
from pydantic import BaseModel

from compressor.config_prune import PruneData, PruneProject
from compressor.config_schema import Data, GateData, GateProject, Project
from compressor.config_sources import (
    ArchiveSource,
    FactorySource,
    FolderSource,
    MaskedSource,
    Source,
    TorchvisionSource,
)
from policies.strict_yaml import DocumentError, parse

__all__ = [
    "FILE_NAME",
    "ArchiveSource",
    "ConfigError",
    "FactorySource",
    "FolderSource",
    "GateProject",
    "MaskedSource",
    "Project",
    "PruneProject",
    "Source",
    "TorchvisionSource",
    "find_project",
    "load_gate_project",
    "load_project",
    "load_prune_project",
    "override",
    "override_gate",
    "override_prune",
]

FILE_NAME: Final = "compress.yaml"

# What has no default, and what to write.
_NEEDED: Final = {
    "input": "input: {size: [3, 32, 32], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}",
    "data": "data: {train: {folder: data/train}, gate: {folder: data/test}}",
}


AnyProject = TypeVar("AnyProject", bound=BaseModel)


class ConfigError(ValueError):
    """The project file or a setting is unusable."""


def find_project(start: Path) -> Path | None:
    """The nearest compress.yaml in ``start`` or a folder above it; None when there is none."""
    folder = start.resolve()
    files = (candidate / FILE_NAME for candidate in (folder, *folder.parents))
    return next((file for file in files if file.is_file()), None)


def load_project(path: Path) -> Project:
    """The project in ``path``; its relative paths start at the folder of ``path``.

    Raises:
        ConfigError: with every error of the file, each with its line and key path.
    """
    project = _load(path, Project)
    return _anchored(project, project.data, path.resolve().parent)


def load_gate_project(path: Path) -> GateProject:
    """The same of a file that may leave out what only pruning needs.

    Raises:
        ConfigError: as for ``load_project``.
    """
    project = _load(path, GateProject)
    return _anchored(project, project.data, path.resolve().parent)


def load_prune_project(path: Path) -> PruneProject:
    """The same of a file that may leave out the images that only judging needs.

    Raises:
        ConfigError: as for ``load_project``.
    """
    project = _load(path, PruneProject)
    return _anchored(project, project.data, path.resolve().parent)


def _load(path: Path, kind: type[AnyProject]) -> AnyProject:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
    try:
        return parse(text, kind, source=str(path))
    except DocumentError as error:
        raise ConfigError("\n".join([str(error), *_hints(text, kind)])) from error


def override(project: Project | None, settings: Sequence[str], *, folder: Path) -> Project:
    """``project`` with ``settings`` ("retrain.epochs=2") in place of what it says.

    Args:
        project: None when there is no file; the settings then have to say everything needed.
        settings: a dotted key, "=", and a value in YAML; a later one wins over an earlier one.
        folder: where relative paths among the settings start.

    Raises:
        ConfigError: naming the setting that is not understood or does not fit.
    """
    changed = _override(project, settings, kind=Project)
    return _anchored(changed, changed.data, folder.resolve())


def override_gate(
    project: GateProject | None, settings: Sequence[str], *, folder: Path
) -> GateProject:
    """The same for what only judging a model takes.

    Raises:
        ConfigError: as for ``override``.
    """
    changed = _override(project, settings, kind=GateProject)
    return _anchored(changed, changed.data, folder.resolve())


def override_prune(
    project: PruneProject | None, settings: Sequence[str], *, folder: Path
) -> PruneProject:
    """The same for what only pruning takes.

    Raises:
        ConfigError: as for ``override``.
    """
    changed = _override(project, settings, kind=PruneProject)
    return _anchored(changed, changed.data, folder.resolve())


def _override(
    project: AnyProject | None, settings: Sequence[str], *, kind: type[AnyProject]
) -> AnyProject:
    document = project.model_dump(mode="json", by_alias=True) if project else {}
    for setting in settings:
        _put(document, setting)
    # The reader of files checks the settings too, so that a mistake gets the same words.
    text = yaml.safe_dump(document, allow_unicode=True)
    try:
        return parse(text, kind, source="--set")
    except DocumentError as error:
        lines = (re.sub(r"^--set:\d+: ", "", line) for line in str(error).splitlines())
        problems = [f"{_blamed(line, settings)}: {line}" for line in lines]
        raise ConfigError("\n".join([*problems, *_hints(text, kind)])) from error


def _put(document: dict[str, object], setting: str) -> None:
    key, equals, text = setting.partition("=")
    *sections, last = key.strip().split(".")
    if not (equals and last and all(sections)):
        raise ConfigError(f"--set {setting}: write key=value, as in --set retrain.epochs=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: the value is not valid YAML: {error}") from error
    section = document
    for name in sections:
        inner = section.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {setting}: {name} is a value, and has no keys of its own")
        section = inner
    section[last] = value


def _blamed(problem: str, settings: Sequence[str]) -> str:
    """The settings that touch the key path with which ``problem`` begins; all when none does."""
    path = problem.partition(":")[0].split(".")
    keys = {setting: setting.partition("=")[0].strip().split(".") for setting in settings}
    touching = [
        setting
        for setting, key in keys.items()
        if key == path[: len(key)] or path == key[: len(path)]
    ]
    return " ".join(f"--set {setting}" for setting in touching or settings)


def _hints(text: str, kind: type[BaseModel]) -> list[str]:
    """What to add for each needed key that ``text`` lacks."""
    needed = [key for key in _NEEDED if kind.model_fields[key].is_required()]
    absent = [key for key in needed if not re.search(rf"^{key}\s*:", text, re.MULTILINE)]
    return [f"add to {FILE_NAME}, with your own values: {_NEEDED[key]}" for key in absent]


def _anchored(project: AnyProject, data: Data | GateData | PruneData, folder: Path) -> AnyProject:
    """The project with its paths, those of ``data`` among them, starting at ``folder``."""
    places = {
        "train": None if data.train is None else _at(folder, data.train),
        "gate": None if data.gate is None else _at(folder, data.gate),
        "ledger": folder / data.ledger.expanduser() if data.ledger else None,
    }
    return project.model_copy(update={"data": data.model_copy(update=places)})


def _at(folder: Path, source: Source) -> Source:
    match source:
        case FolderSource():
            return FolderSource(folder=folder / source.folder.expanduser())
        case MaskedSource():
            return MaskedSource(
                images=folder / source.images.expanduser(),
                masks=folder / source.masks.expanduser(),
            )
        case ArchiveSource():
            return ArchiveSource(npz=folder / source.npz.expanduser())
        case TorchvisionSource():
            return source.model_copy(update={"root": folder / source.root.expanduser()})
        case FactorySource():
            return source
