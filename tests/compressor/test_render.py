"""The words say what the report says, of what was made here and of what was brought."""

from collections.abc import Callable

import pytest

from compressor.render import guarantee, headline, markdown, summary
from compressor.report_schema import Report
from compressor.tables import cost_table
from policies import Policy, ShiftRule

SAFE, UNSAFE = 0.0, 0.2

Reported = Callable[..., Report]
Rules = Callable[..., Policy]


def entries(line: str) -> list[str]:
    return [entry.strip() for entry in line.strip("|").split(" | ")]


@pytest.mark.parametrize(
    ("job", "drop", "expected"),
    [
        ("compress", SAFE, "ACCEPTED at ratio 0.30 under test"),
        ("compress", UNSAFE, "REJECTED under test: no ratio was accepted"),
        ("gate", SAFE, "ACCEPTED: net-0.onnx under test"),
        ("gate", UNSAFE, "REJECTED under test: no candidate was accepted"),
    ],
)
def test_the_headline_says_which_candidate_is_released(
    reported: Reported, rules: Rules, job: str, drop: float, expected: str
) -> None:
    report = reported(rules("fog"), {0.3: (drop,)}, job=job)
    assert headline(report) == expected
    assert markdown(report).startswith(f"# {expected}\n")
    assert summary(report).startswith(f"{expected}\n")


def test_the_headline_counts_waivers_whatever_the_candidate_is_called(
    reported: Reported, rules: Rules
) -> None:
    policy = rules("fog", "snow", waived=["snow"])
    report = reported(policy, {0.3: (SAFE, UNSAFE)}, job="gate")
    assert headline(report) == "ACCEPTED with 1 waiver: net-0.onnx under test"


def test_of_a_file_that_was_brought_the_words_say_what_is_known(
    reported: Reported, rules: Rules
) -> None:
    report = reported(rules("fog"), {0.1: (SAFE,), 0.2: (UNSAFE,)}, job="gate")
    text = markdown(report)
    assert "\n## net-0.onnx: accepted\n" in text
    assert "\n## net-1.onnx: violated\n" in text
    assert "Prune potential" not in text
    assert "No latency was measured." in text
    assert "None" not in text
    header, _, dense, first, _ = map(entries, cost_table(report))
    assert [header[0], header[-1]] == ["candidate", "precision"]
    assert dense == ["dense", "1,000", "-", "-", "0.00", "-", "-"]
    assert first == ["net-0.onnx", "900 (-10.0%)", "-", "accepted", "0.00", "-", "int8"]
    assert "\nnet-0.onnx: accepted\n" in summary(report)


def test_of_a_ratio_the_words_say_what_it_cost(reported: Reported, rules: Rules) -> None:
    report = reported(rules("fog"), {0.1: (SAFE,), 0.2: (UNSAFE,)})
    text = markdown(report)
    assert "\n## Ratio 0.10: accepted\n" in text
    assert "Advisory" not in text
    assert "## Prune potential" in text
    assert "- images shown: 2,000 to the dense model, 4,000 to candidates" in text
    header, _, _, first, _ = map(entries, cost_table(report))
    assert header[0] == "ratio"
    assert first[:3] == ["0.10", "900 (-10.0%)", "0.0 (-10.0%)"]
    assert "\nratio 0.10: accepted\n" in summary(report)


def test_what_was_not_measured_is_told(reported: Reported, rules: Rules) -> None:
    report = reported(rules("fog", "snow", method="looks"), {0.1: (UNSAFE,)})
    for text in (markdown(report), summary(report)):
        assert "Not measured, for a violation had decided: snow-3." in text


@pytest.mark.parametrize(
    ("alpha", "surely"), [(0.05, "95%"), (0.005, "99.5%"), (0.05 / 3, "98.33%"), (1e-5, "99.99%")]
)
def test_the_guarantee_is_that_of_one_release_and_never_rounded_up(
    reported: Reported, rules: Rules, alpha: float, surely: str
) -> None:
    report = reported(rules("fog"), {0.3: (SAFE,)}, alpha_per_release=alpha)
    assert f"with probability at least {surely} the released file loses no more accuracy than " in (
        guarantee(report)
    )


def test_the_guarantee_of_other_metrics_speaks_of_them(reported: Reported, rules: Rules) -> None:
    top5 = ShiftRule(name="fog", severity=3, metric="top5", tolerance=0.04, reason="because")
    policy = rules("fog").model_copy(update={"shifts": (top5,)})
    promised = guarantee(reported(policy, {0.3: (SAFE,)}))
    assert "the released file keeps, by the metric of each rule, the tolerance on any" in promised
    assert "accuracy" not in promised


def test_how_often_the_images_have_served_is_told(reported: Reported, rules: Rules) -> None:
    said = "the 2nd of 10 releases that share these images"
    drops = {0.3: (SAFE,)}
    alone = reported(rules("fog"), drops)
    reuse = {"ordinal": 2, "releases": 10, "entry": "e", "sentence": said}
    shared = Report.model_validate(alone.model_dump() | {"reuse": reuse})
    assert f"- gate images: {said}" in markdown(shared)
    assert f"  gate images: {said}" in summary(shared)
    assert "served nothing else but 10 releases, none of them made by what" in guarantee(shared)
    assert "served nothing else, then" in guarantee(alone)
    assert "gate images" not in markdown(alone)


def test_a_name_cannot_break_a_table(reported: Reported, rules: Rules) -> None:
    report = reported(rules("fog"), {0.3: (SAFE,)}, job="gate")
    step = report.steps[0].model_copy(update={"name": "a|b\nc.onnx"})
    *_, row = cost_table(report.model_copy(update={"steps": [step]}))
    assert row.startswith(r"| a\|b c.onnx")
