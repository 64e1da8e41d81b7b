"""The report as JUnit XML, for whatever shows the results of tests. Computes nothing.

A suite is a candidate, a case one rule of the policy. There is a failure or an error exactly where
the exit code is not 0:

- an enforced cell that is violated is a failure, an undecided one an error;
- an advisory or waived cell that is not accepted is skipped;
- a rule that was not measured, because a violation had decided, is skipped;
- where a model is released, what a later candidate met is no fault of the released one: it is
  skipped;
- where no candidate could be judged, one error says why;
- a speed-up that the policy asks for is a suite of its own.

Candidates after the first that was not accepted decide nothing and do not appear. No time of day is
written: the same report gives the same bytes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal
from xml.etree import ElementTree as ET

from compressor.render import binding, headline, reasons
from compressor.report import deciding_steps
from compressor.report_schema import CellReport, Report, StepReport
from compressor.tables import cell_table
from gates import Outcome

# What XML 1.0 cannot hold, not even escaped; names of files may hold it.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_Finding = tuple[Literal["failure", "error", "skipped"], str]
"""What is wrong with a case: the element that says so, and its type."""


def junit_xml(report: Report) -> bytes:
    """The report as a JUnit file."""
    suites = [_suite(report, step) for step in deciding_steps(report)] or [_unmeasured(report)]
    suites += _speed(report)
    # "gate: ..." is what the gate's time went into, counted in "gate" already.
    seconds = sum(spent for stage, spent in report.seconds.items() if ": " not in stage)
    root = _element(
        "testsuites",
        name=f"compress {report.policy}",
        **{name: str(_total(suites, name)) for name in ("tests", "failures", "errors")},
        time=f"{seconds:.3f}",
    )
    root.extend(suites)
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _suite(report: Report, step: StepReport) -> ET.Element:
    cases = []
    for cell in step.cells:
        case = _element("testcase", classname=report.policy, name=cell.shift)
        if finding := _finding(report, cell):
            case.append(_told(finding, cell.sentence or cell.outcome))
        cases.append(case)
    for rule in step.not_measured:
        case = _element("testcase", classname=report.policy, name=rule)
        case.append(_told(("skipped", "not measured"), "not measured: a violation had decided"))
        cases.append(case)
    ratio = [] if step.ratio is None else [("ratio", str(step.ratio))]
    which = f": {step.name}" if step.ratio is None else f" at ratio {step.ratio:.3f}"
    which += f" in {step.chain}" if step.chain else ""
    return _with_counts(
        f"{report.policy}{which}",
        [("candidate", step.name), *ratio, ("candidate sha256", step.candidate), *_facts(report)],
        cases,
        said="\n".join([*cell_table(step), "", binding(step)]),
    )


def _speed(report: Report) -> list[ET.Element]:
    """The speed-up that the policy asks for as a suite of one case; none where it asks for none."""
    asked = report.min_speedup
    if asked is None or asked.outcome is None:
        return []
    case = _element("testcase", classname=report.policy, name="min_speedup")
    said = asked.sentence or asked.outcome
    if asked.outcome != Outcome.ACCEPTED:
        failed = asked.outcome == Outcome.VIOLATED
        case.append(_told(("failure" if failed else "error", asked.outcome), said))
    return [_with_counts(f"{report.policy}: speed", _facts(report), [case], said=said)]


def _unmeasured(report: Report) -> ET.Element:
    name = "smallest ratio" if report.job == "compress" else "first candidate"
    case = _element("testcase", classname=report.policy, name=name)
    case.append(_told(("error", "undecided"), "; ".join(reasons(report)) or headline(report)))
    return _with_counts(report.policy, _facts(report), [case], said=headline(report))


def _finding(report: Report, cell: CellReport) -> _Finding | None:
    if cell.outcome == Outcome.ACCEPTED:
        return None
    if not cell.enforced or cell.waived:
        return "skipped", "waived" if cell.waived else "advisory"
    if report.accepted_name is not None:
        return "skipped", "not released"
    return ("failure" if cell.outcome == Outcome.VIOLATED else "error"), cell.outcome


def _told(finding: _Finding, sentence: str) -> ET.Element:
    kind, type_ = finding
    told = _element(kind, type=type_, message=sentence)
    # Some readers show the attribute alone, some the text alone.
    told.text = _cleaned(sentence)
    return told


def _with_counts(
    name: str, facts: Iterable[tuple[str, str]], cases: Sequence[ET.Element], *, said: str
) -> ET.Element:
    counts = {
        plural: str(sum(case.find(kind) is not None for case in cases))
        for plural, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suite = _element("testsuite", name=name, tests=str(len(cases)), **counts)
    properties = ET.SubElement(suite, "properties")
    properties.extend(_element("property", name=key, value=value) for key, value in facts)
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _cleaned(said)
    return suite


def _facts(report: Report) -> list[tuple[str, str]]:
    """What the verdict is, and what it rests on."""
    released = [("artifact sha256", report.artifact_sha256)] if report.artifact_sha256 else []
    return [
        ("job", report.job),
        ("verdict", report.verdict),
        ("exit code", str(report.exit_code)),
        ("policy", report.policy),
        ("policy digest", report.policy_digest),
        ("method", report.method),
        ("alpha", str(report.alpha)),
        ("alpha per release", str(report.alpha_per_release)),
        ("plan digest", report.plan_digest),
        *released,
        *((f"version of {name}", version) for name, version in report.versions.items()),
    ]


def _element(tag: str, /, **attributes: str) -> ET.Element:
    return ET.Element(tag, {name: _cleaned(value) for name, value in attributes.items()})


def _cleaned(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _total(suites: Iterable[ET.Element], name: str) -> int:
    return sum(int(suite.attrib[name]) for suite in suites)
