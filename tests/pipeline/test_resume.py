import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import numpy as np
import onnx
import pytest
from click.testing import Result

from compressor.files import sha256_of
from gates.measure import labelled_answers
from gates.shifts import Component

ROOT = Path(__file__).parent.parent.parent

# Importing torch takes longer than the whole job: it is done once, as all that has no place in an
# attempt, and every attempt is a fork.
# Moments are counted in the attempt's own CPU time, or in files: on a busy machine, too, they are
# spread over the whole job.
DRIVER = """
import json, os, random, signal, sys, time
import pytest
import compressor.files, compressor.pipeline, compressor.render, compressor.terminal
from compressor.cli import main
from exporters.onnx import OPSET
from tests.loaded_once import read_translations_once

read_translations_once(pytest.MonkeyPatch())(opset_version=OPSET)

words, undisturbed, kills = json.loads(sys.argv[1]), json.loads(sys.argv[2]), 3
rng = random.Random(0)
ticks = os.sysconf("SC_CLK_TCK")

def run_of(words):
    return words[words.index("--run") + 1]

def start(words, *, writes=None):
    process = os.fork()
    if process:
        return process
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1), os.dup2(log, 2)
    if writes:
        left, fsync = [writes], os.fsync
        def fatal(handle):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(handle)
        os.fsync = fatal
    try:
        main(words)
    except SystemExit as end:
        os._exit(end.code)
    finally:
        os._exit(1)

def spent(process):
    fields = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks

def follow(process, at):
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if at(process):
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)

begun = total = 0.0
def measured(process):
    global begun, total
    total = max(total, spent(process))
    if not os.path.exists(os.path.join(run_of(undisturbed), "candidates")):
        begun = total

codes = [follow(start(undisturbed), measured)]
rung = (total - begun) / 4
killed = leftovers = 0
while killed < kills:
    if killed % 2:
        status = follow(start(words, writes=rng.randint(1, 9)), lambda process: False)
    else:
        moment = rng.uniform(0.5 * begun, begun + 0.7 * rung)
        status = follow(start(words), lambda process: spent(process) > moment)
    if status != -signal.SIGKILL:
        break
    killed += 1
    names = [name for _, _, names in os.walk(run_of(words)) for name in names]
    leftovers += any(name.endswith(".tmp") for name in names)
codes.append(follow(start(words), lambda process: False))
print(json.dumps({"codes": codes, "killed": killed, "leftovers": leftovers}))
"""

RATIOS = "search.ratios=[0.1, 0.3, 0.6]"


