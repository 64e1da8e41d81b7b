"""What is planned rests on what was seen elsewhere, and the gate's images stay unseen."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray

from compressor.config import ArchiveSource
from compressor.data import load_images
from compressor.ledger import Entry, record
from compressor.models import load_model

Compress = Callable[..., Result]
Images = Callable[..., tuple[NDArray[np.uint8], NDArray[np.int64]]]

RULES = ("clean", "gaussian_noise-1", "brightness-2")

GROUPS = """\
apiVersion: compress/v1
name: groups
summary: For tests.
alpha: 0.05
method: looks
min_images: 50
shifts:
  - {name: clean, tolerance: 0.1, reason: a test}
  - {id: reds, name: clean, only: [r], tolerance: 0.2, reason: a test}
  - {name: gaussian_noise, severity: 1, draws: 3, tolerance: 0.1, reason: a test}
  - {id: field, folder: field, labels: none, tolerance: 0.2, reason: a test}
"""


@pytest.fixture(scope="module")
def candidate(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense model with weights that are a little off."""
    loaded = load_model(root / "model.pt", root=root, factory=None, kwargs={}, trusted=())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in loaded.module.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=generator))
    file = tmp_path_factory.mktemp("candidate") / "candidate.pt"
    torch.save(loaded.module, file)
    return file


@pytest.fixture(scope="module")
def planned(root: Path, compress: Compress) -> Callable[..., tuple[int, Mapping[str, Any]]]:
    """Exit code and content of a plan under a policy of the project, as JSON."""

    def made(*words: str, policy: str = "lenient") -> tuple[int, Mapping[str, Any]]:
        result = compress(*command(root, policy), *words, "--json")
        assert result.exit_code in {0, 4}, result.output
        content: Mapping[str, Any] = json.loads(result.stdout)
        assert content["exit_code"] == result.exit_code
        return result.exit_code, content

    return made


Planned = Callable[..., tuple[int, Mapping[str, Any]]]


def command(root: Path, policy: str = "lenient") -> list[str]:
    file = policy if policy.endswith(".yaml") else str(root / f"{policy}.yaml")
    return ["plan", "--policy", file, "--project", str(root / "compress.yaml")]


def rehearsal(root: Path, candidate: Path) -> list[str]:
    return ["--candidate", str(candidate), "--dense", str(root / "model.pt")]


def test_of_an_unknown_candidate_the_usual_discordances_are_shown(planned: Planned) -> None:
    code, content = planned()
    assert code == 0
    assert [one["discordance"] for one in content["scenarios"]] == [0.05, 0.1, 0.2]
    assert {one["one"]["seconds"] for one in content["scenarios"]} == {None}


def test_the_dense_model_alone_is_timed(planned: Planned, root: Path) -> None:
    _, content = planned(str(root / "model.pt"))
    assert all(one["one"]["seconds"] > 0 for one in content["scenarios"])


def test_what_cannot_be_certified_even_at_its_best_is_undecided(
    compress: Compress, root: Path
) -> None:
    result = compress(*command(root, "strict"), "--discordance", "0.05")
    assert result.exit_code == 4
    assert "2 of 2 rules of strict cannot be certified with these images" in result.stdout
    assert "- clean: a drop of" not in result.stdout
    assert "- clean: 26,740 images, 26,140 more" in result.stdout
    assert "with draws: 6, 13,840 images, typically" in result.stdout


def test_a_rehearsal_sees_the_tune_split_and_every_rule(
    planned: Planned, root: Path, candidate: Path
) -> None:
    code, content = planned(*rehearsal(root, candidate))
    (scenario,) = content["scenarios"]
    cells = {cell["shift"]: cell for cell in scenario["cells"]}
    assert code == 0
    assert tuple(cells) == RULES[:2]  # the enforced ones
    assert scenario["discordance"] is None
    for cell in cells.values():
        assert 190 <= cell["counted"] <= 210  # a fifth of 1,000
        assert cell["interval"][0] <= cell["drop"] <= cell["interval"][1]
        assert 0 < cell["discordance"] < 0.5
        assert cell["prospect"]["images"] == 600
    assert scenario["one"]["seconds"] > 0


def test_a_rehearsal_may_be_of_fewer_images(planned: Planned, root: Path, candidate: Path) -> None:
    _, content = planned(*rehearsal(root, candidate), "--images", "50")
    assert {cell["counted"] for cell in content["scenarios"][0]["cells"]} == {50}


def test_what_the_gate_images_show_changes_no_plan(
    planned: Planned, root: Path, candidate: Path, images: Images, tmp_path: Path
) -> None:
    pixels, labels = images(600, seed=77)
    np.savez(tmp_path / "other.npz", images=pixels, labels=labels, classes=list("rgby"))
    words = rehearsal(root, candidate)
    _, one = planned(*words)
    _, other = planned(*words, "--set", f"data.gate={{npz: {tmp_path / 'other.npz'}}}")
    assert one["scenarios"][0]["cells"] == other["scenarios"][0]["cells"]


