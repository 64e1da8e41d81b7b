import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from compressor.training.augment import Augment
from compressor.training.batches import LabelledImages, accuracy, native_bfloat16
from compressor.training.epoch import TrainingProgress, _loss
from compressor.training.recipe import Recipe, TrainingError
from compressor.training.retrain import TrainingResult, retrain
from compressor.training.schedules import Original

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, lr=0.05, batch_size=16)


def bright_halves(count: int, seed: int = 0) -> LabelledImages:
    """Two classes that a tiny network learns in seconds: is the upper or the lower half bright?"""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size=count)
    images = rng.integers(0, 120, size=(count, 3, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label : 4 * label + 4] += 100
    return LabelledImages(
        images=images,
        labels=labels,
        ids=rng.integers(0, 2**63, size=count, dtype=np.uint64),
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
    )


def tiny_net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(8 * 16, 2),
        )


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class PowerCutError(Exception):
    """The power went."""


def kill_in(epoch: int, step: int) -> Callable[[TrainingProgress], None]:
    def on_step(progress: TrainingProgress) -> None:
        if (progress.epoch, progress.step) == (epoch, step):
            raise PowerCutError

    return on_step


DATA = bright_halves(72)
TUNE = bright_halves(50, seed=7)
ORIGINAL = Original(epochs=8, lr=0.1, milestones=(6,))
RECIPES = {
    "halving": RECIPE,
    "rewinding": replace(RECIPE, schedule="rewinding", original=ORIGINAL),
    "cosine": replace(RECIPE, schedule="cosine", warm_up=0.5),
    "average": replace(RECIPE, ema=0.9),
    "best on tune": replace(RECIPE, choose="best_on_tune"),
    "best average": replace(RECIPE, ema=0.9, choose="best_on_tune"),
}
TEACHER = tiny_net(9)


def run(
    model: nn.Module | None = None,
    *,
    recipe: Recipe = RECIPE,
    seed: int = 1,
    teacher: nn.Module | None = TEACHER,
    augment: Augment | None = None,
    tune: LabelledImages | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[TrainingProgress], None] | None = None,
) -> TrainingResult:
    return retrain(
        model or tiny_net(),
        DATA,
        recipe=recipe,
        seed=seed,
        device=CPU,
        teacher=teacher,
        augment=augment,
        tune=tune,
        checkpoint=checkpoint,
        on_step=on_step,
    )


def test_retraining_learns() -> None:
    recipe = replace(RECIPE, epochs=6, augment=("crop",))
    data, unseen = bright_halves(640), bright_halves(200, seed=1)
    result = retrain(tiny_net(), data, recipe=recipe, seed=0, device=CPU)
    assert accuracy(result.model, unseen, device=CPU) > 0.9
    assert result.log[-1].loss < result.log[0].loss
    assert [entry.epoch for entry in result.log] == [1, 2, 3, 4, 5, 6]
    assert (result.log[0].lr_first, result.log[-1].lr_last) == (recipe.lr, recipe.final_lr)


def test_the_models_given_are_not_changed_and_the_result_is_ready_to_use() -> None:
    model, teacher = tiny_net().train(), tiny_net(9).train()
    before, taught = copy.deepcopy(model), copy.deepcopy(teacher)
    result = run(model, teacher=teacher)
    assert same_weights(model, before)
    assert same_weights(teacher, taught)
    assert model.training
    assert teacher.training
    assert not same_weights(result.model, before)
    assert not any(module.training for module in result.model.modules())
    assert [p.stride() for p in result.model.parameters()] == [
        p.stride() for p in model.parameters()
    ]


def test_frozen_layers_are_retrained() -> None:
    frozen = tiny_net().requires_grad_(requires_grad=False)
    assert same_weights(run(frozen).model, run().model)


def test_the_seed_decides_everything_and_torch_keeps_its_own_random_state() -> None:
    state = torch.get_rng_state()
    first = run()
    torch.rand(3)
    assert same_weights(first.model, run().model)
    assert not same_weights(first.model, run(seed=2).model)
    torch.set_rng_state(state)
    run()
    assert torch.equal(torch.get_rng_state(), state)


def test_no_epochs_leave_the_weights_as_they_are() -> None:
    result = run(recipe=replace(RECIPE, epochs=0))
    assert same_weights(result.model, tiny_net())
    assert result.log == ()


