import json

import pytest
import torch
from torch import nn

from exporters import layer_latency
from exporters.latency import LatencyError
from exporters.layer_latency import TABLE, measure_layers, sizes
from exporters.layers import layers_of
from exporters.sessions import CPU

IMAGES = torch.zeros(1, 3, 32, 32)


@pytest.mark.parametrize(
    ("dense", "least", "expected"),
    [
        (3, 1, (3,)),
        (10, 1, (8, 10)),
        (64, 1, (8, 16, 24, 32, 40, 48, 56, 64)),
        (72, 1, (8, 16, 32, 56, 72)),
        (512, 1, (48, 128, 256, 384, 512)),
        (128, 4, (32, 64, 96, 128)),
    ],
)
def test_measured_widths_are_multiples_of_eight_and_the_dense_one(
    dense: int, least: int, expected: tuple[int, ...]
) -> None:
    assert sizes(dense, least=least, provider=CPU) == expected


@pytest.mark.parametrize(
    ("dense", "least", "expected"), [(3, 1, (3,)), (64, 1, (8, 16, 32, 48, 64)), (24, 4, (24,))]
)
def test_where_files_load_slowly_five_widths_do(
    dense: int, least: int, expected: tuple[int, ...]
) -> None:
    assert sizes(dense, least=least, provider="CUDAExecutionProvider") == expected


def test_a_table_has_every_layer_at_every_width_and_says_where_it_was_measured() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, groups=64),
        nn.Conv2d(64, 32, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    table = measure_layers(model, IMAGES, provider=CPU, batch=2, seed=0, threads=1)
    assert set(table.layers) == {"0", "2", "3", "6"}
    assert table.layers["0"].widths == ((3,), (8, 16, 24, 32, 40, 48, 56, 64))
    assert table.layers["2"].widths == ((8, 16, 24, 32, 40, 48, 56, 64),)
    assert len(table.layers["3"].us) == 8 * 4
    assert all(us >= 0.0 for layer in table.layers.values() for us in layer.us)
    # Eight times the channels: whatever else the machine does, this shows.
    assert table.layers["0"].us[-1] > table.layers["0"].us[0]
    assert (table.provider, table.threads, table.batch) == (CPU, 1, 2)
    assert TABLE.validate_json(TABLE.dump_json(table)) == table
    assert json.loads(TABLE.dump_json(table))["layers"]["6"]["dims"] == [1, 0]


def test_a_layer_that_runs_twice_takes_both_times() -> None:
    twice = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(twice, nn.MaxPool2d(16), twice)
    table = measure_layers(model, IMAGES, provider=CPU, batch=1, seed=0, threads=1)
    assert list(table.layers) == ["0"]
    assert table.layers["0"].us[0] > 0.0


def test_a_provider_that_does_not_exist_is_named() -> None:
    with pytest.raises(LatencyError, match=r"cannot time the network's layers.*Magic"):
        measure_layers(nn.Conv2d(3, 8, 3), IMAGES, provider="Magic", batch=1, seed=0, threads=1)


@pytest.mark.parametrize(
    ("layer", "images", "provider", "way"),
    [
        (nn.Conv2d(16, 8, 3), (1, 16, 8, 8), CPU, "behind another"),
        (nn.Conv2d(16, 16, 3, groups=16), (1, 16, 8, 8), CPU, "behind another"),
        (nn.Conv2d(3, 8, 3), (1, 3, 8, 8), CPU, "alone"),
        (nn.ConvTranspose2d(16, 8, 3), (1, 16, 8, 8), CPU, "alone"),
        (nn.Linear(16, 8), (1, 16), CPU, "alone"),
        (nn.Conv2d(16, 8, 3), (1, 16, 8, 8), "CUDAExecutionProvider", "alone"),
    ],
)
def test_what_reads_a_layers_output_on_a_processor_is_timed_behind_another_convolution(
    monkeypatch: pytest.MonkeyPatch,
    layer: nn.Module,
    images: tuple[int, ...],
    provider: str,
    way: str,
) -> None:
    taken: list[str] = []
    monkeypatch.setattr(
        layer_latency, "_behind_another", lambda *_, **__: taken.append("behind another")
    )
    monkeypatch.setattr(layer_latency, "_alone", lambda *_, **__: taken.append("alone"))
    ((found,),) = layers_of(nn.Sequential(layer), torch.zeros(images)).values()
    request = layer_latency._Request(layers=(found,), provider=provider, batch=1, seed=0, threads=1)
    layer_latency._measured(request)
    assert taken == [way]
