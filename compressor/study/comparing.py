"""Finished studies side by side, as far as that is fair."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from compressor.runs import RunError
from compressor.study.analyses.fairness import FAIR
from compressor.study.analyses.ranking import Entry, Ranked, duels, name_of, ranking
from compressor.study.study_schema import StudyReport
from compressor.study.trials import Json
from compressor.tables import table


def read_study(path: Path) -> StudyReport:
    """What a finished study found; ``path`` is its folder or its study.json.

    Raises:
        RunError: it is no finished study, or one of another version.
    """
    file = path / "study.json" if path.is_dir() else path
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RunError(
            f"{path} is no finished study: cannot read {file}: {error.strerror}; run compress study"
        ) from error
    try:
        return StudyReport.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise RunError(
            f"{file} is no study that this program can read ({where}: {first['msg']}); run the "
            "study again, its trials are kept"
        ) from error


def entries_of(reports: Sequence[StudyReport]) -> list[Entry]:
    """All networks of all studies.

    Raises:
        RunError: two studies have one name, so that nobody could tell their networks apart.
    """
    names = [report.name for report in reports]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise RunError(
            f"two studies are called {', '.join(doubled)}; give each a name of its own, in its file"
        )
    return [entry for report in reports for entry in report.entries]


def as_json(entries: Sequence[Entry], *, at_least: str | None) -> Json:
    """The comparison for machines."""
    ranked, refused = ranking(entries, at_least=at_least)
    return {
        "schema_version": 1,
        "at_least": at_least,
        "ranked": [asdict(group) for group in ranked],
        "refused": [asdict(pair) for pair in refused],
        "duels": [asdict(duel) for duel in duels(entries)],
    }


def as_text(entries: Sequence[Entry], *, at_least: str | None) -> str:
    """The comparison for people."""
    ranked, refused = ranking(entries, at_least=at_least)
    lines = []
    for group in ranked:
        lines += [*_ranked(group), ""]
    if refused:
        lines.append(
            f"Not ranked, being less than {at_least} alike (--at-least another, or --regardless):"
        )
        lines += [
            f"- ratio {pair.ratio:.2f}: {pair.first} and {pair.second} are "
            f"{pair.level or 'not even S1'}; they differ in {', '.join(pair.differing)}"
            for pair in refused
        ]
        lines.append("")
    for duel in duels(entries):
        how = "under every recipe" if duel.consistent else "by the higher accuracy; not consistent"
        lines.append(
            f"ratio {duel.ratio:.2f}: {duel.first} against {duel.second} under "
            f"{len(duel.winners)} recipes: {duel.winner}, {how}"
        )
    return "\n".join(lines).rstrip()


def _ranked(group: Ranked) -> list[str]:
    rows = [
        [
            str(place),
            name_of(entry),
            f"{entry.compression:.2f}" + ("" if entry.physical else " (zeros)"),
            f"{entry.speedup:.2f}",
            f"{entry.accuracy:.2%} ± {entry.half_width:.2%}",
            "-" if entry.accuracy_std is None else f"{entry.accuracy_std:.2%}",
            _number(entry.trainability_accuracy, ".2%"),
            _number(entry.jacobian_before, ".3f"),
            _number(entry.jacobian_after, ".3f"),
            "" if place > len(group.apart) else ("" if group.apart[place - 1] else "next is equal"),
        ]
        for place, entry in enumerate(group.entries, start=1)
    ]
    header = [
        "", "network", "smaller x", "speed-up x", "top-1 [95 %]", "seeds' std", "trainability",
        "JSV cut", "JSV retrained", "",
    ]  # fmt: skip
    fair = f"setup {group.level}" if group.level else "a single network, or not even S1 alike"
    if group.level is not None and group.level < FAIR:
        fair += f", less than the {FAIR} that is fair"
    budgets = f"; {', '.join(group.budgets)}" if group.budgets else ""
    return [f"## Ratio {group.ratio:.2f} ({fair}{budgets})", "", *table(header, rows)]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
