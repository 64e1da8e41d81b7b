"""What a run may have beside its verdict, and what several sequences come to, on its page."""

import html
import re
from collections.abc import Callable, Mapping

import pytest

from compressor.page.draw import draw_report
from compressor.page.words import advice, lead
from compressor.report import shown_step
from compressor.report_schema import Report
from compressor.samples_file import Samples
from tests.compressor.page.walk import walked

Drawn = Callable[[str], bytes]
Reports = Mapping[str, Report]

SEVERAL = "several precisions, "


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def markup(page: bytes, name: str) -> str:
    """One section, which must be there."""
    whole = rf'<section aria-labelledby="{name}">(.*?)</section>'
    found = re.search(whole, page.decode(), re.DOTALL)
    assert found, name
    return found[1]


def section(page: bytes, name: str) -> str:
    """What a reader reads of it, without the drawings."""
    return plain(re.sub(r"<svg\b.*?</svg>", " ", markup(page, name), flags=re.DOTALL))


def first_screen(page: bytes) -> str:
    first = page[: page.index(b'aria-labelledby="why"')].decode()
    return plain(re.sub(r"<(style|svg)\b.*?</\1>", " ", first, flags=re.DOTALL))


def paths(page: bytes) -> set[str]:
    return {str(element.attributes["data-path"]) for element in walked(page).traced}


def rows(page: bytes, name: str) -> list[list[str]]:
    """The cells of a section's table."""
    lines = re.findall(r"<tr.*?</tr>", markup(page, name), re.DOTALL)
    cell = re.compile(r"<t[hd].*?</t[hd]>", re.DOTALL)
    return [[plain(found) for found in cell.findall(line)] for line in lines]


def test_what_costs_time_is_told_with_what_to_do_about_it(drawn: Drawn) -> None:
    cost = section(drawn("accepted"), "cost")
    assert "17 of 19 convolutions run on the runtime's fast kernels." in cost
    assert "unaligned-width : 2 of 20 products have widths that are no multiples of 8: 12" in cost
    assert "To do : prune to multiples of 8 ." in cost
    assert "node_Conv_393 , node_Conv_395" in cost


def test_a_file_in_which_nothing_costs_time_is_told_of(reports: Reports) -> None:
    report = reports["accepted"]
    assert report.lint is not None
    clean = report.model_copy(update={"lint": report.lint.model_copy(update={"findings": []})})
    assert "Nothing was found." in section(draw_report(clean, None), "cost")
    without = report.model_copy(update={"lint": None})
    assert "costs time" not in section(draw_report(without, None), "cost")


def test_every_time_that_was_measured_is_on_the_page(drawn: Drawn, reports: Reports) -> None:
    page = drawn("accepted")
    for index, entry in enumerate(reports["accepted"].latency):
        known = {f"{model}.{key}" for model in ("dense", "pruned") for key in ("median_ms", "runs")}
        known |= {"pruned.p95_ms", "batch", "speedup", "threads", "speedup_interval.0", "noise.1"}
        assert {f"latency.{index}.{key}" for key in known} <= paths(page)
        assert entry["dense"]["p95_ms"] is None
    assert section(page, "cost").count("too few runs") == 2


def test_a_resize_inside_is_part_of_what_is_promised(drawn: Drawn) -> None:
    told = section(drawn("accepted"), "why")
    assert "images of 480 x 640 pixels and resize them to 224 x 224 themselves" in told
    assert "resize" not in section(drawn("waived"), "why")


def test_what_was_asked_for_and_what_was_left_out_is_on_the_first_screen(drawn: Drawn) -> None:
    first = first_screen(drawn("accepted"))
    assert "0.071 ms at batch 1 meets the 0.5 ms that were asked for" in first
    assert "fp16 was left out: the provider computes it in fp32" in first


def test_of_a_segmentation_every_overlap_is_there_and_that_of_the_binding_shift_first(
    drawn: Drawn, reports: Reports
) -> None:
    page = drawn("segmented")
    step = shown_step(reports["segmented"])
    assert step is not None
    index = reports["segmented"].steps.index(step)
    for number in range(len(step.cells)):
        at = f"steps.{index}.cells.{number}.overlap"
        known = {"dense", "pruned", "drop", "interval.0", "worst_class.drop", "worst_class.n"}
        assert {f"{at}.{key}" for key in known} <= paths(page)
    binding = [cell.shift for cell in step.cells].index(step.binding)
    drop = f"+{100 * (0.0467 + binding / 1000):.2f}"
    assert f"mIoU drop {drop} points [ +4.47 , +4.88 ] on {step.binding}" in first_screen(page)
    assert "it decides nothing" in section(page, "overlap")
    assert b"mIoU" not in drawn("accepted")


