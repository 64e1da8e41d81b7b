"""CI is red exactly where the exit code is, and reads what the report says."""

import re
from collections.abc import Callable, Mapping, Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped, TestSuite

from compressor.junit import junit_xml
from compressor.report_schema import Report
from policies import Policy

SAFE, UNCLEAR, UNSAFE = 0.0, 0.04, 0.2

Reported = Callable[..., Report]
Rules = Callable[..., Policy]

# What Jenkins' junit-10.xsd allows and asks for: attributes (required ones first), children.
SCHEMA: Mapping[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"skipped", "time"},
        {"properties", "testcase", "system-out"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name"},
        {"classname", "time"},
        {"failure", "error", "skipped", "system-out"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


@pytest.fixture
def policy(rules: Rules) -> Policy:
    return rules("fog", "snow", advisory=["frost"])


def suites(report: Report) -> list[TestSuite]:
    read = JUnitXml.fromstring(junit_xml(report))
    assert isinstance(read, JUnitXml)
    return list(read)


def findings(suite: TestSuite) -> dict[str, tuple[type, str] | None]:
    """What is told of each case: failure, error or skipped, and its type; None if it passed."""
    found = {}
    for case in suite:
        assert case.name is not None
        assert len(case.result) <= 1
        found[case.name] = (type(case.result[0]), case.result[0].type) if case.result else None
    return found


@pytest.mark.parametrize(
    ("drops", "expected"),
    [
        (
            (SAFE, UNSAFE, SAFE),
            {"fog-3": None, "snow-3": (Failure, "violated"), "frost-3": None},
        ),
        (
            (UNCLEAR, UNSAFE, UNSAFE),
            {
                "fog-3": (Error, "undecided"),
                "snow-3": (Failure, "violated"),
                "frost-3": (Skipped, "advisory"),
            },
        ),
        (
            (UNCLEAR, SAFE, UNCLEAR),
            {"fog-3": (Error, "undecided"), "snow-3": None, "frost-3": (Skipped, "advisory")},
        ),
        ((SAFE, SAFE, UNSAFE), {"fog-3": None, "snow-3": None, "frost-3": (Skipped, "advisory")}),
    ],
)
def test_a_case_tells_its_cell(
    reported: Reported, policy: Policy, drops: Sequence[float], expected: dict[str, object]
) -> None:
    (suite,) = suites(reported(policy, {0.3: drops}))
    assert findings(suite) == expected
    assert suite.name == "test at ratio 0.300"
    assert {case.classname for case in suite} == {"test"}


def test_a_finding_has_the_sentence_of_the_report_as_message_and_as_text(
    reported: Reported, policy: Policy
) -> None:
    report = reported(policy, {0.3: (SAFE, UNSAFE, UNCLEAR)})
    (suite,) = suites(report)
    told = {case.name: case.result[0] for case in suite if case.result}
    assert told["snow-3"].message == told["snow-3"].text == report.reasons[0]
    assert "the drop on snow-3 is 20.0 %" in report.reasons[0]
    assert told["frost-3"].message.startswith("ratio 0.30: the drop on frost-3 is 4.0 %")


def test_what_a_larger_ratio_met_does_not_make_a_release_red(
    reported: Reported, policy: Policy
) -> None:
    safe = (SAFE, SAFE, SAFE)
    report = reported(policy, {0.3: safe, 0.4: (UNSAFE, UNCLEAR, UNSAFE), 0.5: safe})
    released, larger = suites(report)  # what comes after the first not accepted decides nothing
    assert report.exit_code == 0
    assert set(findings(released).values()) == {None}
    assert findings(larger) == {
        "fog-3": (Skipped, "not released"),
        "snow-3": (Skipped, "not released"),
        "frost-3": (Skipped, "advisory"),
    }


def test_a_rule_that_was_not_measured_is_skipped_and_says_why(
    reported: Reported, rules: Rules
) -> None:
    policy = rules("fog", "snow", "blur", method="looks")
    report = reported(policy, {0.2: (SAFE, SAFE, SAFE), 0.3: (UNSAFE,)})
    _, suite = suites(report)
    assert findings(suite) == {
        "fog-3": (Skipped, "not released"),
        "snow-3": (Skipped, "not measured"),
        "blur-3": (Skipped, "not measured"),
    }
    told = {case.name: case.result[0].message for case in suite}
    assert told["snow-3"] == "not measured: a violation had decided"
    (alone,) = suites(reported(policy, {0.2: (UNSAFE,)}))
    assert (alone.tests, alone.failures, alone.skipped) == (3, 1, 2)


def test_a_candidate_that_was_brought_has_its_name_and_no_ratio(
    reported: Reported, policy: Policy
) -> None:
    first, second = suites(
        reported(policy, {0.1: (SAFE, SAFE, SAFE), 0.2: (UNSAFE, SAFE, SAFE)}, job="gate")
    )
    assert [first.name, second.name] == ["test: net-0.onnx", "test: net-1.onnx"]
    properties = {item.name: item.value for item in second.properties()}
    assert properties["candidate"] == "net-1.onnx"
    assert properties["job"] == "gate"
    assert "ratio" not in properties
    assert findings(first) == {"fog-3": None, "snow-3": None, "frost-3": None}
    assert findings(second)["fog-3"] == (Skipped, "not released")


@pytest.mark.parametrize(("snow", "code"), [(SAFE, 0), (UNCLEAR, 4), (UNSAFE, 3)])
def test_a_waived_cell_is_skipped_whatever_the_verdict(
    reported: Reported, rules: Rules, snow: float, code: int
) -> None:
    report = reported(rules("fog", "snow", waived=["fog"]), {0.3: (UNSAFE, snow)})
    (suite,) = suites(report)
    assert report.exit_code == code
    assert findings(suite)["fog-3"] == (Skipped, "waived")
    assert suite.failures + suite.errors == (code != 0)


def test_where_nothing_could_be_measured_one_error_says_why(
    reported: Reported, policy: Policy
) -> None:
    (suite,) = suites(reported(policy, {}))
    assert findings(suite) == {"smallest ratio": (Error, "undecided")}
    assert next(iter(suite)).result[0].message == "no width fits"


def test_too_few_images_are_an_error_that_says_so(reported: Reported, rules: Rules) -> None:
    report = reported(rules("fog", min_images=5000), {0.3: (SAFE,)})
    ((error,),) = [case.result for case in suites(report)[0]]
    assert isinstance(error, Error)
    assert error.message is not None
    assert error.message.endswith("measured on 2,000 images; the policy asks for at least 5,000")


@given(rows=st.lists(st.tuples(*[st.sampled_from((SAFE, UNCLEAR, UNSAFE))] * 3), max_size=3))
def test_red_is_the_file_exactly_where_the_exit_code_is(
    reported: Reported, rules: Rules, rows: list[tuple[float, float, float]]
) -> None:
    policy = rules("fog", "snow", advisory=["frost"])
    report = reported(policy, {0.1 * (i + 1): row for i, row in enumerate(rows)})
    read = JUnitXml.fromstring(junit_xml(report))
    told = [finding for suite in suites(report) for finding in findings(suite).values()]
    kinds = [finding[0] for finding in told if finding]
    assert (read.failures, read.errors) == (kinds.count(Failure), kinds.count(Error))
    assert bool(read.failures) == (report.exit_code == 3)
    assert bool(read.failures or read.errors) == (report.exit_code != 0)


@pytest.mark.parametrize("drops", [(SAFE, SAFE, SAFE), (UNSAFE, UNCLEAR, UNSAFE), None])
def test_the_file_is_what_the_schema_of_jenkins_allows(
    reported: Reported, policy: Policy, drops: Sequence[float] | None
) -> None:
    root = ET.fromstring(junit_xml(reported(policy, {0.3: drops} if drops else {})))
    assert root.tag == "testsuites"
    for element in root.iter():
        required, optional, children = SCHEMA[element.tag]
        assert required <= element.attrib.keys() <= required | optional
        assert {child.tag for child in element} <= children
        assert re.fullmatch(r"\d+(\.\d+)?", element.get("time", "0"))
    for suite in root:
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped",) * 2):
            assert suite.get(attribute) == str(sum(case.find(tag) is not None for case in cases))


def test_properties_say_what_the_verdict_rests_on(reported: Reported, policy: Policy) -> None:
    report = reported(policy, {0.3: (SAFE, SAFE, SAFE)})
    (suite,) = suites(report)
    properties = {item.name: item.value for item in suite.properties()}
    assert properties == {
        "candidate": "ratio 0.30",
        "ratio": "0.3",
        "candidate sha256": "sha256-of-0.3",
        "job": "compress",
        "verdict": "accepted",
        "exit code": "0",
        "policy": "test",
        "policy digest": policy.digest(),
        "method": "fixed",
        "alpha": "0.05",
        "alpha per release": "0.05",
        "plan digest": "digest-of-the-plan",
        "artifact sha256": "sha256-of-0.3",
        "version of python": "3.12.0",
        "version of torch": "2.11.0",
    }


def test_nothing_released_has_no_digest(reported: Reported, policy: Policy) -> None:
    (suite,) = suites(reported(policy, {0.3: (UNSAFE, SAFE, SAFE)}))
    assert "artifact sha256" not in {item.name for item in suite.properties()}


@pytest.mark.parametrize(
    "name", ["<a> & \"b\" 'c'", "]]>", "línea\nzwei 三", "\x00\x1b[31m", "\udcff", "\uffff"]
)
def test_any_name_gives_a_file_that_can_be_read(
    reported: Reported, policy: Policy, name: str
) -> None:
    report = reported(policy, {}, policy=name, reasons=[name], versions={name: name})
    (suite,) = suites(report)
    legible = re.sub("[\x00\x1b\udcff\uffff]", "\ufffd", name)
    assert suite.name == legible
    assert next(iter(suite)).classname == legible
    assert next(iter(suite)).result[0].message == legible
    assert f"version of {legible}" in {item.name for item in suite.properties()}


def test_the_same_report_gives_the_same_bytes_with_no_time_of_day(
    reported: Reported, policy: Policy
) -> None:
    report = reported(policy, {0.3: (SAFE, UNCLEAR, UNSAFE)})
    again = Report.model_validate_json(report.model_dump_json())
    assert junit_xml(report) == junit_xml(again)
    assert b"timestamp" not in junit_xml(report)
    assert ET.fromstring(junit_xml(report)).get("time") == "21.500"
