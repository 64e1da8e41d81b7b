"""The structural self-test on torchvision's networks: prints the table of benchmarks/README.md.

    python benchmarks/self_test.py [NAME ...]

Random weights with BatchNorm statistics taken from noise, 96x96 inputs, half of the parameters
asked to go. The difference is between the pruned network and the dense one with the weights that
read the removed channels set to zero, relative to the output's scale (float32; limit 1e-4).
"""

import sys
import time

import torch
import torchvision

from compressor.pruning.candidate import Method, propose, prunable
from compressor.training.batchnorm import reestimate

NETWORKS = ("resnet18", "vgg11_bn", "mobilenet_v2", "densenet121", "regnet_y_400mf")


def main(names: list[str]) -> None:
    """Cut each network to half of its parameters and print what the self-test found."""
    print("| network | groups cut | parameters gone | MACs gone | difference | trace s | cut s |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # noqa: TID251 # torchvision draws its weights from it; forked
            network = getattr(torchvision.models, name)(weights=None)
            images = torch.randn(16, 3, 96, 96)
        start = time.perf_counter()
        dense = prunable(reestimate(network, [images]), images[:4], seed=0)
        traced = time.perf_counter()
        candidate = propose(dense, None, ratio=0.5, method=Method(), batches=[], seed=0)
        done = time.perf_counter()
        gone = 1 - candidate.cost.params / dense.cost.params
        macs = 1 - candidate.cost.macs / dense.cost.macs
        print(
            f"| {name} | {len(dense.groups)} | {gone:.1%} | {macs:.1%} | "
            f"{candidate.difference:.1e} | {traced - start:.1f} | {done - traced:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
