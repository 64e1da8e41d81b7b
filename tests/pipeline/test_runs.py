import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from compressor.files import digest
from compressor.models import load_model
from compressor.runs import (
    RunError,
    lock_plan,
    opened,
    read_answers,
    read_evidence,
    write_answers,
    write_evidence,
)
from gates import Evidence, PairedCounts
from gates.answers import ANSWER, UNLABELLED_ANSWER

PLAN = {"seed": 0, "rules": ["clean", "fog-3"], "data": {"gate": "abc", "train": "def"}}
COUNTS = PairedCounts(both_right=5, only_dense=1, only_pruned=2, both_wrong=3)
EVIDENCE = Evidence(
    candidate="c",
    dense="d",
    name="ratio 0.20",
    position=0,
    ratio=0.2,
    shift="clean",
    images="i",
    look=1,
    counts=COUNTS,
)
BROUGHT = replace(EVIDENCE, name="net.onnx", position=3, ratio=None, look=2)


def _open(path: Path) -> None:
    with opened(path):
        pass


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "run") as run:
        write_evidence(run, [EVIDENCE, BROUGHT])
        assert read_evidence(run) == (EVIDENCE, BROUGHT)


@pytest.mark.parametrize("record", [ANSWER, UNLABELLED_ANSWER], ids=["labelled", "unlabelled"])
def test_answers_are_read_back_to_the_last_bit(tmp_path: Path, record: np.dtype[np.void]) -> None:
    answers = np.zeros(3, dtype=record)
    answers["predicted"] = [3, 0, 2]
    answers["confidence"] = [0.1, 1 / 3, np.nextafter(1, 0)]
    with opened(tmp_path) as run:
        place = run.answers("a" * 64, "clean")
        assert read_answers(place) is None
        write_answers(place, answers)
        found = read_answers(place)
    assert found is not None
    assert (found.dtype, found.tobytes()) == (record, answers.tobytes())


def test_damaged_answers_are_told_with_their_place(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        place = run.answers("a" * 64, "clean")
        write_answers(place, np.zeros(3, dtype=UNLABELLED_ANSWER))
        place.write_bytes(place.read_bytes()[:-1])
        with pytest.raises(RunError, match=r"clean\.npy is damaged .*; delete it, and it is mea"):
            read_answers(place)


def test_a_run_without_evidence_has_none(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        assert read_evidence(run) == ()


def test_answers_of_different_files_or_images_never_meet(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        places = {
            place(sha256, "clean")
            for place in (run.answers, run.rehearsal)
            for sha256 in ("a" * 64, "b" * 64)
        }
    assert len(places) == 4


def test_edited_evidence_is_damaged_evidence(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        write_evidence(run, [EVIDENCE])
        run.evidence.write_text(run.evidence.read_text().replace('"both_right":5', '"right":5'))
        with pytest.raises(RunError, match=r"evidence\.jsonl is damaged"):
            read_evidence(run)


def test_digest_of_the_plan_is_that_of_its_file(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        first = lock_plan(run, PLAN)
        assert first == lock_plan(run, dict(reversed(PLAN.items())))
        assert first == digest(run.plan.read_text())


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"seed": 1}, r"seed was 0 and is 1;"),
        ({"data": {"gate": "xyz", "train": "def"}}, r'data\.gate was "abc" and is "xyz";'),
        ({"rules": ["clean"]}, r'rules was \["clean", "fog-3"\] and is \["clean"\];'),
    ],
)
def test_another_jobs_folder_is_refused_naming_what_differs(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    with opened(tmp_path) as run:
        lock_plan(run, PLAN)
        before = run.plan.read_bytes()
        with pytest.raises(RunError, match=rf"belongs to another job: {told} give another folder"):
            lock_plan(run, {**PLAN, **changes})
        assert run.plan.read_bytes() == before


def test_a_damaged_plan_is_no_plan(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        run.plan.write_text("{")
        with pytest.raises(RunError, match=r"plan\.lock is damaged .*delete this one"):
            lock_plan(run, PLAN)


def test_folder_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(RunError, match="another run is working in"):
        _open(tmp_path)
    _open(tmp_path)


def test_what_killed_writes_left_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        lock_plan(run, PLAN)
    (tmp_path / "candidates").mkdir()
    leftovers = [tmp_path / ".plan.lock.abc.tmp", tmp_path / "candidates" / ".model.onnx.xyz.tmp"]
    for leftover in leftovers:
        leftover.write_text("half")
    with opened(tmp_path):
        assert not any(leftover.exists() for leftover in leftovers)
        assert (tmp_path / "plan.lock").exists()


def test_a_run_killed_before_its_plan_was_whole_can_go_on(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".plan.lock.abc.tmp").write_text("{")
    with opened(tmp_path) as run:
        lock_plan(run, PLAN)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "plan.lock"]


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("precious")
    (tmp_path / ".notes.tmp").write_text("precious too")
    with pytest.raises(RunError, match=r"holds \.notes\.tmp, model\.onnx, and no plan\.lock"):
        _open(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".notes.tmp", "model.onnx"]


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_in_the_folders_place_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=rf"{path} cannot be a folder"):
        _open(tmp_path / path)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"policy": "strict"}, 'policy.name was "lenient" and is "strict"'),
        ({"settings": ["seed=1"]}, "seed was 0 and is 1"),
        ({"settings": ["retrain.epochs=3"]}, "retrain.epochs was 2 and is 3"),
    ],
)
def test_a_run_is_not_continued_under_other_terms(
    accepted: Path,
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    changes: dict[str, object],
    told: str,
) -> None:
    before = {p: p.read_bytes() for p in accepted.rglob("*") if p.is_file()}
    settings = changes.get("settings", [])
    assert isinstance(settings, list)
    result = compress(*command(accepted, *settings, policy=str(changes.get("policy", "lenient"))))
    assert result.exit_code == 2
    assert "belongs to another job" in result.stderr
    assert told in result.stderr
    assert {p: p.read_bytes() for p in accepted.rglob("*") if p.is_file()} == before


def test_a_run_is_not_continued_with_another_model(
    accepted: Path,
    root: Path,
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    tmp_path: Path,
) -> None:
    model = load_model(root / "model.pt", root=root).module
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    torch.save(model, tmp_path / "model.pt")
    result = compress(*command(accepted, model=str(tmp_path / "model.pt")))
    assert result.exit_code == 2
    assert "model.sha256 was" in result.stderr


# A shell that starts its own jobs in the background lets them ignore SIGINT, and whoever ignores it
# passes that on; so the tests may not have been given what every user's process has.
INTERRUPTIBLE = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def test_a_second_run_waits_outside_and_ctrl_c_tells_how_to_go_on(
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    script: Path,
    tmp_path: Path,
) -> None:
    words = command(tmp_path / "run", "retrain.epochs=1000")
    started = [sys.executable, "-c", INTERRUPTIBLE, str(script), *words]
    with subprocess.Popen(started, stderr=subprocess.PIPE, text=True) as first:
        try:
            end = time.monotonic() + 300
            while not (tmp_path / "run" / "candidates").exists() and time.monotonic() < end:
                assert first.poll() is None
                time.sleep(0.05)
            second = compress(*words)
            assert second.exit_code == 2
            assert f"another run is working in {tmp_path / 'run'}; wait for it" in second.stderr
            first.send_signal(signal.SIGINT)
            _, told = first.communicate(timeout=120)
        finally:
            # Or it would train on behind the other tests.
            first.kill()
            first.wait()
    assert first.returncode == 130
    assert f"is in {tmp_path / 'run'}: give the same command again to go on" in told
    assert "Traceback" not in told
