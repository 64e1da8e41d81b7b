"""Draw the tables of benchmarks/cifar10.md from the reports of finished runs.

    python benchmarks/cifar10.py RUN [RUN ...] > tables.md

The runs are those of examples/cifar10 under the built-in policies; nothing is measured here.
"""

import sys
from pathlib import Path

from compressor.render import title
from compressor.report_schema import Report
from compressor.tables import cell_table, cost_table, latency_table, potential_table


def main(folders: list[str]) -> None:
    """Print one section for each run folder."""
    for folder in folders:
        text = (Path(folder) / "report.json").read_text(encoding="utf-8")
        report = Report.model_validate_json(text)
        print(f"## {report.policy}: {_outcome(report)}\n")
        print(*[f"- {reason}" for reason in report.reasons], sep="\n")
        print("", *cost_table(report), "", *latency_table(report), sep="\n")
        for step in report.steps:
            print(f"\n### {report.policy}, {title(step)}: {step.outcome}\n")
            print(*cell_table(step), sep="\n")
        print(f"\n### {report.policy}, prune potential\n")
        print(*potential_table(report), sep="\n")
        seconds = ", ".join(f"{name} {value:.0f}" for name, value in report.seconds.items())
        # "gate: shift" and the like are parts of "gate".
        total = sum(value for name, value in report.seconds.items() if ":" not in name)
        print(f"\nWall seconds: {seconds}; in all {total:.0f}.\n")


def _outcome(report: Report) -> str:
    if report.accepted_ratio is None:
        return report.verdict
    return f"accepted at ratio {report.accepted_ratio:.2f}"


if __name__ == "__main__":
    main(sys.argv[1:])
