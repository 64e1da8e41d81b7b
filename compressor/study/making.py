"""Trials that make networks: pruned and retrained ones, and those that start from nothing."""

import math
from dataclasses import asdict, replace

from torch import nn

from compressor.pruning.candidate import PrunePlan
from compressor.study.asking import asked_about, scores
from compressor.study.cuts import Made, keep, kept, make
from compressor.study.scratch import anew
from compressor.study.shop import Shop, from_scratch
from compressor.study.trials import Json, Trial
from compressor.training.batchnorm import reestimate
from compressor.training.recipe import Recipe
from compressor.training.retrain import TrainingResult, retrain
from compressor.training.trainability import (
    JACOBIAN_IMAGES,
    first_stage,
    first_stage_accuracy,
    jacobian_singular_values,
)


def prune(shop: Shop, trial: Trial) -> dict[str, Json]:
    """Cut, re-estimate BatchNorm, retrain; accuracy before and after retraining."""
    about = trial.about
    seed, ratio = about["seed"], about["ratio"]
    before = kept(shop, trial.after[0], seed=seed) if trial.after else None
    made = make(shop, shop.setup.grid.methods[about["method"]], before, ratio=ratio, seed=seed)
    settled = reestimate(made.model, shop.statistics.images)
    trained = trained_on(shop, trial, made, settled, shop.recipe, taught=True)
    dense = shop.dense(seed).network
    return {
        **_weight(shop, made, seed=seed),
        "weights_sha256": keep(shop.setup, trial.id, made, trained.model),
        "before": scores(shop, settled, asked_about(shop)),
        "after": scores(shop, trained.model, asked_about(shop)),
        **_training(trained, shop.recipe),
        "jacobian_dense": mean_singular_value(shop, dense.model),
        "jacobian_before": mean_singular_value(shop, settled),
        "jacobian_after": mean_singular_value(shop, trained.model),
    }


def control(shop: Shop, trial: Trial) -> dict[str, Json]:
    """The dense network's architecture, trained from nothing."""
    seed = trial.about["seed"]
    dense = shop.dense(seed).network
    whole = PrunePlan(kept={group.name: group.units for group in dense.groups})
    made = Made(
        model=dense.model, ratio=0.0, params=dense.cost.params, macs=dense.cost.macs, plan=whole
    )
    return _from_nothing(shop, trial, made)


def scratch(shop: Shop, trial: Trial) -> dict[str, Json]:
    """A pruned network's architecture, trained from nothing."""
    return _from_nothing(shop, trial, kept(shop, trial.after[0], seed=trial.about["seed"]))


def _from_nothing(shop: Shop, trial: Trial, made: Made) -> dict[str, Json]:
    seed, base = trial.about["seed"], shop.setup.grid.base
    recipe = from_scratch(shop.recipe, epochs=base.epochs, lr=base.lr)
    # Not the seed of the dense network's own start, if that was a small number too.
    start = anew(made.model, seed=7919 + seed)
    trained = trained_on(shop, trial, made, start, recipe, taught=False)
    return {
        **_weight(shop, made, seed=seed),
        "weights_sha256": keep(shop.setup, trial.id, made, trained.model),
        "before": None,
        "after": scores(shop, trained.model, asked_about(shop)),
        **_training(trained, recipe),
    }


def trained_on(
    shop: Shop, trial: Trial, made: Made, start: nn.Module, recipe: Recipe, *, taught: bool
) -> TrainingResult:
    """``start`` retrained, from the trial's checkpoint where there is one."""
    seed = trial.about["seed"]
    dense = shop.dense(seed).network.model
    trained = retrain(
        start,
        shop.train,
        recipe=recipe,
        seed=int(made.ratio * 1000) + 1000 * seed,
        device=shop.device,
        teacher=dense if taught and recipe.distill > 0 else None,
        augment=shop.augment,
        tune=shop.tune,
        checkpoint=shop.setup.checkpoint(trial.id),
        after_step=made.after_step,
    )
    if not recipe.ema:
        return trained
    # What BatchNorm averaged are statistics of other weights than these.
    return replace(trained, model=reestimate(trained.model, shop.statistics.images))


def mean_singular_value(shop: Shop, model: nn.Module) -> float | None:
    """Of the Jacobian of the logits by the pixels; None where it is not finite."""
    images = shop.examples(JACOBIAN_IMAGES)
    mean = float(jacobian_singular_values(model, images, device=shop.device).mean())
    return mean if math.isfinite(mean) else None


def _weight(shop: Shop, made: Made, *, seed: int) -> dict[str, Json]:
    dense = shop.dense(seed)
    return {
        "params": made.params,
        "macs": made.macs,
        "dense_params": dense.network.cost.params,
        "dense_macs": dense.network.cost.macs,
        "physical": made.plan is not None,
        "difference": made.difference,
        "dense_sha256": dense.sha256,
    }


def _training(trained: TrainingResult, recipe: Recipe) -> dict[str, Json]:
    return {
        "epochs": [asdict(epoch) for epoch in trained.log],
        "epoch": trained.epoch,
        "recipe": asdict(recipe),
        "first_stage_epochs": len(first_stage(trained.log)),
        "first_stage_accuracy": first_stage_accuracy(trained.log),
    }
