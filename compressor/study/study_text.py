"""A study in words: study.md, and what the terminal shows."""

from typing import Final

from compressor.study.cells import Section, texts
from compressor.study.opening import head
from compressor.study.sections import sections
from compressor.study.study_schema import StudyReport
from compressor.tables import table

_AT_ONCE: Final = {"failures", "standard", "potential", "excess"}
"""What the terminal shows."""


def as_markdown(report: StudyReport) -> str:
    """All of study.md."""
    lines = [f"# Study {report.name}", ""]
    lines += [line for sentence in head(report) for line in (sentence, "")]
    lines += [line for section in sections(report) for line in _section(section)]
    return "\n".join(lines).rstrip() + "\n"


def summary(report: StudyReport) -> str:
    """The sections that answer most."""
    shown = [section for section in sections(report) if section.name in _AT_ONCE]
    lines = [f"Study {report.name}", "", *head(report), ""]
    lines += [line for section in shown for line in _section(section)]
    return "\n".join(lines).rstrip()


def _section(section: Section) -> list[str]:
    lines = [f"## {section.title}", ""]
    for each in section.tables:
        lines += [f"{each.caption.text}:", ""] if each.caption.text else []
        lines += [*table(texts(each.header), [texts(row) for row in each.rows]), ""]
    bullet = "- " if section.name == "failures" else ""
    lines += [line for note in section.notes for line in (f"{bullet}{note}", "")]
    return lines