def test_a_run_without_pictures_has_no_empty_section_of_them(reports: Reports) -> None:
    nothing = Samples(candidate="c", dense="d", position=1, name="x", shifts=())
    assert b'id="samples"' not in draw_report(reports["segmented"], nothing)


@pytest.mark.parametrize("verdict", ["accepted", "rejected", "undecided"])
def test_several_sequences_have_one_verdict_and_a_line_each(
    drawn: Drawn, reports: Reports, verdict: str
) -> None:
    report, page = reports[SEVERAL + verdict], drawn(SEVERAL + verdict)
    assert report.verdict == verdict
    assert re.search(rf"<h1><span[^>]*>{verdict.upper()}", page.decode())
    head, *lines = rows(page, "chains")
    assert [line[0] for line in lines] == ["fp32", "int8"]
    assert {line[head.index("judged at, %")] for line in lines} == {"2.5"}
    released = [line[0] for line in lines if line[head.index("released")] == "yes"]
    assert released == (["int8"] if verdict == "accepted" else [])
    assert {c.alpha for c in report.chains} == {report.alpha_per_release / 2}


def test_the_line_of_a_sequence_says_how_far_it_came_and_what_stopped_it(drawn: Drawn) -> None:
    head, fp32, int8 = rows(drawn(SEVERAL + "accepted"), "chains")
    far, why, fast = (head.index(c) for c in ("last accepted", "why no further", "times as fast"))
    assert fp32[far] == "ratio 0.30 fp32"
    assert re.fullmatch(r"ratio 0\.50 fp32 : \S+ violated , binding snow-3", fp32[why])
    assert int8[far] == "ratio 0.50 int8"
    assert int8[why] == "every ratio was accepted"
    assert float(int8[fast]) > float(fp32[fast])
    first = first_screen(drawn(SEVERAL + "accepted"))
    assert "ACCEPTED at ratio 0.50 in int8 under test" in first
    assert "fp32: accepted up to 0.30, judged at 2.5 %" in first


def test_the_binding_shift_of_several_sequences_is_that_of_the_released_file(
    drawn: Drawn, reports: Reports
) -> None:
    report = reports[SEVERAL + "accepted"]
    step = shown_step(report)
    assert step is not None
    assert (step.chain, step.position) == ("int8", report.accepted_position)
    index = report.steps.index(step)
    first = drawn(SEVERAL + "accepted").split(b'aria-labelledby="why"')[0]
    assert f'data-path="steps.{index}.binding"'.encode() in first
    others = {f"steps.{i}.binding" for i in range(len(report.steps)) if i != index}
    assert not [path for path in others if f'data-path="{path}"'.encode() in first]


def test_an_undecided_verdict_is_told_by_the_sequence_that_left_it_open(
    drawn: Drawn, reports: Reports
) -> None:
    report = reports[SEVERAL + "undecided"]
    assert [step.outcome for step in report.steps] == ["violated", "undecided"]
    step = shown_step(report)
    assert step is not None
    assert step.chain == "int8"
    assert "neither that ratio 0.30 int8 holds nor that it fails on fog-3" in lead(report)
    why = rows(drawn(SEVERAL + "undecided"), "chains")[1][-1]
    assert re.fullmatch(r"ratio 0\.30 fp32 : \S+ violated , binding \S+", why)


def test_one_sequence_has_no_table_of_sequences(drawn: Drawn) -> None:
    assert b'id="chains"' not in drawn("accepted")


def test_a_model_that_is_only_too_slow_is_not_said_to_lose_too_much(
    drawn: Drawn, reports: Reports
) -> None:
    told = lead(reports["too slow"])
    assert told == (
        "No model is released: ratio 0.30 keeps every tolerance, and is not shown to be 1.5 times "
        "as fast as the dense model."
    )
    first = first_screen(drawn("too slow"))
    assert told in first
    assert "ratio 0.30 keeps every tolerance, but it is 1.1 times as fast" in first


@pytest.mark.parametrize(
    ("kind", "next_"),
    [
        ("accepted", "deploy model.onnx as it is"),
        ("rejected", "Try a smaller ratio or longer retraining"),
        ("undecided", "more images would not change that"),
        ("nothing judged", "Mend what the reason names"),
        ("too slow", "prune further, take another precision"),
        ("measured no further", "Try a candidate that loses less"),
    ],
)
def test_what_to_do_next_is_beside_the_verdict(
    drawn: Drawn, reports: Reports, kind: str, next_: str
) -> None:
    (told,) = advice(reports[kind])
    assert next_ in told
    box = drawn(kind).decode().partition('<div class="verdict')[2].partition("</header>")[0]
    assert f"Next : {told}" in plain(box)


def test_images_that_would_decide_are_asked_for_by_number(reports: Reports) -> None:
    report = reports["undecided"].model_copy(update={"images_needed": 12345})
    (told,) = advice(report)
    assert told.startswith("Give the gate more images, about 12,345, or")
