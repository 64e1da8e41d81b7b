"""The last step of a study: what its records say, written as files."""

import shlex
import sys

from compressor.files import write_atomically
from compressor.study.drawings import drawings, standalone
from compressor.study.findings import findings
from compressor.study.job import Ran
from compressor.study.setup import Setup
from compressor.study.shop import shop_of
from compressor.study.study_page import draw_study
from compressor.study.study_schema import StudyReport
from compressor.study.study_text import as_markdown
from compressor.study.tables import write_tables
from compressor.watch import Watch


def finish(setup: Setup, ran: Ran, *, watch: Watch) -> StudyReport:
    """Write study.json, the tables and study.md; what study.json holds."""
    command = shlex.join(["compress", *sys.argv[1:]])
    report = findings(shop_of(setup, watch), ran, command=command)
    watch.say("writing tables, figures and report.html")
    write_tables(report, setup.out / "tables")
    found = drawings(report)
    for name, drawn in found.items():
        write_atomically(setup.out / "figures" / f"{name}.svg", standalone(drawn))
    write_atomically(setup.out / "report.html", draw_study(report, found))
    write_atomically(setup.out / "study.md", as_markdown(report).encode())
    # Last: where it is, everything else is.
    write_atomically(setup.out / "study.json", report.model_dump_json(indent=2).encode() + b"\n")
    return report
