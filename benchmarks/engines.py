"""How much faster a study's independent trials end on two workers than on one after another.

    python benchmarks/engines.py [--trials 12] [--seconds 8] [--workers 2] [--out FILE]

Every trial trains the same small network for the same number of steps on one thread, so many that
one takes about ``--seconds`` here. The start of an engine's workers, until each has done a trial of
one step, is told apart from the trials: it is paid once for a study, which takes minutes to hours.
Run it on an idle machine; ``ray`` needs ``compressor[ray]``.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import hardware, versions
from compressor.files import write_atomically
from compressor.study.crew import Crew, Ended
from compressor.study.engines import ENGINES
from compressor.study.trials import Task, trial

PACKAGES: Final = ("torch", "ray", "numpy")


def main() -> None:
    """Time every engine, and print a table."""
    options = _options()
    steps = _steps(options.seconds)
    tasks = [_task(number, steps=steps) for number in range(options.trials)]
    crew = Crew(workers=options.workers)
    measured = {
        name: _measured(name, crew=crew, tasks=tasks) for name in ("serial", "process", "ray")
    }
    walls = {name: wall for name, (_, wall) in measured.items()}
    found = {
        "hardware": hardware("cpu"),
        "versions": versions(PACKAGES),
        "trials": options.trials,
        "workers": options.workers,
        "start_seconds": {name: start for name, (start, _) in measured.items()},
        "seconds": walls,
        "times_serial": {name: walls["serial"] / wall for name, wall in walls.items()},
    }
    if options.out:
        write_atomically(options.out, json.dumps(found, indent=1).encode())
    print(f"| engine | start, s | {options.trials} trials, s | times as fast as serial |")
    print("|---|---|---|---|")
    for name, (start, wall) in measured.items():
        print(f"| {name} | {start:.1f} | {wall:.1f} | {walls['serial'] / wall:.2f} |")


def work(task: Task) -> None:
    """Train for as many steps as the trial says; what is learnt does not matter."""
    torch.set_num_threads(1)
    torch.manual_seed(task[0].about["number"])  # noqa: TID251 # a process of its own
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    for _ in range(task[0].about["steps"]):
        optimiser.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()


def _task(number: int, *, steps: int) -> Task:
    return (trial("any", {"number": number, "steps": steps}, conditions={}),)


def _steps(seconds: float) -> int:
    """How many take that long."""
    work(_task(0, steps=5))
    start = time.perf_counter()
    work(_task(0, steps=30))
    return max(1, round(30 * seconds / (time.perf_counter() - start)))


def _measured(name: str, *, crew: Crew, tasks: list[Task]) -> tuple[float, float]:
    """Seconds until the workers are there, and of the trials after that."""
    begin = time.perf_counter()
    with ENGINES[name](work, crew=crew) as do:
        _finish(do([_task(number, steps=1) for number in range(crew.workers)]))
        ready = time.perf_counter()
        _finish(do(tasks))
        return ready - begin, time.perf_counter() - ready


def _finish(ends: Iterable[Ended]) -> None:
    for ended in ends:
        if ended.error is not None:
            raise RuntimeError(ended.error)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a trial, about")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
