"""Engines by themselves, with work that needs no network."""

import functools
import importlib.util
import sys
from pathlib import Path

import pytest

from compressor.study.crew import Crew, Ended, EngineError, Work
from compressor.study.engines import ENGINES, workers_here
from compressor.study.pool import first_of
from compressor.study.trials import Task, trial

CODE = """
import os, pathlib, signal

def work(folder, task):
    for each in task:
        with open(os.path.join(folder, "done"), "a") as file:
            file.write(f"{each.about['number']}\\n")
        if each.about["number"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if each.about["number"] == 99:
            raise OSError("the disk is full")
"""


def task(number: int) -> Task:
    return (trial("any", {"number": number}, conditions={}),)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    (tmp_path / "study_work_of_tests.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "study_work_of_tests", raising=False)
    module = importlib.import_module("study_work_of_tests")
    found: Work = functools.partial(module.work, str(tmp_path))
    return found


def ended(work: Work, *numbers: int, engine: str, retries: int = 2) -> dict[int, Ended]:
    with ENGINES[engine](work, crew=Crew(workers=2, retries=retries)) as do:
        return {each.task[0].about["number"]: each for each in do([task(n) for n in numbers])}


@pytest.mark.parametrize("engine", ["serial", "process"])
def test_every_task_is_done_once(engine: str, work: Work, tmp_path: Path) -> None:
    found = ended(work, 1, 3, 4, 5, 6, engine=engine)
    assert found.keys() == {1, 3, 4, 5, 6}
    assert {each.error for each in found.values()} == {None}
    assert sorted((tmp_path / "done").read_text().split()) == ["1", "3", "4", "5", "6"]


def test_a_task_that_kills_its_worker_each_time_is_given_up_and_the_others_are_done(
    work: Work, tmp_path: Path
) -> None:
    found = ended(work, 1, 2, 3, 4, engine="process", retries=1)
    assert {number for number, each in found.items() if each.error is None} == {1, 3, 4}
    assert "ended 2 times, the last time by signal 9" in (found[2].error or "")
    assert (tmp_path / "done").read_text().split().count("2") == 2


def test_what_cannot_be_kept_stops_the_study(work: Work) -> None:
    with pytest.raises(EngineError, match="the disk is full"):
        ended(work, 1, 99, 3, engine="process")
    with pytest.raises(OSError, match="the disk is full"):
        ended(work, 99, engine="serial")


def test_no_tasks_need_no_workers(work: Work) -> None:
    for engine in ("serial", "process"):
        assert ended(work, engine=engine) == {}


def test_ray_that_is_not_installed_is_said_with_what_to_install(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"compressor\[ray\]"):
        ended(work, 1, engine="ray")


def test_there_is_room_for_one_worker_at_least() -> None:
    assert workers_here(10_000) == 1
    assert workers_here(1) >= 1


def test_workers_with_several_graphics_processors_begin_apart() -> None:
    assert [first_of(number, 2.0) for number in range(3)] == [0, 2, 4]
    assert [first_of(number, 0.5) for number in range(3)] == [0, 1, 2]
