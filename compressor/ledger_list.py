"""The uses in a ledger as a table, and what each set of images has served."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from compressor.ledger import Recorded

_HEADER: Final = ("use", "job", "policy", "images", "candidates", "alpha", "seed")


def ledger_list(lines: Sequence[Recorded]) -> str:
    """A row for each use, in their order; then a line for each set of images."""
    return "\n".join([*_aligned([_HEADER, *map(_row, lines)]), "", *_totals(lines)])


def _row(line: Recorded) -> tuple[str, ...]:
    entry = line.entry
    images = (f"{name} {digest[:8]}" for name, digest in entry.images.items())
    return (
        str(line.number),
        entry.job,
        f"{entry.policy} {entry.policy_digest[:8]}",
        ", ".join(images),
        ", ".join(name[:16] for name in entry.candidates) or "-",
        f"{100 * entry.alpha_spent:.3g} %",
        str(entry.seed),
    )


def _totals(lines: Sequence[Recorded]) -> Iterator[str]:
    """For each set of images how often it was used, and what that may cost in all."""
    spent: dict[str, list[float]] = {}
    names: dict[str, str] = {}
    for line in lines:
        for name, digest in line.entry.images.items():
            names.setdefault(digest, name)
        for digest in set(line.entry.images.values()):
            spent.setdefault(digest, []).append(line.entry.alpha_spent)
    for digest, name in names.items():
        alphas = spent[digest]
        yield (
            f"{name} {digest[:8]}: {_count(len(alphas), 'use')}, alpha spent "
            f"{100 * math.fsum(alphas):.3g} %"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
