"""What GitHub shows on a change is the report's, the most important first, and never too much."""

from collections.abc import Callable

import pytest

from compressor.annotations import MOST, Annotation, annotations, command
from compressor.report_schema import Report
from policies import Policy

SAFE, UNCLEAR, UNSAFE = 0.0, 0.04, 0.2

Reported = Callable[..., Report]
Rules = Callable[..., Policy]


def lines(report: Report) -> list[tuple[str, str]]:
    return [(line.level, line.title) for line in annotations(report)]


def test_a_rejection_comes_first_then_violated_undecided_and_advisory_cells(
    reported: Reported, rules: Rules
) -> None:
    policy = rules("fog", "snow", "blur", advisory=["frost", "haze"])
    report = reported(policy, {0.3: (UNCLEAR, UNSAFE, SAFE, UNCLEAR, UNSAFE)})
    assert lines(report) == [
        ("error", "REJECTED under test: no ratio was accepted"),
        ("error", "snow-3: violated"),
        ("warning", "fog-3: undecided"),
        ("notice", "haze-3: violated (advisory)"),
        ("notice", "frost-3: undecided (advisory)"),
    ]
    first, second = annotations(report)[:2]
    assert first.message.startswith("Binding: snow-3. Its drop of 20.00 % is 16.00 points above")
    assert second.message == report.reasons[0]


def test_a_waived_cell_comes_last_and_says_so(reported: Reported, rules: Rules) -> None:
    policy = rules("fog", "snow", waived=["fog"])
    assert lines(reported(policy, {0.3: (UNSAFE, UNCLEAR)}))[1:] == [
        ("warning", "snow-3: undecided"),
        ("notice", "fog-3: violated (waived)"),
    ]


def test_undecided_is_a_warning(reported: Reported, rules: Rules) -> None:
    assert lines(reported(rules("fog"), {0.3: (UNCLEAR,)})) == [
        ("warning", "UNDECIDED under test: no ratio was accepted"),
        ("warning", "fog-3: undecided"),
    ]


def test_where_a_model_is_released_nothing_is_more_than_a_notice(
    reported: Reported, rules: Rules
) -> None:
    policy = rules("fog", advisory=["frost"])
    rows = {0.2: (SAFE, UNSAFE), 0.3: (SAFE, UNCLEAR), 0.4: (UNSAFE, SAFE), 0.5: (UNSAFE, SAFE)}
    report = reported(policy, rows)
    assert lines(report) == [
        ("notice", "ACCEPTED at ratio 0.30 under test"),
        ("notice", "fog-3: violated"),
        ("notice", "frost-3: undecided (advisory)"),
    ]
    assert annotations(report)[1].message.startswith("ratio 0.40: the drop on fog-3")


def test_why_the_ladder_ended_is_told(reported: Reported, rules: Rules) -> None:
    report = reported(rules("fog"), {0.3: (SAFE,)}, ladder_end="all were accepted")
    (only,) = annotations(report)
    assert only.message.endswith(" Larger ratios: all were accepted")


def test_candidates_that_were_brought_are_called_by_their_names(
    reported: Reported, rules: Rules
) -> None:
    rows = {0.1: (SAFE,), 0.2: (SAFE,), 0.3: (UNSAFE,)}
    report = reported(rules("fog"), rows, job="gate")
    assert lines(report) == [
        ("notice", "ACCEPTED: net-1.onnx under test"),
        ("notice", "fog-3: violated"),
    ]
    assert annotations(report)[1].message.startswith("net-2.onnx: the drop on fog-3")
    rejected = reported(rules("fog"), {0.1: (UNSAFE,)}, job="gate")
    assert lines(rejected)[0] == ("error", "REJECTED under test: no candidate was accepted")
    (only,) = annotations(reported(rules("fog"), {0.1: (SAFE,)}, job="gate", ladder_end="the end"))
    assert only.message.endswith(" Other candidates: the end")


def test_where_nothing_was_measured_the_verdict_says_why(reported: Reported, rules: Rules) -> None:
    (only,) = annotations(reported(rules("fog"), {}))
    assert only == Annotation(
        level="warning",
        title="UNDECIDED under test: no ratio was accepted",
        message="no width fits",
    )


@pytest.mark.parametrize("cells", [1, MOST - 1, MOST, 40])
def test_there_are_at_most_ten_and_the_last_says_how_many_are_left_out(
    reported: Reported, rules: Rules, cells: int
) -> None:
    policy = rules(*(f"shift{i}" for i in range(cells)))
    shown = annotations(reported(policy, {0.3: (UNSAFE,) * cells}))
    assert len(shown) == min(cells + 1, MOST)
    if cells >= MOST:
        assert shown[-1].title == f"{cells - (MOST - 2)} more cells are not accepted"
    assert shown[0].title.startswith("REJECTED")


@pytest.mark.parametrize(
    ("text", "as_title", "as_message"),
    [
        ("a: b, c", "a%3A b%2C c", "a: b, c"),
        ("50 %0A", "50 %250A", "50 %250A"),
        ("x\r\n::error::y", "x%0D%0A%3A%3Aerror%3A%3Ay", "x%0D%0A::error::y"),
    ],
)
def test_a_command_is_one_line_whatever_it_says(text: str, as_title: str, as_message: str) -> None:
    line = command(Annotation(level="error", title=text, message=text))
    assert line == f"::error title={as_title}::{as_message}"
    assert len(line.splitlines()) == 1
