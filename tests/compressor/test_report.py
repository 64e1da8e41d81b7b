"""The record and the words hold what was observed, whatever kind it is of."""

from typing import Any

import pytest

from compressor.render import binding, not_measured
from compressor.report import Advisories, cell_reports, step_fields
from compressor.report_schema import CellReport, StepReport
from compressor.tables import advisory_table, cell_table
from gates import (
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    PairedCounts,
    ScoreCounts,
    Step,
    judge_step,
)
from gates.advisory import Calibration, ClassDrop
from policies import FolderRule, Policy, Reuse, ShiftRule

ONE_DRAW = PairedCounts(both_right=900, only_dense=40, only_pruned=20, both_wrong=40)
THREE_DRAWS = DrawCounts(
    draws=3,
    differences=(0, 4, 20, 930, 34, 12, 0),
    dense_right=2700,
    pruned_right=2670,
    discordant=86,
)
FLIPS = FlipCounts(same=1480, flipped=20)
SCORES = ScoreCounts(growths=((-4, 100), (0, 800), (82, 100)), dense_steps=409_600)

POLICY = Policy(
    apiVersion="compress/v1",
    name="test",
    summary="For tests.",
    alpha=0.05,
    min_images=1000,
    shifts=(
        ShiftRule(name="clean", tolerance=0.05, reason="because"),
        ShiftRule(name="noise", severity=3, draws=3, tolerance=0.05, reason="because"),
        ShiftRule(name="fog", severity=3, metric="brier", tolerance=0.02, reason="because"),
        ShiftRule(name="fog", severity=3, metric="top5", tolerance=0.05, reason="because"),
        FolderRule(id="stream", folder="stream", labels="none", tolerance=0.02, reason="because"),
    ),
)
ALONE = POLICY.model_copy(update={"shifts": POLICY.shifts[:1]})

ADVISORIES: Advisories = {
    (2, "clean"): (
        Calibration(dense=0.03, pruned=0.05, interval=(0.01, 0.034)),
        ClassDrop(name="cat|dog", drop=0.2, interval=(-0.1, 0.5), n=40),
    ),
    (2, "noise-3x3"): (None, ClassDrop(name="car", drop=0.1, interval=(0.0, 0.2), n=50)),
    (7, "fog-3-brier"): (Calibration(dense=0.0, pruned=1.0, interval=(1.0, 1.0)), None),
}


def evidence(shift: str, counts: Counts, *, look: int = 1) -> Evidence:
    return Evidence(
        candidate="c",
        dense="d",
        name="ratio 0.30",
        position=2,
        ratio=0.3,
        shift=shift,
        images="stream" if shift == "stream" else "gate",
        look=look,
        counts=counts,
    )


def judged(*, stream: FlipCounts = FLIPS) -> Step:
    counts: dict[str, Counts] = {
        "clean": ONE_DRAW,
        "noise-3x3": THREE_DRAWS,
        "fog-3-brier": SCORES,
        "fog-3-top5": ONE_DRAW,
        "stream": stream,
    }
    return judge_step(POLICY, [evidence(shift, found) for shift, found in counts.items()])


def recorded(step: Step, *, policy: Policy = POLICY, **fields: Any) -> StepReport:  # noqa: ANN401 # any field
    known = step_fields(policy, step, advisories=fields.pop("advisories", {}))
    return StepReport(
        **known,
        file="candidates/0.300/model.onnx",
        params=1,
        macs=1,
        size_bytes=1,
        tune_accuracy=0.9,
        self_test_difference=0.0,
        parity={},
        precision=None,
        epochs=[],
        **fields,
    )


def cells() -> dict[str, CellReport]:
    return {cell.shift: cell for cell in cell_reports(POLICY, judged())}


