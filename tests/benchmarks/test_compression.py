"""The comparison of methods counts rightly, and makes every network by the same rules."""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import compression, compression_methods, latency_aware, vgg16
from benchmarks.compression_methods import PEERS, Ask, Cut, fitted, maker
from benchmarks.compression_setup import read_setup
from benchmarks.compression_table import markdown, packed, paired, unpacked, wilson
from compressor.factories import import_from
from compressor.pruning.candidate import Method, propose, prunable
from compressor.training.batches import LabelledImages
from compressor.training.recipe import Recipe
from compressor.training.retrain import retrain

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CLASSES: Final = 10


def test_the_interval_is_that_of_wilson() -> None:
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_answers_survive_packing() -> None:
    right = np.random.default_rng(0).random(1_003) < 0.9
    assert (unpacked(packed(right), 1_003) == right).all()


def result(right: list[bool], **other: object) -> dict[str, Any]:
    return {
        "method": "ours", "speedup": 2.0, "seed": 0, "n": len(right),
        "right": packed(np.array(right)), "accuracy": float(np.mean(right)),
        "hardware": {"cpu": "C"}, **other,
    }  # fmt: skip


def test_a_difference_is_paired_by_image_and_averaged_over_seeds() -> None:
    ours = [result([True, True, False, True]), result([True, True, True, True])]
    other = [result([True, False, False, True]), result([True, False, True, True])]
    middle, low, high = paired(ours, other)
    assert middle == pytest.approx(25.0)
    # Gains 0, 1, 0, 0: a standard deviation of 0.5, so that half the interval is 1.96 * 0.25.
    assert (low, high) == pytest.approx((25.0 - 48.999, 25.0 + 48.999), abs=1e-3)


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "dense": {"accuracy": 0.9, "n": 100, "macs": 400, "params": 300},
        "settings": {"quick": False, "epochs": 1, "train_images": 5, "lr": 0.1, "distill": 0.0},
        "versions": {"torch": "1"}, "results": results, "gates": [],
    }  # fmt: skip


def test_a_method_without_a_network_has_its_reason_in_the_place_of_figures() -> None:
    without = {"method": "fastnas", "speedup": 2.0, "seed": 0, "why": "it | fails"}
    made = result([True, False], macs=200, params=100, align=8, at_point=True)
    text = markdown(summary([made, without]))
    assert "| 2x | fastnas | none: it / fails |" in text
    assert "| 2x | ours | 2.00x | 3.00x | 8 | 50.00% [" in text
    assert "points more" not in text


def test_a_network_beside_its_point_is_marked() -> None:
    made = result([True, False], macs=300, params=100, align=8, at_point=False)
    assert "| 1.33x **(not at the point)** |" in markdown(summary([made]))


def test_the_heading_tells_machines_and_distillation_apart() -> None:
    sizes = {"macs": 200, "params": 100, "align": 8, "at_point": True}
    one = result([True, False], **sizes, distill=0.0)
    other = result([True, True], **sizes, method="ours+distill", hardware={"cpu": "D"}, distill=0.5)
    peer = result([False, True], **sizes, method="fastnas")
    text = markdown(summary([one, other, peer]))
    assert "distillation 0, 0.5 for ours+distill; last epoch" in text
    assert "cpu C (networks: 2); cpu D (networks: 1); torch 1." in text
    assert "| 2x | ours | fastnas | +0.00 [" in text
    assert "| 2x | ours+distill | fastnas | +50.00 [" in text
    assert "| ours+distill | ours" not in text


@pytest.mark.parametrize(
    "name",
    [
        *PEERS,
        "random",
        "ours",
        "ours:taylor",
        "ours:l1:uniform:3",
        "ours:l2:knapsack:1:9",
        "fastnas@4",
        "ours+distill",
        "fastnas@4+distill",
    ],
)
def test_every_method_has_a_maker(name: str) -> None:
    assert callable(maker(name))


@pytest.mark.parametrize(
    "name", ["ours:nothing", "theirs", "ours:l2:global:x", "ours:l2:global:1:", "theirs@4"]
)
def test_an_unknown_method_is_refused_with_all_that_are_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"known are ours.*fpgm.*isomorphic.*torch-pruning:local"):
        maker(name)


