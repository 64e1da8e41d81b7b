"""How study.md and report.html begin: what was studied, and how far each method can go."""

from collections.abc import Mapping
from typing import Final

from compressor.study.analyses.rows import Group
from compressor.study.study_schema import StudyReport

SHOWN_TOLERANCE: Final = 0.005
"""The delta of Liebenwein et al. 2021; the nearest of the study's tolerances is shown."""


GROUPS: Final[Mapping[Group, str]] = {
    "train": "of training",
    "held_out": "held out",
    "noise": "noise",
}
PLACE: Final[Mapping[Group, int]] = {group: place for place, group in enumerate(GROUPS)}
"""The order in which they are shown."""


def head(report: StudyReport) -> list[str]:
    """What was studied, in sentences."""
    asked, trials = report.asked, report.trials
    lines = [
        f"Dense network: {each.source} ({each.params:,} parameters, {each.macs / 1e6:.1f} MMACs), "
        f"{each.accuracy:.2%} of {asked.count:,} images of data.{asked.of} right, "
        f"seed {each.seed}."
        for each in report.dense
    ]
    lost = f"; {trials.failed:,} failed" if trials.failed else ""
    lines.append(f"{trials.done:,} of {trials.planned:,} trials done{lost}.")
    lines += _far(report)
    if asked.of == "gate":
        use = "" if asked.use is None else f" (use {asked.use} in their ledger)"
        lines.append(
            f"These are the gate's images{use}: a gate that looks at them again certifies nothing "
            "that was chosen by this study."
        )
    return [*lines, "Nothing was judged and nothing is released."]


def shown_tolerance(report: StudyReport) -> float | None:
    """The tolerance whose potentials are shown; None without potentials."""
    known = [each.tolerance for each in report.overparameterisation]
    return min(known, key=lambda each: abs(each - SHOWN_TOLERANCE), default=None)


def _far(report: StudyReport) -> list[str]:
    """How far each method can go on distributions that no network was made for, in a sentence."""
    tolerance = shown_tolerance(report)
    found = [each for each in report.overparameterisation if each.tolerance == tolerance]
    group: Group = "held_out" if any(each.group == "held_out" for each in found) else "train"
    told = [
        f"{each.method} {_none(each.estimate_minimum)} as observed, "
        f"{_none(each.certified_minimum)} certified"
        for each in found
        if each.group == group
    ]
    if tolerance is None or not told:
        return []
    which = f"Ratio that keeps every distribution {GROUPS[group]} within {100 * tolerance:g} %"
    return [f"{which}: {'; '.join(told)}."]


def _none(ratio: float) -> str:
    return f"{100 * ratio:.3g} %" if ratio else "none"
