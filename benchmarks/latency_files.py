"""The files of the latency figures: ResNet-18, dense and cut alike in every layer.

    python benchmarks/latency_files.py --out FOLDER [--precisions fp16 int8] [--network resnet18]
        [--side 224]

Random weights: what is measured is time. Shares are of multiply-adds: with half of every width,
3.74 times fewer of ResNet-18's are left, and with 53 % of it 3.44 times fewer.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torchvision

# A script's own folder is all that Python looks in.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compressor.files import write_atomically
from compressor.pruning.candidate import Method, propose, prunable
from exporters.onnx import serialise
from exporters.precision import PRECISIONS
from exporters.sessions import CPU

_CUTS: Final = {
    "half": (1 - 1 / 3.74, 8),
    "aligned": (1 - 1 / 3.44, 8),
    "unaligned": (1 - 1 / 3.44, 1),
}
"""Share of the multiply-adds that goes, and what widths are multiples of."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write dense.onnx and the cuts; with ``--precisions`` dense and half in these, too."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    others = sorted(set(PRECISIONS) - {"fp32"})
    parser.add_argument("--precisions", nargs="+", choices=others, default=(), help="besides fp32")
    parser.add_argument("--network", default="resnet18", help="of torchvision")
    parser.add_argument("--side", type=int, default=224, help="pixels")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)  # noqa: TID251 # torchvision draws weights from the global generator
    example = torch.randn(2, 3, options.side, options.side)
    dense = prunable(torchvision.models.get_model(options.network).eval(), example, seed=0)
    networks = {"dense": (dense.model, dense.cost)}
    for name, (share, align) in _CUTS.items():
        method = Method(allocation="uniform", of="macs", align=align, compensate=False)
        made = propose(dense, None, ratio=share, method=method, batches=(), seed=0)
        networks[name] = (made.model, made.cost)
    images = np.random.default_rng(0).standard_normal((16, *example.shape[1:]), np.float32)
    for name, (network, cost) in networks.items():
        content = serialise(network, example[:1], metadata={})
        write_atomically(options.out / f"{name}.onnx", content)
        print(f"{name}: {cost.macs / 1e6:.0f} MMACs, {dense.cost.macs / cost.macs:.2f} times fewer")
        for precision in options.precisions if name in {"dense", "half"} else ():
            converted = PRECISIONS[precision](content, calibration=images, provider=CPU)
            write_atomically(options.out / f"{name}-{precision}.onnx", converted)


if __name__ == "__main__":
    main()
