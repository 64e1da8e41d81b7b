"""Two runs on one page: each value is that of its record, and what differs is named."""

import json
from collections.abc import Mapping

import pytest

from compressor.page.comparison import Compared, as_json, compare
from compressor.page.draw import draw_comparison
from compressor.page.words import words
from compressor.report_schema import Report
from tests.compressor.page.walk import at, numbers, walked, wrong

PAIRS = [
    ("accepted", "undecided"), ("accepted", "accepted"), ("brought", "rejected"),
    ("nothing judged", "accepted"), ("nothing judged", "nothing judged"),
]  # fmt: skip


def page_of(first: Report, second: Report) -> bytes:
    return draw_comparison(compare(first, second), (first, second), ("one", "other"))


def changed(compared: Compared) -> set[str]:
    lines = (*compared.outcome, *compared.speed, *compared.candidates, *compared.environment)
    return {line.name for line in lines if line.changed}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_number_is_the_one_in_its_own_record(
    reports: Mapping[str, Report], first: str, second: str
) -> None:
    both = reports[first], reports[second]
    records = {name: json.loads(r.model_dump_json()) for name, r in zip("ab", both, strict=True)}
    page = page_of(*both)
    assert wrong(page, records) == []
    assert all(words(report)["headline"].encode() in page for report in both)
    for element in walked(page).drawn:
        paths = str(element.attributes["data-path"]).split()
        assert all(isinstance(at(records, path), float) for path in paths)
        assert not numbers(element.text)


def test_nothing_differs_between_a_run_and_itself(reports: Mapping[str, Report]) -> None:
    compared = compare(reports["accepted"], reports["accepted"])
    assert changed(compared) == set()
    assert compared.caveats == ()


def test_what_differs_is_named(reports: Mapping[str, Report]) -> None:
    found = changed(compare(reports["accepted"], reports["undecided"]))
    wanted = {"verdict", "released", "accepted ratio", "candidate shown", "batch 1: times as fast"}
    assert wanted | {"ratio 0.50", "ratio 0.30"} <= found
    assert "policy" not in found
    assert "torch" not in found


def test_runs_that_cannot_be_compared_number_by_number_are_told_of(
    reports: Mapping[str, Report],
) -> None:
    first, second = reports["accepted"], reports["waived"]
    other = second.model_copy(
        update={
            "dense": second.dense.model_copy(update={"sha256": "another"}),
            "provider": "CUDAExecutionProvider",
        }
    )
    caveats = compare(first, other).caveats
    assert [text.split()[1] for text in caveats] == ["dense", "policies", "models"]
    assert all(text.encode() in page_of(first, other) for text in caveats)


def test_shifts_that_one_run_alone_measured_are_in_the_table_and_not_in_the_drawing(
    reports: Mapping[str, Report],
) -> None:
    compared = compare(reports["one shift at one ratio"], reports["accepted"])
    assert [(shift, first is None) for shift, first, _ in compared.cells] == [
        ("fog-3", False), ("snow-3", True), ("frost-3", True),
    ]  # fmt: skip
    assert compared.plot is not None
    assert "snow-3" not in compared.plot


def test_machines_get_both_values_of_every_line(reports: Mapping[str, Report]) -> None:
    first, second = reports["accepted"], reports["rejected"]
    found = json.loads(as_json(compare(first, second)))
    assert found["outcome"]["verdict"] == {"a": "accepted", "b": "rejected", "changed": True}
    assert found["outcome"]["accepted ratio"] == {"a": 0.5, "b": None, "changed": True}
    assert found["latency"]["batch 1: times as fast"]["a"] == first.latency[0]["speedup"]
    cell = second.steps[0].cells[1]
    assert found["shifts"]["snow-3"]["b"]["drop"] == cell.drop
    assert found["environment"]["torch"]["changed"] is False