def decided(folder: Path) -> dict[str, bytes]:
    """Everything in a run folder that the verdict rests on, by relative path."""
    names = ("plan.lock", "dense.onnx", "model.onnx", "evidence.jsonl")
    files = [folder / name for name in names]
    files += [*folder.glob("answers/*/*"), *folder.glob("rehearsal/*/*")]
    files += folder.glob("candidates/*/*.onnx")
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def found(folder: Path) -> dict[str, Any]:
    """What a report says, without what is about its last invocation alone."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    for step in report["steps"]:
        for epoch in step["epochs"]:
            del epoch["seconds"]
    for chain in report["chains"]:
        del chain["speedup"]  # measured, as latency is
    own = {"seconds", "latency", "command", "forward_passes"}
    return {k: v for k, v in report.items() if k not in own}


def temporary(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


def test_a_run_killed_again_and_again_ends_as_one_that_was_never_disturbed(
    fresh: Callable[[str], Path],
    command: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    homes = fresh("home"), fresh("other home")
    # A project for each: the first kills hit an empty cache, and both are a first use.
    words = [
        command(run, RATIOS, policy="looking", home=folder)
        for run, folder in zip((killed, undisturbed), homes, strict=True)
    ]
    process = subprocess.run(
        [sys.executable, "-c", DRIVER, *map(json.dumps, words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert told["codes"] == [0, 0], (tmp_path / "log").read_text()
    assert told["killed"] == 3, "the job ended before it could be killed often enough"
    assert told["leftovers"], "no kill hit a write: nothing was shown about half-written files"
    assert decided(killed) == decided(undisturbed)
    assert found(killed) == found(undisturbed)
    assert found(killed)["reuse"]["ordinal"] == 1
    ledgers = [(folder / "holdout-ledger.jsonl").read_bytes() for folder in homes]
    assert ledgers[0] == ledgers[1] and ledgers[0].count(b"\n") == 1
    lines = (killed / "evidence.jsonl").read_text().splitlines()
    assert {json.loads(line)["look"] for line in lines} == {2, 3, 4}
    assert temporary(killed) == []
    assert not list(killed.rglob("training.safetensors"))


def test_a_full_disk_is_told_and_leaves_no_half_written_file(
    accepted: Path,
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, fsync, left = tmp_path / "run", os.fsync, [0]

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    for writes in (1, 2, 5, 9):
        left[0] = writes
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            result = compress(*command(run))
        assert result.exit_code == 2, result.output
        assert "cannot write: No space left on device; free some space" in result.stderr
        assert temporary(run) == []
    result = compress(*command(run))
    assert result.exit_code == 0, result.output
    assert decided(run) == decided(accepted)


@pytest.mark.usefixtures("accepted")  # which fills the cache: it is not what may not grow
def test_a_file_that_may_not_grow_is_told_and_not_left_behind(
    command: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Real writes that fail: of the dense file, and in the same run later of a checkpoint."""
    limited = (
        "import json, os, resource, sys\n"
        "from compressor.cli import main\n"
        "for limit in (30_000, 100_000):\n"
        "    if os.fork() == 0:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "        main(json.loads(sys.argv[1]))\n"
        "    print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", limited, json.dumps(command(tmp_path / "run"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.split() == ["2", "2"], process.stderr
    assert process.stderr.count("cannot write") == process.stderr.count("File too large") == 2
    assert "Traceback" not in process.stderr
    assert temporary(tmp_path) == []
    assert (tmp_path / "run" / "dense.onnx").exists(), "the second time it could be written"
    assert all(f.stat().st_size < 100_000 for f in tmp_path.rglob("*"))


@pytest.fixture
def copied(accepted: Path, tmp_path: Path) -> Path:
    """A run like the accepted one, to be spoilt."""
    return Path(shutil.copytree(accepted, tmp_path / "run"))


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors"])
def test_a_damaged_candidate_is_told_and_made_again_once_deleted(
    accepted: Path,
    copied: Path,
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    name: str,
) -> None:
    folder = copied / "candidates" / "0.400"
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    told = compress(*command(copied))
    assert told.exit_code == 2
    assert f"{folder / name} is not the file that the run wrote; delete {folder}" in told.stderr
    shutil.rmtree(folder)
    assert compress(*command(copied)).exit_code == 0
    assert decided(copied) == decided(accepted)


def test_a_candidate_that_was_made_anew_is_judged_anew(
    copied: Path, command: Callable[..., list[str]], compress: Callable[..., Result]
) -> None:
    """On a GPU a candidate may come out otherwise the second time; here, its weights are."""
    folder = copied / "candidates" / "0.400"
    record = json.loads((folder / "candidate.json").read_text())
    made_again = onnx.load(copied / "candidates" / "0.200" / "model.onnx")
    made_again.producer_name = "made again"
    onnx.save(made_again, folder / "model.onnx")
    record["sha256"] = sha256_of(folder / "model.onnx")
    (folder / "candidate.json").write_text(json.dumps(record))
    result = compress(*command(copied))
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (copied / "evidence.jsonl").read_text().splitlines()]
    assert [line["candidate"] for line in lines if line["ratio"] == 0.4] == 3 * [record["sha256"]]
    assert len(lines) == 6
    by_shift = {ratio: [e["counts"] for e in lines if e["ratio"] == ratio] for ratio in (0.2, 0.4)}
    assert by_shift[0.4] == by_shift[0.2], "the file of ratio 0.20 was judged"


def test_a_dense_file_of_another_network_is_refused(
    copied: Path, command: Callable[..., list[str]], compress: Callable[..., Result]
) -> None:
    """The plan holds the weights' digest, not the code's of the factory that builds the network."""
    shutil.copyfile(copied / "model.onnx", copied / "dense.onnx")
    result = compress(*command(copied))
    assert result.exit_code == 2
    assert "the code that builds it has changed since the run began" in result.stderr


def test_answers_that_are_there_are_not_measured_twice(
    copied: Path,
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spy = Mock(wraps=labelled_answers)
    monkeypatch.setattr("compressor.answers.labelled_answers", spy)
    before = decided(copied)
    folder = copied / "answers" / sha256_of(copied / "candidates" / "0.200" / "model.onnx")[:16]
    (folder / "brightness-2.npy").unlink()
    lines = (copied / "evidence.jsonl").read_text().splitlines(keepends=True)
    (copied / "evidence.jsonl").write_text("".join(lines[:2]))
    assert compress(*command(copied)).exit_code == 0
    asked = [call.kwargs["distribution"].components for call in spy.call_args_list]
    assert asked == [(Component(name="brightness", severity=2),)]
    assert decided(copied) == before


class Killed(BaseException):
    """What ends a process, and nobody catches."""


def kept(folder: Path) -> int:
    """How many answers a run folder holds, those of the rehearsal among them."""
    files = [*folder.glob("answers/*/*"), *folder.glob("rehearsal/*/*")]
    return sum(np.load(file).size for file in files)


def test_a_gate_that_takes_looks_goes_on_where_it_was_killed_and_asks_for_nothing_that_is_there(
    fresh: Callable[[str], Path],
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert compress(*command(whole, policy="looking", home=fresh("home"))).exit_code == 0
    words = command(run, policy="looking", home=fresh("other home"))
    before = 0
    for calls in (1, 4, 6):
        answers = Mock(wraps=labelled_answers, side_effect=[*[DEFAULT] * calls, Killed])
        with monkeypatch.context() as patch:
            patch.setattr("compressor.answers.labelled_answers", answers)
            with pytest.raises(Killed):
                compress(*words)
        assert kept(run) > before
        before = kept(run)
    result = compress("run", *words, "--json")
    assert result.exit_code == 0, result.output
    assert decided(run) == decided(whole)
    passes = json.loads(result.stdout)["forward_passes"]
    assert sum(passes.values()) == kept(run) - before > 0