@pytest.mark.parametrize(
    ("epoch", "step", "name"),
    [(2, 1, "halving"), (2, 4, "halving"), *((3, 2, name) for name in RECIPES)],
)
def test_a_killed_retraining_resumes_bit_for_bit(
    tmp_path: Path, epoch: int, step: int, name: str
) -> None:
    path = tmp_path / "training.safetensors"
    again = partial(run, recipe=RECIPES[name], tune=TUNE)
    with pytest.raises(PowerCutError):
        again(checkpoint=path, on_step=kill_in(epoch, step))
    seen: list[int] = []
    resumed = again(checkpoint=path, on_step=lambda progress: seen.append(progress.epoch))
    undisturbed = again()
    assert min(seen) == epoch
    assert same_weights(resumed.model, undisturbed.model)
    assert [replace(entry, seconds=0) for entry in resumed.log] == [
        replace(entry, seconds=0) for entry in undisturbed.log
    ]
    assert resumed.epoch == undisturbed.epoch
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", RECIPES)
def test_a_finished_retraining_is_not_repeated(tmp_path: Path, name: str) -> None:
    path = tmp_path / "training.safetensors"
    again = partial(run, recipe=RECIPES[name], tune=TUNE, checkpoint=path)
    first = again()
    assert same_weights(again(on_step=kill_in(1, 1)).model, first.model)


def test_every_recipe_ends_elsewhere() -> None:
    plain = run(tune=TUNE)
    for name in ("rewinding", "cosine", "average"):
        assert not same_weights(run(recipe=RECIPES[name], tune=TUNE).model, plain.model)


def test_measuring_on_the_tune_split_changes_no_weight() -> None:
    measured = run(tune=TUNE)
    assert same_weights(measured.model, run().model)
    assert measured.log[-1].tune_accuracy == accuracy(measured.model, TUNE, device=CPU)
    assert [entry.tune_accuracy for entry in run().log] == [None, None, None]


def test_rewound_rates_are_those_of_the_last_original_epochs() -> None:
    log = run(recipe=RECIPES["rewinding"]).log
    assert [entry.lr_first for entry in log] == pytest.approx([0.1, 0.01, 0.01])


def test_the_average_is_that_of_the_weights_after_every_step() -> None:
    """Two steps: e0 = w0; e1 = e0 + 0.9 (w1 - e0); e2 = e1 + (1 - 2/11)(w2 - e1)."""
    data = bright_halves(8)

    def after(epochs: int, ema: float) -> nn.Module:
        # A rate that never falls, so that the first of two epochs is that of one.
        recipe = Recipe(epochs=epochs, lr=0.05, final_lr=0.05, distill=0, batch_size=8, ema=ema)
        return retrain(tiny_net(), data, recipe=recipe, seed=0, device=CPU).model

    wanted: dict[str, Tensor] = dict(tiny_net().named_parameters())
    for epochs, decay in ((1, 0.1), (2, 2 / 11)):
        weights = dict(after(epochs, 0.0).named_parameters())
        wanted = {name: decay * wanted[name] + (1 - decay) * weights[name] for name in wanted}
    for name, value in after(2, 0.9).named_parameters():
        torch.testing.assert_close(value, wanted[name])


def test_the_best_epoch_on_the_tune_split_is_kept_and_not_a_later_one() -> None:
    """The tune labels are wrong: the more is learnt, the worse it looks there."""
    wrong = replace(TUNE, labels=1 - TUNE.labels)
    recipe = replace(RECIPE, epochs=6, choose="best_on_tune")
    chosen = run(recipe=recipe, tune=wrong)
    accuracies = [entry.tune_accuracy or 0.0 for entry in chosen.log]
    assert accuracies.index(max(accuracies)) + 1 == chosen.epoch < 6
    assert accuracy(chosen.model, wrong, device=CPU) == max(accuracies)
    last = run(recipe=replace(recipe, choose="last"), tune=wrong)
    assert (last.epoch, last.log[-1].tune_accuracy) == (6, accuracies[-1])


@pytest.mark.parametrize("tune", [None, bright_halves(0)])
def test_the_best_on_no_images_is_refused(tune: LabelledImages | None) -> None:
    with pytest.raises(TrainingError, match="no tune images"):
        run(recipe=RECIPES["best on tune"], tune=tune)


