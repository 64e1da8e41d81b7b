"""The record and the words hold what was observed, whatever kind it is of."""

from typing import Any

import pytest

from compressor.render import binding, cell_table
from compressor.report import CellReport, StepReport, cell_reports
from gates import Counts, DrawCounts, Evidence, FlipCounts, PairedCounts, Step, judge_step
from policies import FolderRule, Policy, ShiftRule

ONE_DRAW = PairedCounts(both_right=900, only_dense=40, only_pruned=20, both_wrong=40)
THREE_DRAWS = DrawCounts(
    draws=3,
    differences=(0, 4, 20, 930, 34, 12, 0),
    dense_right=2700,
    pruned_right=2670,
    discordant=86,
)
FLIPS = FlipCounts(same=1480, flipped=20)

POLICY = Policy(
    apiVersion="compress/v1",
    name="test",
    summary="For tests.",
    alpha=0.05,
    min_images=1000,
    shifts=(
        ShiftRule(name="clean", tolerance=0.05, reason="because"),
        ShiftRule(name="noise", severity=3, draws=3, tolerance=0.05, reason="because"),
        FolderRule(id="stream", folder="stream", labels="none", tolerance=0.02, reason="because"),
    ),
)


def judged(*, stream: FlipCounts = FLIPS) -> Step:
    counts: dict[str, Counts] = {"clean": ONE_DRAW, "noise-3x3": THREE_DRAWS, "stream": stream}
    return judge_step(
        POLICY,
        [
            Evidence(
                candidate="c",
                dense="d",
                ratio=0.3,
                shift=shift,
                images="stream" if shift == "stream" else "gate",
                counts=found,
            )
            for shift, found in counts.items()
        ],
    )


def recorded(step: Step) -> StepReport:
    return StepReport(
        ratio=step.ratio,
        candidate=step.candidate,
        params=1,
        macs=1,
        size_bytes=1,
        tune_accuracy=0.9,
        self_test_difference=0.0,
        parity={},
        epochs=[],
        outcome=step.outcome.value,
        binding=step.binding.shift,
        cells=cell_reports(POLICY, step),
    )


def cells() -> dict[str, CellReport]:
    return {cell.shift: cell for cell in cell_reports(POLICY, judged())}


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (
            "clean",
            {"draws": 1, "only_dense": 40, "only_pruned": 20, "differences": None, "flipped": None},
        ),
        (
            "noise-3x3",
            {
                "draws": 3,
                "differences": THREE_DRAWS.differences,
                "discordance": 86 / 3000,
                "dense_accuracy": 0.9,
                "only_dense": None,
            },
        ),
        (
            "stream",
            {
                "statistic": "flip rate",
                "flipped": 20,
                "drop": 20 / 1500,
                "dense_accuracy": None,
                "pruned_accuracy": None,
                "discordance": None,
            },
        ),
    ],
)
def test_a_cell_says_what_was_counted_and_nothing_else(
    shift: str, expected: dict[str, Any]
) -> None:
    record = cells()[shift].model_dump()
    assert {name: record[name] for name in expected} == expected
    assert record["statistic"] == expected.get("statistic", "drop")


def test_the_record_comes_back_from_json_as_it_was() -> None:
    step = recorded(judged())
    assert StepReport.model_validate_json(step.model_dump_json()) == step


def test_where_there_are_no_labels_the_table_shows_flips_and_no_accuracy() -> None:
    (row,) = [line for line in cell_table(recorded(judged())) if "stream" in line]
    assert [entry.strip() for entry in row.strip("|").split("|")] == [
        "stream", "-", "-", "1.33 [0.82, 2.05] flips", "2.0", "-", "0.034", "accepted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flipped", "observed", "room", "p"),
    [(20, "1.33", "0.67 points below", "0.034"), (60, "4.00", "2.00 points above", "1")],
)
def test_what_binds_is_named_with_the_room_that_is_left(
    flipped: int, observed: str, room: str, p: str
) -> None:
    step = judged(stream=FlipCounts(same=1500 - flipped, flipped=flipped))
    assert binding(recorded(step)) == (
        f"Binding: stream. Its flip rate of {observed} % is {room} the tolerance of 2.0 % "
        f"(p {p}, 1,500 images)."
    )


def test_a_gain_binds_without_a_negative_zero() -> None:
    gain = PairedCounts(both_right=99960, only_dense=19, only_pruned=20, both_wrong=1)
    policy = POLICY.model_copy(update={"shifts": POLICY.shifts[:1]})
    evidence = Evidence(
        candidate="c", dense="d", ratio=0.3, shift="clean", images="gate", counts=gain
    )
    assert "Its drop of 0.00 % is 5.00 points below" in binding(
        recorded(judge_step(policy, [evidence]))
    )
