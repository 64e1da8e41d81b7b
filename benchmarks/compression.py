"""Pruned to the same multiply-adds, retrained alike: ours, torch-pruning by hand, FastNAS, random.

    python benchmarks/compression.py --data DIR --weights FILE --out runs/compression \
        --methods ours random torch-pruning:global:whole torch-pruning:local torch-pruning:global \
        fastnas --modelopt ENV/bin/python --epochs 10 --seeds 0 1 2 --gate standard

DIR holds train/<class>/* and test/<class>/*; FILE the weights of the network of --project
(examples/cifar10). ENV: see benchmarks/peers/fastnas.py; without it leave out "fastnas". One epoch
of ResNet-20 on CIFAR-10 takes about a minute on two CPU cores. The comparison is setup S3.2 of
Wang et al. 2023 (arXiv:2301.05219): the same dense weights, images, epochs and learning rates, last
epoch and not the best. BatchNorm statistics are re-estimated for every method before it.

What is finished is not repeated (a file in OUT/results; delete one to make it again). Retraining
that was interrupted goes on from its last epoch. Other settings want another --out; points, methods
and seeds may be added later. Latencies are measured in the end, of the first seed; then
--gate POLICY judges each method's files as one sequence. The tables are printed, and written as
OUT/compression.md and OUT/compression.json.

``ours+distill``, ``fastnas+distill``: the same cuts, retrained with the share of distillation that
`compress` has by default. A method without it has --distill, which is none: so the first row tells
what a user of each tool gets, the second what the cut alone has in it.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.compression_gate import judged
from benchmarks.compression_methods import DISTILLED, Ask, Cut, Maker, UnmadeError, maker, settled
from benchmarks.compression_setup import MOST_BESIDE, Setup, add_options, read_setup, recipe
from benchmarks.compression_table import markdown, packed
from benchmarks.machine import hardware, versions
from compressor.config_schema import Retrain
from compressor.files import write_atomically
from compressor.pruning.candidate import Prunable, prunable
from compressor.pruning.cost import cost
from compressor.training.batches import LabelledImages, accuracy, batches, on_device
from compressor.training.retrain import retrain
from compressor.workshop import to_onnx
from exporters.latency import compare_latency
from exporters.providers import choose

POINTS: Final = (2.1, 2.6, 4.0)
METHODS: Final = (
    "ours", "random", "torch-pruning:global:whole", "torch-pruning:local", "torch-pruning:global",
)  # fmt: skip
PACKAGES: Final = (
    "torch", "torch-pruning", "nvidia-modelopt", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy",
)  # fmt: skip
PARITY_IMAGES: Final = 64


def main() -> None:
    """Make what is missing, then latencies, then verdicts; write the tables after each."""
    options = _options()
    makers = {name: maker(name) for name in options.methods}
    options.out.mkdir(parents=True, exist_ok=True)
    setup = read_setup(options)
    _lock(options, setup)
    images = setup.examples(PARITY_IMAGES)
    dense = prunable(setup.model.module, images[:16], seed=0)
    _dense(options, setup, dense)
    _fill(options, setup, dense, makers)
    _latencies(options)
    if options.gate:
        judged(options.out, setup, policy=options.gate, data=options.data.resolve())
    print(_summary(options))


def _fill(
    options: argparse.Namespace, setup: Setup, dense: Prunable, makers: Mapping[str, Maker]
) -> None:
    """Every (method, point, seed) that is not there yet: points of the first seed first."""
    until = time.monotonic() + 60.0 * options.minutes
    asked = itertools.product(options.seeds, sorted(options.points), makers)
    for seed, speedup, name in asked:
        file = _file(options, name, speedup, seed)
        if file.exists() or time.monotonic() > until:
            continue
        ask = Ask(
            setup=setup,
            dense=dense,
            speedup=speedup,
            seed=seed,
            aligns=tuple(options.align),
            out=options.out,
            modelopt=options.modelopt,
            arguments=_arguments(options),
        )
        result = {"method": name, "speedup": speedup, "seed": seed}
        try:
            result |= _made(ask, makers[name](ask), options, file, distill=_distill(options, name))
        except UnmadeError as error:
            result["why"] = str(error).partition("\n")[0]
        write_atomically(file, json.dumps(result, indent=1).encode())
        _say(result)
        _summary(options)


def _distill(options: argparse.Namespace, name: str) -> float:
    share: float = Retrain().distill if name.endswith(DISTILLED) else options.distill
    return share


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    add = parser.add_argument
    add(
        "--methods",
        nargs="+",
        default=METHODS,
        help="also ours:IMPORTANCE:ALLOCATION:STEPS, @4, +distill",
    )
    add("--points", nargs="+", type=float, default=POINTS, help="times fewer multiply-adds")
    add("--seeds", nargs="+", type=int, default=(0,))
    add("--epochs", type=int, default=10)
    add("--lr", type=float, default=0.02)
    add("--distill", type=float, default=0.0, help="share of the loss that follows the dense one")
    add("--align", nargs="+", type=int, default=(8, 4, 2, 1), help="tried in this order")
    add("--modelopt", type=Path, help="Python of an environment with ModelOpt")
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--latency-seconds", type=float, default=20.0, help="per batch size; 0 measures none")
    add("--gate", metavar="POLICY", help="judge the results under this policy")
    add("--minutes", type=float, default=10_000.0, help="start no retraining after this")
    options = parser.parse_args()
    if options.quick:
        options.epochs, options.latency_seconds = 1, min(options.latency_seconds, 0.5)
    if options.modelopt is None and any(name.startswith("fastnas") for name in options.methods):
        parser.error("fastnas runs in an environment of its own; give its Python as --modelopt")
    return options


def _arguments(options: argparse.Namespace) -> tuple[str, ...]:
    named = ("data", "weights", "project", "out")
    given = [text for name in named for text in (f"--{name}", str(getattr(options, name)))]
    return (*given, *(["--quick"] if options.quick else []))


def _lock(options: argparse.Namespace, setup: Setup) -> None:
    """The settings of a folder of results; others are refused."""
    settings = {
        **{name: getattr(options, name) for name in ("epochs", "lr", "distill", "quick", "device")},
        "align": list(options.align),
        "train_images": len(setup.train.labels),
        "weights": setup.model.sha256,
        "images": list(setup.digests),
    }
    file = options.out / "settings.json"
    if file.exists() and (before := json.loads(file.read_text(encoding="utf-8"))) != settings:
        other = [name for name, value in settings.items() if before.get(name) != value]
        raise SystemExit(f"{options.out} has results of other {', '.join(other)}; give another")
    write_atomically(file, json.dumps(settings, indent=1).encode())


def _dense(options: argparse.Namespace, setup: Setup, dense: Prunable) -> None:
    file = options.out / "dense.json"
    if not file.exists():
        facts = _written(setup, dense.model, options.out / "dense.onnx", options.device)
        write_atomically(file, json.dumps({**facts, **asdict(dense.cost)}, indent=1).encode())


def _made(
    ask: Ask, cut: Cut, options: argparse.Namespace, file: Path, *, distill: float
) -> dict[str, Any]:
    """The cut retrained, with its figures; its ONNX file goes beside ``file``."""
    setup, device = ask.setup, torch.device(options.device)
    start = settled(setup, cut)
    chosen = recipe(epochs=options.epochs, lr=options.lr, distill=distill)
    checkpoint = file.with_suffix(".safetensors")
    began = time.perf_counter()
    trained = retrain(
        start,
        setup.train,
        recipe=chosen,
        seed=ask.seed,
        device=device,
        teacher=ask.dense.model if distill > 0 else None,
        checkpoint=checkpoint,
    )
    seconds = time.perf_counter() - began
    facts = _written(setup, trained.model, file.with_suffix(".onnx"), options.device)
    checkpoint.unlink(missing_ok=True)
    return {
        **facts,
        **asdict(cost(trained.model, ask.dense.example)),
        "align": cut.align,
        "note": cut.note,
        "distill": distill,
        "hardware": hardware(options.device),
        "at_point": ask.beside(trained.model) <= MOST_BESIDE + 1e-9,
        "tune_before": accuracy(start, setup.tune, device=device),
        "tune_after": accuracy(trained.model, setup.tune, device=device),
        "log": [asdict(epoch) for epoch in trained.log],
        "bfloat16": trained.bfloat16,
        "seconds": round(seconds, 1),
    }


def _written(setup: Setup, model: nn.Module, file: Path, device: str) -> dict[str, Any]:
    """The network as a file that was compared with it, and its answers on the test images."""
    content, parity = to_onnx(model, setup.examples(PARITY_IMAGES), {})
    write_atomically(file, content)
    right = _right(model, setup.test, torch.device(device))
    return {
        "accuracy": float(right.float().mean()),
        "n": len(right),
        "right": packed(right.numpy()),
        "parity": parity["max_relative_error"],
    }


def _right(model: nn.Module, data: LabelledImages, device: torch.device) -> torch.Tensor:
    """Which images are named right [n]."""
    network = on_device(model, device).eval()
    with torch.inference_mode():
        parts = [
            network(images).argmax(1) == labels
            for images, labels in batches(data, device=device)
        ]  # fmt: skip
    return torch.cat(parts).cpu()


def _latencies(options: argparse.Namespace) -> None:
    """Of the networks of the first seed, one after the other."""
    if not options.latency_seconds:
        return
    provider = choose("cuda" if options.device == "cuda" else "cpu").execution_provider
    for file in sorted((options.out / "results").glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if "why" in result or "latency" in result or result["seed"] != min(options.seeds):
            continue
        found = compare_latency(
            options.out / "dense.onnx",
            file.with_suffix(".onnx"),
            batches=(1, 32),
            provider=provider,
            seconds=options.latency_seconds,
            seed=0,
        )
        result["latency"] = {
            str(each.batch): {
                **asdict(each), "interval": each.speedup_interval
            } for each in found
        }  # fmt: skip
        write_atomically(file, json.dumps(result, indent=1).encode())


def _file(options: argparse.Namespace, method: str, speedup: float, seed: int) -> Path:
    name = f"{method.replace(':', '-')}@{speedup:g}x-{seed}.json"
    folder: Path = options.out / "results"
    folder.mkdir(exist_ok=True)
    return folder / name


def _say(result: Mapping[str, Any]) -> None:
    what = result.get("why") or f"{result['accuracy']:.2%}, {result['macs']:,} multiply-adds"
    print(f"{result['speedup']:g}x {result['method']} {result['seed']}: {what}", flush=True)


def _place(result: Mapping[str, Any]) -> tuple[float, int, str]:
    return result["speedup"], result["seed"], result["method"]


def _summary(options: argparse.Namespace) -> str:
    """Everything of the folder in one JSON file and one of tables, which is returned."""

    def read(pattern: str) -> list[dict[str, Any]]:
        files = sorted(options.out.glob(pattern))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    found = {
        "versions": versions(PACKAGES),
        "settings": read("settings.json")[0],
        "dense": read("dense.json")[0],
        "results": sorted(read("results/*.json"), key=_place),
        "gates": read("gates/*.json"),
    }
    text = markdown(found)
    write_atomically(options.out / "compression.json", json.dumps(found, indent=1).encode())
    write_atomically(options.out / "compression.md", text.encode())
    return text


if __name__ == "__main__":
    main()
