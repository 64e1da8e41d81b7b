"""A plan in words: Markdown that is readable as plain text, or JSON. Computes nothing."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Final

from compressor.planning import Outlooks, Scenario
from compressor.prospects import CellPlan, Work
from compressor.tables import table
from gates.levers import Lever
from gates.planning import Outlook

_UNKNOWN: Final = (
    "Nothing is known of the candidate. Networks that lost channels and were retrained usually "
    "disagree with the dense model on 5 to 20 % of the images; --candidate and --dense, --from RUN "
    "or --discordance plan for a certain one."
)

_COUNTED: Final = (
    "Images are counted once for each draw. A candidate that violates a tolerance is measured no "
    "further and costs less; retraining, export and latency are not in it."
)

_MINUTE: Final = 60
_HOUR: Final = 3600


def as_json(plan: Outlooks) -> str:
    """The whole record."""
    return json.dumps(asdict(plan), indent=2)


def as_text(plan: Outlooks) -> str:
    """What a person wants to know first, then rule by rule, then the price."""
    parts = [headline(plan), "", _terms(plan), f"The next use of the images: {plan.reuse}.", ""]
    if len(plan.scenarios) > 1:
        parts += [_UNKNOWN, ""]
    for scenario in plan.scenarios:
        parts += [f"## Expected: {scenario.expected}", ""]
        parts += [*_cells(scenario), "", *_chances(scenario), ""]
        if helps := _helps(scenario.cells):
            parts += [*helps, ""]
    parts += ["## Price", "", *_price(plan)]
    return "\n".join(parts)


def headline(plan: Outlooks) -> str:
    """The answer in one line."""
    if plan.exhausted:
        return f"NOTHING can be certified under {plan.policy}: its images are used up"
    best = plan.scenarios[0]
    deciding = [cell for cell in best.cells if cell.decides]
    outlooks = [cell.prospect.outlook for cell in deciding if cell.prospect]
    at = "" if best.discordance is None else f" at a discordance of {_percent(best.discordance)}"
    if lost := outlooks.count(Outlook.CANNOT):
        return (
            f"{lost} of {len(deciding)} rules of {plan.policy} cannot be certified with these "
            f"images{at}, even if nothing is lost"
        )
    sure = outlooks.count(Outlook.CAN)
    unknown = len(deciding) - len(outlooks)
    told = f"{sure} of {len(deciding)} rules of {plan.policy} can be certified{at}"
    if only := outlooks.count(Outlook.ONLY):
        told += f", {only} only if nothing is lost"
    return f"{told}, {unknown} unknown" if unknown else told


def _terms(plan: Outlooks) -> str:
    images = ", ".join(f"{name} {count:,}" for name, count in plan.images.items())
    shared = f", shared by {plan.releases} releases" if plan.releases else ""
    levels = {cell.prospect.alpha for one in plan.scenarios for cell in one.cells if cell.prospect}
    last = ""
    if plan.method == "looks" and levels:
        last = f", {', '.join(map(_percent, sorted(levels)))} at the last look"
    return (
        f"Images: {images}. Method {plan.method}, alpha {_percent(plan.alpha)}{shared}: "
        f"{_percent(plan.alpha_per_release)} for this one{last}."
    )


def _cells(scenario: Scenario) -> list[str]:
    """One row for each enforced rule; rules of which the same is assumed share one."""
    rows = []
    for cells in _alike([replace(cell, levers=()) for cell in scenario.cells]):
        cell = cells[0]
        found = cell.prospect
        name = _name(cells) + ("" if cell.decides else " (waived)")
        row = [name, f"{cell.n[-1]:,}", _points(cell.tolerance), _drop(cell), _share(cell)]
        if found is None:
            rows.append([*row, *["-"] * 6, "unknown"])
            continue
        wanted, without = _images(found.needed), _images(found.needed_without_drop)
        rows.append(
            [
                *row,
                _images(found.needed_80),
                wanted,
                without,
                f"{_points(found.certifiable)} / {_points(found.certifiable_without_drop)}",
                _chance(found.power),
                _chance(found.power_without_drop),
                _outlook(cell),
            ]
        )
    header = [
        "rule", "n", "tolerance", "drop, points", "discordance", "n for 80 %", "n for 90 %",
        "90 %, no drop", "certifiable / no drop", "power", "no drop", "outlook",
    ]  # fmt: skip
    return table(header, rows)


def _chances(scenario: Scenario) -> Iterator[str]:
    if scenario.passes is None or scenario.passes_without_drop is None:
        yield "The chance that all rules pass is unknown, as a rule's is."
    else:
        yield (
            f"That all rules pass has a chance of {_chance(scenario.passes)} or more, if nothing "
            f"is lost of {_chance(scenario.passes_without_drop)} or more, however the rules hang "
            "together."
        )
    for cell in scenario.cells:
        if cell.prospect and not cell.prospect.conceivable:
            yield (
                f"{cell.shift}: even a candidate that agrees with the dense model on every image "
                "would stay undecided."
            )
    stand_ins = [cell.shift for cell in scenario.cells if cell.stand_in and cell.prospect]
    if stand_ins:
        yield (
            f"Of {', '.join(stand_ins)} no image was looked at: what is expected is what was seen "
            "on unshifted images."
        )


def _helps(cells: Sequence[CellPlan]) -> list[str]:
    """What would help, rule by rule."""
    lines = []
    for alike in _alike([cell for cell in cells if _is_open(cell)]):
        cell = alike[0]
        told = [_lever(lever, cell) for lever in cell.levers]
        if cell.drop is not None and cell.drop >= cell.tolerance:
            told = ["the drop is not below the tolerance, and losing less comes first", *told]
        lines.append(f"- {_name(alike)}: {'; '.join(told)}")
    return ["What helps, to certify nine times in ten:", *lines] if lines else []


def _is_open(cell: CellPlan) -> bool:
    """Whether there is something to say of what would help."""
    return bool(cell.levers) or (cell.drop is not None and cell.drop >= cell.tolerance)


def _lever(lever: Lever, cell: CellPlan) -> str:
    images = "no number of images" if lever.images is None else f"{lever.images:,} images"
    match lever.kind:
        case "images":
            short = max(0, round(lever.amount) - cell.n[-1])
            return f"{images}, {short:,} more"
        case "draws":
            typically = "" if lever.measured else ", typically"
            return f"with draws: {lever.amount:.0f}, {images}{typically}"
        case "discordance":
            what = "a flip rate" if cell.statistic == "flip rate" else "a discordance"
            now = "" if cell.discordance is None else f" in place of {_percent(cell.discordance)}"
            return f"{what} of {_percent(lever.amount)}{now} (retrain.distill, smaller ratios)"
        case "drop":
            return f"a drop of {_points(lever.amount)} points or less (smaller ratios, retraining)"
        case "brier":
            return (
                f"with metric: brier, {images} at this tolerance (its variance is "
                f"{lever.amount:.2f} of that of right answers)"
            )


def _price(plan: Outlooks) -> list[str]:
    """What judging takes, by scenario; retraining is not in it."""
    rows = []
    for scenario in plan.scenarios:
        name = "as seen" if scenario.discordance is None else _percent(scenario.discordance)
        works = {"one candidate": scenario.one}
        if plan.candidates > 1:
            works[f"{plan.candidates} candidates, as a ladder"] = scenario.ladder
        rows += [[name, what, *_work(work)] for what, work in works.items()]
    header = [
        "expected", "judged", "images shown to dense", "at most", "to candidates", "at most",
        "time", "at most",
    ]  # fmt: skip
    return [
        *table(header, rows),
        "",
        _COUNTED,
    ]


def _work(work: Work) -> list[str]:
    return [
        f"{work.expected.dense:,}",
        f"{work.most.dense:,}",
        f"{work.expected.candidates:,}",
        f"{work.most.candidates:,}",
        _time(work.seconds),
        _time(work.most_seconds),
    ]


def _alike(cells: Sequence[CellPlan]) -> list[list[CellPlan]]:
    """Cells of which all but the name is the same, together; what was seen, each by itself."""
    found: dict[CellPlan, list[CellPlan]] = {}
    for cell in cells:
        found.setdefault(replace(cell, shift="") if cell.counted is None else cell, []).append(cell)
    return list(found.values())


def _name(cells: Sequence[CellPlan]) -> str:
    more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    return f"{cells[0].shift}{more}"


def _outlook(cell: CellPlan) -> str:
    assert cell.prospect is not None
    if cell.prospect.outlook is Outlook.ONLY and cell.statistic == "flip rate":
        return "only if hardly an answer changes"
    return cell.prospect.outlook.value


def _drop(cell: CellPlan) -> str:
    if cell.drop is None:
        return "-"
    shown = f"{round(100 * cell.drop, 2) + 0.0:+.2f}"
    if cell.interval is None:
        return shown
    low, high = (100 * end for end in cell.interval)
    return f"{shown} [{low:+.2f}, {high:+.2f}]"


def _share(cell: CellPlan) -> str:
    return "-" if cell.discordance is None else f"{cell.discordance:.1%}"


def _images(count: int | None) -> str:
    return "none" if count is None else f"{count:,}"


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _chance(chance: float) -> str:
    """Rounded down, so that no chance is overstated."""
    return f"{int(100 * chance)} %"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds >= 2 * _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    if seconds >= 2 * _MINUTE:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 1 else "below 1 s"
