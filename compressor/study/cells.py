"""What stands in the tables of a study: text, and where in study.json its numbers are."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Record = TypeVar("_Record")
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Text, and the places in study.json of the names and numbers in it, in their order."""

    text: str
    paths: tuple[str, ...] = ()
    """Dotted: ``standard_summary.0.speedup``. None for words of the program's own."""
    points: bool = False
    """Numbers are shown a hundred times as large, and without a percent sign."""


Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells in rows and columns."""

    header: Row
    rows: tuple[Row, ...]
    caption: Cell = Cell(text="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, and what stands below it."""

    name: str
    """Of its drawing, if there is one."""
    title: str
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def words(*texts: str) -> Row:
    """Cells of the program's own words."""
    return tuple(Cell(text=text) for text in texts)


def cell(
    where: str, record: object, *fields: str, form: Callable[..., str] = str, points: bool = False
) -> Cell:
    """``fields`` of a record that is at ``where``, written by ``form``; None has no path."""
    values = [getattr(record, field) for field in fields]
    return Cell(
        text=form(*values),
        paths=tuple(
            f"{where}.{field}"
            for field, value in zip(fields, values, strict=True)
            if value is not None
        ),
        points=points,
    )


def joined(*cells: Cell, by: str = " ") -> Cell:
    """Several in one."""
    return Cell(
        text=by.join(each.text for each in cells),
        paths=tuple(path for each in cells for path in each.paths),
        points=any(each.points for each in cells),
    )


def texts(row: Sequence[Cell]) -> list[str]:
    """Of a row."""
    return [each.text for each in row]


def places_of(name: str, records: Sequence[_Record]) -> list[tuple[str, _Record]]:
    """Each with its place in study.json."""
    return [(f"{name}.{k}", each) for k, each in enumerate(records)]


def firsts(
    placed: Sequence[tuple[str, _Record]], key: Callable[[_Record], _Key]
) -> dict[_Key, tuple[str, _Record]]:
    """Of each key the first record that has it, in the records' order."""
    found: dict[_Key, tuple[str, _Record]] = {}
    for at, each in placed:
        found.setdefault(key(each), (at, each))
    return found


def two(value: float) -> str:
    """With two digits."""
    return f"{value:.2f}"


def percent(value: float) -> str:
    """A share in percent."""
    return f"{value:.1%}"


def points(drop: float) -> str:
    """A share in signed points."""
    return f"{100 * drop:+.1f}"


def likeness(matching: float, distance: float) -> str:
    """A share of answers, and a distance."""
    return f"{matching:.1%} / {distance:.3f}"


def share(value: float | None, deviation: float | None = None) -> str:
    """A share in percent, with its standard deviation where there is one."""
    if value is None:
        return "-"
    return f"{value:.2%}" if deviation is None else f"{value:.2%} ± {deviation:.2%}"


def interval(low: float | None, high: float | None) -> str:
    """Two ends in points."""
    return "-" if low is None or high is None else f"[{100 * low:+.2f}, {100 * high:+.2f}]"
