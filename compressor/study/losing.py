"""Trials of the loss-modelling study: single weights go in small steps, then retraining."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.pruning.masks import Masked, mask
from compressor.study.asking import asked_about, scores
from compressor.study.cuts import keep, of_masks, weights_share
from compressor.study.loss_models import loss_model
from compressor.study.making import trained_on
from compressor.study.shop import Shop
from compressor.study.trials import Json, Trial
from compressor.training.batchnorm import reestimate

_BATCH = 100


def losing(shop: Shop, trial: Trial) -> dict[str, Json]:
    """Prune by a model of the loss; the gap right after it, and what retraining makes of it."""
    about = trial.about
    dense = shop.dense(about["seed"])
    model = dense.network.model
    sample = training_sample(shop, shop.setup.grid.losses.images)
    pruned = in_steps(
        model,
        criterion=about["criterion"],
        regulariser=about["lambda"],
        share=weights_share(model, about["ratio"]),
        steps=about["steps"],
        sample=sample,
        seed=about["seed"],
    )
    made = of_masks(dense, pruned.model, pruned.masks, ratio=about["ratio"])
    settled = reestimate(pruned.model, shop.statistics.images)
    trained = trained_on(shop, trial, made, settled, shop.recipe, taught=True)
    return {
        "params": made.params,
        "dense_params": dense.network.cost.params,
        "weights_sha256": keep(shop.setup, trial.id, made, trained.model),
        "images": sum(len(labels) for _, labels in sample),
        "loss_dense": mean_loss(model, sample),
        "loss_pruned": mean_loss(pruned.model, sample),
        "loss_settled": mean_loss(settled, sample),
        "loss_retrained": mean_loss(trained.model, sample),
        "pruned": scores(shop, pruned.model, asked_about(shop)),
        "retrained": scores(shop, trained.model, asked_about(shop)),
    }


def in_steps(
    model: nn.Module,
    *,
    criterion: str,
    regulariser: float,
    share: float,
    steps: int,
    sample: Sequence[tuple[Tensor, Tensor]],
    seed: int,
) -> Masked:
    """Set ``share`` of the weights to zero, the model of the loss made anew before each step.

    The kept share shrinks by the same factor in each: (1 - share)^(1 / steps), as Laurent et al.
    2020 (arXiv:2006.12279) prune.
    """
    control = loss_model(criterion, regulariser=regulariser)
    found: Masked | None = None
    for step in range(1, steps + 1):
        found = mask(
            model if found is None else found.model,
            control=control,
            ratio=1.0 - (1.0 - share) ** (step / steps),
            batches=sample,
            seed=seed,
        )
    if found is None:
        raise ValueError(f"a cut takes one step or more, not {steps}")
    return found


def training_sample(shop: Shop, count: int) -> list[tuple[Tensor, Tensor]]:
    """Normalised training images and labels, spread over the set, in batches."""
    batches = itertools.chain.from_iterable(
        zip(images.split(_BATCH), labels.split(_BATCH), strict=True)
        for images, labels in shop.statistics
    )
    found: list[tuple[Tensor, Tensor]] = []
    for images, labels in batches:
        left = count - sum(len(each) for _, each in found)
        if left <= 0:
            break
        found.append((images[:left], labels[:left]))
    return found


def mean_loss(model: nn.Module, sample: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    """Mean cross-entropy in evaluation mode; None where it is not finite."""
    model = model.eval()
    with torch.inference_mode():
        total = sum(
            float(functional.cross_entropy(model(images), labels, reduction="sum"))
            for images, labels in sample
        )
    mean = total / sum(len(labels) for _, labels in sample)
    return mean if mean < float("inf") else None
