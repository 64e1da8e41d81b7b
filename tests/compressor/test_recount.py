"""Where a gate may look several times, whoever has the run can see that it looked as it had to."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compressor.files import digest_of
from compressor.measurement import measurement_of
from compressor.runs import RunFolder, read_evidence, write_answers
from compressor.verify import verify
from gates import Evidence
from policies import FolderRule, Method, Policy, Rule, ShiftRule
from tests.compressor.gate_run import (
    BATCH,
    CLASSES,
    DENSE,
    IMAGES,
    Drops,
    answered,
    close,
    content,
    evidence_at,
    finished,
)

RULES: tuple[Rule, ...] = (
    ShiftRule(name="clean", tolerance=0.04, reason="because"),
    ShiftRule(name="fog", severity=3, tolerance=0.04, reason="because"),
    ShiftRule(name="fog", severity=3, metric="brier", tolerance=0.05, reason="because"),
    ShiftRule(
        name="fog", severity=3, id="fog-cats", only=("cat",), min_images=50, tolerance=0.2,
        reason="because",
    ),
    ShiftRule(name="noise", severity=1, draws=3, tolerance=0.06, reason="because"),
    FolderRule(id="stream", folder="stream", labels="none", tolerance=0.05, reason="because"),
    ShiftRule(name="snow", severity=3, tolerance=0.04, reason="because", enforced=False),
)  # fmt: skip

# Of the measurements: clean, fog, noise, stream, snow.
SAFE: Drops = (0.0, 0.0, 0.0, 0.0, 0.0)
SLOW: Drops = (0.02, 0.01, 0.01, 0.02, 0.03)
UNSAFE: Drops = (0.0, 0.12, 0.0, 0.0, 0.0)
UNCLEAR: Drops = (0.039, 0.0, 0.0, 0.0, 0.039)

METHODS: tuple[Method, ...] = ("fixed", "looks", "anytime")
EACH_METHOD = pytest.mark.parametrize("method", METHODS)

Written = Callable[..., RunFolder]


def policy(method: Method) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=0.05,
        method=method,
        min_images=200,
        shifts=RULES,
    )


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(method: Method, *candidates: Drops) -> RunFolder:
        return finished(tmp_path / "run", policy(method), candidates)

    return write


def found(run: RunFolder) -> list[str]:
    return [f"{finding.file}: {finding.what}" for finding in verify(run.path).findings]


def at_look(method: Method, shift: str, look: int, *, drops: Drops = SLOW) -> Evidence:
    """What the first candidate of the run did up to a look."""
    rules = policy(method)
    (rule,) = [rule for rule in rules.shifts if rule.id == shift]
    both = answered(rules, drops, seed=0)[measurement_of(rules, rule)]
    return evidence_at(rules, rule, both, position=0, look=look)


def replaced(run: RunFolder, *items: Evidence) -> list[Evidence]:
    """The evidence of the run with these in the place of those of the same cells."""
    new = {(item.position, item.shift): item for item in items}
    return [new.get((item.position, item.shift), item) for item in read_evidence(run)]


@EACH_METHOD
@pytest.mark.parametrize(
    ("candidates", "headline"),
    [
        ((SAFE,), "ACCEPTED: net-0.onnx under test"),
        ((SAFE, SLOW, UNSAFE), "ACCEPTED: net-1.onnx under test"),
        ((UNSAFE, SAFE), "REJECTED under test: no candidate was accepted"),
        ((UNCLEAR, SAFE), "UNDECIDED under test: no candidate was accepted"),
    ],
    ids=["one", "the-last-fails", "the-first-fails", "undecided"],
)
def test_a_run_holds_whatever_its_method_and_verdict(
    written: Written, method: Method, candidates: Sequence[Drops], headline: str
) -> None:
    result = verify(written(method, *candidates).path)
    assert result.findings == ()
    assert result.headline == headline


@pytest.mark.parametrize("method", ["looks", "anytime"])
def test_some_cells_are_decided_early_and_some_rules_not_measured(
    written: Written, method: Method
) -> None:
    evidence = read_evidence(written(method, SLOW, UNSAFE))
    first = [item for item in evidence if item.position == 0]
    assert [item.shift for item in first] == [rule.id for rule in RULES]
    assert len({item.look for item in first}) > 1
    assert [item.shift for item in evidence if item.position == 1] == ["clean", "fog-3"]


@pytest.mark.parametrize("method", ["looks", "anytime"])
def test_looking_on_after_a_decision_is_found(written: Written, method: Method) -> None:
    run = written(method, SLOW)
    (early,) = [item for item in read_evidence(run) if item.shift == "fog-3"]
    later = at_look(method, "fog-3", early.look + 1)
    close(run, policy(method), replaced(run, later), candidates=1)
    (told,) = found(run)
    where = f"evidence.jsonl: fog-3 of net-0.onnx was accepted at look {early.look}"
    assert told == f"{where} already, and is counted up to look {later.look}"


@pytest.mark.parametrize("shift", ["clean", "snow-3"])
def test_looking_no_further_without_a_decision_is_found(written: Written, shift: str) -> None:
    run = written("looks", UNCLEAR)
    early = at_look("looks", shift, 1, drops=UNCLEAR)
    close(run, policy("looks"), replaced(run, early), candidates=1)
    (told,) = found(run)
    where = f"evidence.jsonl: {shift} of net-0.onnx is undecided"
    assert told == f"{where} at look 1 of 4, and the gate looked no further"


def test_counts_of_another_look_than_the_one_that_is_told_are_found(written: Written) -> None:
    run = written("looks", SLOW)
    (honest,) = [item for item in read_evidence(run) if item.shift == "stream"]
    assert honest.look < 4
    moved = replace(at_look("looks", "stream", 4), look=honest.look)
    close(run, policy("looks"), replaced(run, moved), candidates=1)
    first, second = found(run)
    assert f"stream of net-0.onnx is on {moved.counts.n} images of digest images of stream" in first
    assert f"the plan has {honest.counts.n} of images of stream at look {honest.look}" in first
    assert f"gives {honest.counts}; evidence.jsonl has {moved.counts}" in second


def test_a_rule_that_was_left_out_without_a_violation_is_found(written: Written) -> None:
    run = written("looks", UNCLEAR)
    kept = [item for item in read_evidence(run) if item.shift != "stream"]
    lines = [line for line in run.evidence.read_text().splitlines() if '"stream"' not in line]
    assert len(lines) == len(kept)
    run.evidence.write_text("".join(f"{line}\n" for line in lines))
    assert (
        "evidence.jsonl: cannot be judged: net-0.onnx: there is no evidence of stream; measure it"
        in found(run)
    )


def test_rules_out_of_order_are_found_where_some_may_be_missing(written: Written) -> None:
    run = written("looks", SLOW, UNSAFE)
    first, second, *rest = read_evidence(run)
    close(run, policy("looks"), [second, first, *rest], candidates=2)
    (told,) = found(run)
    where = "evidence.jsonl: line 2 is of clean of net-0.onnx"
    assert told == f"{where}, where the plan has fog-3-brier of net-0.onnx"


def test_a_candidate_that_was_left_out_is_found(written: Written) -> None:
    run = written("anytime", SLOW, UNSAFE)
    later = [item for item in read_evidence(run) if item.position == 1]
    close(run, policy("anytime"), later, candidates=2)
    assert found(run)[0] == (
        "evidence.jsonl: line 1 is of clean of net-1.onnx, where the plan has clean of net-0.onnx"
    )


def test_answers_that_end_before_the_look_are_found(written: Written) -> None:
    run = written("fixed", SAFE)
    for sha256 in (digest_of(DENSE), digest_of(content(0))):
        place = run.answers(sha256, "clean")
        write_answers(place, np.load(place)[: IMAGES - 1])
    close(run, policy("fixed"), read_evidence(run), candidates=1)
    (told,) = found(run)
    assert told.endswith(f"cannot be counted: {IMAGES - 1} and {IMAGES - 1} answers; look 1 is at "
                         f"{IMAGES} images")  # fmt: skip


def test_answers_beyond_the_look_change_nothing(written: Written) -> None:
    run = written("looks", SAFE)
    place = run.answers(digest_of(content(0)), "clean")
    answers = np.load(place)
    (clean,) = [item for item in read_evidence(run) if item.shift == "clean"]
    assert clean.counts.n < len(answers)
    answers["rank"][clean.counts.n :] = 1
    write_answers(place, answers)
    close(run, policy("looks"), read_evidence(run), candidates=1)
    assert found(run) == []


def test_rules_that_share_their_answers_are_all_recounted(written: Written) -> None:
    run = written("fixed", SAFE)
    assert not run.answers(digest_of(content(0)), "fog-3-brier").exists()
    place = run.answers(digest_of(content(0)), "fog-3")
    answers = np.load(place)
    answers["score"][answers["label"] == CLASSES.index("dog")] += 0.01
    write_answers(place, answers)
    close(run, policy("fixed"), read_evidence(run), candidates=1)
    (told,) = found(run)  # neither right answers nor the group of cats have changed
    assert "ScoreCounts" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("candidates/01/model.onnx", "candidates/01/model.onnx: its sha256 is"),
        ("candidates/02/model.onnx", "candidates/02/model.onnx: its sha256 is"),
        ("dense.onnx", "dense.onnx: its sha256 is"),
        ("model.onnx", "model.onnx: its sha256 is"),
    ],
)
def test_a_model_that_is_not_the_one_of_the_plan_is_found(
    written: Written, name: str, told: str
) -> None:
    run = written("looks", UNSAFE, SAFE) if "02" in name else written("looks", SAFE)
    (run.path / name).write_bytes(b"another network")
    assert any(line.startswith(told) for line in found(run))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source_sha256": "0" * 64}, 'source_sha256 is "000'),
        ({"precision": "fp32"}, 'precision is "fp32"; it should be "int8"'),
        ({"name": "best.onnx"}, 'name is "best.onnx"'),
    ],
)
def test_a_record_of_a_candidate_that_is_not_the_reports_is_found(
    written: Written, change: dict[str, str], told: str
) -> None:
    run = written("looks", SAFE)
    record = run.candidate("01") / "candidate.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    close(run, policy("looks"), read_evidence(run), candidates=1)
    (line,) = found(run)
    assert line.startswith(f"candidates/01/candidate.json: {told}")


def test_a_use_that_the_report_does_not_tell_is_found(written: Written) -> None:
    run = written("looks", SAFE)
    run.use.write_text(json.dumps({"entry": "e" * 64}))
    close(run, policy("looks"), read_evidence(run), candidates=1)
    (line,) = found(run)
    assert line.startswith("use.json: has the ledger's entry \"eee")


def test_looks_that_the_policy_does_not_take_are_found(written: Written) -> None:
    run = written("anytime", SAFE)
    plan = json.loads(run.plan.read_text())
    plan["looks"]["gate"] = [IMAGES]
    run.plan.write_text(json.dumps(plan))
    assert (
        f"policy.json: does not go with plan.lock: looks.gate[0] is {BATCH}; it should be {IMAGES}"
        in found(run)
    )
