"""Methods side by side at the same ratio, ranked only where that is fair."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise

from compressor.study.analyses.fairness import LEVELS, Terms, budgets, differing, level


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One method of one study at one ratio: means over seeds."""

    study: str
    method: str
    ratio: float
    compression: float
    speedup: float
    physical: bool
    seeds: int
    n: int
    accuracy: float
    accuracy_std: float | None
    trainability_accuracy: float | None
    jacobian_before: float | None
    jacobian_after: float | None
    terms: Terms

    @property
    def half_width(self) -> float:
        """Of a 95 % interval of the accuracy on n images (normal approximation)."""
        return 1.96 * math.sqrt(self.accuracy * (1.0 - self.accuracy) / self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Entries of one ratio that may be compared with each other, best first."""

    ratio: float
    level: str | None
    """The strictest setup that holds for every pair; None for a single entry, or for none."""
    budgets: tuple[str, ...]
    entries: tuple[Entry, ...]
    apart: tuple[bool, ...]
    """Of each entry but the last: whether it and the next one are told apart by n images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Two entries of one ratio that are not ranked, and why."""

    ratio: float
    first: str
    second: str
    level: str | None
    differing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two methods at one ratio under several recipes: who wins under which.

    Wang et al. 2023 (arXiv:2301.05219): where one recipe for both is impossible, both
    are retrained under each. A winner under all of them is one; else the higher accuracy weighs
    more.
    """

    ratio: float
    first: str
    second: str
    winners: tuple[str, ...]
    """Under each recipe."""
    consistent: bool
    winner: str


def ranking(
    entries: Sequence[Entry], *, at_least: str | None
) -> tuple[list[Ranked], list[Refused]]:
    """Entries of each ratio in groups whose members are all that much alike.

    Args:
        entries: of one or several studies.
        at_least: a name in ``LEVELS``; None ranks whatever stands side by side.
    """
    ranked: list[Ranked] = []
    refused: list[Refused] = []
    ordered = sorted(entries, key=lambda each: each.ratio)
    for ratio, several in groupby(ordered, key=lambda each: each.ratio):
        groups: list[list[Entry]] = []
        for entry in several:
            home = next((g for g in groups if all(_fair(entry, o, at_least) for o in g)), None)
            if home is None:
                groups.append([entry])
            else:
                home.append(entry)
        ranked += [_ranked(ratio, group) for group in groups]
        refused += [
            _refused(ratio, first[0], second[0]) for first, second in combinations(groups, 2)
        ]
    return ranked, refused


def duels(entries: Sequence[Entry]) -> list[Duel]:
    """Every pair of methods that met under two or more recipes, from the same base model."""
    found = []
    methods = sorted({entry.method for entry in entries})
    for ratio in sorted({entry.ratio for entry in entries}):
        here = [entry for entry in entries if entry.ratio == ratio]
        for first, second in combinations(methods, 2):
            pairs = [
                (a, b)
                for a in here
                for b in here
                if (a.method, b.method) == (first, second) and _fair(a, b, "S3.2")
            ]
            if len({str((a.terms.rates, a.terms.retrain_epochs)) for a, _ in pairs}) > 1:
                found.append(_duel(ratio, pairs))
    return found


def _duel(ratio: float, pairs: Sequence[tuple[Entry, Entry]]) -> Duel:
    winners = tuple(max(pair, key=lambda each: each.accuracy).method for pair in pairs)
    best = max((each for pair in pairs for each in pair), key=lambda each: each.accuracy)
    first, second = pairs[0]
    return Duel(
        ratio=ratio,
        first=first.method,
        second=second.method,
        winners=winners,
        consistent=len(set(winners)) == 1,
        winner=best.method if len(set(winners)) > 1 else winners[0],
    )


def _fair(first: Entry, second: Entry, at_least: str | None) -> bool:
    if at_least is None:
        return True
    found = level(first.terms, second.terms)
    return found is not None and LEVELS.index(found) >= LEVELS.index(at_least)


def _ranked(ratio: float, group: Sequence[Entry]) -> Ranked:
    best = sorted(group, key=lambda each: -each.accuracy)
    pairs = list(combinations(best, 2))
    levels = [level(a.terms, b.terms) for a, b in pairs]
    known = [each for each in levels if each is not None]
    strictest = min(known, key=LEVELS.index) if known and len(known) == len(levels) else None
    shared = [set(budgets(a.terms, b.terms)) for a, b in pairs]
    return Ranked(
        ratio=ratio,
        level=strictest,
        budgets=tuple(sorted(set.intersection(*shared))) if shared else (),
        entries=tuple(best),
        apart=tuple(_apart(a, b) for a, b in pairwise(best)),
    )


def _apart(first: Entry, second: Entry) -> bool:
    return first.accuracy - second.accuracy > math.hypot(first.half_width, second.half_width)


def _refused(ratio: float, first: Entry, second: Entry) -> Refused:
    return Refused(
        ratio=ratio,
        first=name_of(first),
        second=name_of(second),
        level=level(first.terms, second.terms),
        differing=differing(first.terms, second.terms),
    )


def name_of(entry: Entry) -> str:
    """What people call an entry."""
    return f"{entry.study}/{entry.method}"


def methods_of(entries: Iterable[Entry]) -> list[str]:
    """Names, each once, in order."""
    return list(dict.fromkeys(name_of(entry) for entry in entries))
