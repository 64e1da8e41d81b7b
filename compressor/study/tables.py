"""A study's tables as CSV and, where pyarrow is installed, as Parquet: one file for each.

Columns are the fields of the rows, whose meaning ``docs/study.md`` has. ``pandas.read_csv`` and
``pandas.read_parquet`` take them as they are; what is not known is an empty field, or null.
"""

import csv
import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from compressor.files import write_atomically
from compressor.study.analyses.curves import Point
from compressor.study.analyses.excess import Excess, Line
from compressor.study.analyses.losses import Correlation, Loss
from compressor.study.analyses.potential import Overparameterisation, Potential
from compressor.study.analyses.shrinkbench import Row, Summary
from compressor.study.analyses.similarity import Alike
from compressor.study.study_schema import StudyReport

TABLES: Final[Mapping[str, type]] = {
    "standard": Row,
    "standard_summary": Summary,
    "curves": Point,
    "potentials": Potential,
    "overparameterisation": Overparameterisation,
    "excess": Excess,
    "excess_lines": Line,
    "similarity": Alike,
    "losses": Loss,
    "loss_correlations": Correlation,
}
"""Fields of study.json that are tables, and what a row of each is."""


def write_tables(report: StudyReport, folder: Path) -> list[Path]:
    """Write every table that has rows; the files."""
    written = []
    for name, kind in TABLES.items():
        rows: Sequence[Any] = getattr(report, name)
        if not rows:
            continue
        columns = [field.name for field in fields(kind)]
        plain = [asdict(row) for row in rows]
        file = folder / f"{name}.csv"
        write_atomically(file, _csv(columns, plain))
        written.append(file)
        if importlib.util.find_spec("pyarrow") is not None:
            file = folder / f"{name}.parquet"
            write_atomically(file, _parquet(columns, plain))
            written.append(file)
    return written


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 # an optional extra
    from pyarrow import parquet  # noqa: PLC0415

    table = pa.table({name: [row[name] for row in rows] for name in columns})
    content = io.BytesIO()
    parquet.write_table(table, content)
    return content.getvalue()
