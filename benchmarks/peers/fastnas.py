"""NVIDIA ModelOpt's FastNAS on the benchmark's network; benchmarks/compression.py calls this.

    python -m venv --system-site-packages ENV
    ENV/bin/pip install nvidia-modelopt torchprofile==0.0.4
    python benchmarks/compression.py ... --methods fastnas --modelopt ENV/bin/python

The environment also needs what this repository needs (torch, numpy, Pillow, pydantic, ...). Subnets
are scored on the tune split, never on test images. ModelOpt takes an upper bound of multiply-adds
and often ends well below it, so the bound is bisected until the network is at the point; scores of
layers are kept beside the result and not taken again. Where no multiple of channels comes to the
point, the nearest network is handed over. The weights are written as safetensors, of whose shapes
the caller rebuilds the network and checks its answers.
"""

import argparse
import copy
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import modelopt
import modelopt.torch.prune as mtp
import torch
from modelopt.torch.prune.fastnas import FastNASConfig
from safetensors.torch import save
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.compression_setup import MOST_BESIDE, Setup, add_options, read_setup
from compressor.files import write_atomically
from compressor.pruning.cost import cost
from compressor.training.batches import accuracy

_BISECTIONS: Final = 7
_DEVICE: Final = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Search, and write the network."""
    options = _options()
    setup = read_setup(options)
    options.to.parent.mkdir(parents=True, exist_ok=True)
    best: dict[str, Any] = {}
    for align in options.align:
        for found in _bisected(setup, options, align):
            if not best or found["beside"] < best["beside"]:
                best = found
        if best and best["beside"] <= MOST_BESIDE:
            break
    if not best:
        raise SystemExit(f"FastNAS finds no subnet with 1/{options.speedup:g} of the multiply-adds")
    model = best.pop("model").cpu().eval()
    images = setup.examples(8)
    with torch.inference_mode():
        answers = model(images)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    told = {**best, "version": modelopt.__version__, "speedup": options.speedup}
    state |= {"check.images": images.contiguous(), "check.answers": answers}
    write_atomically(options.to, save(state, metadata={"told": json.dumps(told)}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    parser.add_argument("--speedup", type=float, required=True, help="times fewer multiply-adds")
    parser.add_argument("--align", type=int, nargs="+", default=[8, 4, 2, 1])
    parser.add_argument("--to", type=Path, required=True, help="file of the result")
    return parser.parse_args()


def _bisected(setup: Setup, options: argparse.Namespace, align: int) -> Iterator[dict[str, Any]]:
    """Networks under bounds that close in on the point."""
    dense = cost(setup.model.module, setup.examples(2)).macs
    target = 1.0 / options.speedup
    low, bound, high = 0.5 * target, target, 1.0
    for _ in range(_BISECTIONS):
        # The scores hang on the images and on the multiples, not on the bound.
        scores = options.to.parent / f"scores-{align}{'-quick' if options.quick else ''}.pth"
        model, subnets = _searched(setup, bound, align, scores)
        if model is None:
            return  # no subnet is below the least bound: with these multiples there is none
        share = cost(model.cpu(), setup.examples(2)).macs / dense
        beside = abs(share - target)
        yield {
            "model": model, "align": align, "bound": bound, "beside": beside, "subnets": subnets,
        }  # fmt: skip
        if beside <= MOST_BESIDE / 2:
            return
        low, high = (bound, high) if share < target else (low, bound)
        bound = (low + high) / 2


def _searched(setup: Setup, bound: float, align: int, scores: Path) -> tuple[nn.Module | None, int]:
    """The network with at most ``bound`` of the multiply-adds, and how many were scored for it."""
    calls = 0

    def score(model: nn.Module) -> float:
        nonlocal calls
        calls += 1
        return accuracy(model, setup.tune, device=_DEVICE)

    network = copy.deepcopy(setup.model.module).to(_DEVICE)
    # Batches for BatchNorm statistics, of which it takes fifty.
    loader = [(images.to(_DEVICE), labels) for images, labels in setup.batches()]
    try:
        found, _ = mtp.prune(
            network,
            mode=[("fastnas", _space(align))],
            constraints={"flops": f"{100 * bound:.3f}%"},
            dummy_input=setup.examples(1).to(_DEVICE),
            config={
                "data_loader": loader,
                "collect_func": _inputs,
                "score_func": score,
                "checkpoint": str(scores),
                "verbose": False,
            },
        )
    except ValueError as error:
        print(f"multiples of {align}, at most {bound:.3f}: {error}", file=sys.stderr)
        return None, calls
    return found, calls


def _space(align: int) -> Mapping[str, Any]:
    """ModelOpt's own search space, with widths in other multiples than its 32."""
    space: dict[str, Any] = FastNASConfig().model_dump()
    for rules in space.values():
        for rule in rules.values():
            for key in ("channel_divisor", "feature_divisor"):
                if key in rule:
                    rule[key] = align
    return space


def _inputs(batch: tuple[Tensor, Tensor]) -> tuple[Tensor]:
    return (batch[0],)


if __name__ == "__main__":
    main()
