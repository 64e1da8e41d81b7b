"""Pages as bytes: the same record gives the same page."""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compressor.page.comparison import NOTHING, Compared
from compressor.page.figures import Figures
from compressor.page.layout import (
    SYMBOLS,
    binding_row,
    chains,
    curves_of,
    forest_of,
    parts,
    potential_of,
    reason_paths,
    shown_part,
    spoken,
)
from compressor.page.words import words
from compressor.report_schema import Report
from compressor.samples_file import Samples

_HERE: Final = Path(__file__).parent


def draw_report(report: Report, samples: Samples | None) -> bytes:
    """The page of a run."""
    shown = shown_part(report)
    return _page(
        "report.html.j2",
        report=report,
        f=Figures(content=report.model_dump(mode="json")),
        words=spoken(report),
        plain=words(report),
        shown=shown,
        binding_row=None if shown is None else binding_row(shown),
        parts=parts(report),
        sequences=chains(report),
        reasons=reason_paths(report),
        forest=None if shown is None else forest_of(shown),
        potential=potential_of(report),
        curves=curves_of(report),
        samples=samples,
        s=None if samples is None else _figures_of(samples),
    )


def draw_comparison(
    compared: Compared, reports: tuple[Report, Report], names: tuple[str, str]
) -> bytes:
    """The page of two runs, which people call by these ``names``."""
    return _page(
        "compare.html.j2",
        c=compared,
        names=names,
        words=[words(report) for report in reports],
        absent=NOTHING,
    )


def _figures_of(samples: Samples) -> Figures:
    return Figures(content=samples.model_dump(mode="json"), record="samples")


def _page(template: str, **context: Any) -> bytes:  # noqa: ANN401 # whatever the template asks for
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8").strip())  # noqa: S704 # ours
    text = (
        _environment()
        .get_template(template)
        .render(style=style, symbols=SYMBOLS, generator=_generator(), **context)
    )
    return f"{text.rstrip()}\n".encode()


def _generator() -> str:
    names = ("compressor", "Jinja2", "matplotlib")
    return ", ".join(f"{name} {version(name)}" for name in names)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
