"""The table of all shifts as text."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from gates.shifts import PROFILES, SHIFTS, ShiftError, parameters
from gates.shifts.draws import BANK_SIZE
from gates.shifts.tables import CLEAN, SEVERITIES, TABLES

_WIDTH: Final = 100
"""Letters in a line of running text."""

_HEADER: Final = ("shift", "family", "suite", "draws", "parameter")

_LEGEND: Final = (
    "benchmark: one of the 15 corruptions of ImageNet-C and CIFAR-10-C; extra: one of the 4 others "
    "there; ours: of this package alone. drawn: made for each image; "
    f"banked: one of {BANK_SIZE} that are made once."
)


def shift_list(*, profile: str, severity: int | None) -> str:
    """Every shift, what it is, and its numbers at all severities or at one.

    Raises:
        ShiftError: there is no such profile or severity.
    """
    severities = _severities(profile, severity)
    header = (*_HEADER, *(f"{number:6}" for number in severities))
    rows = [row for name in SHIFTS for row in _rows(name, profile, severities)]
    notes = [_LEGEND, *_materials()]
    wrapped = (textwrap.fill(note, _WIDTH, subsequent_indent="  ") for note in notes)
    title = f"strengths of {profile} at severity {', '.join(map(str, severities))}"
    return "\n".join([title, "", *_aligned([header, *rows]), "", *wrapped])


def shift_records(*, profile: str, severity: int | None) -> list[dict[str, object]]:
    """The same for machines: parameters by severity, and why a shift cannot be used here, if so.

    Raises:
        ShiftError: there is no such profile or severity.
    """
    return [_record(name, profile, _severities(profile, severity)) for name in SHIFTS]


def _record(name: str, profile: str, severities: Sequence[int]) -> dict[str, object]:
    shift = SHIFTS[name]
    unusable: str | None = None
    try:
        if shift.materials is not None:
            shift.materials()
    except ShiftError as error:
        unusable = str(error)
    strengths = (
        {}
        if name == CLEAN
        else {
            str(each): dict(
                zip(
                    shift.parameters,
                    parameters(name, severity=each, profile=profile, side=0),
                    strict=True,
                )
            )
            for each in severities
        }
    )
    return {
        "name": name,
        "family": shift.family,
        "suite": shift.suite,
        "draws": shift.chance,
        "profile": profile,
        "severities": strengths,
        "unusable": unusable,
    }


def _severities(profile: str, severity: int | None) -> Sequence[int]:
    if profile not in TABLES:
        raise ShiftError(f"no table {profile!r}; there are: {', '.join(PROFILES[1:])}")
    return SEVERITIES if severity is None else (severity,)


def _rows(name: str, profile: str, severities: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """One row for each parameter; only the first says whose it is."""
    shift = SHIFTS[name]
    about: tuple[str, ...] = (name, shift.family, shift.suite, shift.chance)
    if name == CLEAN:
        yield (*about, "-", *("-" for _ in severities))
        return
    rows = [parameters(name, severity=each, profile=profile, side=0) for each in severities]
    for parameter, values in zip(shift.parameters, zip(*rows, strict=True), strict=True):
        yield (*about, parameter, *(f"{value:.4g}" for value in values))
        about = ("", "", "", "")


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Words to the left of their columns, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(
            cell.ljust(width) if place < len(_HEADER) else cell.rjust(width)
            for place, (cell, width) in enumerate(cells)
        ).rstrip()


def _materials() -> Iterator[str]:
    """What some shifts need that is not part of this package, and whether it is there."""
    for name, shift in SHIFTS.items():
        if shift.materials is None:
            continue
        try:
            yield f"{name}: installed are {', '.join(shift.materials())}"
        except ShiftError as error:
            yield f"{name} cannot be used here: {error}"