def test_at_four_no_method_tries_larger_multiples(monkeypatch: pytest.MonkeyPatch) -> None:
    def peer(ask: Ask) -> Cut:
        return Cut(model=torch.nn.Identity(), align=ask.aligns[0], note=str(ask.aligns))

    monkeypatch.setattr(compression_methods, "PEERS", {"peer": peer})
    unused: Any = dict.fromkeys(("setup", "dense", "modelopt"))
    ask = Ask(**unused, speedup=2.0, seed=0, aligns=(8, 4, 2, 1), out=ROOT, arguments=())
    assert [maker(name)(ask).note for name in ("peer", "peer@4")] == ["(8, 4, 2, 1)", "(4, 2, 1)"]
    assert maker("peer@4+distill")(ask).note == "(4, 2, 1)"


EXAMPLE: Final = ROOT / "examples" / "cifar10"

RESNET_8: Final = """
from resnet20 import resnet20

def resnet8(num_classes=10):
    made = resnet20(num_classes)
    for stage in (made.layer1, made.layer2, made.layer3):
        del stage[1:]
    return made
"""
"""The example's network with one block in each stage, which has all that is difficult in it."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    """A network as the project of these tests has it, with random weights."""
    folder = tmp_path_factory.mktemp("network")
    shutil.copyfile(EXAMPLE / "resnet20.py", folder / "resnet20.py")
    (folder / "resnet8.py").write_text(RESNET_8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = import_from(folder, "resnet8").resnet8()
    assert isinstance(made, torch.nn.Module)
    return made.eval()


def test_a_network_is_rebuilt_from_the_tensors_of_a_smaller_one(network: torch.nn.Module) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    dense = prunable(network, images, seed=0)
    method = Method(of="macs", compensate=False)
    smaller = propose(dense, None, ratio=0.5, method=method, batches=(), seed=0).model
    rebuilt = fitted(dense.model, smaller.state_dict())
    assert torch.equal(rebuilt(images), smaller(images))
    widths = {name: m.out_channels for name, m in smaller.named_modules() if hasattr(m, "stride")
              and hasattr(m, "out_channels")}  # fmt: skip
    assert widths == {name: rebuilt.get_submodule(name).out_channels for name in widths}


def test_a_project_that_resizes_its_images_is_refused(tmp_path: Path) -> None:
    text = (EXAMPLE / "compress.yaml").read_text()
    (tmp_path / "compress.yaml").write_text(
        text.replace("size: [3, 32, 32]", "size: [3, 32, 32], resize: [48, 48]")
    )
    with pytest.raises(SystemExit, match=r"leave out input\.resize"):
        read_setup(argparse.Namespace(project=tmp_path / "compress.yaml"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, network: torch.nn.Module) -> Path:
    """Folders of noise that is a class by its brightness, and a network that can tell some."""
    folder = tmp_path_factory.mktemp("compression")
    shutil.copyfile(EXAMPLE / "resnet20.py", folder / "resnet20.py")
    (folder / "resnet8.py").write_text(RESNET_8)
    settings = (EXAMPLE / "compress.yaml").read_text()
    assert "resnet20:resnet20" in settings
    settings = settings.replace("resnet20:resnet20", "resnet8:resnet8")
    (folder / "compress.yaml").write_text(settings)
    rng = np.random.default_rng(0)
    images, labels = [], []
    for name, count in (("train", 5), ("test", 10)):
        for label in range(CLASSES):
            (folder / name / f"c{label}").mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(20 * label, 20 * label + 60, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"c{label}" / f"{k}.png")
                images.append(pixels.transpose(2, 0, 1))
                labels.append(label)
    # Random ones may answer all images alike, which the gate takes for another order of classes.
    seen = LabelledImages(
        images=np.stack(images),
        labels=np.array(labels),
        ids=np.arange(len(labels), dtype=np.uint64),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    recipe = Recipe(epochs=16, lr=0.05, batch_size=32, augment=("flip",))
    cpu = torch.device("cpu")
    trained = retrain(network, seen, recipe=recipe, seed=0, device=cpu).model
    torch.save(trained.state_dict(), folder / "weights.pt")
    return folder


@dataclass(frozen=True, kw_only=True)
class Done:
    code: object
    """Of the exit, or what it said instead of one."""
    stdout: str
    stderr: str


@pytest.fixture
def run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run a script of benchmarks/ in this process, quick and with the project's data."""

    def done(main: Callable[[], None], *more: object) -> Done:
        words = ["script", "--project", project / "compress.yaml", "--data", project, "--weights",
            project / "weights.pt", "--quick", *more]  # fmt: skip
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return Done(code=code, stdout=printed.out, stderr=printed.err)

    return done


