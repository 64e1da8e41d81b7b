"""Whoever has the folder of a run can check it, and whatever was changed is named."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from compressor.attestation import statement, sums
from compressor.files import digest, sha256_of
from compressor.report_schema import Report
from compressor.runs import RunFolder, read_evidence, write_evidence
from compressor.seal import ATTESTATION, covered, seal
from policies import Policy

Compress = Callable[..., Result]
Finished = Callable[[str], tuple[Path, Result]]

HEADLINES = {
    "accepted": "ACCEPTED at ratio 0.40 under lenient",
    "rejected": "REJECTED under lenient: no ratio was accepted",
    "undecided": "UNDECIDED under strict: no ratio was accepted",
    "no ratio": "UNDECIDED under lenient: no ratio was accepted",
    "end of the widths": "ACCEPTED at ratio 0.48 under lenient",
}

# Importing what is None raises ImportError, as on a machine that does not have it.
WITHOUT_FRAMEWORKS = """\
import sys
for name in ("onnx", "onnxruntime", "onnxscript", "torch", "torch_pruning", "torchvision"):
    sys.modules[name] = None
from compressor.cli import main
main(["verify", *sys.argv[1:]])
"""

LOADED = """\
import sys
from compressor.cli import main
try:
    main(["verify", *sys.argv[1:]])
finally:
    found = {"onnx", "onnxruntime", "torch"} & set(sys.modules)
    sys.stderr.write(f"loaded {sorted(found)}")
