"""Long stages say how far they are, in steps small enough to guess the time that is left."""

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from compressor.cli import main
from compressor.config_sources import FolderSource
from compressor.data import load_images
from compressor.gate import observe
from compressor.threads import in_threads
from compressor.watch import decoding
from tests.compressor.fake_trial import drawn, policy, rule, staged


@dataclass(kw_only=True)
class Listening:
    """A ``Watch`` that remembers."""

    steps: list[tuple[str, int, int, str]] = field(default_factory=list)

    def say(self, text: str) -> None: ...

    def progress(self, task: str, done: int, total: int, detail: str = "") -> None:
        self.steps.append((task, done, total, detail))


def test_the_gate_tells_of_every_batch_of_the_candidate(tmp_path: Path) -> None:
    rules = policy(rule("clean"), rule("brightness"), method="fixed")
    stage, watch = staged(tmp_path, rules, gate=drawn(1100, seed=1)), Listening()
    observe(stage.trial, stage.subject, before=(), watch=watch)
    done = [step for _, step, _, _ in watch.steps]
    assert done == [0, 256, 512, 768, 1024, 1100, 1100, 1356, 1612, 1868, 2124, 2200, 2200]
    assert {(task, total) for task, _, total, _ in watch.steps} == {("gate pruned.onnx", 2200)}
    assert [detail for *_, detail in watch.steps] == ["clean"] * 6 + ["brightness-2"] * 6 + [""]


@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_the_gates_bar_never_goes_back_and_ends_full(tmp_path: Path, method: str) -> None:
    rules = policy(rule("clean"), rule("contrast"), method=method)  # type: ignore[arg-type]  # one of three words
    stage = staged(tmp_path, rules, gate=drawn(1100, seed=1), drops={"gate/clean": 0.09})
    for _ in range(2):  # the second time everything is known
        watch = Listening()
        observe(stage.trial, stage.subject, before=(), watch=watch)
        done = [step for _, step, _, _ in watch.steps]
        assert all(a <= b for a, b in pairwise(done))
        assert (done[0], done[-1]) == (0, 2200)


def test_work_in_threads_tells_below_which_number_all_is_done() -> None:
    told: list[int] = []
    given = in_threads(sum, 600, on_done=told.append)
    assert told == [256, 512, 600]
    assert sum(given) == sum(range(600))


def test_images_are_told_of_while_they_are_decoded_and_not_again(tmp_path: Path) -> None:
    for index in range(300):
        folder = tmp_path / "images" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), index % 256, dtype=np.uint8)
        pixels[0, 0, 0] = index // 256
        Image.fromarray(pixels).save(folder / f"{index}.png")
    told: list[tuple[int, int]] = []
    for _ in range(2):
        load_images(
            FolderSource(folder=tmp_path / "images"),
            size=(3, 8, 8),
            cache=tmp_path / "cache",
            root=tmp_path,
            told=lambda done, total: told.append((done, total)),
        )
    assert told == [(256, 300), (300, 300)]


def test_few_images_are_not_told_of() -> None:
    watch = Listening()
    decoding(watch, "data.gate")(500, 1000)
    decoding(watch, "data.gate")(500, 1001)
    assert watch.steps == [("decode data.gate", 500, 1001, "")]


@pytest.mark.parametrize(
    "words",
    [
        ("policy", "list"),
        ("policy", "show", "nominal"),
        ("policy", "diff", "nominal", "standard"),
        ("policy", "lint", "policies/nominal.yaml"),
        ("shifts", "list", "--severity", "3"),
    ],
)
def test_what_is_listed_is_there_for_machines(words: tuple[str, ...]) -> None:
    plain = CliRunner().invoke(main, words)
    result = CliRunner().invoke(main, [*words, "--json"])
    assert (plain.exit_code, result.exit_code) == (0, 0), result.output
    found = json.loads(result.stdout)
    assert found
    first = found[0] if isinstance(found, list) else found
    name = first["name"] if "name" in first else first["field"]
    assert name in plain.stdout


def test_a_difference_has_its_exit_code_as_json_too() -> None:
    words = ("policy", "diff", "nominal", "standard", "--exit-code", "--json")
    assert CliRunner().invoke(main, words).exit_code == 3
    same = CliRunner().invoke(main, ("policy", "diff", "nominal", "nominal", "--json"))
    assert (same.exit_code, json.loads(same.stdout)) == (0, [])
