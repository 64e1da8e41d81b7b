"""How fast shifts are: images per second, beside imagecorruptions-imaug or, on a GPU, our own CPU.

    OMP_NUM_THREADS=1 python benchmarks/shifts.py --out FILE.json
    OMP_NUM_THREADS=1 python benchmarks/shifts.py --side 224 --device cuda --out FILE.json

One thread everywhere. In every repetition both sides take their turn, shift by shift, with the same
parameters: those of ImageNet-C, since the other package has no others. Ours runs as the gate runs
it, ``shifted`` on batches, with a new draw in each repetition; what is made once (a bank of layers,
an operator, a photograph) is made before and timed apart. The other package runs as it is meant to,
``corrupt`` on image after image, after a first call that compiles what has to be compiled.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

# The tests' pictures and draws are used here; a script's own folder is all that Python looks in.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import hardware, versions
from gates.shifts import SHIFTS, ShiftError, shifted
from tests.gates.shifts.pictures import photographs
from tests.gates.shifts.reference import DRAWS

Pixels = NDArray[np.uint8]
"""Images [n c h w]."""

Work = Callable[[int], None]
"""A shift on all images of one side; the number of the repetition is given."""

PACKAGES: Final = (
    "numpy",
    "scipy",
    "torch",
    "Pillow",
    "imagecorruptions-imaug",
    "opencv-python",
    "scikit-image",
    "numba",
)

_SCENES: Final = 256
"""Images that differ; where more are asked for, they come again under other ids."""

# The other package reads and enlarges a photograph for every image that gets frost.
_TOTALS: Final[Mapping[str, frozenset[str]]] = {
    "all": frozenset(),
    "all but frost": frozenset({"frost"}),
    "all but frost and spatter": frozenset({"frost", "spatter"}),
}


@dataclass(kw_only=True)
class Timing:
    """How long one side took for ``images`` images."""

    images: int
    seconds: list[float] = field(default_factory=list)
    """One entry per repetition."""

    @property
    def median_us(self) -> float:
        """Microseconds per image."""
        return 1e6 * statistics.median(self.seconds) / self.images

    @property
    def best_us(self) -> float:
        """Microseconds per image."""
        return 1e6 * min(self.seconds) / self.images


@dataclass(frozen=True, kw_only=True)
class Row:
    """One shift on both sides."""

    name: str
    preparation_s: float
    """By how much first calls took longer than later ones."""
    ours: Timing
    other: Timing


def main(arguments: Sequence[str]) -> None:
    """Time every shift that both have, at every side; print tables, write what they are made of."""
    chosen = _options(arguments)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("what is measured is one thread: set OMP_NUM_THREADS=1 and run again")
    torch.set_num_threads(1)
    _warm_allocator()
    record: dict[str, object] = {
        "command": f"OMP_NUM_THREADS=1 python benchmarks/shifts.py {' '.join(arguments)}",
        "threads": 1,
        "severity": chosen.severity,
        "profile": "imagenet-c",
        "hardware": hardware(chosen.device),
        "versions": versions(PACKAGES),
    }
    for side in chosen.side:
        options = _sized(chosen, side=side)
        rows = _rows(options)
        record[f"{side}px"] = _record(rows, options)
        print(*_table(rows, options), "", sep="\n")
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _warm_allocator() -> None:
    """Free one large block, so that glibc keeps smaller ones from then on.

    A young process returns every megabyte to the system and faults it in again. How long that lasts
    is chance; at 224 pixels it costs the other package up to half of its speed.
    """
    np.ones(30 * 2**20, dtype=np.uint8)


def _rows(options: argparse.Namespace) -> Sequence[Row]:
    rows = []
    for name in DRAWS:
        try:
            rows.append(_row(name, options))
        except ShiftError as error:  # frost, where the photographs of ice are not installed
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        print(_line(name, rows[-1:]), file=sys.stderr, flush=True)
    return rows


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--side", type=int, nargs="+", default=[32, 224], help="pixels; each at least 32"
    )
    parser.add_argument("--images", type=int, help="ours; 10000 up to 64 pixels, else 128")
    parser.add_argument(
        "--other-images", type=int, help="the other side's; 300, or 8; on a GPU as many"
    )
    parser.add_argument("--batch", type=int, help="ours; 256, or 64")
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    return parser.parse_args(arguments)


def _sized(chosen: argparse.Namespace, *, side: int) -> argparse.Namespace:
    """The options for one side: as many images as are measured in about as much time."""
    options = argparse.Namespace(**{**vars(chosen), "side": side})
    small = side <= 64
    options.images = options.images or (10_000 if small else 128)
    if options.other_images is None:
        as_many = options.device == "cuda"
        options.other_images = options.images if as_many else (300 if small else 8)
    options.batch = options.batch or (256 if small else 64)
    return options


def _row(name: str, options: argparse.Namespace) -> Row:
    images, other_images = (
        _scenes(count, side=options.side) for count in (options.images, options.other_images)
    )
    warm_up = _ours(name, images[:1], options, device="cpu")
    first_s, second_s = _seconds(warm_up, 0), _seconds(warm_up, 0)
    if options.device == "cuda":
        _ours(name, images[: options.batch], options, device="cuda")(0)
        other = _ours(name, other_images, options, device="cpu")
    else:
        _package(name, other_images[:1], options)(0)
        other = _package(name, other_images, options)
    ours = _ours(name, images, options, device=options.device)
    banked = SHIFTS[name].chance == "banked"
    # A bank fills as images ask for its layers: here, with the very draws that are timed next.
    filling_s = sum(_seconds(ours, number) for number in range(options.repetitions * banked))
    ours_timing, other_timing = Timing(images=len(images)), Timing(images=len(other_images))
    for repetition in range(options.repetitions):
        ours_timing.seconds.append(_seconds(ours, repetition))
        other_timing.seconds.append(_seconds(other, repetition))
    if banked:
        filling_s -= sum(ours_timing.seconds)
    return Row(
        name=name,
        preparation_s=max(0.0, first_s - second_s + filling_s),
        ours=ours_timing,
        other=other_timing,
    )


def _ours(name: str, images: Pixels, options: argparse.Namespace, *, device: str) -> Work:
    ids = np.arange(len(images), dtype=np.uint64)

    def work(repetition: int) -> None:
        for start in range(0, len(images), options.batch):
            batch = slice(start, start + options.batch)
            shifted(
                images[batch],
                ids[batch],
                name=name,
                severity=options.severity,
                seed=0,
                draw=repetition,
                profile="imagenet-c",
                device=device,
            )

    return work


def _package(name: str, images: Pixels, options: argparse.Namespace) -> Work:
    # Here, so that a GPU is measured where the package is not installed.
    import imagecorruptions  # noqa: PLC0415

    imagecorruptions.corruptions.cv2.setNumThreads(1)
    images_NHWC = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images]

    def work(_: int) -> None:
        for image in images_NHWC:
            imagecorruptions.corrupt(image, severity=options.severity, corruption_name=name)

    return work


def _seconds(work: Work, repetition: int) -> float:
    start = time.perf_counter()
    work(repetition)
    return time.perf_counter() - start


@cache
def _scenes(count: int, *, side: int) -> Pixels:
    scenes = photographs(min(count, _SCENES), height=side, width=side)
    return np.resize(np.stack(scenes).transpose(0, 3, 1, 2), (count, 3, side, side))


def _record(rows: Sequence[Row], options: argparse.Namespace) -> Mapping[str, object]:
    other = "gates.shifts.shifted" if options.device == "cuda" else "imagecorruptions.corrupt"
    return {
        "ours": f"gates.shifts.shifted, {options.device}, batches of {options.batch}",
        "other": f"{other}, cpu",
        "shifts": {
            row.name: {
                "preparation_s": row.preparation_s,
                "ours": {"images": row.ours.images, "seconds": row.ours.seconds},
                "other": {"images": row.other.images, "seconds": row.other.seconds},
                "ratio_of_medians": row.other.median_us / row.ours.median_us,
            }
            for row in rows
        },
        "totals": {
            name: {
                "shifts": len(counted),
                "ours_us_per_image": sum(row.ours.median_us for row in counted),
                "other_us_per_image": sum(row.other.median_us for row in counted),
            }
            for name, counted in _totals(rows).items()
        },
    }


def _totals(rows: Sequence[Row]) -> dict[str, Sequence[Row]]:
    names = {row.name for row in rows}
    totals = {
        name: [row for row in rows if row.name not in left_out]
        for name, left_out in _TOTALS.items()
        if left_out <= names
    }
    return {f"{name} ({len(counted)})": counted for name, counted in totals.items()}


def _table(rows: Sequence[Row], options: argparse.Namespace) -> list[str]:
    other = "ours on the CPU" if options.device == "cuda" else "imagecorruptions-imaug"
    what = (
        f"{options.side} x {options.side}, severity {options.severity}, images per second: the "
        f"median of {options.repetitions} repetitions (the best in brackets); {options.images} "
        f"images through ours ({options.device}, batches of {options.batch}), "
        f"{options.other_images} through {other}."
    )
    return [
        what,
        "",
        f"| shift | ours | {other} | ratio | prepared once, s |",
        "|---|---|---|---|---|",
        *(_line(row.name, [row]) for row in rows),
        *(_line(f"**{name}**", counted) for name, counted in _totals(rows).items()),
    ]


def _line(name: str, rows: Sequence[Row]) -> str:
    """A line of the table; over several shifts, from the mean time of an image."""
    ours, other, ours_best, other_best = (
        sum(values) / len(rows)
        for values in zip(
            *((r.ours.median_us, r.other.median_us, r.ours.best_us, r.other.best_us) for r in rows),
            strict=True,
        )
    )
    return (
        f"| {name} | {1e6 / ours:,.0f} ({1e6 / ours_best:,.0f}) | "
        f"{1e6 / other:,.0f} ({1e6 / other_best:,.0f}) | {other / ours:.1f} | "
        f"{sum(row.preparation_s for row in rows):.2f} |"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
