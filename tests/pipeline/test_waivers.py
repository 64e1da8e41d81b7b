"""The command line with waivers: they are told wherever the verdict is, and locked in the plan."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from compressor.report_schema import Report

Compress = Callable[..., Result]
Command = Callable[..., list[str]]

NOISE = "gaussian_noise-1"
HOPELESS = "{name: gaussian_noise, severity: 1, tolerance: 0.0001,"


def waivers(folder: Path, *, shift: str = NOISE, expires: str = "2999-12-31") -> Path:
    path = folder / "waivers.yaml"
    path.write_text(
        "apiVersion: compress/v1\nwaivers:\n"
        f"  - {{shift: {shift}, expires: {expires}, reason: new sensor due, approver: Ada}}\n"
    )
    return path


@pytest.fixture(scope="module")
def hopeless(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that nothing passes, because of one shift."""
    text = (root / "lenient.yaml").read_text()
    old = "{name: gaussian_noise, severity: 1, tolerance: 0.1,"
    assert old in text
    path = tmp_path_factory.mktemp("policy") / "hopeless.yaml"
    path.write_text(text.replace(old, HOPELESS).replace("name: lenient", "name: hopeless"))
    return path


@pytest.fixture(scope="module")
def words(command: Command, hopeless: Path) -> Callable[..., list[str]]:
    """The words of a command line under that policy, with a file of waivers."""

    def made(run: Path, file: Path) -> list[str]:
        typed = command(run, "search.ratios=[0.2]")
        typed[typed.index("--policy") + 1] = str(hopeless)
        return [*typed, "--waivers", str(file)]

    return made


@pytest.fixture(scope="module")
def ended(
    words: Callable[..., list[str]], compress: Compress, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """The folder and the output of a run with a waiver."""
    folder = tmp_path_factory.mktemp("waived")
    return folder, compress(*words(folder / "run", waivers(folder)))


def test_a_model_is_accepted_with_a_waiver_and_the_first_screen_says_so(
    ended: tuple[Path, Result],
) -> None:
    _, result = ended
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ACCEPTED with 1 waiver at ratio 0.20 under hopeless\n")
    told = f"waived until 2999-12-31: {NOISE}, approved by Ada: new sensor due"
    assert told in result.stdout
    assert f"{NOISE} (waived)" in result.stdout
    assert "Binding: clean." in result.stdout


def test_the_report_has_the_waiver_and_the_guarantee_names_what_it_leaves_out(
    ended: tuple[Path, Result],
) -> None:
    run = ended[0] / "run"
    report = Report.model_validate_json((run / "report.json").read_text())
    assert [(w.shift, w.expires, w.approver) for w in report.waivers] == [
        (NOISE, "2999-12-31", "Ada")
    ]
    cells = {cell.shift: cell for cell in report.steps[0].cells}
    assert cells[NOISE].waived and cells[NOISE].enforced and cells[NOISE].outcome != "accepted"
    assert not cells["clean"].waived
    text = (run / "report.md").read_text()
    promise = f"on any enforced shift but {NOISE}, waived and promised nothing about."
    assert promise in text


def test_the_plan_locks_the_waivers(ended: tuple[Path, Result]) -> None:
    plan = json.loads((ended[0] / "run" / "plan.lock").read_text())
    assert [waiver["shift"] for waiver in plan["waivers"]] == [NOISE]


def test_a_run_is_not_gone_on_with_under_other_waivers(
    ended: tuple[Path, Result],
    words: Callable[..., list[str]],
    compress: Compress,
    tmp_path: Path,
) -> None:
    result = compress(*words(ended[0] / "run", waivers(tmp_path, expires="2998-12-31")))
    assert result.exit_code == 2
    assert "belongs to another job" in result.stderr
    assert "waivers was" in result.stderr


@pytest.mark.parametrize(
    ("shift", "expires", "told"),
    [
        (NOISE, "2020-01-01", f"the waiver for {NOISE} expired on 2020-01-01 (approved by Ada)"),
        ("brightness-2", "2999-01-01", "a waiver for brightness-2, which the policy does not"),
        ("fog-3", "2999-01-01", "a waiver for fog-3, which the policy does not enforce"),
        (NOISE, "soon", "waivers.yaml:3: waivers[0].expires: "),
    ],
)
def test_a_waiver_that_does_not_hold_stops_the_job(
    words: Callable[..., list[str]],
    refused: Callable[..., str],
    tmp_path: Path,
    shift: str,
    expires: str,
    told: str,
) -> None:
    file = waivers(tmp_path, shift=shift, expires=expires)
    assert told in refused(words(tmp_path / "run", file), code=2)


def test_a_policy_that_forbids_waivers_refuses_them(
    words: Callable[..., list[str]], refused: Callable[..., str], tmp_path: Path
) -> None:
    typed = words(tmp_path / "run", waivers(tmp_path, shift="fog-3"))
    typed[typed.index("--policy") + 1] = "safety-critical"
    assert "the policy safety-critical forbids waivers" in refused(typed, code=2)


def test_lint_tells_an_expired_waiver(compress: Compress, hopeless: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    yesterday = dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(days=1)
    waiver = f"{{shift: {NOISE}, expires: {yesterday}, reason: x, approver: Ada}}"
    path.write_text(f"{hopeless.read_text()}waivers: [{waiver}]\n")
    result = compress("policy", "lint", str(path))
    assert result.exit_code == 2
    assert f"the waiver for {NOISE} expired" in result.stderr


def test_a_run_with_a_waiver_can_be_verified(
    ended: tuple[Path, Result], compress: Compress
) -> None:
    result = compress("verify", str(ended[0] / "run"))
    assert result.exit_code == 0, result.output
    assert "with 1 waiver" in result.stdout
