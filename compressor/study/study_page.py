"""A study as one HTML page that needs nothing but itself, in the clothes of a run's."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compressor import page
from compressor.study.drawings import Drawing
from compressor.study.opening import head
from compressor.study.sections import sections
from compressor.study.study_schema import StudyReport

_PAGE: Final = Path(page.__file__).parent

_OWN: Final = """
header.top h1 { margin-top: 18px; }
p, li { overflow-wrap: anywhere; } li { max-width: 78ch; }
figure.plot { margin: 10px 0; } figcaption { max-width: 78ch; }
caption { color: var(--ink); font-size: 14px; font-weight: 600; padding: 4px 0; }
@media print { th, td { white-space: normal; } }
"""


def draw_study(report: StudyReport, drawings: Mapping[str, Drawing]) -> bytes:
    """The page of a study; ``drawings`` by the names of their sections."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, _PAGE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_PAGE / "style.css").read_text(encoding="utf-8").strip() + _OWN
    text = environment.get_template("study.html.j2").render(
        name=report.name,
        head=head(report),
        sections=sections(report),
        drawings=drawings,
        style=Markup(style),  # noqa: S704 # ours
        generator=f"compressor {version('compressor')}",
    )
    return f"{text.rstrip()}\n".encode()
