"""Who does the trials, and what an engine is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from compressor.study.trials import Task

Work = Callable[[Task], None]
"""Does a task and writes the ledger. Pickled by name: a function of a module, or a partial of one.

It lets nothing out but what stops the whole study.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How many work at once, and with what."""

    workers: int = 1
    cpus: int = 1
    """Of each worker."""
    gpus: float = 0.0
    """Of each worker; a share where several use one."""
    retries: int = 2
    """How often a task is begun anew whose worker died."""
    address: str | None = None
    """Of a Ray cluster; None starts Ray on this machine alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A task that nobody works on any more."""

    task: Task
    error: str | None = None
    """Why its worker could not do it; None if it did, whatever its trials came to."""


class EngineError(RuntimeError):
    """The engine cannot work here."""


class Do(Protocol):
    """Does tasks in any order; yields each as it ends.

    Raises:
        EngineError: what a trial found could not be kept.
    """

    def __call__(self, tasks: Sequence[Task], /) -> Iterator[Ended]: ...


class Engine(Protocol):
    """Workers for as long as the context lasts.

    Raises:
        EngineError: it is not installed, or has nobody to work.
    """

    def __call__(self, work: Work, *, crew: Crew) -> AbstractContextManager[Do]: ...
