"""What is on the page of a run, and that it is what the record holds."""

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from compressor.page.draw import draw_report
from compressor.page.figures import UNKNOWN, Figures, written
from compressor.page.words import words
from compressor.report_schema import Report
from compressor.samples_file import Sample, Samples, ShiftSamples
from policies import Policy
from tests.compressor.page.walk import SCALES, Walk, agrees, at, numbers, walked, wrong

Drawn = Callable[[str], bytes]

PIXEL = "data:image/png;base64,iVBORw0KGgo="

KINDS = (
    "accepted", "rejected", "undecided", "nothing judged", "one shift at one ratio", "waived",
    "brought", "measured no further", "segmented", "too slow", "several precisions, accepted",
    "several precisions, rejected", "several precisions, undecided",
)  # fmt: skip


def sample(**changed: Any) -> Sample:  # noqa: ANN401 # whatever a sample has
    own: dict[str, Any] = {
        "image": "cat/1.png", "draw": 0, "picture": PIXEL, "label": "cat", "dense": "cat",
        "dense_confidence": 0.912, "pruned": "dog", "pruned_confidence": 0.518, "differs": True,
    }  # fmt: skip
    return Sample(**own | changed)


def samples(*chosen: Sample, shift: str = "fog-3") -> Samples:
    return Samples(
        candidate="sha256-of-0.5",
        dense="dense",
        name="ratio 0.50",
        position=1,
        shifts=[ShiftSamples(shift=shift, answers=2000, different=17, samples=list(chosen))],
    )


def text_of(page: bytes) -> str:
    """What a reader reads, without the drawings."""
    plain = re.sub(r"<(style|svg)\b.*?</\1>", " ", page.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", plain)).split())


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_and_name_is_the_one_in_the_record(
    reports: Mapping[str, Report], kind: str
) -> None:
    report = reports[kind]
    shown = samples(sample(), sample(label=None, pruned="cat", differs=False))
    page = draw_report(report, shown)
    records = {
        "report": json.loads(report.model_dump_json()),
        "samples": json.loads(shown.model_dump_json()),
    }
    assert wrong(page, records) == []
    assert len(walked(page).traced) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_every_sentence_is_one_of_the_record(
    reports: Mapping[str, Report], drawn: Drawn, kind: str
) -> None:
    known = words(reports[kind])
    spoken = walked(drawn(kind)).spoken
    assert {e.attributes["data-words"] for e in spoken} >= {"headline", "lead"}
    assert [e.text for e in spoken] == [known[str(e.attributes["data-words"])] for e in spoken]


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_in_a_drawing_is_the_one_in_the_record(
    reports: Mapping[str, Report], drawn: Drawn, kind: str
) -> None:
    record = json.loads(reports[kind].model_dump_json())
    for element in walked(drawn(kind)).drawn:
        paths = str(element.attributes["data-path"]).split()
        values = [at(record, path) for path in paths]
        shown = numbers(element.text)
        if shown:
            scale = 1 if paths[0].startswith("potentials") else 100
            told = [agrees(text, scale * value) for text, value in zip(shown, values, strict=True)]
            assert all(told), (paths, element.text)


def test_the_walk_finds_a_number_that_is_not_that_of_the_record(
    reports: Mapping[str, Report], drawn: Drawn
) -> None:
    page = drawn("accepted").decode()
    record = {"report": json.loads(reports["accepted"].model_dump_json())}
    shown = re.search(r'data-path="steps\.1\.params"[^>]*>([\d,]+)</data>', page)
    assert shown
    forged = page.replace(f">{shown[1]}</data>", ">899</data>", 1)
    assert wrong(forged.encode(), record)
    assert wrong(page.replace("<h2>Why</h2>", "<h2>Why 7</h2>").encode(), record)
    assert wrong(page.replace(">ratio 0.50</span>", ">ratio 0.60</span>", 1).encode(), record)


@pytest.mark.parametrize(
    ("kind", "word"),
    [("accepted", "ACCEPTED"), ("rejected", "REJECTED"), ("undecided", "UNDECIDED")],
)
def test_the_verdict_is_the_first_thing_and_is_said_in_words(
    drawn: Drawn, kind: str, word: str
) -> None:
    page = drawn(kind)
    heading = re.search(rb"<h1>(.*?)</h1>", page)
    assert heading
    assert word in heading[1].decode()
    assert page.index(b"<h1>") < page.index(b"<svg")
    assert f'class="verdict {kind}"'.encode() in page


def test_the_first_screen_has_ratio_binding_shift_cost_and_latency(drawn: Drawn) -> None:
    page = drawn("accepted")
    first = page[: page.index(b'aria-labelledby="why"')]
    walk = Walk()
    walk.feed(first.decode())
    paths = {str(e.attributes["data-path"]) for e in walk.traced}
    wanted = {"accepted_ratio", "steps.1.binding", "steps.1.size_bytes", "steps.1.macs"}
    wanted |= {"latency.0.speedup", "latency.0.speedup_interval.0", "latency.0.pruned.median_ms"}
    assert wanted <= paths
    assert b'data-path="steps.1.cells.0.drop"' in first  # a mark of the forest plot


def test_a_page_needs_nothing_but_itself(reports: Mapping[str, Report]) -> None:
    page = draw_report(reports["accepted"], samples(sample())).decode()
    for element in walked(page.encode()).elements:
        assert element.tag not in {"script", "link", "iframe", "object", "base", "form"}
        assert not [name for name in element.attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (element.attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\"' ]*", page)) == {"http://www.w3.org/1999/xlink"}
    assert "url(" not in re.sub(r"url\(#", "", page)
    assert "@import" not in page


def test_names_of_files_classes_and_shifts_cannot_become_markup(
    reported: Callable[..., Report], rules: Callable[..., Policy]
) -> None:
    hostile = '"><script>alert(1)</script>&$x$'
    report = reported(rules("fog"), {0.3: (0.0,)}, command=hostile, policy=hostile)
    step = report.steps[0]
    cells = [step.cells[0].model_copy(update={"shift": hostile})]
    steps = [step.model_copy(update={"cells": cells, "binding": hostile, "name": hostile})]
    report = report.model_copy(update={"steps": steps})
    page = draw_report(report, samples(sample(label=hostile, dense=hostile), shift=hostile))
    assert b"<script" not in page
    assert b"&lt;script&gt;" in page
    shown = {"report": report.model_dump(mode="json")}
    shown["samples"] = samples(sample(label=hostile, dense=hostile), shift=hostile).model_dump()
    found = wrong(page, shown)
    assert [text for text in found if not text.startswith("untraced")] == []


def test_no_two_elements_of_a_page_have_one_id(reports: Mapping[str, Report], drawn: Drawn) -> None:
    elements = walked(draw_report(reports["accepted"], samples(sample()))).elements
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids)) > 20
    text = drawn("accepted").decode()
    referred = set(re.findall(r'(?:href="|url\()#([^")]*)', text))
    assert referred <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_is_said_or_left_out(drawn: Drawn, kind: str) -> None:
    text = text_of(drawn(kind))
    assert not re.search(r"\b(None|nan|inf|Undefined)\b", text)


