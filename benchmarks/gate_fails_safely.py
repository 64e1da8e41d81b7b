"""How often a rule for accepting a prune ratio accepts one that it should not: a simulation.

    python benchmarks/gate_fails_safely.py --out benchmarks/results/gate-fails-safely.json

The truth is given: a drop for each of 12 ratios and 8 shifts. What 10,000 images show is drawn
again and again, and each rule says which ratio it accepts, and how many images it took. A false
accept is an accepted ratio whose true drop reaches the tolerance on some shift; the gate promises a
chance of at most alpha, whichever method its policy has. The paper's rule (Liebenwein et al. 2021)
is the naive one for each shift; others compare point estimates, or use the right test in the wrong
order.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import hardware, versions
from benchmarks.simulated_gate import (
    ALPHA,
    BLOCK,
    IMAGES,
    METHODS,
    TOLERANCE,
    Climbed,
    Draws,
    Flags,
    Floats,
    Integers,
    climb,
    drawn,
)
from gates.exact import rejection_boundary

RATIOS: Final = np.round(np.linspace(0.05, 0.60, 12), 2)
SHIFTS: Final = 8
CORRELATIONS: Final = (0.0, 0.9)

DISCORDANCE: Final = np.linspace(0.03, 0.10, len(RATIOS))
"""Of each ratio, rising as that of retrained networks does."""

EVERYTHING: Final = len(RATIOS) * SHIFTS * IMAGES
"""Images that a rule takes which looks at every ratio under every shift."""

Rule = Callable[[Draws], Climbed]


def point_safe(draws: Draws) -> Flags:
    """Whether the observed drop is within the tolerance."""
    safe: Flags = (draws.all_dense - draws.all_pruned) / IMAGES <= TOLERANCE
    return safe


def shown_safe(draws: Draws, *, alpha: float) -> Flags:
    """Whether the exact test rejects "the drop is the tolerance or more"."""
    discordant = draws.all_dense + draws.all_pruned
    boundary = rejection_boundary(discordant, n=IMAGES, tolerance=TOLERANCE, alpha=alpha)
    safe: Flags = draws.all_dense <= boundary
    return safe


def on_all_shifts(safe: Flags) -> Flags:
    """Of [runs ratios shifts], what holds on every shift [runs ratios]."""
    everywhere: Flags = np.all(safe, axis=2)
    return everywhere


def largest(accepted: Flags) -> Integers:
    """The place of the largest accepted ratio, gaps or not; ``accepted`` [runs ratios ...]."""
    places = np.arange(1, accepted.shape[1] + 1).reshape(1, -1, *[1] * (accepted.ndim - 2))
    place: Integers = (places * accepted).max(axis=1)
    return place


def after_all(accepted: Integers) -> Climbed:
    """``accepted`` [runs], by a rule that had looked at everything."""
    return Climbed(accepted=accepted, images=np.full_like(accepted, EVERYTHING))


def ascending_points(draws: Draws) -> Climbed:
    """Every shift of a ratio, ratio by ratio, up to the first that is not accepted."""
    safe = on_all_shifts(point_safe(draws))
    accepted: Integers = np.cumprod(safe, axis=1, dtype=np.int64).sum(axis=1)
    visited = np.minimum(accepted + 1, len(RATIOS))
    return Climbed(accepted=accepted, images=visited * SHIFTS * IMAGES)


RULES: Final[Mapping[str, Rule]] = {
    **{f"the gate, {name}": partial(climb, method=method) for name, method in METHODS.items()},
    "exact test, every ratio and shift at alpha / 96": lambda draws: after_all(
        largest(on_all_shifts(shown_safe(draws, alpha=ALPHA / (len(RATIOS) * SHIFTS))))
    ),
    "exact test, but the largest passing ratio": lambda draws: after_all(
        largest(on_all_shifts(shown_safe(draws, alpha=ALPHA)))
    ),
    "point estimates, ascending": ascending_points,
    "point estimates, the largest passing ratio": lambda draws: after_all(
        largest(on_all_shifts(point_safe(draws)))
    ),
    "the paper's: the largest for each shift, then the least": lambda draws: after_all(
        largest(point_safe(draws)).min(axis=1)
    ),
}


def gradual() -> Floats:
    """Drops that rise with the ratio and cross the tolerance later on one shift than on another."""
    slopes = np.linspace(0.6, 1.2, SHIFTS) * TOLERANCE / 0.45
    return RATIOS[:, None] * slopes


def plateau() -> Floats:
    """Three shifts stay a twentieth of a point above the tolerance from ratio 0.35 on."""
    drops = np.minimum(gradual(), 0.6 * TOLERANCE)
    drops[RATIOS >= 0.35, :3] = TOLERANCE + 0.0005
    return drops


def at_the_tolerance() -> Floats:
    """One shift has exactly the tolerance as its drop at every ratio, the others have none."""
    drops = np.zeros((len(RATIOS), SHIFTS))
    drops[:, 0] = TOLERANCE
    return drops


TRUTHS: Final[Mapping[str, Callable[[], Floats]]] = {
    "gradual": gradual,
    "plateau": plateau,
    "one shift at the tolerance": at_the_tolerance,
}


Cell = Mapping[str, object]


def simulate(truth: str, correlation: float, *, runs: int, seed: int) -> list[Cell]:
    """What became of every rule, one record each."""
    drops = TRUTHS[truth]()
    # Draws of their own for each truth and correlation, so that luck is not shared.
    case = [seed, list(TRUTHS).index(truth), CORRELATIONS.index(correlation)]
    draws = drawn(drops, DISCORDANCE, runs=runs, correlation=correlation, seed=case)
    # Before the first ratio stands "none accepted", which is never false.
    bad = np.concatenate([[False], (drops >= TOLERANCE).any(axis=1)])
    ratios = np.concatenate([[0.0], RATIOS])
    cells: list[Cell] = []
    for name, rule in RULES.items():
        found = rule(draws)
        false = float(bad[found.accepted].mean())
        cells.append(
            {
                "truth": truth,
                "correlation": correlation,
                "rule": name,
                "false_accepts": false,
                "standard_error": (false * (1 - false) / runs) ** 0.5,
                "mean_ratio": float(ratios[found.accepted].mean()),
                "best_safe_ratio": float(ratios[~bad].max()),
                "mean_passes": float(found.images.mean()),
                "share_of_everything": float(found.images.mean()) / EVERYTHING,
            }
        )
    return cells


def main(arguments: Sequence[str]) -> None:
    """Simulate, print a table, write what it is made of."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    options = parser.parse_args(arguments)
    began = time.process_time()
    cells = [
        cell
        for truth in TRUTHS
        for correlation in CORRELATIONS
        for cell in simulate(truth, correlation, runs=options.runs, seed=options.seed)
    ]
    seconds = time.process_time() - began
    print(*table(cells, runs=options.runs), f"\n{seconds:.0f} s of one core", sep="\n")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "runs": options.runs, "seed": options.seed, "images": IMAGES, "block": BLOCK,
            "tolerance": TOLERANCE, "alpha": ALPHA, "ratios": RATIOS.tolist(), "shifts": SHIFTS,
            "discordance": DISCORDANCE.tolist(), "cells": cells, "core_seconds": round(seconds, 1),
            "hardware": hardware("cpu"), "versions": versions(("numpy", "scipy")),
        }  # fmt: skip
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(cells: Sequence[Cell], *, runs: int) -> list[str]:
    """The lines of a page on what became of every rule."""
    caption = (
        f"False accepts in {runs:,} runs, ratios uncorrelated / correlated .9; in brackets the "
        f"mean accepted ratio, then the images taken, as a share of all {EVERYTHING:,}."
    )
    lines = [
        caption,
        "",
        "| rule | " + " | ".join(TRUTHS) + " |",
        "|---|" + "---|" * len(TRUTHS),
    ]
    for rule in RULES:
        row = []
        for truth in TRUTHS:
            found = [c for c in cells if c["rule"] == rule and c["truth"] == truth]
            rates = " / ".join(f"{c['false_accepts']:.1%}" for c in found)
            means = " / ".join(f"{c['mean_ratio']:.2f}" for c in found)
            taken = " / ".join(f"{c['share_of_everything']:.0%}" for c in found)
            row.append(f"{rates} [{means}] {taken}")
        lines.append(f"| {rule} | " + " | ".join(row) + " |")
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
