"""Channels chosen by their time against equal shares of every layer, at equal accuracy.

    python benchmarks/latency_aware.py --data DIR --weights FILE --out runs/latency-aware \
        [--uniform 0.5 ...] [--shares 0.3 0.4 0.5] [--knapsack 0.5 ...] [--epochs 2] [--batch 1]

DIR and FILE as for benchmarks/compression.py. The network is cut uniformly to shares of its
multiply-adds, and by ``of: latency`` with the knapsack to shares of its layers' time, which is
measured first, one by one, in ONNX Runtime on this machine. ``--knapsack`` adds cuts by the same
importance and the same knapsack to shares of the multiply-adds, which shows what the times add. All
are retrained alike (halving rule, last epoch) and exported. The latency of every file is then
measured against that of the first uniform one, in turns, and accuracy is counted on the test
images. A share that no widths reach is left out, and said to be. What is finished is not repeated;
run it on an idle machine. Results: OUT/latency-aware.json, and the table, printed and as .md.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.compression_setup import Setup, add_options, read_setup, recipe
from benchmarks.machine import hardware, versions
from compressor.config_search import Search
from compressor.files import write_atomically
from compressor.layer_latencies import entry, latency_table
from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Method, Prunable, dense_scores, propose, prunable
from compressor.pruning.cost import cost
from compressor.pruning.layer_times import LatencyTable
from compressor.training.batches import accuracy
from compressor.training.batchnorm import reestimate
from compressor.training.retrain import retrain
from compressor.workshop import method, to_onnx
from exporters.latency import compare_latency
from exporters.layer_latency import measure_layers
from exporters.sessions import CPU, cpu_threads

PACKAGES: Final = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy")
UNIFORM: Final = "uniform"
AWARE: Final = "latency-aware"
KNAPSACK: Final = "knapsack of multiply-adds"
_DEVICE: Final = torch.device("cpu")

Scores = Callable[[str], Mapping[str, Tensor]]
"""Of the dense network's channels, by the name of an importance."""


def main() -> None:
    """Make what is missing, measure, and write the table."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    setup = read_setup(options)
    dense = prunable(setup.model.module, setup.examples(16), seed=0)
    table = _layer_times(options, dense)

    @cache  # they are the same whatever is cut by them
    def scores(importance: str) -> Mapping[str, Tensor]:
        which = Method(importance=importance)
        return dense_scores(dense, method=which, batches=setup.statistics, seed=0)

    asked = [(UNIFORM, share) for share in options.uniform]
    asked += [(AWARE, share) for share in options.shares]
    asked += [(KNAPSACK, share) for share in options.knapsack]
    made = []
    for name, share in asked:
        try:
            made.append(_row(options, setup, dense, name, share, table=table, scores=scores))
        except UnreachableRatioError as error:  # past what the kernels' steps let go
            print(f"left out: {name}, {share:g}: {error}", file=sys.stderr)
    rows = [_timed(options, row) for row in made]
    found = {
        "hardware": hardware("cpu"),
        "versions": versions(PACKAGES),
        "threads": cpu_threads(),
        "settings": {"epochs": options.epochs, "lr": options.lr, "batch": options.batch},
        "images": len(setup.test.labels),
        "rows": rows,
    }
    text = _markdown(rows, images=len(setup.test.labels), batch=options.batch)
    write_atomically(options.out / "latency-aware.json", json.dumps(found, indent=1).encode())
    write_atomically(options.out / "latency-aware.md", text.encode())
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    add = parser.add_argument
    add("--uniform", type=float, nargs="+", default=(0.5,), help="of the multiply-adds to remove")
    add("--shares", type=float, nargs="+", default=(0.3, 0.4, 0.5), help="of the layers' times")
    add("--knapsack", type=float, nargs="+", default=(), help="of the multiply-adds to remove")
    add("--epochs", type=int, default=2)
    add("--lr", type=float, default=0.02)
    add("--batch", type=int, default=1, help="images per call for which layers are timed")
    add("--seconds", type=float, default=20.0, help="per comparison of two files")
    return parser.parse_args()


def _layer_times(options: argparse.Namespace, dense: Prunable) -> LatencyTable:
    file = options.out / f"layers-{options.batch}.json"
    if not file.exists():
        found = measure_layers(
            dense.model, dense.example, provider=CPU, batch=options.batch, seed=0
        )
        write_atomically(file, json.dumps(entry(found), indent=1).encode())
    return latency_table(json.loads(file.read_text(encoding="utf-8")))


def _row(
    options: argparse.Namespace,
    setup: Setup,
    dense: Prunable,
    name: str,
    share: float,
    *,
    table: LatencyTable,
    scores: Scores,
) -> dict[str, Any]:
    """One network: cut, retrained, exported and counted on the test images."""
    file = options.out / f"{name.replace(' ', '-')}-{share:g}.json"
    if file.exists():
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return known
    searches = {
        UNIFORM: Search(of="macs", allocation="uniform"),
        KNAPSACK: Search(of="macs", allocation="knapsack"),
        AWARE: Search(of="latency", allocation="knapsack", latency_batch=options.batch),
    }
    chosen = method(searches[name], latencies=table)
    made = propose(
        dense,
        None,
        ratio=share,
        method=chosen,
        batches=setup.statistics,
        seed=0,
        scores=scores(chosen.importance),
    )
    start = reestimate(made.model, setup.statistics.images)
    training = recipe(epochs=options.epochs, lr=options.lr, distill=0.0)
    trained = retrain(start, setup.train, recipe=training, seed=0, device=_DEVICE)
    content, _ = to_onnx(trained.model, setup.examples(64), {})
    write_atomically(file.with_suffix(".onnx"), content)
    found = {
        "name": name,
        "share": share,
        "file": file.with_suffix(".onnx").name,
        "macs_kept": cost(trained.model, dense.example).macs / dense.cost.macs,
        "params_kept": made.cost.params / dense.cost.params,
        "accuracy": accuracy(trained.model, setup.test, device=_DEVICE),
    }
    write_atomically(file, json.dumps(found, indent=1).encode())
    return found


def _timed(options: argparse.Namespace, row: Mapping[str, Any]) -> dict[str, Any]:
    """With how much faster than the uniform network it is."""
    first = options.out / f"{UNIFORM}-{options.uniform[0]:g}.onnx"
    if row["file"] == first.name:
        return dict(row)
    comparisons = compare_latency(
        first,
        options.out / row["file"],
        batches=(options.batch,),
        provider=CPU,
        seconds=options.seconds,
        seed=0,
    )
    return {**row, "latency": asdict(comparisons[0])}


def _markdown(rows: Sequence[Mapping[str, Any]], *, images: int, batch: int) -> str:
    head = (
        f"| widths | asked to go | MACs kept | parameters kept | right of {images:,} | "
        f"times as fast as the first, batch {batch} (95 %) |\n|---|---|---|---|---|---|\n"
    )
    return head + "".join(f"{_line(row)}\n" for row in rows)


def _line(row: Mapping[str, Any]) -> str:
    unit = "layers' time" if row["name"] == AWARE else "multiply-adds"
    if "latency" in row:
        low, high = row["latency"]["speedup_interval"]
        fast = f"{row['latency']['speedup']:.2f} [{low:.2f}, {high:.2f}]"
    else:
        fast = "1"
    cells = [
        row["name"], f"{row['share']:.0%} of {unit}", f"{row['macs_kept']:.1%}",
        f"{row['params_kept']:.1%}", f"{row['accuracy']:.2%}", fast,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
