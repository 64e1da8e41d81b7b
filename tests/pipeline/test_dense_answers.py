"""The dense model is asked once for a project: later runs take its answers from the cache."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from compressor.plan import conditions
from compressor.report_schema import Report
from exporters.runtime import Preprocessing
from gates.answers import Answers

Fresh = Callable[[str], Path]
Judged = Callable[..., Path]

ONE_RATIO = "search.ratios=[0.2]"
OTHER_SCALE = "input.std=[0.3, 0.3, 0.3]"


@pytest.fixture
def judged(
    command: Callable[..., list[str]], compress: Callable[..., Result], tmp_path: Path
) -> Judged:
    """The folder of a new run in a project, accepted at the one ratio that is tried."""

    def run(home: Path, *settings: str, policy: str = "lenient") -> Path:
        folder = tmp_path / f"run {len(list(tmp_path.glob('run *')))}"
        result = compress(*command(folder, ONE_RATIO, *settings, policy=policy, home=home))
        assert result.exit_code == 0, result.output
        return folder

    return run


def found(run: Path) -> dict[str, bytes]:
    """Evidence, answers and candidates of a run, by relative path."""
    files = [run / "plan.lock", run / "evidence.jsonl", run / "dense.onnx", run / "model.onnx"]
    files += run.glob("answers/*/*")
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def dense_passes(run: Path) -> int:
    report = Report.model_validate_json((run / "report.json").read_bytes())
    return report.forward_passes.dense


def rehearsed(run: Path) -> int:
    """Images of the tune split that one model was shown."""
    kept: list[Answers] = [np.load(path) for path in run.glob("rehearsal/*/*")]
    return sum(answers.size for answers in kept) // 2


SCALED = Preprocessing(mean=(0.5,), std=(0.25,))


def test_conditions_are_the_same_for_the_same_machine_and_pixels() -> None:
    assert conditions("cpu", before=SCALED) == conditions("cpu", before=SCALED)


@pytest.mark.parametrize(
    "other",
    [
        conditions("cuda", before=SCALED),
        conditions("cpu", before=replace(SCALED, mean=(0.4,))),
        conditions("cpu", before=replace(SCALED, std=(0.2,))),
        conditions("cpu", before=None),
    ],
    ids=["provider", "mean", "std", "raw"],
)
def test_other_pixels_or_another_machine_are_other_conditions(other: object) -> None:
    assert conditions("cpu", before=SCALED) != other


def test_another_number_of_threads_is_another_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    before = conditions("cpu", before=SCALED)
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    assert conditions("cpu", before=SCALED) != before


def test_a_warm_cache_gives_the_evidence_of_a_cold_one_byte_for_byte(
    fresh: Fresh, judged: Judged
) -> None:
    home = fresh("home")
    cold, warm = judged(home), judged(home)
    assert (dense_passes(cold), dense_passes(warm)) == (3 * 600, 0)
    assert found(warm) == found(cold)


def test_a_gate_that_takes_looks_finds_in_the_cache_what_a_longer_run_has_left_there(
    fresh: Fresh, judged: Judged
) -> None:
    """Of 600 answers a look needs fewer: the run must not tell that there were more."""
    home = fresh("home")
    judged(home)  # under another policy, whose plan the dense file of that run carries
    warm, cold = judged(home, policy="looking"), judged(fresh("other home"), policy="looking")
    assert dense_passes(warm) == rehearsed(warm) > 0
    assert dense_passes(cold) > dense_passes(warm)
    assert found(warm) == found(cold)


def test_answers_to_pixels_that_were_scaled_otherwise_are_not_taken(
    fresh: Fresh, judged: Judged
) -> None:
    """Weights and images are the same, and the network is: what it sees is not."""
    home = fresh("home")
    first = judged(home)
    warm, cold = judged(home, OTHER_SCALE), judged(fresh("other home"), OTHER_SCALE)
    assert dense_passes(warm) == 3 * 600
    assert found(warm) == found(cold)
    by_scale = [{p.read_bytes() for p in run.glob("answers/*/clean.npy")} for run in (first, warm)]
    assert not by_scale[0] & by_scale[1]
    # What was there is still there, for whoever scales as before.
    assert dense_passes(judged(home)) == 0
