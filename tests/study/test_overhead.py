"""What a study costs besides its trials."""

import time
from pathlib import Path

from compressor.study.crew import Crew
from compressor.study.engines import ENGINES
from compressor.study.trial_ledger import TrialLedger, done
from compressor.study.trials import Task, trial

SLEPT_S = 0.05
TRIALS = 60


def test_keeping_the_ledger_takes_less_than_a_twentieth_of_short_trials(tmp_path: Path) -> None:
    ledger = TrialLedger(path=tmp_path / "ledger.jsonl")
    epochs = [{"epoch": n, "loss": 0.1, "accuracy": 0.9, "seconds": 1.0} for n in range(30)]
    tasks: list[Task] = [
        (trial("prune", {"number": n}, conditions={"versions": {"torch": "2"}}),)
        for n in range(TRIALS)
    ]
    worked = 0.0

    def work(task: Task) -> None:
        nonlocal worked
        for each in task:
            known = ledger.read(only={each.id})
            assert each.id not in known
            start = time.perf_counter()
            time.sleep(SLEPT_S)
            worked += time.perf_counter() - start
            ledger.append(done(each, {"epochs": epochs}, seconds=SLEPT_S))

    start = time.process_time()
    with ENGINES["serial"](work, crew=Crew()) as do:
        assert len(list(do(tasks))) == TRIALS
    # Processor time: on a busy machine the clock on the wall tells what others do.
    assert time.process_time() - start < 0.05 * worked
    assert len(ledger.read()) == TRIALS
