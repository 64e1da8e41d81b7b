"""Begin the processes that retrain one network together, and hear how they get on.

Their work ends in a file that the first of them writes; nothing but progress comes back.
"""

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from torch import multiprocessing
from torch.distributed import destroy_process_group, init_process_group
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from compressor.lifeline import end_with_parent
from compressor.training.batches import LabelledImages
from compressor.training.epoch import TrainingProgress
from compressor.training.recipe import TrainingError
from compressor.training.team import Team

_WAIT_S: Final = 0.2


class Work(Protocol):
    """What every process does; pickled by name."""

    def __call__(
        self, *, team: Team, device: torch.device, on_step: Callable[[TrainingProgress], None]
    ) -> None: ...


class Line(Protocol):
    """What processes say: progress, or why one gives up."""

    def put(self, said: TrainingProgress | str, /) -> None: ...
    def get(self) -> TrainingProgress | str: ...
    def empty(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What every process is told."""

    work: bytes
    devices: list[torch.device]
    threads: int
    meeting: Path
    """A file in which the processes find each other."""
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Images in files, which any number of processes can read without a copy each."""

    folder: Path
    rest: LabelledImages
    """Everything but images and labels."""

    def read(self) -> LabelledImages:
        """The images, mapped into memory."""
        images, labels = (np.load(self.folder / name, mmap_mode="r") for name in _FILES)
        return replace(self.rest, images=images, labels=labels)


_FILES: Final = ("images.npy", "labels.npy")


def store(data: LabelledImages, folder: Path) -> Stored:
    """Write images and labels into a new ``folder``."""
    folder.mkdir()
    for name, content in zip(_FILES, (data.images, data.labels), strict=True):
        np.save(folder / name, content)
    return Stored(folder=folder, rest=replace(data, images=data.images[:0], labels=data.labels[:0]))


def devices(device: torch.device, processes: int) -> list[torch.device]:
    """A device for each process: the CPU for all, or as many graphics processors, from this on.

    Raises:
        TrainingError: there are fewer.
    """
    if device.type != "cuda":
        return [device] * processes
    first, count = device.index or torch.cuda.current_device(), torch.cuda.device_count()
    if processes > count:
        raise TrainingError(
            f"retrain.processes is {processes}, and {count} graphics processors can be used here; "
            f"give at most {count}"
        )
    return [torch.device("cuda", (first + rank) % count) for rank in range(processes)]


def together(
    work: Work,
    *,
    device: torch.device,
    processes: int,
    on_step: Callable[[TrainingProgress], None] | None,
) -> None:
    """Do ``work`` in that many processes; back when all have ended.

    Raises:
        TrainingError: one of them raised it, or ended otherwise; the others are ended too.
    """
    try:
        content = pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TrainingError(
            f"retrain.processes is {processes}, and the network cannot be sent to other processes "
            f"({error}); define its classes in a module, or retrain with processes: 1"
        ) from error
    line: Line = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="compress-team-") as folder:
        call = _Call(
            work=content,
            devices=devices(device, processes),
            threads=max(1, torch.get_num_threads() // processes),
            meeting=Path(folder) / "meeting",
            line=line,
        )
        context = start_processes(
            _take_part, args=(call,), nprocs=processes, join=False, start_method="spawn"
        )
        try:
            _follow(context, line, on_step)
        except ProcessException as error:
            raise TrainingError(_heard(line) or _ended(error, processes)) from error
        finally:
            for process in context.processes:
                process.kill()
                process.join()


def _follow(
    context: ProcessContext, line: Line, on_step: Callable[[TrainingProgress], None] | None
) -> None:
    over = False
    while not over:
        over = context.join(timeout=_WAIT_S)
        while not line.empty():
            said = line.get()
            if isinstance(said, str):
                raise TrainingError(said)
            if on_step is not None:
                on_step(said)


def _heard(line: Line) -> str | None:
    """Why a process gave up, if it said so."""
    while not line.empty():
        said = line.get()
        if isinstance(said, str):
            return said
    return None


def _ended(error: ProcessException, processes: int) -> str:
    last = str(error).strip().splitlines()[-1]
    return f"process {error.error_index + 1} of the {processes} that retrain ended: {last}"


def _take_part(rank: int, call: _Call) -> None:
    """What each process does from its start to its end."""
    end_with_parent()
    torch.set_num_threads(call.threads)
    device, size = call.devices[rank], len(call.devices)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=call.meeting.as_uri(),
        rank=rank,
        world_size=size,
    )
    work: Work = pickle.loads(call.work)  # noqa: S301 # of this program, a moment ago
    team = Team(rank=rank, size=size)
    try:
        work(team=team, device=device, on_step=call.line.put if team.leads else _silent)
    except TrainingError as error:
        call.line.put(str(error))
        raise
    # Not after an error: the others may be waiting in a sum, until they are ended.
    destroy_process_group()


def _silent(_: TrainingProgress) -> None:
    pass