@pytest.fixture
def compared(project: Path, run: Callable[..., Done]) -> Callable[..., Done]:
    """Run the comparison of methods at one point."""
    settings = ("--out", project / "out", "--device", "cpu", "--points", "2.1", "--align", "4")
    return lambda *more: run(compression.main, *settings, *more)


@pytest.mark.slow
def test_a_quick_run_makes_every_network_once_and_judges_it(
    project: Path, compared: Callable[..., Done]
) -> None:
    # Not the defaults, whose scores are measured: that takes a minute, and has tests of its own.
    ours = "ours:l2"
    methods = [ours, "torch-pruning:global:whole", "torch-pruning:global"]
    first = compared("--methods", *methods, "--latency-seconds", "0")
    assert first.code == 0, first.stderr
    out = project / "out"
    before = {file: file.read_bytes() for file in (out / "results").iterdir()}
    found = {r["method"]: r for r in json.loads((out / "compression.json").read_text())["results"]}
    assert sorted(found) == sorted(methods)
    # Its zero-padded shortcuts, cut as torch-pruning's documentation says.
    assert "does not run" in found["torch-pruning:global:whole"]["why"]
    dense = json.loads((out / "dense.json").read_text())
    for method in (ours, "torch-pruning:global"):
        assert abs(found[method]["macs"] / dense["macs"] - 1 / 2.1) <= 0.01
        assert len(found[method]["log"]) == 1
    logs = [found[m]["log"][0] for m in (ours, "torch-pruning:global")]
    assert logs[0]["lr_first"] == logs[1]["lr_first"]

    policy = project / "lenient.yaml"
    policy.write_text(
        "apiVersion: compress/v1\nname: lenient\nsummary: For tests.\nalpha: 0.05\nmin_images: 50\n"
        "shifts:\n  - {name: clean, tolerance: 0.99, reason: it is a test}\n"
    )
    second = compared("--methods", ours, "--latency-seconds", "0.2", "--gate", policy)
    assert second.code == 0, second.stderr
    found = {r["method"]: r for r in json.loads((out / "compression.json").read_text())["results"]}
    assert set(found[ours]["latency"]) == {"1", "32"}
    assert all(
        json.loads(file.read_bytes())["log"] == json.loads(content)["log"]
        for file, content in before.items()
        if file.name.startswith("ours") and file.suffix == ".json"
    )
    assert f"| {ours} | 0 | " in second.stdout
    assert "| accepted | 2.1x | " in second.stdout, second.stdout


@pytest.mark.slow
def test_other_settings_want_another_folder(compared: Callable[..., Done]) -> None:
    assert compared("--minutes", "0", "--latency-seconds", "0").code == 0
    refused = compared("--methods", "random", "--lr", "0.5")
    assert "has results of other lr; give another" in str(refused.code)


def test_fastnas_without_its_environment_is_a_usage_error(compared: Callable[..., Done]) -> None:
    refused = compared("--methods", "fastnas")
    assert refused.code == 2
    assert "give its Python as --modelopt" in refused.stderr


@pytest.mark.slow
def test_networks_chosen_by_time_are_measured_against_the_uniform_one(
    project: Path, run: Callable[..., Done]
) -> None:
    out = project / "latency-aware"
    # No layer's time is all gone. A tenth goes in many small steps, whatever the processor's are.
    settings = ("--out", out, "--epochs", "1", "--shares", "0.1", "1.0", "--seconds", "0.2",
        "--knapsack", "0.4")  # fmt: skip
    done = run(latency_aware.main, *settings)
    assert done.code == 0, done.stderr
    uniform, aware, by_macs = json.loads((out / "latency-aware.json").read_text())["rows"]
    assert by_macs["macs_kept"] == pytest.approx(0.6, abs=0.01)
    assert uniform["macs_kept"] == pytest.approx(0.5, abs=0.01)
    assert "latency" not in uniform
    assert aware["macs_kept"] < 1.0
    low, high = aware["latency"]["speedup_interval"]
    assert 0.0 < low <= aware["latency"]["speedup"] <= high
    assert done.stdout.count("| latency-aware | 10% of layers' time |") == 1
    assert "left out: latency-aware, 1: a ratio of 1 cannot be reached" in done.stderr


@pytest.mark.slow
def test_the_network_of_unlike_layers_is_trained_and_its_weights_are_read_back(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["script", "--data", project, "--out", tmp_path, "--quick", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    vgg16.main()
    assert "test images, 1 epochs" in capsys.readouterr().out
    network = vgg16.half()
    network.load_state_dict(torch.load(tmp_path / "vgg16.pt", weights_only=True))