"""


@pytest.fixture
def run(accepted: Path, tmp_path: Path) -> RunFolder:
    """A copy of a run that was accepted, to be tampered with."""
    return RunFolder(path=Path(shutil.copytree(accepted, tmp_path / "run")))


@pytest.fixture
def found(compress: Compress) -> Callable[[RunFolder], str]:
    """What verify says of a run in which something does not hold."""

    def check(run: RunFolder) -> str:
        result = compress("verify", str(run.path))
        assert result.exit_code == 3, result.output
        assert "NOT VERIFIED" in result.stdout
        return result.stdout

    return check


def report_of(run: RunFolder) -> Report:
    return Report.model_validate_json(run.report.read_bytes())


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2))


@pytest.mark.parametrize("name", HEADLINES)
def test_a_finished_run_holds_whatever_its_verdict(
    finished: Finished, compress: Compress, name: str
) -> None:
    folder, _ = finished(name)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = compress("verify", str(folder))
    assert result.exit_code == 0, result.output
    first, *_, last = result.stdout.splitlines()
    assert first == HEADLINES[name]
    assert last.startswith(f"verified: {len(covered(folder))} files have the digests")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("script, told", [(WITHOUT_FRAMEWORKS, ""), (LOADED, "loaded []")])
@pytest.mark.parametrize("change, code", [("nothing", 0), ("a count", 3), ("the report", 2)])
def test_no_framework_is_loaded_whatever_comes_of_it(
    run: RunFolder, script: str, told: str, change: str, code: int
) -> None:
    if change == "a count":
        run.evidence.write_bytes(run.evidence.read_bytes().replace(b"both_right", b"all_right", 1))
    if change == "the report":
        run.report.unlink()
    done = subprocess.run(
        [sys.executable, "-c", script, run.path], check=False, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.endswith(told)
    assert "Traceback" not in done.stderr


def test_a_flipped_byte_in_any_file_is_found_and_the_file_named(
    run: RunFolder, found: Callable[[RunFolder], str]
) -> None:
    rng = np.random.default_rng(0)
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file()]
    names = [path.relative_to(run.path).as_posix() for path in files]
    assert set(names) == {*covered(run.path), "SHA256SUMS", ATTESTATION, ".lock"}
    for name, path in zip(names, files, strict=True):
        content = path.read_bytes()
        if name == ".lock":
            assert content == b""
            continue
        # Anywhere, or at one of the ends, which a format may leave unread.
        anywhere = int(rng.integers(len(content)))
        position = (anywhere, anywhere, 0, len(content) - 1)[int(rng.integers(4))]
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        told = found(run)
        assert any(line.startswith(f"{name}: ") for line in told.splitlines()), told
        path.write_bytes(content)


def test_a_digest_that_was_changed_is_told_from_a_file_that_was(
    run: RunFolder, found: Callable[[RunFolder], str]
) -> None:
    for name in ("report.json", "model.onnx"):
        content = (run.path / "SHA256SUMS").read_text()
        (run.path / "SHA256SUMS").write_text(
            content.replace(sha256_of(run.path / name) + f"  {name}", "0" * 64 + f"  {name}")
        )
        told = found(run)
        assert "SHA256SUMS: its sha256 is not in attestation.json" in told
        assert f"{name}: its sha256 is not the one in SHA256SUMS" in told
        (run.path / "SHA256SUMS").write_text(content)


def test_a_missing_file_is_found_and_named(
    run: RunFolder, found: Callable[[RunFolder], str], compress: Compress
) -> None:
    of_each_kind = {Path(name).suffix: name for name in covered(run.path)}
    for name in (*of_each_kind.values(), "report.json", "SHA256SUMS", ATTESTATION):
        content = (run.path / name).read_bytes()
        (run.path / name).unlink()
        if name == "report.json":
            assert compress("verify", str(run.path)).exit_code == 2
        else:
            assert f"{name}: " in found(run)
        (run.path / name).write_bytes(content)
    assert compress("verify", str(run.path)).exit_code == 0


def test_a_signature_or_a_note_may_be_put_beside_and_is_named_as_not_covered(
    run: RunFolder, compress: Compress
) -> None:
    (run.path / "attestation.sigstore.json").write_text("{}")
    result = compress("verify", str(run.path))
    assert result.exit_code == 0, result.output
    assert "not covered: .lock, attestation.sigstore.json\n" in result.stdout


def test_files_of_a_run_that_were_put_there_later_are_named(
    run: RunFolder, found: Callable[[RunFolder], str]
) -> None:
    added = run.path / "answers" / "0123456789abcdef" / "clean.npy"
    added.parent.mkdir()
    added.write_bytes(b"")
    assert "clean.npy: is not in SHA256SUMS: it was put there later" in found(run)


# What a forger changes, who then makes the digests anew, and what is found.


def _better_counts(run: RunFolder) -> None:
    text = run.evidence.read_text()
    first = json.loads(text.splitlines()[0])["counts"]
    assert first["only_dense"] > 0
    better = first | {"only_dense": first["only_dense"] - 1, "both_right": first["both_right"] + 1}
    old, new = (json.dumps(counts, separators=(",", ":")) for counts in (first, better))
    run.evidence.write_text(text.replace(old, new, 1))


def _better_answers(run: RunFolder) -> None:
    path = next(run.path.glob("answers/*/clean.npy"))
    answers = np.load(path)
    answers["predicted"], answers["rank"] = answers["label"], 0
    np.save(path, answers)


def _lenient_policy(run: RunFolder) -> None:
    policy = Policy.model_validate_json(run.policy.read_bytes())
    run.policy.write_bytes(policy.model_copy(update={"alpha": 0.4}).canonical())


def _without_the_first_ratio(run: RunFolder) -> None:
    write_evidence(run, [item for item in read_evidence(run) if item.position > 0])


def _in_another_order(run: RunFolder) -> None:
    first, second, *rest = read_evidence(run)
    write_evidence(run, [second, first, *rest])


def _half_a_ratio(run: RunFolder) -> None:
    write_evidence(run, read_evidence(run)[:-1])


def _other_images(run: RunFolder) -> None:
    images = read_evidence(run)[0].images
    run.evidence.write_text(run.evidence.read_text().replace(images, "0" * 64))


def _other_model(run: RunFolder) -> None:
    run.model.write_bytes(run.dense.read_bytes())


def _other_candidate(run: RunFolder) -> None:
    (run.candidate("0.200") / "model.onnx").write_bytes(run.dense.read_bytes())


def _other_weights(run: RunFolder) -> None:
    (run.candidate("0.200") / "weights.safetensors").write_bytes(b"")


def _other_plan(run: RunFolder) -> None:
    edit(run.plan, lambda plan: plan.update(seed=1))


def _other_model_in_the_plan(run: RunFolder) -> None:
    edit(run.plan, lambda plan: plan["model"].update(sha256="0" * 64))


def _other_plan_in_the_report_too(run: RunFolder) -> None:
    _other_plan(run)
    digest_of_plan = digest(run.plan.read_bytes())
    edit(run.report, lambda report: report.update(plan_digest=digest_of_plan))


def _other_looks(run: RunFolder) -> None:
    edit(run.plan, lambda plan: plan.update(looks={"gate": [300, 600]}))


def _other_use(run: RunFolder) -> None:
    edit(run.use, lambda use: use.update(entry="0" * 64))


def _other_file(run: RunFolder) -> None:
    edit(run.report, lambda report: report["steps"][0].update(file="candidates/0.400/model.onnx"))


def _other_cost(run: RunFolder) -> None:
    edit(run.candidate("0.200") / "candidate.json", lambda record: record.update(params=1))


FORGERIES: dict[Callable[[RunFolder], None], tuple[str, ...]] = {
    _better_counts: ("answers/", "evidence.jsonl has PairedCounts"),
    _better_answers: ("answers/", "evidence.jsonl has PairedCounts"),
    _lenient_policy: (
        "policy.json: does not go with plan.lock: alpha is 0.4; it should be 0.05",
        "report.json: policy_digest is",
    ),
    _without_the_first_ratio: (
        "evidence.jsonl: line 1 is of clean of ratio 0.40, where the plan has clean of ratio 0.20",
        "report.json: steps[0].ratio is 0.2; it should be 0.4",
    ),
    _in_another_order: (
        "evidence.jsonl: line 1 is of gaussian_noise-1 of ratio 0.20, where the plan has clean of",
    ),
    _half_a_ratio: (
        "evidence.jsonl: cannot be judged: ratio 0.40: there is no evidence of brightness-2",
    ),
    _other_images: ("evidence.jsonl: clean of ratio 0.20 is on 600 images of digest 000",),
    _other_model: ("model.onnx: its sha256 is",),
    _other_candidate: ("candidates/0.200/model.onnx: its sha256 is",),
    _other_weights: ("candidates/0.200/weights.safetensors: its sha256 is",),
    _other_plan: ("plan.lock: its digest is",),
    _other_model_in_the_plan: ("report.json: does not go with plan.lock: sha256 is",),
    _other_plan_in_the_report_too: (
        "dense.onnx: does not carry the digest of plan.lock",
        "candidates/0.400/model.onnx: does not carry the digest of plan.lock",
    ),
    _other_looks: (
        "plan.lock: its digest is",
        "policy.json: does not go with plan.lock: looks.gate[0] is 600; it should be 300",
    ),
    _other_use: ("use.json: has the ledger's entry \"000",),
    _other_file: (
        "report.json: ratio 0.20 is said to be in candidates/0.400/model.onnx; it should be in",
    ),
    _other_cost: ("candidates/0.200/candidate.json: params is 1; it should be",),
}


@pytest.mark.parametrize("forge", FORGERIES)
def test_digests_that_are_made_anew_hide_no_forgery(
    run: RunFolder, found: Callable[[RunFolder], str], forge: Callable[[RunFolder], None]
) -> None:
    forge(run)
    seal(run, report_of(run))
    told = found(run)
    assert "SHA256SUMS" not in told
    for expected in FORGERIES[forge]:
        assert expected in told


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"verdict": "accepted", "exit_code": 0}, "report.json: verdict is"),
        ({"reasons": []}, "report.json: reasons[0] is null"),
        ({"ladder_end": "no larger ratio exists"}, "the gate stopped the ladder"),
        ({"artifact_sha256": "0" * 64}, "report.json: artifact_sha256 is"),
    ],
)
def test_a_report_that_is_kinder_than_the_evidence_is_found(
    finished: Finished,
    tmp_path: Path,
    found: Callable[[RunFolder], str],
    changes: dict[str, object],
    told: str,
) -> None:
    run = RunFolder(path=Path(shutil.copytree(finished("rejected")[0], tmp_path / "run")))
    seal(run, report_of(run).model_copy(update=changes))
    assert told in found(run)


def test_p_values_are_held_to_1e_12(run: RunFolder, found: Callable[[RunFolder], str]) -> None:
    def worse(report: Any) -> None:  # noqa: ANN401 # JSON
        report["steps"][0]["cells"][0]["p_safe"] += 1e-11

    edit(run.report, worse)
    seal(run, report_of(run))
    assert "report.json: steps[0].cells[0].p_safe is" in found(run)


@pytest.mark.parametrize("name", ["report.md", "junit.xml", "model.cdx.json"])
def test_words_that_the_report_does_not_say_are_found(
    run: RunFolder, found: Callable[[RunFolder], str], name: str
) -> None:
    path = run.path / name
    path.write_text(path.read_text().replace("lenient", "safety-critical"))
    digests = {file: sha256_of(run.path / file) for file in covered(run.path)}
    (run.path / "SHA256SUMS").write_bytes(sums(digests))
    digests["SHA256SUMS"] = sha256_of(run.path / "SHA256SUMS")
    (run.path / ATTESTATION).write_bytes(statement(report_of(run), digests))
    assert [line for line in found(run).splitlines() if line.startswith(name)] == [
        f"{name}: is not what report.json gives"
    ]


@pytest.mark.parametrize("policy, code", [("lenient", 0), ("strict", 3), ("nonesuch", 2)])
def test_a_run_under_another_policy_than_the_one_asked_for_does_not_hold(
    accepted: Path, root: Path, compress: Compress, policy: str, code: int
) -> None:
    result = compress("verify", str(accepted), "--policy", str(root / f"{policy}.yaml"))
    assert result.exit_code == code, result.output
    assert ("policy.json: is 'lenient' of digest" in result.stdout) == (code == 3)


@pytest.mark.parametrize(
    "names, told",
    [((), "is not the folder of a run"), (("plan.lock",), "has not come to its end")],
)
def test_what_is_no_finished_run_is_2(
    tmp_path: Path, compress: Compress, names: tuple[str, ...], told: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    result = compress("verify", str(tmp_path))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert told in result.stderr


def test_sha256sum_reads_the_digests(accepted: Path) -> None:
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, check=True, cwd=accepted)
