"""Retraining by several processes: the same images, the mean of the gradients, one checkpoint."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.accounted import accounted_shifts
from compressor.pruning.masks import apply_masks
from compressor.training.augment import Augment
from compressor.training.batches import LabelledImages, accuracy
from compressor.training.epoch import TrainingProgress
from compressor.training.recipe import Recipe, TrainingError
from compressor.training.retrain import TrainingResult, retrain
from compressor.training.team import Team
from compressor.training.together import devices
from policies import Policy, ShiftRule
from tests.compressor.test_training_retrain import bright_halves

CPU = torch.device("cpu")
TWO = Recipe(epochs=2, lr=0.05, batch_size=16, amp=False, processes=2)
ONE = replace(TWO, processes=1)


TRAIN, TUNE = bright_halves(72), bright_halves(40, seed=1)


def network(*, statistics: bool = False) -> nn.Sequential:
    """Without BatchNorm and dropout a step by two is that by one, but for rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(8) if statistics else nn.Identity()
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(8 * 16, 2),
        )  # fmt: skip


class Spare(nn.Module):
    """With a layer that no image ever reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.used = network(statistics=True)
        self.spare = nn.Linear(3, 3, bias=False)
        nn.init.ones_(self.spare.weight)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.used(pixels)
        return scores


def trained(
    recipe: Recipe,
    model: nn.Module | None = None,
    *,
    augment: Augment | None = None,
    tune: LabelledImages | None = TUNE,
    checkpoint: Path | None = None,
    on_step: Callable[[TrainingProgress], None] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> TrainingResult:
    return retrain(
        model or network(),
        TRAIN,
        recipe=recipe,
        seed=3,
        device=CPU,
        teacher=network(),
        augment=augment,
        tune=tune,
        checkpoint=checkpoint,
        on_step=on_step,
        after_step=after_step,
    )


def difference(first: nn.Module, second: nn.Module) -> float:
    a, b = first.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.fixture(scope="module")
def by_two() -> TrainingResult:
    return trained(TWO)


def test_two_processes_do_the_steps_that_one_does(by_two: TrainingResult) -> None:
    alone = trained(ONE)
    assert difference(by_two.model, alone.model) < 1e-5
    assert difference(by_two.model, network()) > 1e-2
    for one, two in zip(alone.log, by_two.log, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-4)
        assert (two.accuracy, two.tune_accuracy) == (one.accuracy, one.tune_accuracy)


@pytest.fixture(scope="module")
def shifted_and_masked() -> tuple[TrainingResult, TrainingResult]:
    """With noise on most images, and half of the first layer's weights held at zero: two, one."""
    rule = ShiftRule(
        name="gaussian_noise", severity=3, tolerance=0.1, accounted=True, reason="seen in training"
    )
    policy = Policy(
        apiVersion="compress/v1", name="noisy", summary="noise", alpha=0.05, min_images=1,
        shifts=(rule,),
    )  # fmt: skip
    augment = accounted_shifts(policy, seed=0, share=0.7)
    keep = torch.ones(8, 3, 3, 3, dtype=torch.bool)
    keep[:4] = False
    after_step = partial(apply_masks, masks={"0.weight": keep})
    by_two, alone = (
        trained(recipe, augment=augment, after_step=after_step) for recipe in (TWO, ONE)
    )
    return by_two, alone


def test_the_images_of_a_step_are_moved_as_one_process_would_move_them(
    shifted_and_masked: tuple[TrainingResult, TrainingResult],
) -> None:
    by_two, alone = shifted_and_masked
    assert difference(by_two.model, alone.model) < 1e-5


def test_masks_hold_in_every_process(
    shifted_and_masked: tuple[TrainingResult, TrainingResult],
) -> None:
    weights = shifted_and_masked[0].model.state_dict()["0.weight"]
    assert not weights[:4].any()
    assert weights[4:].all()


def test_batchnorm_and_unused_layers_are_retrained_and_counted_as_the_result_is(
    tmp_path: Path,
) -> None:
    recipe = replace(TWO, epochs=1, ema=0.9, choose="best_on_tune")
    told: list[TrainingProgress] = []
    made = trained(recipe, Spare(), on_step=told.append, checkpoint=tmp_path / "c")
    assert made.log[0].tune_accuracy == accuracy(made.model, TUNE, device=CPU)
    assert [(each.epoch, each.step) for each in told] == [(1, step) for step in (1, 2, 3, 4)]
    assert made.model.state_dict()["used.1.running_mean"].any()
    assert torch.equal(made.model.state_dict()["spare.weight"], Spare().spare.weight)


def test_an_interrupted_team_ends_with_the_same_bits(
    tmp_path: Path, by_two: TrainingResult
) -> None:
    class PowerCutError(Exception):
        pass

    def cut(progress: TrainingProgress) -> None:
        if (progress.epoch, progress.step) == (2, 1):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        trained(TWO, checkpoint=tmp_path / "c", on_step=cut)
    resumed = trained(TWO, checkpoint=tmp_path / "c")
    assert difference(resumed.model, by_two.model) == 0


def test_a_loss_that_is_lost_is_told_by_whichever_process_lost_it() -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch \d.*smaller one"):
        trained(replace(TWO, lr=1e12))


def test_a_network_that_cannot_be_sent_is_one_message() -> None:
    class Local(nn.Flatten):
        pass

    model = network()
    model[4] = Local()
    with pytest.raises(TrainingError, match=r"cannot be sent.*in a module, or retrain with proc"):
        trained(TWO, model)


@pytest.mark.parametrize(("size", "batch"), [(2, 15), (4, 4)])
def test_batches_that_cannot_be_shared_are_refused(size: int, batch: int) -> None:
    with pytest.raises(
        TrainingError, match=f"batch_size = {batch}, must be a multiple of processes"
    ):
        replace(ONE, processes=size, batch_size=batch)


def test_more_processes_than_graphics_processors_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda = torch.device("cuda", 1)
    assert [each.index for each in devices(cuda, 2)] == [1, 0]
    with pytest.raises(TrainingError, match=r"processes is 3, and 2 graphics.*give at most 2"):
        devices(cuda, 3)


@pytest.mark.parametrize("count", [16, 17, 3])
def test_shares_are_equal_and_apart(count: int) -> None:
    batch: NDArray[np.intp] = np.arange(count)
    shares = [Team(rank=rank, size=3).share(batch) for rank in range(3)]
    assert {len(share) for share in shares} == {count // 3}
    assert len(np.unique(np.concatenate(shares))) == count // 3 * 3


LONG = """
import sys; sys.path.insert(0, {root!r})
from dataclasses import replace
from tests.compressor.test_training_together import TWO, trained
if __name__ == "__main__":
    trained(replace(TWO, epochs=10_000), on_step=lambda step: print(step.step, flush=True))
"""


def test_a_team_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    script.write_text(LONG.format(root=str(Path(__file__).parents[2])))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        crew = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
        driver.send_signal(signal.SIGKILL)
    assert len(crew) >= 2
    deadline = time.monotonic() + 20
    while any(_lives(int(each)) for each in crew) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [each for each in crew if _lives(int(each))]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
