"""Judge the candidates of one run on the shifts of another policy: a description, not a verdict.

    python benchmarks/cross_policy.py PROJECT/compress.yaml RUN POLICY RATIO [RATIO ...]

The candidates were made for their own policy and the images have served its gate, so nothing is
released on these rows; they show what that policy did not look at.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from compressor.config import Project, load_project
from compressor.data import ImageSet, UnlabelledSet, load_images
from compressor.field import load_field
from compressor.gate import answers, counts_of
from compressor.runs import Answers
from exporters.runtime import Preprocessing, cpu_threads, predictor
from gates import Cell, Evidence, FlipCounts, judge_step
from policies import FolderRule, Policy, load_policy

Images = Mapping[str, ImageSet | UnlabelledSet]
"""The images of each rule, by its id."""


def main(project_file: Path, run: Path, policy_name: str, ratios: list[float]) -> None:
    """Print one row for each ratio and rule."""
    project, policy = load_project(project_file), load_policy(policy_name)
    images = _images(project, policy, root=project_file.resolve().parent)
    dense = _answers(run / "dense.onnx", images, project, policy)
    print("| ratio | shift | dense | pruned | drop, points [95 %] | discordance | p | outcome |")
    print("|---|---|---|---|---|---|---|---|")
    for ratio in ratios:
        file = run / "candidates" / f"{ratio:.3f}" / "model.onnx"
        pruned = _answers(file, images, project, policy)
        evidence = [
            Evidence(
                candidate=str(file),
                dense=str(run / "dense.onnx"),
                ratio=ratio,
                shift=rule.id,
                images=images[rule.id].digest,
                counts=counts_of(rule, dense[rule.id], pruned[rule.id]),
            )
            for rule in policy.shifts
        ]
        for cell in judge_step(policy, evidence).cells:
            print(f"| {ratio:.2f} {_row(cell)}")


def _images(project: Project, policy: Policy, *, root: Path) -> Images:
    size, cache = project.input.size, root / ".compress-cache"
    gate = load_images(project.data.gate, size=size, cache=cache, root=root)
    return {
        rule.id: load_field(rule, classes=gate.classes, size=size, cache=cache, root=root)
        if isinstance(rule, FolderRule)
        else gate
        for rule in policy.shifts
    }


def _answers(file: Path, images: Images, project: Project, policy: Policy) -> dict[str, Answers]:
    preprocessing = Preprocessing(mean=project.input.mean, std=project.input.std)
    predict = predictor(file, preprocessing, threads=cpu_threads())
    found = {}
    for rule in policy.shifts:
        found[rule.id], _ = answers(
            predict, images[rule.id], rule, seed=project.seed, profile=policy.profile
        )
    return found


def _row(cell: Cell) -> str:
    counts, (low, high) = cell.counts, cell.interval
    accuracies = ["-", "-", "-"]  # without labels nobody knows
    if not isinstance(counts, FlipCounts):
        accuracies = [
            f"{share:.2%}"
            for share in (counts.dense_accuracy, counts.pruned_accuracy, counts.discordance)
        ]
    dense, pruned, discordance = accuracies
    return (
        f"| {cell.shift} | {dense} | {pruned} | {100 * counts.drop:+.2f} "
        f"[{100 * low:+.2f}, {100 * high:+.2f}] | {discordance} | {cell.p_safe:.2g} "
        f"| {cell.outcome.value} |"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], [float(r) for r in sys.argv[4:]])
