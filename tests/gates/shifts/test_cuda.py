"""What a GPU may do otherwise than the CPU: round, and that seldom."""

import numpy as np
import pytest
import torch

from gates.shifts import SHIFTS, shifted
from tests.gates.shifts.pictures import photographs


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="compares a GPU with the CPU, and there is no CUDA device here",
)
@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("name", SHIFTS)
def test_a_gpu_gives_the_bytes_of_the_cpu_but_for_a_rounding(name: str, side: int) -> None:
    images = np.stack(photographs(8, height=side, width=side)).transpose(0, 3, 1, 2)
    ids = np.arange(len(images), dtype=np.uint64)
    severity = None if name == "clean" else 3
    on_cpu, on_gpu = (
        shifted(images, ids, name=name, severity=severity, seed=0, device=device).astype(int)
        for device in ("cpu", "cuda")
    )
    difference = np.abs(on_cpu - on_gpu)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001
