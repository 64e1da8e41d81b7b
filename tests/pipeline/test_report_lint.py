"""What the released file's graph says of its speed is in the report, and decides nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from compressor.finished import read_finished
from compressor.render import markdown, summary
from compressor.report_schema import FindingReport, LintReport
from exporters.lint import lint

Finished = Callable[[str], tuple[Path, Result]]


def test_the_released_file_is_linted(accepted: Path) -> None:
    told = read_finished(accepted).lint
    found = lint(accepted / "model.onnx")
    assert told is not None
    assert (told.convolutions, told.fast) == (found.convolutions, found.fast) == (2, found.fast)
    assert [finding.rule for finding in told.findings] == [one.rule for one in found.findings]


def test_nothing_is_said_of_a_file_that_was_not_released(finished: Finished) -> None:
    folder, _ = finished("rejected")
    assert read_finished(folder).lint is None


@pytest.mark.parametrize("words", [markdown, summary])
def test_advice_is_told_beside_the_latency_it_explains(
    words: Callable[..., str], accepted: Path
) -> None:
    report = read_finished(accepted)
    finding = FindingReport(rule="slow-convolution", nodes=["c"], what="1 of 2", remedy="align")
    advised = report.model_copy(
        update={"lint": LintReport(convolutions=2, fast=1, findings=[finding])}
    )
    line = "Advisory, slow-convolution: 1 of 2. To do: align."
    assert line in words(advised)
    assert line not in words(report.model_copy(update={"lint": None}))
    assert words(advised).splitlines()[0] == words(report).splitlines()[0], "the verdict stays"
