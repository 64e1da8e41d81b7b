import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from compressor.render import markdown, summary
from compressor.report_schema import Report

EXPECTED = {
    "accepted": (0, "accepted", "ACCEPTED at ratio 0.40 under lenient"),
    "rejected": (3, "rejected", "REJECTED under lenient: no ratio was accepted"),
    "undecided": (4, "undecided", "UNDECIDED under strict: no ratio was accepted"),
    "no ratio": (4, "undecided", "UNDECIDED under lenient: no ratio was accepted"),
    "end of the widths": (0, "accepted", "ACCEPTED at ratio 0.48 under lenient"),
}

Finished = Callable[[str], tuple[Path, Result]]


@pytest.mark.parametrize("name", EXPECTED)
def test_exit_code_report_and_headline_tell_one_verdict(finished: Finished, name: str) -> None:
    code, verdict, headline = EXPECTED[name]
    folder, result = finished(name)
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert result.exit_code == code == report.exit_code, result.output
    assert report.verdict == verdict
    assert result.stdout.splitlines()[0] == headline
    assert (folder / "report.md").read_text().startswith(f"# {headline}\n")


@pytest.mark.parametrize("name", EXPECTED)
def test_report_text_and_screen_hold_what_the_record_holds(finished: Finished, name: str) -> None:
    folder, result = finished(name)
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert (folder / "report.md").read_text() == markdown(report)
    assert result.stdout == f"{summary(report)}\n\nreport: {folder / 'report.html'}\n"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_is_released_if_and_only_if_it_was_accepted(finished: Finished, name: str) -> None:
    folder, result = finished(name)
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert (folder / "model.onnx").exists() == (result.exit_code == 0)
    assert (report.artifact_sha256 is None) == (report.accepted_ratio is None)
    assert bool(report.latency) == (result.exit_code == 0)


def test_a_rejection_names_shift_drop_and_tolerance(finished: Finished) -> None:
    _, result = finished("rejected")
    assert "ratio 0.20: the drop on clean is" in result.stdout
    assert "10.0 %" in result.stdout


def test_thin_evidence_says_how_many_images_would_decide(finished: Finished) -> None:
    folder, result = finished("undecided")
    needed = json.loads((folder / "report.json").read_text())["images_needed"]
    assert needed > 600
    assert f"about {needed:,} images would decide" in result.stdout


def test_too_few_images_are_told_with_their_number_and_leave_nothing(
    refused: Callable[..., str], command: Callable[..., list[str]], tmp_path: Path
) -> None:
    said = refused(command(tmp_path / "run", policy="hungry"), code=4)
    assert said.splitlines()[-1] == (
        "compress: undecided: data.gate has 600 images, and the policy hungry asks for at least "
        "100,000, 99,400 more; add images, or choose another policy"
    )


@pytest.mark.parametrize("name", ["no ratio", "end of the widths"])
def test_an_unreachable_ratio_ends_the_ladder_with_its_sentence(
    finished: Finished, name: str
) -> None:
    folder, result = finished(name)
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert report.ladder_end is not None
    assert "cannot be reached with widths in multiples of" in report.ladder_end
    assert result.stdout.count(report.ladder_end) == 1
    assert [step.ratio for step in report.steps] == ([] if name == "no ratio" else [0.48])


def test_a_usage_error_is_2(compress: Callable[..., Result], root: Path) -> None:
    result = compress(str(root / "model.pt"))
    assert result.exit_code == 2
    assert "Missing option '--policy'" in result.stderr


def test_an_unsafe_model_is_5_and_its_code_does_not_run(
    compress: Callable[..., Result], command: Callable[..., list[str]], tmp_path: Path
) -> None:
    marker, evil = tmp_path / "marker", tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps(_Opens(str(marker)), protocol=2))
    result = compress(*command(tmp_path / "run", model=str(evil)))
    assert result.exit_code == 5
    assert "evil.pt asks for" in result.stderr
    assert not marker.exists()
    assert not (tmp_path / "run").exists()


def test_a_bug_is_1_with_its_traceback(command: Callable[..., list[str]], tmp_path: Path) -> None:
    code = (
        "import sys, compressor.climb\n"
        "def judge_step(*_): raise LookupError('planted')\n"
        "compressor.climb.judge_step = judge_step\n"
        "from compressor.cli import main\n"
        "main(sys.argv[1:])"
    )
    words = command(tmp_path / "run")
    process = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert "Traceback (most recent call last)" in process.stderr
    assert process.stderr.rstrip().endswith("LookupError: planted")
    assert not (tmp_path / "run" / "report.json").exists()


class _Opens:
    """Creates a file when it is unpickled without care."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self._path, "w"))
