"""What a verdict will rest on, fixed before the gate's images are looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch

from compressor.config_schema import Input
from compressor.data import ImageSet, UnlabelledSet
from compressor.distributions import definitions
from compressor.gate_data import GateData
from compressor.runs import Plan, versions
from compressor.trial import GATE_BATCH, looks
from exporters.runtime import Preprocessing, cpu_threads
from policies import Policy


def plan_of(
    policy: Policy,
    data: GateData,
    *,
    job: str,
    sequence: Sequence[Mapping[str, object]],
    source: Input,
    seed: int,
    provider: str,
    own: Mapping[str, object],
) -> Plan:
    """The plan of a run; ``own`` is what only this kind of job has to fix.

    Args:
        policy: what is judged by.
        data: what is judged on.
        job: which kind: ``compress`` or ``gate``.
        sequence: candidates in the order in which they are judged.
        source: size and normalisation of the images.
        seed: of every random choice.
        provider: ONNX Runtime's name for where models run.
        own: further entries.
    """
    tune = None if data.tune is None else data.tune.digest
    train = None if data.train is None else data.train.digest
    return {
        "schema_version": 3,
        "job": job,
        "policy": {"name": policy.name, "digest": policy.digest()},
        "waivers": [waiver.model_dump(mode="json") for waiver in policy.waived],
        "alpha": policy.alpha,
        "alpha_per_release": policy.alpha_per_release,
        "method": policy.method,
        "looks": looks(policy, data.judged),
        "rules": [rule.id for rule in policy.shifts],
        "shifts": definitions(policy, side=min(source.size[1:])),
        "fields": {name: _field_facts(images) for name, images in data.fields.items()},
        "sequence": list(sequence),
        "classes": list(data.gate.classes),
        "data": {
            "train": train,
            "tune": tune,
            "gate": data.gate.digest,
            "gate_images": len(data.gate.labels),
        },
        "input": source.model_dump(mode="json"),
        "seed": seed,
        "gate_batch": GATE_BATCH,
        "provider": provider,
        # Thread counts and versions decide the last bits of weights and logits.
        "threads": _threads(),
        "versions": versions(),
        **own,
    }


def conditions(provider: str, *, before: Preprocessing | None) -> Mapping[str, object]:
    """What the dense model's answers depend on besides its file and the images.

    ``before`` is what its pixels go through; None if it takes them as they are.
    """
    return {
        "provider": provider,
        "threads": _threads(),
        "versions": versions(),
        "preprocessing": before and asdict(before),
    }


def _threads() -> Mapping[str, int]:
    """Of torch, which shifts images and trains, and of what runs the models."""
    return {"torch": torch.get_num_threads(), "runtime": cpu_threads()}


def _field_facts(images: ImageSet | UnlabelledSet) -> Mapping[str, object]:
    """``classes`` are those that there are images of; None where nobody knows."""
    classes = None
    if isinstance(images, ImageSet):
        classes = [images.classes[label] for label in np.unique(images.labels)]
    return {"digest": images.digest, "images": len(images.ids), "classes": classes}
