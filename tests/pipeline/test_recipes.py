"""Ways of retraining, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from compressor.report_schema import Report

Compress = Callable[..., Result]
Command = Callable[..., list[str]]

REWINDING = "retrain.original={epochs: 6, lr: 0.05, milestones: [5]}"


@pytest.mark.parametrize(
    "settings",
    [
        ("retrain.recipe=rewinding", REWINDING),
        ("retrain.recipe=cosine", "retrain.warm_up=0.5", "retrain.ema=0.9"),
        ("retrain.choose=best_on_tune", "retrain.robust=0", "search.compensate=false"),
    ],
    ids=["rewinding", "an averaged cosine", "best on tune"],
)
def test_every_way_of_retraining_ends_in_a_run_that_holds(
    command: Command, compress: Compress, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    folder = tmp_path / "run"
    result = compress(*command(folder, *settings, "search.ratios=[0.3]"))
    assert result.exit_code == 0, result.output
    assert compress("verify", str(folder)).exit_code == 0
    plan = json.loads((folder / "plan.lock").read_text())
    for setting in settings:
        where, _, value = setting.partition("=")
        group, field = where.split(".")
        assert plan[group][field] or value in {"0", "false"}


def test_the_report_says_how_trainable_the_cut_left_the_network(accepted: Path) -> None:
    report = Report.model_validate_json((accepted / "report.json").read_text())
    assert report.steps
    for step in report.steps:
        told = step.trainability
        assert told is not None
        before, after = told["jacobian_before"], told["jacobian_after"]
        assert before is not None and after is not None
        assert before > 0 and after > 0 and before != after
        # Of two epochs, the first has the first learning rate.
        assert (told["first_stage_epochs"], told["epoch"]) == (1, 2)
        assert told["first_stage_accuracy"] == step.epochs[0]["tune_accuracy"]
        assert step.epochs[-1]["tune_accuracy"] == step.tune_accuracy


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (("retrain.recipe=rewinding",), "original = None, must be the dense network's own"),
        (
            ("retrain.recipe=rewinding", "retrain.original={epochs: 1, lr: 0.1}"),
            "epochs = 2, must be at most original.epochs = 1",
        ),
        (("retrain.warm_up=1",), "warm_up = 1.0, must be 0 except with cosine"),
        (("retrain.ema=1",), "retrain.ema"),
        (("retrain.choose=best",), "retrain.choose"),
        (("retrain.robust=1.5",), "retrain.robust"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_before_anything_is_written(
    command: Command,
    refused: Callable[..., str],
    tmp_path: Path,
    settings: tuple[str, ...],
    complaint: str,
) -> None:
    assert complaint in refused(command(tmp_path / "run", *settings), code=2)
