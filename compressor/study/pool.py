"""Trials in processes of this machine, any of which may be killed.

A pool of its own rather than ``concurrent.futures``: there, one killed worker breaks the pool, and
workers outlive a killed driver.
"""

import math
import multiprocessing
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

import torch

from compressor.lifeline import end_with_parent
from compressor.study.crew import Crew, Do, Ended, EngineError, Work
from compressor.study.trials import Task

# Spawned: a fork of a process whose threads hold locks may never get them.
_CONTEXT: Final = multiprocessing.get_context("spawn")

_DIED: Final = "died"


@dataclass(slots=True, kw_only=True)
class _Worker:
    process: SpawnProcess
    line: Connection
    """Tasks go out; None comes back for each, or what stops the study."""
    number: int
    task: Task | None = None


@contextmanager
def in_processes(work: Work, *, crew: Crew) -> Iterator[Do]:
    """Each task in one of ``crew.workers`` processes; begun anew if its process is killed.

    With graphics processors, worker k begins at number k, or where each has several at k times as
    many, modulo how many there are.
    """
    crowd: list[_Worker] = []
    try:
        yield lambda tasks: _done(crowd, work, crew, tasks)
    finally:
        _stop(crowd)


def _done(crowd: list[_Worker], work: Work, crew: Crew, tasks: Sequence[Task]) -> Iterator[Ended]:
    """The tasks as they end; workers are begun when there is work for them, and stay."""
    waiting = list(reversed(tasks))
    begun: dict[int, int] = {}
    while len(crowd) < min(crew.workers, len(tasks)):
        crowd.append(_start(work, crew, len(crowd)))
    while waiting or any(worker.task is not None for worker in crowd):
        for worker in crowd:
            if worker.task is None and waiting:
                _give(worker, waiting.pop(), begun)
        wait([w.line for w in crowd] + [w.process.sentinel for w in crowd])
        for place, worker in enumerate(crowd):
            task, end = _heard(worker)
            if end == _DIED:
                worker.line.close()
                crowd[place] = _start(work, crew, worker.number)
            if task is None:
                continue
            if end != _DIED:
                yield Ended(task=task)
            elif begun[id(task)] > crew.retries:
                yield Ended(task=task, error=_killed(worker, begun[id(task)]))
            else:
                waiting.append(task)


def _start(work: Work, crew: Crew, number: int) -> _Worker:
    here, there = _CONTEXT.Pipe()
    # No daemon: those may have no children, and a network is traced in one.
    process = _CONTEXT.Process(
        target=_serve, args=(there, work, crew, number), name=f"trials-{number}"
    )
    process.start()
    there.close()  # so that the line ends when the worker does
    return _Worker(process=process, line=here, number=number)


def _give(worker: _Worker, task: Task, begun: dict[int, int]) -> None:
    worker.task = task
    begun[id(task)] = begun.get(id(task), 0) + 1
    try:
        worker.line.send(task)
    except (BrokenPipeError, ConnectionResetError):
        return  # killed just now, which its sentinel tells


def _heard(worker: _Worker) -> tuple[Task | None, str | None]:
    """The task that the worker no longer has, if any; and whether it died."""
    try:
        if worker.line.poll():
            error = worker.line.recv()
            if error is not None:
                raise EngineError(f"a trial could not be kept: {error}")
            task, worker.task = worker.task, None
            return task, None
    except (EOFError, ConnectionResetError):
        worker.process.join()
    if worker.process.is_alive():
        return None, None
    task, worker.task = worker.task, None
    return task, _DIED


def _killed(worker: _Worker, times: int) -> str:
    code = worker.process.exitcode
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return f"its worker ended {times} times, the last time {how}; is there too little memory?"


def _stop(crowd: Sequence[_Worker]) -> None:
    for worker in crowd:
        worker.process.kill()
    for worker in crowd:
        worker.process.join()
        worker.line.close()


def _serve(line: Connection, work: Work, crew: Crew, number: int) -> None:
    """What a worker does until its line ends."""
    end_with_parent()
    if crew.gpus and torch.cuda.is_available():
        torch.cuda.set_device(first_of(number, crew.gpus) % torch.cuda.device_count())
    torch.set_num_threads(crew.cpus)
    while True:
        try:
            task = line.recv()
        except EOFError:
            return
        try:
            work(task)
        # Anything at all: a process cannot raise in its driver, which would wait for an answer for
        # ever. It gets the traceback and ends the study with it; here the error goes on.
        except Exception:
            line.send(traceback.format_exc())
            raise
        line.send(None)


def first_of(number: int, gpus: float) -> int:
    """The first graphics processor of a worker; one for each where it has less than a whole one."""
    return number * max(1, math.ceil(gpus))
