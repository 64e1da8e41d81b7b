"""Every finished run has a page, and it can be drawn again or compared with another one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from compressor.files import sha256_of
from compressor.page.draw import draw_report
from compressor.redraw import REDRAWN
from compressor.report_schema import Report
from compressor.runs import RunFolder
from compressor.samples_file import SAMPLES, Samples
from compressor.seal import PAGE, seal
from tests.compressor.page.walk import walked, wrong

Compress = Callable[..., Result]
Finished = Callable[[str], tuple[Path, Result]]

JOBS = ("accepted", "rejected", "undecided", "no ratio", "end of the widths")

LOADED = """\
import sys
from compressor.cli import main
try:
    main(["report", *sys.argv[1:]])
finally:
    found = {"onnx", "onnxruntime", "torch"} & set(sys.modules)
    sys.stderr.write(f"loaded {sorted(found)}")
"""


@pytest.fixture
def run(accepted: Path, tmp_path: Path) -> Path:
    """A copy of a run that was accepted, to be changed."""
    return Path(shutil.copytree(accepted, tmp_path / "run"))


def report_of(run: Path) -> Report:
    return Report.model_validate_json((run / "report.json").read_bytes())


def without_seal(run: Path) -> Path:
    for name in ("SHA256SUMS", "attestation.json"):
        (run / name).unlink()
    return run


@pytest.mark.parametrize("name", JOBS)
def test_every_finished_run_leaves_a_page_whose_numbers_are_those_of_its_record(
    finished: Finished, name: str
) -> None:
    folder, _ = finished(name)
    page = (folder / PAGE).read_bytes()
    records = {"report": json.loads((folder / "report.json").read_bytes())}
    if (folder / SAMPLES).exists():
        records["samples"] = json.loads((folder / SAMPLES).read_bytes())
    assert wrong(page, records) == []
    assert (folder / SAMPLES).exists() == bool(records["report"]["steps"])
    assert len(page) < 1_500_000


def test_the_pictures_of_a_run_are_on_its_page(accepted: Path) -> None:
    samples = Samples.model_validate_json((accepted / SAMPLES).read_bytes())
    pictures = [one.picture for item in samples.shifts for one in item.samples]
    shown = [e.attributes["src"] for e in walked((accepted / PAGE).read_bytes()).elements
             if e.tag == "img"]  # fmt: skip
    assert shown == pictures
    assert len(samples.shifts) == 3
    assert samples.candidate == report_of(accepted).steps[1].candidate


@pytest.mark.parametrize("name", JOBS)
def test_drawn_again_a_page_is_the_same_and_the_run_still_holds(
    finished: Finished, compress: Compress, tmp_path: Path, name: str
) -> None:
    run = Path(shutil.copytree(finished(name)[0], tmp_path / "run"))
    before = sha256_of(run / PAGE)
    (run / PAGE).unlink()
    assert compress("verify", str(run)).exit_code == 3
    result = compress("report", str(run))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / PAGE}\n"
    assert sha256_of(run / PAGE) == before
    assert compress("verify", str(run)).exit_code == 0


def test_a_sealed_page_of_another_kind_is_left_alone(run: Path, compress: Compress) -> None:
    report = report_of(run)
    kept = draw_report(report, None)  # as a version would that knows no pictures
    seal(RunFolder(path=run), report, page=kept)
    result = compress("report", str(run))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / REDRAWN}\n"
    assert "was sealed with another report.html" in result.stderr
    assert (run / PAGE).read_bytes() == kept
    assert b"data:image/png" in (run / REDRAWN).read_bytes()


def test_a_page_can_go_anywhere(run: Path, compress: Compress, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    result = compress("report", str(run), "-o", str(target))
    assert (result.exit_code, result.stdout) == (0, f"{target}\n")
    assert target.read_bytes() == (run / PAGE).read_bytes()


def test_it_is_shown_in_the_browser_when_asked(
    run: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def launch(url: str) -> int:
        asked.append(url)
        return len(asked) - 1  # the second time there is no browser

    monkeypatch.setattr("click.launch", launch)
    assert compress("report", str(run), "--open").stderr.count("browser") == 0
    result = compress("report", str(run), "--open")
    assert asked == [(run / PAGE).resolve().as_uri()] * 2
    assert result.exit_code == 0
    assert f"no browser could be started; open {run / PAGE}" in result.stderr


def test_for_machines_there_is_the_record(run: Path, compress: Compress) -> None:
    result = compress("report", str(run), "--json")
    assert Report.model_validate_json(result.stdout) == report_of(run)


def test_two_runs_are_compared_on_a_page_of_their_own(
    finished: Finished, compress: Compress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = finished("accepted")[0], finished("rejected")[0]
    result = compress("report", str(first), str(second))
    assert result.exit_code == 0, result.output
    assert result.stdout == "accepted-and-rejected.html\n"
    assert "rejected: REJECTED under lenient: no ratio was accepted" in result.stderr
    page = (tmp_path / "accepted-and-rejected.html").read_bytes()
    records = {
        name: json.loads((folder / "report.json").read_bytes())
        for name, folder in (("a", first), ("b", second))
    }
    assert wrong(page, records) == []
    told = json.loads(compress("report", str(first), str(second), "--json").stdout)
    assert told["outcome"]["verdict"] == {"a": "accepted", "b": "rejected", "changed": True}


def test_no_framework_is_loaded(run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, run], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("loaded []")


def _unfinished(run: Path) -> Path:
    (run / "report.json").unlink()
    return run


def _no_run(run: Path) -> Path:
    (run.parent / "else").mkdir()
    return run.parent / "else"


def _older(run: Path) -> Path:
    record = json.loads((run / "report.json").read_bytes())
    (run / "report.json").write_text(json.dumps({**record, "schema_version": 1}))
    return run


def _torn(run: Path) -> Path:
    (run / "report.json").write_bytes((run / "report.json").read_bytes()[:200])
    return run


def _odd(run: Path) -> Path:
    record = json.loads((run / "report.json").read_bytes())
    (run / "report.json").write_text(json.dumps({**record, "verdict": "perhaps"}))
    return run


def _no_object(run: Path) -> Path:
    (run / "report.json").write_text("[]")
    return run


def _odd_samples(run: Path) -> Path:
    (run / SAMPLES).write_text('{"schema_version": 1, "shifts": 3}')
    return run


def _file(run: Path) -> Path:
    return run / "report.json"


def _nowhere(run: Path) -> Path:
    return run / "nowhere"


UNUSABLE: dict[Callable[[Path], Path], str] = {
    _unfinished: "has not come to its end: there is no report.json",
    _no_run: "is not the folder of a run: there is neither a plan.lock nor a report.json",
    _older: "has schema version 1, and this version of compress reads",
    _torn: "report.json is damaged: it is no JSON",
    _odd: "is damaged, or of another version: verdict:",
    _no_object: "has schema version None",
    _odd_samples: "samples.json is damaged",
    _file: "is no folder",
    _nowhere: "is no folder",
}


@pytest.mark.parametrize("spoil", UNUSABLE)
@pytest.mark.parametrize("other", [False, True])
def test_what_is_no_finished_run_of_this_version_is_refused_in_one_sentence(
    run: Path, accepted: Path, compress: Compress, spoil: Callable[[Path], Path], other: bool
) -> None:
    if spoil is _odd_samples and other:
        return  # a comparison shows no pictures
    folder = spoil(run)
    words = [str(accepted), str(folder)] if other else [str(folder)]
    result = compress("report", *words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("compress: ")
    assert result.stderr.count("\n") == 1
    assert UNUSABLE[spoil] in result.stderr


@pytest.mark.parametrize(
    ("target", "told"),
    [("page.pdf", "does not end in .html"), ("nowhere/page.html", "make it first")],
)
def test_a_page_that_cannot_be_written_is_refused(
    run: Path, compress: Compress, tmp_path: Path, target: str, told: str
) -> None:
    result = compress("report", str(run), "-o", str(tmp_path / target))
    assert result.exit_code == 2
    assert told in result.stderr


def test_pictures_of_another_candidate_are_not_shown(run: Path, compress: Compress) -> None:
    without_seal(run)
    text = (run / SAMPLES).read_text()
    (run / SAMPLES).write_text(text.replace(report_of(run).steps[1].candidate, "0" * 64))
    assert compress("report", str(run)).exit_code == 0
    assert b"data:image/png;" not in (run / PAGE).read_bytes()


FORGERIES = {
    "a number": (b"</data>", b"9</data>"),
    "the verdict": (b"ACCEPTED", b"accepted"),
    "a sentence of the template": (b"What this promises", b"What this swears"),
    "the style": (b"--good: #116329", b"--good: #b3121d"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_verify_finds_a_page_that_its_record_does_not_give_even_if_sealed_anew(
    run: Path, compress: Compress, forgery: str
) -> None:
    page = (run / PAGE).read_bytes()
    forged = page.replace(*FORGERIES[forgery], 1)
    assert forged != page
    seal(RunFolder(path=run), report_of(run), page=forged)
    result = compress("verify", str(run))
    assert result.exit_code == 3
    (told,) = [line for line in result.stdout.splitlines() if line.startswith(PAGE)]
    assert "is not what report.json and samples.json give: line" in told


def test_verify_finds_a_mark_that_was_moved(run: Path, compress: Compress) -> None:
    page = (run / PAGE).read_text()
    at = page.index("<use ", page.index('.drop">'))
    start = page.index('x="', at) + 3
    moved = f"{page[:start]}{float(page[start : page.index(chr(34), start)]) + 5}"
    moved += page[page.index('"', start) :]
    seal(RunFolder(path=run), report_of(run), page=moved.encode())
    result = compress("verify", str(run))
    assert "report.html: is not what report.json and samples.json give: drawing 1" in result.stdout


def test_verify_says_that_it_cannot_draw_where_it_cannot(
    run: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith(("compressor.page", "matplotlib"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = compress("verify", str(run))
    assert result.exit_code == 0, result.output
    assert "report.html was not drawn again: matplotlib is not installed" in result.stdout


def test_verify_and_the_ledger_have_a_form_for_machines(
    run: Path, root: Path, compress: Compress
) -> None:
    found = json.loads(compress("verify", str(run), "--json").stdout)
    assert (found["holds"], found["findings"], found["cells"]) == (True, [], 6)
    (run / PAGE).unlink()
    result = compress("verify", str(run), "--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found["holds"] is False
    assert found["findings"] == [{"file": PAGE, "what": "is missing; SHA256SUMS has it"}]
    uses = json.loads(
        compress("ledger", "show", str(root / "holdout-ledger.jsonl"), "--json").stdout
    )
    assert [use["number"] for use in uses] == list(range(1, len(uses) + 1))
    assert report_of(run).plan_digest in {use["entry"]["plan"] for use in uses}
