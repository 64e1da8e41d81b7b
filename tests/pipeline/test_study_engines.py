"""Workers and drivers are killed for real; what they had finished stays, and is not done twice."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from compressor.study.job import Ran
from compressor.study.trial_ledger import TrialLedger
from tests.pipeline.study_project import GRID, done, found, setup_of

WAIT_S = 240.0

SMALL = (
    GRID.replace("  taylor: {importance: taylor, steps: 2}\n", "")
    .replace("ratios: [0.3, 2x]", "ratios: [0.3]")
    .replace(", scratch: [0.3]", "")
)
SMALL_TRIALS = 3 + 2 + 2 * 5
"""As many as there are in ``GRID``, but for a method, a ratio and the network from scratch."""


@pytest.fixture(scope="module")
def reference(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The study without any disturbance, in this process."""
    return done(setup_of(root, tmp_path_factory.mktemp("reference"), SMALL))


def ray_is_missing() -> bool:
    return importlib.util.find_spec("ray") is None


ENGINES_HERE = [
    ("process", "process"),
    pytest.param(
        "ray",
        "serial",  # where one engine stopped another goes on
        marks=pytest.mark.skipif(ray_is_missing(), reason="Ray is not installed: compressor[ray]"),
    ),
]


def processes_under(ancestor: int) -> dict[int, str]:
    """Descendants and their command lines."""
    parents: dict[int, int] = {}
    words: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(stat[1])
                words[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    found = {}
    for process in parents:
        above = process
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor != process:
            found[process] = words[process]
    return found


def workers(driver: int) -> list[int]:
    """Processes that do trials."""
    return [
        process
        for process, words in processes_under(driver).items()
        if "multiprocessing.spawn" in words or "ray::_do" in words
    ]


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, f"not within {WAIT_S:.0f} s: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def started(script: Path, words: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environ = {**os.environ, "RAY_ADDRESS": ""}
    with log.open("ab") as output:
        driver = subprocess.Popen(
            [script, *words], stdout=output, stderr=output, env=environ, cwd=log.parent
        )
    try:
        yield driver
    finally:
        driver.kill()
        driver.wait()


def lines(ledger: Path) -> int:
    return len(ledger.read_bytes().splitlines()) - 1 if ledger.exists() else 0


@pytest.mark.parametrize(("engine", "next_engine"), ENGINES_HERE)
def test_a_study_survives_a_killed_worker_and_a_killed_driver(
    engine: str, next_engine: str, root: Path, tmp_path: Path, script: Path, reference: Ran
) -> None:
    (tmp_path / "study.yaml").write_text(
        f"project: {root / 'compress.yaml'}\n" + SMALL.replace("model.pt", str(root / "model.pt"))
    )
    ledger, log = tmp_path / "out" / "ledger.jsonl", tmp_path / "log"
    words = ["study", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")]
    words += ["--workers", "2", "--engine"]
    with started(script, [*words, engine], log) as driver:
        until(lambda: lines(ledger) >= 3 and workers(driver.pid), "trials in work")
        before = lines(ledger)
        os.kill(workers(driver.pid)[0], signal.SIGKILL)
        until(lambda: lines(ledger) >= before + 3, "trials after a worker was killed")
        assert driver.poll() is None, log.read_text()
        below = list(processes_under(driver.pid))
        driver.kill()
        driver.wait()
        kept = lines(ledger)
        assert 6 <= kept < SMALL_TRIALS
    until(lambda: not any(working(process) for process in below), "workers end with the driver")
    end_agents(below)
    with started(script, [*words, next_engine], log) as driver:
        assert driver.wait(timeout=WAIT_S) == 0, log.read_text()
    records = TrialLedger(path=ledger).read()
    assert found(records) == found(dict(reference.records))
    every = [json.loads(line)["trial"] for line in ledger.read_bytes().splitlines()[1:]]
    assert sorted(every) == sorted(set(every))
    report = json.loads((tmp_path / "out" / "study.json").read_text())
    assert report["trials"]["done"] == SMALL_TRIALS


def end_agents(processes: Iterable[int]) -> None:
    """Of Ray, which would wait half a minute for their driver, and write what they import."""
    for process in processes:
        with contextlib.suppress(OSError):
            if "ray" in Path(f"/proc/{process}/cmdline").read_text():
                os.kill(process, signal.SIGKILL)


def working(process: int) -> bool:
    """Whether it still does trials; Ray's own agents stay a while longer."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return False
    return "multiprocessing" in words or "ray::_do" in words


def test_a_trial_retrains_in_processes_of_its_own(root: Path, tmp_path: Path) -> None:
    text = GRID.replace("retrain: {", "retrain: {processes: 2, ")
    for old, new in (
        ("  taylor: {importance: taylor, steps: 2}\n  wt: {mask: magnitude}\n", ""),
        ("ratios: [0.3, 2x]", "ratios: [0.3]"),
        ("held_out: [gaussian_noise-3, contrast-5]", "held_out: []"),
        ("parts: [potential, excess, similarity]", "parts: [potential]"),
        (", scratch: [0.3]", ""),
    ):
        assert old in text
        text = text.replace(old, new)
    ran = done(setup_of(root, tmp_path, text), engine="process", workers=1)
    (made,) = [each for each in ran.records.values() if each.kind == "prune"]
    assert made.status == "done", made.error
    assert made.found["recipe"]["processes"] == 2
    assert made.found["after"]["right"] > made.found["after"]["n"] / 2