def test_a_plan_leaves_nothing_and_spends_nothing(
    planned: Planned, root: Path, candidate: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    before = {path for path in root.rglob("*") if ".compress-cache" not in str(path)}
    for _ in range(2):
        _, content = planned(*rehearsal(root, candidate), "--set", f"data.ledger={ledger}")
        assert content["reuse"].startswith("the 1st use of these images")
    assert before == {path for path in root.rglob("*") if ".compress-cache" not in str(path)}
    assert not ledger.exists()


def test_used_up_images_certify_nothing(compress: Compress, root: Path, tmp_path: Path) -> None:
    text = (root / "lenient.yaml").read_text().replace("alpha:", "reuse: {releases: 1}\nalpha:")
    (tmp_path / "once.yaml").write_text(text)
    source = ArchiveSource(npz=root / "gate.npz")
    used = load_images(source, size=(3, 12, 12), cache=root / ".compress-cache", root=root)
    entry = Entry(
        images={"gate": used.digest}, plan="0", job="gate", policy="once", policy_digest="0",
        alpha_spent=0.05, releases=1, dense="0", candidates=("0",), seed=0,
    )  # fmt: skip
    record(tmp_path / "ledger.jsonl", entry)
    words = ["--set", f"data.ledger={tmp_path / 'ledger.jsonl'}", "--discordance", "0.01"]
    result = compress(*command(root, str(tmp_path / "once.yaml")), *words)
    assert result.exit_code == 4
    assert "NOTHING can be certified under lenient: its images are used up" in result.stdout


def test_an_earlier_run_is_expected_again(planned: Planned, accepted: Path) -> None:
    report = json.loads((accepted / "report.json").read_text())
    last = report["steps"][-1]
    seen = {cell["shift"]: cell for cell in last["cells"] if cell["enforced"]}
    _, content = planned("--from", str(accepted))
    (scenario,) = content["scenarios"]
    assert last["name"] in scenario["expected"]
    assert "these very images" in scenario["expected"]
    for cell in scenario["cells"]:
        same = seen[cell["shift"]]
        assert (cell["drop"], cell["discordance"], cell["counted"]) == (
            same["drop"], same["discordance"], same["n"],
        )  # fmt: skip
    assert scenario["one"]["seconds"] > 0


def test_groups_draws_looks_and_fields_are_planned_for(
    planned: Planned, root: Path, candidate: Path, images: Images, tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "field").mkdir()
    for index, pixels in enumerate(images(120, seed=5)[0]):
        Image.fromarray(pixels).save(tmp_path / "field" / f"{index}.png")
    file = tmp_path / "groups.yaml"
    file.write_text(GROUPS.replace("folder: field", f"folder: {tmp_path / 'field'}"))
    _, content = planned(*rehearsal(root, candidate), policy=str(file))
    (scenario,) = content["scenarios"]
    cells = {cell["shift"]: cell for cell in scenario["cells"]}
    assert cells["clean"]["n"] == [150, 300, 450, 600]
    reds = cells["reds"]["n"]
    labels = np.load(root / "gate.npz")["labels"]
    assert reds == sorted(reds)
    assert reds[-1] == np.count_nonzero(labels == 0)
    assert cells["clean"]["prospect"]["alpha"] == pytest.approx(0.4 * 0.05)
    assert cells["field"]["n"] == [30, 60, 90, 120]
    assert [cell["shift"] for cell in scenario["cells"] if cell["stand_in"]] == ["field"]
    # Rules on the same images share answers; 200 images of the tune split are for the order.
    tune = cells["clean"]["counted"]
    assert scenario["one"]["most"]["candidates"] == 600 + 3 * 600 + 120 + tune + 3 * tune
    assert scenario["ladder"]["most"]["candidates"] == 2 * scenario["one"]["most"]["candidates"]
    assert scenario["ladder"]["most"]["dense"] == scenario["one"]["most"]["dense"]
    assert scenario["one"]["expected"]["dense"] <= scenario["one"]["most"]["dense"]


def test_the_text_says_what_the_record_says(
    compress: Compress, planned: Planned, root: Path, candidate: Path
) -> None:
    words = rehearsal(root, candidate)
    _, content = planned(*words, policy="strict")
    text = compress(*command(root, "strict"), *words).stdout
    for cell in content["scenarios"][0]["cells"]:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {cell['shift']} ")]
        assert cell["prospect"]["outlook"] in row
        assert f"{cell['prospect']['needed_without_drop']:,}" in row
        assert f"{100 * cell['drop']:+.2f} [" in row


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["--candidate", "x.onnx"], 2, "--candidate is compared with a dense model; give --dense"),
        (["--from", "x", "--discordance", "0.1"], 2, "--from and --discordance say different"),
        (["--discordance", "1.5"], 2, "1.5 is not in the range 0.0<x<1.0"),
        (["--from", "nowhere"], 2, "there is no evidence in nowhere"),
        (["MODEL", "--dense", "MODEL"], 2, "MODEL is the dense model, and so is --dense"),
        (["absent.onnx"], 5, "absent.onnx is not a file"),
        (
            ["--candidate", "MODEL", "--dense", "MODEL", "--set", "data.train=null"],
            2,
            "data.train is missing, and a candidate is rehearsed on a part of it",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_reason(
    refused: Callable[..., str], root: Path, words: list[str], code: int, told: str
) -> None:
    model = str(root / "model.pt")
    given = [model if word == "MODEL" else word for word in words]
    assert told in refused([*command(root), *given], code=code)


def test_fewer_images_than_the_policy_asks_for_are_undecided(
    refused: Callable[..., str], root: Path
) -> None:
    assert "99,400 more" in refused(command(root, "hungry"), code=4)
