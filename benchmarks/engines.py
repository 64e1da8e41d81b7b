"""How much faster a study's independent trials end on two workers than on one after another.

    python benchmarks/engines.py [--trials 12] [--seconds 8] [--workers 2] [--out FILE]

Every trial trains the same small network for the same number of steps on one thread, so many that
one takes about ``--seconds`` here. The clock runs from the call of an engine to its last trial,
with the start of its workers. Run it on an idle machine; ``ray`` needs ``compressor[ray]``.
"""

import argparse
import functools
import json
import sys
import time
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import hardware, versions
from compressor.files import write_atomically
from compressor.study.crew import Crew
from compressor.study.engines import ENGINES
from compressor.study.trials import Task, trial

PACKAGES: Final = ("torch", "ray", "numpy")


def main() -> None:
    """Time every engine, and print a table."""
    options = _options()
    steps = _steps(options.seconds)
    tasks: list[Task] = [
        (trial("any", {"number": n}, conditions={}),) for n in range(options.trials)
    ]
    crew = Crew(workers=options.workers)
    walls = {
        name: _wall(name, crew=crew, steps=steps, tasks=tasks)
        for name in ("serial", "process", "ray")
    }
    found = {
        "hardware": hardware("cpu"),
        "versions": versions(PACKAGES),
        "trials": options.trials,
        "workers": options.workers,
        "seconds": walls,
        "times_serial": {name: walls["serial"] / wall for name, wall in walls.items()},
    }
    if options.out:
        write_atomically(options.out, json.dumps(found, indent=1).encode())
    print(f"| engine | {options.trials} trials, s | times as fast as serial |\n|---|---|---|")
    for name, wall in walls.items():
        print(f"| {name} | {wall:.1f} | {walls['serial'] / wall:.2f} |")


def work(task: Task, *, steps: int) -> None:
    """Train for ``steps`` steps; what is learnt does not matter."""
    torch.set_num_threads(1)
    torch.manual_seed(task[0].about["number"])  # noqa: TID251 # a process of its own
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    for _ in range(steps):
        optimiser.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()


def _steps(seconds: float) -> int:
    """How many take that long."""
    task = (trial("any", {"number": 0}, conditions={}),)
    work(task, steps=5)
    start = time.perf_counter()
    work(task, steps=30)
    return max(1, round(30 * seconds / (time.perf_counter() - start)))


def _wall(name: str, *, crew: Crew, steps: int, tasks: list[Task]) -> float:
    start = time.perf_counter()
    with ENGINES[name](functools.partial(work, steps=steps), crew=crew) as do:
        for ended in do(tasks):
            if ended.error is not None:
                raise RuntimeError(ended.error)
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a trial, about")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
