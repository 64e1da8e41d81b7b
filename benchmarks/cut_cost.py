"""What one cut costs: seconds, and the peak of memory beside the size of the network.

    OMP_NUM_THREADS=1 python -m benchmarks.cut_cost [NAME ...] --out FILE.json

Networks of the zoo, half of their parameters asked to go (L2 norms, one ratio for all layers,
multiples of 8), self-test included. Finding the channels is told apart, since it is
done once however many cuts follow; the process that it forks to trace in is not in its memory.
Every network has a process of its own.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.machine import hardware, versions
from benchmarks.memory import peak_mb
from benchmarks.zoo import network_of
from compressor.files import write_atomically
from compressor.pruning.candidate import Method, Prunable, propose, prunable

_MB = 1e6
_EXAMPLES = 2
_PACKAGES = ("torch", "torchvision", "torch-pruning", "numpy")


def main(arguments: Sequence[str]) -> None:
    """Print one row for each network, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=["resnet50"])
    parser.add_argument("--quick", action="store_true", help="small images")
    parser.add_argument("--alone", action="store_true", help="in this process; used by the others")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    options = parser.parse_args(arguments)
    if options.alone:
        print(json.dumps(_measured(options.names[0], quick=options.quick)))
        return
    print("| network | model MB | find s | find, peak MB | cut s | cut, peak MB | peak / model |")
    print("|---|---|---|---|---|---|---|")
    found = {}
    for name in options.names:
        command = [sys.executable, "-m", "benchmarks.cut_cost", name, "--alone"]
        answer = subprocess.run(  # noqa: S603 # this script, once more
            [*command, *(["--quick"] if options.quick else [])],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found[name] = row = json.loads(answer.stdout)
        print(
            f"| {name} | {row['model_mb']:.0f} | {row['find_s']:.1f} | {row['find_peak_mb']:.0f} "
            f"| {row['cut_s']:.2f} | {row['cut_peak_mb']:.0f} "
            f"| {row['cut_peak_mb'] / row['model_mb']:.2f} |",
            flush=True,
        )
    if options.out is not None:
        record = {
            "examples": _EXAMPLES,
            "hardware": hardware("cpu"),
            "versions": versions(_PACKAGES),
            "networks": found,
        }
        write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())


def _measured(name: str, *, quick: bool) -> dict[str, float]:
    torch.set_num_threads(1)
    network, images = network_of(name, quick=quick)
    images = images[:_EXAMPLES]
    seconds: list[float] = []
    made: list[Prunable] = []

    def find() -> None:
        start = time.perf_counter()
        made.append(prunable(network, images, seed=0))
        seconds.append(time.perf_counter() - start)

    def cut() -> None:
        method = Method(allocation="uniform", align=8, compensate=False)
        start = time.perf_counter()
        propose(made[0], None, ratio=0.5, method=method, batches=[], seed=0)
        seconds.append(time.perf_counter() - start)

    peaks = [peak_mb(work) for work in (find, cut)]
    return {
        "side": images.shape[-1],
        "model_mb": sum(t.numel() * t.element_size() for t in network.state_dict().values()) / _MB,
        "find_s": seconds[0],
        "find_peak_mb": peaks[0],
        "cut_s": seconds[1],
        "cut_peak_mb": peaks[1],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
