"""The file that a run leaves for CI tells the verdict of the report beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from junitparser import JUnitXml

from compressor.junit import junit_xml
from compressor.report_schema import Report

Finished = Callable[[str], tuple[Path, Result]]


@pytest.mark.parametrize(
    ("name", "suites"),
    [
        ("accepted", ["lenient at ratio 0.200", "lenient at ratio 0.400"]),
        ("rejected", ["lenient at ratio 0.200"]),
        ("undecided", ["strict at ratio 0.200"]),
        ("no ratio", ["lenient"]),
        ("end of the widths", ["lenient at ratio 0.480"]),
    ],
)
def test_a_run_leaves_its_report_as_junit(finished: Finished, name: str, suites: list[str]) -> None:
    folder, result = finished(name)
    content = (folder / "junit.xml").read_bytes()
    assert content == junit_xml(Report.model_validate_json((folder / "report.json").read_text()))
    read = JUnitXml.fromstring(content)
    assert [suite.name for suite in read] == suites
    assert bool(read.failures or read.errors) == (result.exit_code != 0)


def test_an_error_is_annotated_on_github(
    compress: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = compress("model.pt", "--policy", "no such policy")
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert second == f"::error title=compress::{first.removeprefix('compress: ')}"
