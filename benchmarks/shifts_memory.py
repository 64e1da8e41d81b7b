"""How much memory shifting takes: the peak over what the process held before, images included.

    OMP_NUM_THREADS=1 python -m benchmarks.shifts_memory --out FILE.json

Every shift has a process of its own, since memory that was given back is not always the system's
again. Peaks are the kernel's (resident set size), for the first call, which makes a bank, an
operator or whatever else is kept, and for the second, which finds it made. They include the result,
which is as large as the images.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import hardware, versions
from benchmarks.memory import peak_mb
from gates.shifts import SHIFTS, shifted

_MB = 1e6


def main(arguments: Sequence[str]) -> None:
    """Print one row for each shift, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=224, help="pixels")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument(
        "--of", help="measure this shift alone, in this process; used by the others"
    )
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    options = parser.parse_args(arguments)
    if options.of is not None:
        print(json.dumps(_peaks(options)))
        return
    images_mb = options.images * 3 * options.side**2 / _MB
    print(f"{options.images} images of {options.side} x {options.side} ({images_mb:.1f} MB):\n")
    print("| shift | first call, MB | second call, MB | second call / images |")
    print("|---|---|---|---|")
    peaks = {}
    for name in (name for name in SHIFTS if name != "clean"):
        command = [sys.executable, "-m", "benchmarks.shifts_memory", *arguments, "--of", name]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 # our own arguments
        peaks[name] = json.loads(answer.stdout)
        first, second = peaks[name]["first_mb"], peaks[name]["second_mb"]
        print(f"| {name} | {first:.1f} | {second:.1f} | {second / images_mb:.1f} |", flush=True)
    if options.out is not None:
        command = ["OMP_NUM_THREADS=1 python -m benchmarks.shifts_memory", *arguments]
        record = {
            "command": " ".join(command),
            "side": options.side,
            "images": options.images,
            "images_mb": images_mb,
            "severity": options.severity,
            "hardware": hardware("cpu"),
            "versions": versions(("numpy", "scipy", "torch", "Pillow")),
            "shifts": peaks,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _peaks(options: argparse.Namespace) -> dict[str, float]:
    """The peaks of the first and of the second call over what was resident before each."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.images, 3, options.side, options.side), dtype=np.uint8)
    ids = np.arange(len(images), dtype=np.uint64)
    # Code is loaded when it is first run; that is not the shift's memory.
    tiny = np.ascontiguousarray(images[:1, :, :32, :32])
    shifted(tiny, ids[:1], name=options.of, severity=options.severity, seed=0, profile="imagenet-c")
    peaks = []
    for _ in range(2):
        made = partial(shifted, images, ids, name=options.of, severity=options.severity, seed=0)
        peaks.append(peak_mb(made))
    return {"first_mb": peaks[0], "second_mb": peaks[1]}


if __name__ == "__main__":
    main(sys.argv[1:])
