"""Trials as Ray Core tasks, on this machine or a cluster. Ray itself is an optional extra."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from compressor.study.crew import Crew, Do, Ended, EngineError, Work
from compressor.study.trials import Task


@contextmanager
def on_ray(work: Work, *, crew: Crew) -> Iterator[Do]:
    """Each task as a Ray task, which Ray begins anew if its worker or its machine dies.

    On a cluster all machines see the study's folder, the project and the decoded images under the
    same paths. An exception of Python is no reason to begin anew, and is in the ledger by then.

    Raises:
        EngineError: Ray is not installed, or cannot be reached.
    """
    ray = _ray()
    with _connected(ray, crew):
        shared = ray.put(work)
        remote = ray.remote(
            num_cpus=crew.cpus,
            num_gpus=crew.gpus,
            max_retries=crew.retries,
            retry_exceptions=False,
            # A worker that is not used again gives a graphics processor's memory back.
            max_calls=1 if crew.gpus else 0,
        )(_do)

        def do(tasks: Sequence[Task], /) -> Iterator[Ended]:
            running = {remote.remote(shared, task, crew.cpus): task for task in tasks}
            while running:
                ended, _ = ray.wait(list(running), num_returns=1)
                for reference in ended:
                    yield Ended(task=running.pop(reference), error=_error(ray, reference))

        yield do


def _do(work: Work, task: Task, threads: int) -> None:
    torch.set_num_threads(threads)
    work(task)


def _ray() -> Any:  # noqa: ANN401 # an optional package without stubs
    # Before the import, which reads them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415 # an optional extra
    except ImportError as error:
        raise EngineError(
            "the engine ray needs Ray: pip install 'compressor[ray]', or choose --engine process"
        ) from error
    return ray


@contextmanager
def _connected(ray: Any, crew: Crew) -> Iterator[None]:  # noqa: ANN401 # an optional package
    if ray.is_initialized():
        yield
        return
    settings: dict[str, object] = {"log_to_driver": False, "logging_level": "error"}
    if crew.address is None:
        settings |= {"num_cpus": crew.workers * crew.cpus, "include_dashboard": False}
    try:
        # "local" and not None, which would join a cluster that happens to run here.
        ray.init(address=crew.address or "local", **settings)
    except ConnectionError as error:
        raise EngineError(f"no Ray cluster at {crew.address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _error(ray: Any, reference: Any) -> str | None:  # noqa: ANN401 # an optional package
    """Why a task was given up; None if it ended."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise  # what Python raised stops the study, as it does under every engine
    except ray.exceptions.RayError as error:  # a killed worker, a lost machine, no memory
        return f"its worker died: {error}"
    return None