def entries(line: str) -> list[str]:
    return [entry.strip() for entry in line.strip("|").split(" | ")]


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
            "fog-3-brier",
            {
                "statistic": "Brier growth",
                "dense_score": 0.1,
                "pruned_score": 0.1 + 7.8 / 4096,
                "drop": 7.8 / 4096,
                "dense_accuracy": None,
                "pruned_accuracy": None,
                "discordance": None,
            },
        ),
        (
            "fog-3-top5",
            {"statistic": "top-5 drop", "only_dense": 40, "dense_score": None},
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


def test_a_cell_says_at_which_look_and_level_it_was_decided() -> None:
    looks = ALONE.model_copy(update={"method": "looks", "reuse": Reuse(releases=2)})
    (cell,) = cell_reports(looks, judge_step(looks, [evidence("clean", ONE_DRAW, look=4)]))
    assert (cell.look, cell.n, cell.alpha) == (4, 1000, 0.05 / 2 * 0.4)


@pytest.mark.parametrize("advisories", [{}, ADVISORIES])
def test_the_record_comes_back_from_json_as_it_was(advisories: Advisories) -> None:
    step = recorded(judged(), advisories=advisories)
    assert StepReport.model_validate_json(step.model_dump_json()) == step


@pytest.mark.parametrize(
    ("shift", "row"),
    [
        ("stream", ["1,500", "-", "-", "1.33 [0.82, 2.05] flips", "2.0", "-", "0.034"]),
        ("fog-3-brier", ["1,000", "0.1000", "0.1019", "+0.19 [", "2.0", "-"]),
        ("fog-3-top5", ["1,000", "94.00%", "92.00%", "+2.00 [", "5.0", "6.0%"]),
    ],
)
def test_the_table_shows_what_there_is_of_each_kind(shift: str, row: list[str]) -> None:
    (line,) = [line for line in cell_table(recorded(judged())) if f" {shift} " in line]
    shown = entries(line)
    assert shown[0] == shift
    assert [e.startswith(r) for e, r in zip(shown[1:], row, strict=False)] == [True] * len(row)
    assert shown[4].endswith({"stream": "flips", "fog-3-brier": "Brier"}.get(shift, "top-5"))


def test_images_and_levels_have_columns_where_cells_differ_in_them() -> None:
    looks = POLICY.model_copy(update={"shifts": POLICY.shifts[:2], "method": "looks"})
    third = PairedCounts(both_right=1500, only_dense=20, only_pruned=20, both_wrong=0)
    step = judge_step(
        looks, [evidence("clean", third, look=4), evidence("noise-3x3", THREE_DRAWS, look=1)]
    )
    header, _, clean, noise = map(entries, cell_table(recorded(step, policy=looks)))
    assert [header[1], header[-2]] == ["n", "alpha"]
    assert [clean[1], clean[-2]] == ["1,540", "0.02"]
    assert [noise[1], noise[-2]] == ["1,000", "0.01"]
    alone = judge_step(ALONE, [evidence("clean", ONE_DRAW)])
    assert entries(cell_table(recorded(alone, policy=ALONE))[0]) == [
        "shift", "dense", "pruned", "drop, points [95 %]", "tolerance", "discordance", "p",
        "outcome",
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
    step = judge_step(ALONE, [evidence("clean", gain)])
    assert "Its drop of 0.00 % is 5.00 points below" in binding(recorded(step, policy=ALONE))


def test_rules_that_were_not_measured_are_listed_with_the_reason() -> None:
    looks = POLICY.model_copy(update={"method": "looks"})
    lost = PairedCounts(both_right=800, only_dense=200, only_pruned=0, both_wrong=0)
    step = recorded(judge_step(looks, [evidence("clean", lost)]), policy=looks)
    assert step.not_measured == ["noise-3x3", "fog-3-brier", "fog-3-top5", "stream"]
    assert not_measured(step) == [
        "Not measured, for a violation had decided: noise-3x3, fog-3-brier, fog-3-top5, stream."
    ]
    assert not_measured(recorded(judged())) == []


def test_advisories_are_told_where_there_are_some_and_change_nothing_else() -> None:
    with_them, without = recorded(judged(), advisories=ADVISORIES), recorded(judged())
    assert advisory_table(without) == []
    header, _, clean, noise = advisory_table(with_them)
    assert header.count("|") == 7
    assert entries(clean.replace(r"\|", "/")) == [
        "clean", "3.00% -> 5.00%", "+2.00 [+1.00, +3.40]", "cat/dog", "+20.00 [-10.00, +50.00]",
        "40",
    ]  # fmt: skip
    assert entries(noise)[:3] == ["noise-3x3", "-", "-"]
    beside = {"calibration", "worst_class"}
    for cell, plain in zip(with_them.cells, without.cells, strict=True):
        assert cell.model_dump(exclude=beside) == plain.model_dump(exclude=beside)
    assert (with_them.outcome, with_them.binding) == (without.outcome, without.binding)
