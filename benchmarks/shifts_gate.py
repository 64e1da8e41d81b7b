"""Which part of a gate's time goes into shifting: 32x32 images through ResNet-20, rule by rule.

    python -m benchmarks.shifts_gate --out FILE.json

The gate's own loop, with its own clock, under every rule of a built-in policy; random weights, for
they change nothing about the time. The network runs on ONNX Runtime's CPU provider with as many
threads as ``--threads`` says; shifting has one, as it always has.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import hardware, versions
from compressor.distributions import distribution_of
from compressor.factories import import_from
from exporters.onnx import serialise
from exporters.runtime import Predict, Preprocessing, predictor
from gates.measure import Seconds, labelled_answers
from policies import FolderRule, load_policy
from tests.gates.shifts.pictures import photographs

_EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "cifar10"
_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Images:
    """What the gate measures on."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.uint64]


def main(arguments: Sequence[str]) -> None:
    """Print one row for each rule and one for the policy, and write the JSON."""
    options = _options(arguments)
    policy, images = load_policy(options.policy), _images(options.images)
    predict = _network(threads=options.threads)
    spent = {rule.id: [] for rule in policy.shifts if not isinstance(rule, FolderRule)}
    for _ in range(options.repetitions):
        for rule in policy.shifts:
            if rule.id in spent:
                measured = labelled_answers(
                    predict,
                    images,
                    rows=np.arange(len(images.images)),
                    distribution=distribution_of(rule),
                    seed=0,
                    profile=policy.profile,
                )
                spent[rule.id].append(measured.seconds)
    print(*_table(spent), sep="\n")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(_record(spent, options), indent=1) + "\n", "utf-8")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--policy", default="safety-critical")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2, help="of ONNX Runtime")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    return parser.parse_args(arguments)


def _images(count: int) -> Images:
    scenes = np.stack(photographs(256, height=_SIDE, width=_SIDE)).transpose(0, 3, 1, 2)
    return Images(
        images=np.resize(scenes, (count, 3, _SIDE, _SIDE)),
        labels=np.zeros(count, dtype=np.int64),
        ids=np.arange(count, dtype=np.uint64),
    )


def _network(*, threads: int) -> Predict:
    network = import_from(_EXAMPLE, "resnet20").resnet20()
    content = serialise(network, torch.zeros(1, 3, _SIDE, _SIDE), metadata={})
    preprocessing = Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dense.onnx"
        path.write_bytes(content)
        return predictor(path, preprocessing, threads=threads)


def _table(spent: Mapping[str, Sequence[Seconds]]) -> list[str]:
    typical = {rule: _median(each) for rule, each in spent.items()}
    first = {rule: each[0] for rule, each in spent.items()}
    return [
        "| rule | shifting, s | network, s | shifting / network |",
        "|---|---|---|---|",
        *(_line(rule, seconds) for rule, seconds in typical.items()),
        _line("**all**", sum(typical.values(), Seconds())),
        _line("**all, the first time** (banks are made)", sum(first.values(), Seconds())),
    ]


def _line(name: str, seconds: Seconds) -> str:
    share = seconds.shift / seconds.infer
    return f"| {name} | {seconds.shift:.2f} | {seconds.infer:.2f} | {share:.1%} |"


def _median(each: Sequence[Seconds]) -> Seconds:
    return Seconds(
        load=statistics.median(one.load for one in each),
        shift=statistics.median(one.shift for one in each),
        infer=statistics.median(one.infer for one in each),
    )


def _record(
    spent: Mapping[str, Sequence[Seconds]], options: argparse.Namespace
) -> Mapping[str, object]:
    return {
        "command": f"python -m benchmarks.shifts_gate {' '.join(sys.argv[1:])}",
        "policy": options.policy,
        "images": options.images,
        "side": _SIDE,
        "network": "ResNet-20, dense, random weights; ONNX Runtime, CPU provider",
        "network_threads": options.threads,
        "shifting_threads": 1,
        "hardware": hardware("cpu"),
        "versions": versions(
            ("numpy", "scipy", "torch", "Pillow", "onnxruntime-gpu", "onnxruntime")
        ),
        "rules": {
            rule: {
                "shift_s": [one.shift for one in each],
                "infer_s": [one.infer for one in each],
            }
            for rule, each in spent.items()
        },
    }


if __name__ == "__main__":
    main(sys.argv[1:])
