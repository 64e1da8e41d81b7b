"""Only what a run accepted, and still holds, leaves its folder through the front door."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compressor.cli import main
from compressor.files import sha256_of

Finished = Callable[[str], tuple[Path, Result]]


def export(run: Path, target: Path) -> Result:
    return CliRunner().invoke(main, ["export", str(run), "--to", str(target)])


def test_the_accepted_file_is_copied_byte_for_byte(accepted: Path, tmp_path: Path) -> None:
    target = tmp_path / "shipped" / "net.onnx"
    result = export(accepted, target)
    assert result.exit_code == 0, result.output
    assert target.read_bytes() == (accepted / "model.onnx").read_bytes()
    assert sha256_of(target) in result.stdout
    assert result.stdout.startswith("ACCEPTED")
    again = export(accepted, target)
    assert again.exit_code == 0, "the same file may be there already"


def test_into_a_folder_it_keeps_its_name(accepted: Path, tmp_path: Path) -> None:
    assert export(accepted, tmp_path).exit_code == 0
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.parametrize("outcome, code", [("rejected", 3), ("undecided", 4)])
def test_what_was_not_accepted_is_not_exported(
    outcome: str, code: int, finished: Finished, tmp_path: Path
) -> None:
    folder, _ = finished(outcome)
    result = export(folder, tmp_path / "net.onnx")
    assert result.exit_code == code
    assert f"is {outcome}: there is no file that may be deployed" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_file_was_changed_exports_nothing(accepted: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(accepted, tmp_path / "run"))
    (run / "model.onnx").write_bytes((run / "dense.onnx").read_bytes())
    result = export(run, tmp_path / "net.onnx")
    assert result.exit_code == 3
    assert "does not hold: model.onnx: its sha256 is not the one in SHA256SUMS" in result.stderr
    assert not (tmp_path / "net.onnx").exists()


def test_another_file_in_its_place_is_not_replaced(accepted: Path, tmp_path: Path) -> None:
    target = tmp_path / "net.onnx"
    target.write_text("precious")
    result = export(accepted, target)
    assert result.exit_code == 2
    assert "is there already, and something else" in result.stderr
    assert target.read_text() == "precious"


def test_a_folder_that_is_no_runs_is_refused(tmp_path: Path) -> None:
    result = export(tmp_path, tmp_path / "net.onnx")
    assert result.exit_code == 2
    assert "is not the folder of a run" in result.stderr
