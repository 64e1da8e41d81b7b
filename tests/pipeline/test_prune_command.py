"""``compress prune``: one smaller model, which nobody has judged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file

from compressor.models import load_model
from compressor.pruning.candidate import PrunePlan, prunable, rebuild
from compressor.pruning.exchange import Gone, exchanged

Compress = Callable[..., Result]

CUT = """\
input: {size: [3, 12, 12], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
search: {align: 1}
"""

FILES = {"candidate.json", "model.onnx", "prune.json", "weights.safetensors"}


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock", "plan.lock"}


def said(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def home(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained network and a project that names no images."""
    folder = tmp_path_factory.mktemp("bare")
    shutil.copy(root / "model.pt", folder)
    (folder / "compress.yaml").write_text(CUT)
    return folder


@pytest.fixture
def words(home: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The words of ``compress prune`` in a project without images."""

    def made(*more: str, ratio: str = "0.4", model: str = "") -> list[str]:
        words = ["prune", model or str(home / "model.pt"), "--ratio", ratio]
        words += ["--project", str(home / "compress.yaml"), "--out", str(tmp_path / "out")]
        return [*words, *more]

    return made


@pytest.fixture(scope="module")
def retrained(
    root: Path, compress: Compress, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """A network that was cut and retrained, where data.gate names what is not there."""
    out = tmp_path_factory.mktemp("pruned") / "out"
    result = compress(
        "prune", str(root / "model.pt"), "--ratio", "0.4", "--out", str(out),
        "--project", str(root / "compress.yaml"), "--set", "data.gate={npz: absent.npz}",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return out, result


def record_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "prune.json").read_text())
    return found


def test_files_and_screen_say_that_nothing_was_judged(retrained: tuple[Path, Result]) -> None:
    folder, result = retrained
    assert visible(folder) == FILES
    assert "not judged; compress gate judges it" in result.stdout
    assert "Nothing was gated and nothing is released" in result.stdout
    record = record_of(folder)
    assert record["judged"] is False
    assert record["note"] == "not judged; compress gate judges it"
    metadata = {p.key: p.value for p in onnx.load(folder / "model.onnx").metadata_props}
    assert metadata["compressor.judged"] == "false"


def test_the_network_is_retrained_as_the_project_says(retrained: tuple[Path, Result]) -> None:
    folder, result = retrained
    record = record_of(folder)
    assert record["retrained_epochs"] == 2
    assert record["train_images"] < 1000  # a part is held back
    assert record["tune_accuracy"] > 0.8
    assert record["params"] == pytest.approx(0.6 * record["dense"]["params"], rel=0.03)
    assert record["parity"]["max_relative_error"] < 1e-4
    assert "Retrained for 2 epochs" in result.stdout


def test_the_gates_images_are_not_read_and_no_use_is_recorded(
    retrained: tuple[Path, Result], root: Path
) -> None:
    assert "data.gate" not in retrained[1].stderr
    assert not list(retrained[0].parent.rglob("holdout-ledger.jsonl"))


def test_weights_and_plan_rebuild_the_network(retrained: tuple[Path, Result], root: Path) -> None:
    folder, _ = retrained
    dense = prunable(
        load_model(root / "model.pt", root=root).module, torch.randn(4, 3, 12, 12), seed=0
    )
    plan = json.loads((folder / "candidate.json").read_text())["kept"]
    network = rebuild(dense, PrunePlan(kept=plan), load_file(folder / "weights.safetensors"))
    assert sum(p.numel() for p in network.parameters()) == record_of(folder)["params"]


def test_the_same_command_again_makes_nothing_anew(
    retrained: tuple[Path, Result], root: Path, compress: Compress
) -> None:
    folder, first = retrained
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name in FILES}
    again = compress(
        "prune", str(root / "model.pt"), "--ratio", "0.4", "--out", str(folder),
        "--project", str(root / "compress.yaml"), "--set", "data.gate={npz: elsewhere.npz}",
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_job_does_not_get_the_folder(
    retrained: tuple[Path, Result], refused: Callable[..., str], words: Callable[..., list[str]]
) -> None:
    folder, _ = retrained
    told = refused(words("--no-retrain", "--out", str(folder)), code=2)
    assert f"{folder} belongs to another job" in told


def test_the_gate_judges_the_file(
    retrained: tuple[Path, Result], root: Path, compress: Compress, tmp_path: Path
) -> None:
    result = compress(
        "gate", str(retrained[0] / "model.onnx"), "--dense", str(root / "model.pt"),
        "--policy", str(root / "lenient.yaml"), "--project", str(root / "compress.yaml"),
        "--run", str(tmp_path / "run"), "--set", f"data.ledger={tmp_path}/ledger.jsonl",
    )  # fmt: skip
    assert result.exit_code == 0, result.output


def test_a_cut_by_weights_alone_needs_no_images(
    words: Callable[..., list[str]], compress: Compress, tmp_path: Path
) -> None:
    result = compress(*words("--no-retrain"))
    assert result.exit_code == 0, result.output
    assert visible(tmp_path / "out") == FILES
    record = record_of(tmp_path / "out")
    assert record["tune_accuracy"] is None
    assert record["train_images"] is None
    assert record["retrained_epochs"] == 0
    assert "BatchNorm statistics are those of the dense network" in result.stdout
    again = compress(*words("--no-retrain"), "--out", str(tmp_path / "twin"))
    assert again.exit_code == 0, again.output
    for name in ("model.onnx", "weights.safetensors", "candidate.json"):
        one, two = tmp_path / "out" / name, tmp_path / "twin" / name
        assert one.read_bytes() == two.read_bytes()


def test_where_there_are_images_statistics_follow_the_cut(
    root: Path, words: Callable[..., list[str]], compress: Compress, tmp_path: Path
) -> None:
    compress(*words("--no-retrain"))
    seen = tmp_path / "seen"
    result = compress(
        *words("--no-retrain", "--set", f"data.train={{npz: {root}/train.npz}}", "--out", str(seen))
    )
    assert result.exit_code == 0, result.output
    assert "those of up to 1,000 training images" in result.stdout
    name = "1.running_mean"
    means = [load_file(tmp_path / n / "weights.safetensors")[name] for n in ("out", "seen")]
    assert not torch.equal(*means)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "data.train is missing, and a pruned network is retrained; add it, or give --no-retr"),
        (("--no-retrain", "--set", "search.importance=taylor"), "'taylor' looks at images"),
        (("--no-retrain", "--set", "search.exchanges=9"), "search.exchanges (9) are measured on"),
        (("--no-retrain", "--set", "search.exchanges=-1"), "search.exchanges"),
        (("--no-retrain", "--set", "search.importance=magic"), "known are l1, l2"),
        (("--no-retrain", "--set", "input.size=[1, 12, 12]"), "mean 3 values"),
        (("--no-retrain", "--set", "search.colour=red"), "search.colour"),
        (("--no-retrain", "--set", "data.train={npz: absent.npz}"), "absent.npz"),
    ],
)
def test_unusable_input_is_refused_before_a_folder_is_made(
    words: Callable[..., list[str]], refused: Callable[..., str], more: tuple[str, ...], told: str
) -> None:
    assert told in refused(words(*more), code=2)


def test_a_ratio_that_alignment_does_not_allow_leaves_nothing(
    words: Callable[..., list[str]], refused: Callable[..., str]
) -> None:
    told = refused(words("--no-retrain", "--set", "search.align=64"), code=2)
    assert "multiples of 64" in told
    assert "search.align" in told


@pytest.mark.parametrize("ratio", ["0", "1", "1.5", "half"])
def test_a_ratio_is_a_share(
    words: Callable[..., list[str]], refused: Callable[..., str], ratio: str
) -> None:
    assert "--ratio" in refused(words("--no-retrain", ratio=ratio), code=2)


def test_a_model_that_cannot_be_read_is_refused(
    words: Callable[..., list[str]], refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "text.pt").write_text("weights")
    assert "no PyTorch file" in refused(words(model=str(tmp_path / "text.pt")), code=5)


def test_one_training_image_is_too_few_for_statistics(
    root: Path, words: Callable[..., list[str]], refused: Callable[..., str], tmp_path: Path
) -> None:
    with np.load(root / "train.npz") as every:
        np.savez(
            tmp_path / "one.npz", images=every["images"][:1], labels=every["labels"][:1],
            classes=every["classes"],
        )  # fmt: skip
    told = refused(
        words("--no-retrain", "--set", f"data.train={{npz: {tmp_path}/one.npz}}"), code=2
    )
    assert "1 images to estimate BatchNorm from; give at least two" in told


def test_what_was_undone_before_the_cut_is_said_and_recorded(
    home: Path, words: Callable[..., list[str]], compress: Compress, tmp_path: Path
) -> None:
    network = load_model(home / "model.pt", root=home).module
    torch.save(network.double().requires_grad_(False), tmp_path / "double.pt")
    result = compress(*words("--no-retrain", model=str(tmp_path / "double.pt")))
    assert result.exit_code == 0, result.output
    note = "weights in float64 become float32"
    assert note in result.stdout
    assert record_of(tmp_path / "out")["notes"] == [note]


def test_an_interrupted_job_goes_on_with_the_same_bytes(
    root: Path, compress: Compress, tmp_path: Path, retrained: tuple[Path, Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = [
        "prune", str(root / "model.pt"), "--ratio", "0.4", "--out", str(tmp_path / "out"),
        "--project", str(root / "compress.yaml"),
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("compressor.ladder.keep", killed)
        result = compress(*words)
    assert result.exit_code == 130, result.output
    assert "give the same command again" in said(result.stderr)
    assert visible(tmp_path / "out") == {"training.safetensors"}
    assert compress(*words).exit_code == 0
    for name in ("model.onnx", "weights.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (retrained[0] / name).read_bytes()


def test_a_changed_file_is_not_taken_for_the_one_that_was_made(
    words: Callable[..., list[str]], compress: Compress, tmp_path: Path
) -> None:
    compress(*words("--no-retrain"))
    (tmp_path / "out" / "model.onnx").write_bytes(b"other")
    result = compress(*words("--no-retrain"))
    assert result.exit_code == 2
    assert "model.onnx is not the file that was written" in result.stderr


def test_the_record_can_be_printed_as_json(
    words: Callable[..., list[str]], compress: Compress, tmp_path: Path
) -> None:
    result = compress(*words("--no-retrain", "--json"))
    assert json.loads(result.stdout) == record_of(tmp_path / "out")


def test_help_says_that_nothing_is_judged(compress: Compress) -> None:
    assert "nothing is judged and nothing is released" in said(compress("prune", "--help").stdout)
    lines = compress("--help").stdout.splitlines()
    assert [line for line in lines if line.startswith("  compress prune MODEL --ratio 0.5  ")]


def test_too_little_time_to_find_what_can_be_cut_is_a_refusal_that_says_how_to_give_more(
    words: Callable[..., list[str]], compress: Compress
) -> None:
    result = compress(*words("--no-retrain", "--set", "search.time_limit_s=0.000001"))
    assert result.exit_code == 5
    assert "larger search.time_limit_s" in said(result.stderr)


def test_as_many_networks_are_measured_for_exchanges_as_asked_for(
    root: Path, words: Callable[..., list[str]], compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(*args: Any, most: int, **kwargs: Any) -> Gone:  # noqa: ANN401 # passed on
        seen.append(most)
        return exchanged(*args, most=most, **kwargs)

    monkeypatch.setattr("compressor.pruning.candidate.exchanged", counted)
    more = ("--set", f"data.train={{npz: {root}/train.npz}}", "--set", "search.exchanges=7")
    result = compress(*words("--no-retrain", *more))
    assert result.exit_code == 0, result.output
    assert seen == [7]
