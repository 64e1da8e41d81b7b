"""What stands in the tables of a study: text, and where in study.json its numbers are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


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
