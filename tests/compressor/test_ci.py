"""GitHub is told what the report says, in the files that its environment names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from compressor.ci import SUMMARY_BYTES, announce, fitted, outputs, refuse
from compressor.render import markdown
from compressor.report_schema import Report
from policies import Policy


@pytest.fixture
def report(reported: Callable[..., Report], rules: Callable[..., Policy]) -> Report:
    return reported(rules("fog"), {0.3: (0.0,)})


def read_outputs(content: bytes) -> dict[str, str]:
    """As GitHub's runner reads them: name=value, or name<<end, lines, end."""
    values, lines = {}, iter(content.decode().split("\n")[:-1])
    for line in lines:
        name, equals, value = line.partition("=")
        if "<<" not in name:
            assert equals
        else:
            name, _, end = line.partition("<<")
            held = []
            while (following := next(lines)) != end:
                held.append(following)
            value = "\n".join(held)
        values[name] = value
    return values


def test_outside_github_nothing_is_said_or_written(report: Report, tmp_path: Path) -> None:
    assert announce(report, tmp_path, {}) == ""
    assert refuse("no such file", {}) == ""
    assert list(tmp_path.iterdir()) == []


def test_summary_outputs_and_annotations_are_the_reports(report: Report, tmp_path: Path) -> None:
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    (tmp_path / "summary").write_text("of the step before\n")
    said = announce(report, tmp_path / "run", environ)
    assert said.startswith("::notice title=ACCEPTED at ratio 0.30 under test::Binding: fog-3.")
    assert (tmp_path / "summary").read_text() == "of the step before\n" + markdown(report)
    assert read_outputs((tmp_path / "output").read_bytes()) == {
        "verdict": "accepted",
        "exit-code": "0",
        "accepted-name": "ratio 0.30",
        "accepted-ratio": "0.3",
        "run": str(tmp_path / "run"),
    }


def test_a_refusal_is_an_error_on_one_line() -> None:
    said = refuse("line 3: a, b\nline 4: c", {"GITHUB_ACTIONS": "true"})
    assert said == "::error title=compress::line 3: a, b%0Aline 4: c"


def test_without_a_release_name_and_ratio_are_empty(
    reported: Callable[..., Report], rules: Callable[..., Policy]
) -> None:
    values = read_outputs(outputs(reported(rules("fog"), {0.3: (0.2,)}), Path("/run")))
    assert (values["accepted-name"], values["accepted-ratio"]) == ("", "")
    assert (values["verdict"], values["exit-code"]) == ("rejected", "3")


@pytest.mark.parametrize("name", ["a b=c<<d", "x\nverdict=accepted\ny", "x\n\nEOF", "é"])
def test_no_folder_adds_an_output(report: Report, name: str) -> None:
    values = read_outputs(outputs(report, Path("/runs") / name))
    assert values["run"] == f"/runs/{name}"
    assert len(values) == 5


def test_a_folder_whose_name_is_no_text_is_told_as_it_is(report: Report) -> None:
    assert outputs(report, Path("/runs/\udcff")).endswith(b"run=/runs/\xff\n")


def test_a_file_that_cannot_be_written_is_a_warning(report: Report, tmp_path: Path) -> None:
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    last = announce(report, tmp_path / "run", environ).splitlines()[-1]
    assert last == (
        "::warning title=compress::"
        "cannot write to GITHUB_STEP_SUMMARY: Is a directory; the verdict stands"
    )
    assert read_outputs((tmp_path / "output").read_bytes())["verdict"] == "accepted"


@pytest.mark.parametrize("room", [0, 40, 100, 500, 999])
def test_a_long_text_is_cut_at_a_line_and_says_so(room: int) -> None:
    content = "".join(f"{i:03} é\n" for i in range(200)).encode()
    cut = fitted(content, room=room)
    assert len(cut) <= room
    kept, said, _ = cut.decode().partition("\n\nThe report goes on; report.md")
    assert bool(said) == (room >= 100)
    assert content.decode().startswith(kept)


def test_the_summary_of_a_step_never_outgrows_what_github_takes(
    report: Report, tmp_path: Path
) -> None:
    summary = tmp_path / "summary"
    summary.write_bytes(b"x" * (SUMMARY_BYTES - 500))
    for _ in range(3):
        announce(report, tmp_path, {"GITHUB_STEP_SUMMARY": str(summary)})
    assert SUMMARY_BYTES - 500 < summary.stat().st_size <= SUMMARY_BYTES
    assert b"The report goes on" in summary.read_bytes()[-500:]