def test_without_a_candidate_the_page_says_so(drawn: Drawn) -> None:
    text = text_of(drawn("nothing judged"))
    assert "Nothing was judged" in text
    assert "no width fits" in text
    assert "Prune potential" not in text


def test_of_files_that_were_brought_there_are_no_ratios(drawn: Drawn) -> None:
    text = text_of(drawn("brought"))
    assert "ACCEPTED: net-0.onnx" in text
    assert "not counted in files that were brought" in text
    assert "Prune potential" not in text
    assert "As more of the network goes" not in text


def test_what_was_not_measured_is_named(drawn: Drawn) -> None:
    text = text_of(drawn("measured no further"))
    assert "Not measured, for a violation had decided: snow-3." in text


def test_a_waiver_is_on_the_first_screen(drawn: Drawn) -> None:
    page = drawn("waived")
    first = page[: page.index(b'aria-labelledby="why"')]
    assert b"approved by somebody" in first
    assert b"but for those that are waived" in first


def test_pictures_say_what_each_model_answered_and_whether_it_was_right(
    reports: Mapping[str, Report],
) -> None:
    page = draw_report(reports["accepted"], samples(sample(), sample(label=None)))
    assert page.count(PIXEL.encode()) == 2
    text = text_of(page)
    assert re.search(r"cat dense: \S+ right cat 91 % pruned: \S+ wrong dog 52 %", text)
    assert "dense: cat 91 % pruned: dog 52 %" in text  # nobody knows which is right
    assert "17 of 2,000 answers differ" in text


def test_the_same_record_gives_the_same_bytes_in_any_process(
    reports: Mapping[str, Report], drawn: Drawn
) -> None:
    code = (
        "import sys, hashlib\n"
        "from compressor.page.draw import draw_report\n"
        "from compressor.report_schema import Report\n"
        "report = Report.model_validate_json(sys.stdin.read())\n"
        "print(hashlib.sha256(draw_report(report, None)).hexdigest())"
    )
    sums = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=reports["accepted"].model_dump_json(),
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(sums) == 1
    assert draw_report(reports["accepted"], None) == drawn("accepted")


def test_settings_of_matplotlib_neither_change_a_page_nor_are_changed(
    reports: Mapping[str, Report], drawn: Drawn
) -> None:
    import matplotlib as mpl

    before = drawn("undecided")
    with mpl.rc_context({"font.size": 30.0, "svg.fonttype": "path", "axes.grid": True}):
        assert draw_report(reports["undecided"], None) == before
        assert mpl.rcParams["font.size"] == 30.0


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (0.0164, "points", "+1.64"),
        (-0.0024, "points", "\N{MINUS SIGN}0.24"),
        (-0.000001, "points", "0.00"),
        (0.0, "points", "0.00"),
        (0.025, "tolerance", "2.5"),
        (175092, "count", "175,092"),
        (7097472, "millions", "7.1"),
        (1e-6, "p", "1e\N{MINUS SIGN}06"),
    ],
)
def test_a_number_is_written_so(value: float, form: str, shown: str) -> None:
    assert written(value, form) == shown
    assert agrees(numbers(shown)[0], value * SCALES.get(form, 1))


def test_a_figure_that_is_not_there_is_not_known() -> None:
    figures = Figures(content={"a": None, "b": {"c": [1.0]}, "zero": 0})
    assert figures.show("a", "plain") == UNKNOWN
    assert figures.show("b.d", "plain") == UNKNOWN
    assert figures.show("b.c.4", "plain") == UNKNOWN
    assert figures.show("b.c.0", "change", over="zero") == UNKNOWN
    assert ">1</data>" in figures.show("b.c.0", "plain")
