import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from exporters.layer_files import COLOURS, layer_file
from exporters.layers import layers_of
from exporters.profiles import second_convolution_us
from exporters.sessions import session


def node(operator: str, *, start: int, us: int) -> dict[str, Any]:
    name = f"{operator}_kernel_time"
    return {"cat": "Node", "name": name, "ts": start, "dur": us, "args": {"op_name": operator}}


def run(*, start: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": 90, "args": {}}


def written(folder: Path, events: list[dict[str, Any]]) -> Path:
    file = folder / "profile.json"
    file.write_text(json.dumps(events), encoding="utf-8")
    return file


def test_what_lies_between_two_convolutions_counts_and_what_is_around_them_does_not(
    tmp_path: Path,
) -> None:
    events = [
        node("ReorderInput", start=0, us=5),
        node("Conv", start=6, us=10),  # ends at 16
        node("ReorderOutput", start=17, us=4),
        node("Conv", start=22, us=20),  # ends at 42
        node("ReorderOutput", start=43, us=7),
        run(start=0),
        node("Conv", start=106, us=10),  # ends at 116
        node("Conv", start=117, us=30),  # ends at 147
        run(start=100),
    ]
    assert second_convolution_us(written(tmp_path, events)) == [26.0, 31.0]
    assert second_convolution_us(written(tmp_path, events[::-1])) == [26.0, 31.0]


def test_a_profile_of_other_networks_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, [node("Conv", start=0, us=10), run(start=0)])
    with pytest.raises(ValueError, match="has 1 runs of convolutions in 1 of the network"):
        second_convolution_us(file)


def test_a_convolution_behind_another_takes_a_part_of_the_whole_run(tmp_path: Path) -> None:
    images = torch.zeros(1, 16, 32, 32)
    (layer,) = layers_of(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)), images)["0"]
    content = layer_file(layer, generator=np.random.default_rng(0), behind_another=True)
    opened = session(content, threads=1, profile=tmp_path / "convolutions")
    image = np.zeros((1, COLOURS, 32, 32), dtype=np.float32)
    for _ in range(3):
        opened.run(None, {"images": image})
    file = Path(opened.end_profiling())
    assert file.parent == tmp_path
    times_us = second_convolution_us(file)
    events = json.loads(file.read_text(encoding="utf-8"))
    whole_us = [event["dur"] for event in events if event["name"] == "model_run"]
    assert len(times_us) == len(whole_us) == 3
    assert all(0.0 < own < whole for own, whole in zip(times_us, whole_us, strict=True))
