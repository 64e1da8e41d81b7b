"""The table of engines: in this process, in processes of this machine, or with Ray."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import torch

from compressor.study.crew import Crew, Do, Ended, Engine, Work
from compressor.study.on_ray import on_ray
from compressor.study.pool import in_processes
from compressor.study.trials import Task


@contextmanager
def serial(work: Work, *, crew: Crew) -> Iterator[Do]:
    """One after the other, here."""

    def do(tasks: Sequence[Task], /) -> Iterator[Ended]:
        for task in tasks:
            work(task)
            yield Ended(task=task)

    before = torch.get_num_threads()
    torch.set_num_threads(crew.cpus)
    try:
        yield do
    finally:
        torch.set_num_threads(before)


ENGINES: Final[Mapping[str, Engine]] = {
    "serial": serial,
    "process": in_processes,
    "ray": on_ray,
}


def workers_here(threads: int, *, device: str = "cpu") -> int:
    """How many workers of so many threads this machine has room for; one a graphics processor."""
    room = max(1, len(os.sched_getaffinity(0)) // threads)
    return min(room, torch.cuda.device_count()) if device == "cuda" else room
