"""Judge the candidates of one run on the shifts of another policy: a description, not a verdict.

    python benchmarks/cross_policy.py PROJECT/compress.yaml RUN POLICY RATIO [RATIO ...]

The candidates were made for their own policy and the images have served its gate, so nothing is
released on these rows; they show what that policy did not look at.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.config import Project, load_project
from compressor.data import ImageSet, load_images
from exporters.runtime import Preprocessing, cpu_threads, predictor
from gates import Evidence, judge_step, paired
from gates.measure import right_answers
from policies import Policy, load_policy


def main(project_file: Path, run: Path, policy_name: str, ratios: list[float]) -> None:
    """Print one row for each ratio and shift."""
    project, policy = load_project(project_file), load_policy(policy_name)
    root = project_file.resolve().parent
    gate = load_images(
        project.data.gate, size=project.input.size, cache=root / ".compress-cache", root=root
    )
    dense = _answers(run / "dense.onnx", gate, project, policy)
    print("| ratio | shift | dense | pruned | drop, points [95 %] | discordance | p | outcome |")
    print("|---|---|---|---|---|---|---|---|")
    for ratio in ratios:
        file = run / "candidates" / f"{ratio:.3f}" / "model.onnx"
        pruned = _answers(file, gate, project, policy)
        evidence = [
            Evidence(
                candidate=str(file),
                dense=str(run / "dense.onnx"),
                ratio=ratio,
                shift=rule.id,
                images=gate.digest,
                counts=paired(dense[rule.id], pruned[rule.id]),
            )
            for rule in policy.shifts
        ]
        for cell in judge_step(policy, evidence).cells:
            counts, (low, high) = cell.counts, cell.interval
            print(
                f"| {ratio:.2f} | {cell.shift} | {counts.dense_accuracy:.2%} | "
                f"{counts.pruned_accuracy:.2%} | {100 * counts.drop:+.2f} "
                f"[{100 * low:+.2f}, {100 * high:+.2f}] | {counts.discordance:.1%} | "
                f"{cell.p_safe:.2g} | {cell.outcome.value} |"
            )


def _answers(
    file: Path, gate: ImageSet, project: Project, policy: Policy
) -> dict[str, NDArray[np.bool_]]:
    preprocessing = Preprocessing(mean=project.input.mean, std=project.input.std)
    predict = predictor(file, preprocessing, threads=cpu_threads())
    return {
        rule.id: right_answers(
            predict,
            gate,
            shift=rule.name,
            severity=rule.severity,
            seed=project.seed,
            profile=policy.profile,
        )
        for rule in policy.shifts
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], [float(r) for r in sys.argv[4:]])
