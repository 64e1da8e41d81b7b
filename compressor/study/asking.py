"""Answers of networks under distributions, and counts of them. Images are moved once a study."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from compressor.files import digest, write_atomically
from compressor.runs import read_answers, write_answers
from compressor.study.grid import Seen
from compressor.study.shop import Shop
from compressor.study.trials import Json
from compressor.training.batches import LabelledImages, batches, normalised, on_device
from gates.answers import Answers, labelled
from gates.evidence import paired
from gates.measure import Predict, labelled_answers
from gates.shifts import Component, Distribution, definition, sample

TOP: Final = 5

KEPT_BYTES: Final = 2**28
"""Images of a distribution are kept on the disk up to so many bytes: moving them takes longer than
asking a small network, and every network is asked about the same ones."""

_AS_THEY_ARE: Final = Distribution(components=(Component(name="clean"),))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moved:
    """Images under a distribution, drawn already or yet to be."""

    images: NDArray[np.uint8]
    """[n c h w]"""
    labels: NDArray[np.int64]
    ids: NDArray[np.uint64]
    distribution: Distribution
    """What is left to be done to them."""


def seen_as(shop: Shop, seen: Seen) -> Mapping[str, Json]:
    """Everything that decides what the distribution does to these images."""
    side = min(shop.asked.images.shape[2:])
    return {
        **definition(seen.distribution, side=side),
        "seed": shop.setup.project.seed,
        "images": shop.asked.digest,
    }


def moved(shop: Shop, seen: Seen) -> Moved:
    """The images asked about under a distribution; drawn and kept if nobody has done so."""
    asked = shop.asked
    if seen.id == "clean" or asked.images.nbytes > KEPT_BYTES:
        return Moved(
            images=asked.images, labels=shop.labels, ids=asked.ids,
            distribution=seen.distribution,
        )  # fmt: skip
    key = digest(json.dumps(seen_as(shop, seen), sort_keys=True))
    file = shop.setup.out / "images" / f"{key[:24]}.npy"
    if not file.exists():
        drawn = sample(
            asked.images, asked.ids, distribution=seen.distribution, seed=shop.setup.project.seed
        )
        content = io.BytesIO()
        np.save(content, drawn)
        write_atomically(file, content.getvalue())
    images = np.load(file, mmap_mode="r")
    return Moved(images=images, labels=shop.labels, ids=asked.ids, distribution=_AS_THEY_ARE)


def predictor(shop: Shop, model: nn.Module) -> Predict:
    """The network as a function from pixels [n c h w] to logits [n classes], float32."""
    network = on_device(model, shop.device).eval()

    def predict(images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        with torch.inference_mode():
            pixels = normalised(np.array(images), shop.train, device=shop.device)
            logits: NDArray[np.float32] = network(pixels).float().cpu().numpy()
        return logits

    return predict


def ask(shop: Shop, model: nn.Module, seen: Seen) -> Answers:
    """Answers of ANSWER [n] under a distribution.

    Raises:
        MeasureError: a logit is not finite.
    """
    images = moved(shop, seen)
    found: Answers = labelled_answers(
        predictor(shop, model),
        images,
        rows=np.arange(len(images.labels)),
        distribution=images.distribution,
        seed=shop.setup.project.seed,
        profile="auto",
    ).answers[:, 0]
    return found


def dense_answers(shop: Shop, trial: str, model: nn.Module, seen: Seen) -> Answers:
    """The dense network's, as its trial kept them; asked again where the file is gone."""
    file = shop.setup.folder(trial) / "answers.npy"
    answers = read_answers(file)
    if answers is None:
        answers = ask(shop, model, seen)
        write_answers(file, answers)
    return answers


def counted(dense: Answers, pruned: Answers, *, classes: int) -> dict[str, Json]:
    """Two networks' answers [n] to the same images as integers.

    Right images are counted, and divided by all of them last: averaging batches' shares would
    count a last, smaller batch for more than its images.
    """
    counts = paired(dense["rank"] == 0, pruned["rank"] == 0)
    return {
        "n": counts.n,
        "both_right": counts.both_right,
        "only_dense": counts.only_dense,
        "only_pruned": counts.only_pruned,
        "both_wrong": counts.both_wrong,
        "same_answer": int(np.count_nonzero(dense["predicted"] == pruned["predicted"])),
        "dense_top5": top5(dense, classes=classes),
        "pruned_top5": top5(pruned, classes=classes),
    }


def top5(answers: Answers, *, classes: int) -> int | None:
    """Images whose label is among the five first answers; None where all are, of so few classes."""
    return int(np.count_nonzero(answers["rank"] < TOP)) if classes > TOP else None


def scores(shop: Shop, model: nn.Module, data: LabelledImages) -> dict[str, Json]:
    """Right answers among one and five, and the mean cross-entropy, on images as they are."""
    network = on_device(model, shop.device).eval()
    n, right, among, loss = 0, 0, 0, 0.0
    with torch.inference_mode():
        for images, labels in batches(data, device=shop.device):
            logits = network(images).float()
            n += len(labels)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            answers = labelled(logits.cpu().numpy(), labels.cpu().numpy())
            right += int(np.count_nonzero(answers["rank"] == 0))
            among += int(np.count_nonzero(answers["rank"] < TOP))
    classes = len(shop.asked.classes)
    return {
        "n": n,
        "right": right,
        "top5": among if classes > TOP else None,
        "loss": loss / n if np.isfinite(loss) else None,
    }


def asked_about(shop: Shop) -> LabelledImages:
    """The images asked about, as they are, as training code takes them."""
    return LabelledImages(
        images=shop.asked.images, labels=shop.labels, ids=shop.asked.ids,
        mean=shop.train.mean, std=shop.train.std,
    )  # fmt: skip
