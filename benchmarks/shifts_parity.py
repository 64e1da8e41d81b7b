"""How far the shifts are from imagecorruptions-imaug with the same draws.

    python -m benchmarks.shifts_parity --out benchmarks/results/shifts-parity.json

The comparison of tests/gates/shifts/test_parity.py (explained in reference.py beside it), with its
numbers written down: for each shift, table and severity the largest difference of any byte, and the
share of the bytes that differ at all.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import versions
from gates.shifts.tables import SEVERITIES, TABLES
from tests.gates.shifts.pictures import noise, photographs
from tests.gates.shifts.reference import CORRECTIONS, DRAWS, ours, theirs

_SIZES = {
    "cifar-10-c": ((32, 32),),
    "tiny-imagenet-c": ((64, 64),),
    "imagenet-c": ((64, 80), (224, 224)),
}
"""Heights and widths."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Between all bytes of some images on both sides."""

    largest: int
    share: float
    """Of the bytes that differ."""


def main(arguments: Sequence[str]) -> None:
    """Print one row for each shift and table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--photographs", type=int, default=8, help="images, beside one of noise")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| shift | table | largest difference | bytes that differ, by severity |")
    print("|---|---|---|---|")
    found: dict[str, dict[str, list[Difference]]] = {}
    for name in DRAWS:
        found[name] = {}
        for table in TABLES:
            each = [_difference(name, table, severity, options) for severity in SEVERITIES]
            found[name][table] = each
            shares = ", ".join(f"{one.share:.2%}" for one in each)
            print(
                f"| {name} | {table} | {max(one.largest for one in each)} | {shares} |", flush=True
            )
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(_record(found, options), indent=1) + "\n", "utf-8")


def _difference(name: str, table: str, severity: int, options: argparse.Namespace) -> Difference:
    largest, differing, total = 0, 0, 0
    for height, width in _SIZES[table]:
        images = photographs(options.photographs, height=height, width=width)
        for seed, image in enumerate([*images, noise(height=height, width=width)]):
            moved = ours(name, image, table=table, severity=severity, seed=seed)
            expected = theirs(name, image, table=table, severity=severity, seed=seed)
            apart = np.abs(moved.astype(int) - expected)
            largest = max(largest, int(apart.max()))
            differing, total = differing + int((apart > 0).sum()), total + apart.size
    return Difference(largest=largest, share=differing / total)


def _record(
    found: dict[str, dict[str, list[Difference]]], options: argparse.Namespace
) -> dict[str, object]:
    packages = (
        "numpy",
        "scipy",
        "torch",
        "Pillow",
        "imagecorruptions-imaug",
        "opencv-python",
        "scikit-image",
    )
    return {
        "command": f"python -m benchmarks.shifts_parity {' '.join(sys.argv[1:])}",
        "reference": "imagecorruptions-imaug; corrected to the original in "
        + ", ".join(CORRECTIONS),
        "photographs": options.photographs,
        "noise_images": 1,
        "sizes": _SIZES,
        "unit": "largest difference of a byte, 0..255; a list has an entry for each severity",
        "versions": versions(packages),
        "shifts": {
            name: {
                table: {
                    "largest_difference": [one.largest for one in each],
                    "share_that_differs": [round(one.share, 6) for one in each],
                }
                for table, each in tables.items()
            }
            for name, tables in found.items()
        },
    }


if __name__ == "__main__":
    main(sys.argv[1:])
