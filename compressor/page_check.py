"""Whether the page of a sealed run is the one that its record gives: it is drawn again.

What draws is not needed to check all else, so that its absence is told and no fault.
"""

from compressor.finished import read_samples
from compressor.records import Finding
from compressor.report_schema import Report
from compressor.runs import RunError, RunFolder
from compressor.samples_file import SAMPLES
from compressor.seal import PAGE


def page_fault(run: RunFolder, report: Report) -> Finding | None:
    """What is wrong with report.html; None if nothing is, or there is none.

    Raises:
        ImportError: this machine cannot draw.
    """
    from compressor.page.draw import draw_report  # noqa: PLC0415 # loads matplotlib
    from compressor.page.likeness import unlike  # noqa: PLC0415 # loads matplotlib

    file = run.path / PAGE
    if not file.is_file():
        return None
    try:
        samples = read_samples(run.path, report)
    except RunError as error:
        return Finding(file=SAMPLES, what=str(error))
    kept = file.read_bytes().decode(errors="replace")
    where = unlike(kept, draw_report(report, samples).decode())
    if where is None:
        return None
    return Finding(file=PAGE, what=f"is not what report.json and {SAMPLES} give: {where} differs")
