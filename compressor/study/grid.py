"""study.yaml, read and checked: every mistake with its line, before anything is computed."""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from compressor.config import ConfigError
from compressor.pruning.allocation import ALLOCATIONS
from compressor.pruning.controls import CONTROLS
from compressor.pruning.importance import IMPORTANCES
from compressor.study.grid_schema import Grid, Masks, Structured
from gates.shifts import SHIFTS, Component, Distribution, ShiftError, definition
from policies.strict_yaml import DocumentError, KeyPath, read

Problem = tuple[KeyPath, str]

_SUITES: Final = {"benchmark": {"benchmark"}, "all": {"benchmark", "extra"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One distribution of a study."""

    id: str
    """``clean``, or name and strength: ``fog-3``."""
    component: Component
    group: Literal["train", "held_out"]
    """Whether retraining sees it."""

    @property
    def distribution(self) -> Distribution:
        return Distribution(components=(self.component,))


def load_grid(path: Path) -> Grid:
    """The grid in a file; what depends on the images' size is not checked yet.

    Raises:
        ConfigError: with every mistake, each with its line and key path.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
    try:
        document = read(text, source=str(path))
        grid = document.of(Grid)
        if problems := list(_problems(grid)):
            raise document.error(problems)
    except DocumentError as error:
        raise ConfigError(str(error)) from error
    return grid


def distributions(grid: Grid) -> tuple[Seen, ...]:
    """All distributions of a checked grid: those of training first, each once."""
    found: dict[str, Seen] = {}
    groups: tuple[tuple[Literal["train", "held_out"], tuple[str, ...]], ...] = (
        ("train", grid.shifts.train),
        ("held_out", grid.shifts.held_out),
    )
    for group, written in groups:
        for name in (single for text in written for single in _expanded(text)):
            if name not in found:
                found[name] = Seen(id=name, component=component_of(name), group=group)
    return tuple(found.values())


def component_of(text: str) -> Component:
    """``clean``, ``fog-3`` or ``uniform_noise-0.05`` as a shift at one strength.

    Raises:
        ShiftError: it is none of these.
    """
    if text == "clean":
        return Component(name=text)
    name, _, strength = text.rpartition("-")
    if name not in SHIFTS or name == "clean":
        known = sorted(SHIFTS)
        near = difflib.get_close_matches(name or text, known, n=1)
        hint = f"did you mean {near[0]}-3? " if near else ""
        raise ShiftError(
            f"{text!r} is no shift at a severity; {hint}write clean, name-severity, benchmark-3 or "
            f"all-3; shifts are {', '.join(known)}"
        )
    try:
        if name == "uniform_noise" and "." in strength:
            return Component(name=name, level=float(strength))
        return Component(name=name, severity=int(strength))
    except ValueError:
        raise ShiftError(f"{text!r}: {strength!r} is no severity; give 1 to 5") from None


def check_strengths(grid: Grid, *, side: int) -> None:
    """Whether images of this shorter side can be moved so.

    Raises:
        ShiftError: a shift has no such strength, or needs something that is not installed.
    """
    for seen in distributions(grid):
        definition(seen.distribution, side=side)


def _expanded(text: str) -> Iterator[str]:
    suite, _, severity = text.rpartition("-")
    if suite not in _SUITES:
        yield text
        return
    yield from (f"{n}-{severity}" for n, s in SHIFTS.items() if s.suite in _SUITES[suite])


def _problems(grid: Grid) -> Iterator[Problem]:
    for name, method in grid.methods.items():
        path: KeyPath = ("methods", name)
        match method:
            case Structured():
                yield from _unknown((*path, "importance"), method.importance, IMPORTANCES)
                yield from _unknown((*path, "allocation"), method.allocation, ALLOCATIONS)
                yield from _without_loss(path, method)
            case Masks():
                yield from _unknown((*path, "mask"), method.mask, CONTROLS)
    for group, names in (("train", grid.shifts.train), ("held_out", grid.shifts.held_out)):
        for index, text in enumerate(names):
            for single in _expanded(text):
                yield from _no_shift(("shifts", group, index), single)
    yield from _features(grid)


def _without_loss(path: KeyPath, method: Structured) -> Iterator[Problem]:
    known = IMPORTANCES.get(method.importance)
    if method.regulariser and known is not None and not known.models_loss:
        fitting = ", ".join(name for name, each in IMPORTANCES.items() if each.models_loss)
        yield (
            (*path, "regulariser"),
            f"{method.importance} models no loss that it could be added to; choose of {fitting}",
        )


def _unknown(path: KeyPath, name: str, known: Collection[str]) -> Iterator[Problem]:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        yield path, f"{name!r} is unknown; {hint}known are {', '.join(known)}"


def _no_shift(path: KeyPath, text: str) -> Iterator[Problem]:
    try:
        component = component_of(text)
    except ShiftError as error:
        yield path, str(error)
        return
    if component.severity is not None and not 1 <= component.severity <= 5:
        yield path, f"{text!r}: severities are 1 to 5"


def _features(grid: Grid) -> Iterator[Problem]:
    if "features" not in grid.parts:
        return
    if grid.features is None:
        yield ("parts",), "features needs the key features: {method: ..., ratios: [...]}"
        return
    if grid.features.method not in grid.methods:
        yield from _unknown(("features", "method"), grid.features.method, grid.methods)
    for index, ratio in enumerate(grid.features.ratios):
        if ratio not in grid.ratios:
            listed = ", ".join(f"{each:g}" for each in grid.ratios)
            yield ("features", "ratios", index), f"{ratio:g} is not among ratios: {listed}"
