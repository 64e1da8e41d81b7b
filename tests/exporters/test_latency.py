import re
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor, nn

from exporters.latency import LatencyError, compare_latency
from exporters.onnx import serialise
from exporters.sessions import CPU


@pytest.fixture(scope="module")
def wide_file(
    make_net: Callable[[int], nn.Module], images: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("latency") / "wide.onnx"
    path.write_bytes(serialise(make_net(512), images, metadata={}))
    return path


def test_a_smaller_network_is_shown_to_be_faster_with_its_circumstances(
    wide_file: Path, exported: Path
) -> None:
    (comparison,) = compare_latency(
        wide_file, exported, batches=[3], provider=CPU, seconds=1, seed=0, threads=1
    )
    low, high = comparison.speedup_interval
    assert 1 < low <= comparison.speedup <= high
    assert comparison.distinguishable
    assert comparison.dense.median_ms > comparison.pruned.median_ms > 0
    assert comparison.dense.runs == comparison.pruned.runs >= 20
    assert (comparison.dense.p95_ms is None) == (comparison.dense.runs < 100)
    assert (comparison.batch, comparison.provider, comparison.threads) == (3, CPU, 1)
    assert re.fullmatch(r"cpu: .+, 1 thread", comparison.device)
    assert re.fullmatch(r"onnxruntime \d.+", comparison.runtime)


def test_files_of_different_image_sizes_are_not_compared(
    make_net: Callable[[int], nn.Module], exported: Path, tmp_path: Path, images: Tensor
) -> None:
    smaller = tmp_path / "smaller.onnx"
    smaller.write_bytes(serialise(make_net(8), images[..., :4, :4], metadata={}))
    with pytest.raises(LatencyError, match=r"dense takes .*8, 8\), pruned takes .*4, 4\)"):
        compare_latency(exported, smaller, batches=[1], provider=CPU, seconds=1, seed=0)


def test_a_file_that_does_not_load_is_named(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"against .*absent\.onnx: .*NO_SUCHFILE"):
        compare_latency(
            exported, tmp_path / "absent.onnx", batches=[1], provider=CPU, seconds=1, seed=0
        )


def test_a_provider_that_is_not_there_is_no_latency(exported: Path) -> None:
    with pytest.raises(LatencyError, match="no execution provider 'NpuExecutionProvider'"):
        compare_latency(
            exported, exported, batches=[1], provider="NpuExecutionProvider", seconds=1, seed=0
        )