def test_a_retraining_killed_in_its_first_epoch_starts_over(tmp_path: Path) -> None:
    with pytest.raises(PowerCutError):
        run(checkpoint=tmp_path / "c", on_step=kill_in(1, 3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "another",
    [
        lambda path: run(checkpoint=path, seed=2),
        lambda path: run(checkpoint=path, recipe=replace(RECIPE, lr=0.01)),
        lambda path: run(tiny_net(5), checkpoint=path),
        lambda path: run(checkpoint=path, teacher=tiny_net(5)),
        lambda path: run(checkpoint=path, teacher=None),
    ],
    ids=["seed", "recipe", "model", "teacher", "no teacher"],
)
def test_a_checkpoint_of_another_retraining_is_refused(
    tmp_path: Path, another: Callable[[Path], TrainingResult]
) -> None:
    run(checkpoint=tmp_path / "c")
    with pytest.raises(TrainingError, match="checkpoint of another recipe"):
        another(tmp_path / "c")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"\x80\x04 not safetensors")
    with pytest.raises(TrainingError, match=r"unreadable checkpoint.*delete"):
        run(checkpoint=path)


def test_a_checkpoint_is_tensors_and_json(tmp_path: Path) -> None:
    result = run(checkpoint=tmp_path / "c")
    with safe_open(tmp_path / "c", framework="pt") as file:
        names = set(file.keys())
        log = json.loads(file.metadata()["log"])
    parameters = {f"momentum.{name}" for name, _ in result.model.named_parameters()}
    assert names == parameters | {f"model.{name}" for name in result.model.state_dict()}
    assert [entry["epoch"] for entry in log] == [1, 2, 3]


def test_a_loss_that_is_not_finite_stops_with_its_place_and_a_remedy() -> None:
    with pytest.raises(TrainingError, match=r"epoch 1 of 3, step \d of 4.* smaller one, 1e\+2"):
        run(recipe=replace(RECIPE, lr=1e30, momentum=0.99))


def test_one_image_is_too_few() -> None:
    with pytest.raises(TrainingError, match="at least two"):
        retrain(tiny_net(), bright_halves(1), recipe=RECIPE, seed=0, device=CPU)


def test_fewer_images_than_a_batch_make_one_step_an_epoch() -> None:
    steps: list[int] = []
    retrain(
        tiny_net(),
        bright_halves(5),
        recipe=RECIPE,
        seed=0,
        device=CPU,
        on_step=lambda progress: steps.append(progress.steps),
    )
    assert steps == [1, 1, 1]


def test_the_augment_sees_bytes_with_their_ids_and_epoch() -> None:
    calls: list[tuple[NDArray[np.uint64], int]] = []

    def blacken(
        images: NDArray[np.uint8], ids: NDArray[np.uint64], epoch: int
    ) -> NDArray[np.uint8]:
        assert images.dtype == np.uint8
        calls.append((ids, epoch))
        return np.zeros_like(images)

    result = run(augment=blacken, recipe=replace(RECIPE, distill=0))
    assert not same_weights(result.model, run(recipe=replace(RECIPE, distill=0)).model)
    for epoch in (0, 1, 2):
        ids = np.concatenate([ids for ids, when in calls if when == epoch])
        assert len(set(ids.tolist())) == 64
        assert set(ids.tolist()) <= set(DATA.ids.tolist())


def test_a_full_share_of_distillation_ignores_the_labels() -> None:
    recipe = replace(RECIPE, distill=1)
    wrong = replace(DATA, labels=1 - DATA.labels)
    first, second = (
        retrain(tiny_net(), data, recipe=recipe, seed=0, device=CPU, teacher=tiny_net(9))
        for data in (DATA, wrong)
    )
    assert same_weights(first.model, second.model)


def test_the_loss_is_hintons() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    taught = torch.tensor([[2.0, 0.0, -1.0], [1.0, 1.0, 4.0]])
    labels = torch.tensor([0, 2])
    soft_targets, soft_logits = (taught / 4).softmax(1), (logits / 4).softmax(1)
    divergence = (soft_targets * (soft_targets / soft_logits).log()).sum(1).mean()
    hard = -logits.softmax(1)[torch.arange(2), labels].log().mean()
    recipe = Recipe(epochs=1, lr=0.1, distill=0.3, temperature=4)
    torch.testing.assert_close(
        _loss(logits, labels, taught, recipe=recipe), 0.7 * hard + 0.3 * 16 * divergence
    )


@pytest.mark.parametrize(
    ("instructions", "native"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False)],
)
def test_bfloat16_needs_its_own_instructions(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], native: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert native_bfloat16(CPU) == native
    assert run().bfloat16 == native
    assert not run(recipe=replace(RECIPE, amp=False)).bfloat16


def test_a_read_only_memory_map_is_good_enough(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", DATA.images)
    mapped = replace(DATA, images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    assert same_weights(
        retrain(tiny_net(), mapped, recipe=RECIPE, seed=0, device=CPU).model,
        retrain(tiny_net(), DATA, recipe=RECIPE, seed=0, device=CPU).model,
    )
