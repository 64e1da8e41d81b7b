from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from exporters.providers import ProviderError
from exporters.runtime import CPU, Preprocessing, heavy_on_cpu, predictor, session

PREPROCESSING = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)


def test_predictions_are_the_network_s_on_normalised_images(
    make_net: Callable[[int], nn.Module], exported: Path
) -> None:
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    )
    with torch.inference_mode():
        expected = make_net(8).eval()((torch.from_numpy(PIXELS) / 255 - mean) / std).numpy()
    logits = predictor(exported, PREPROCESSING, threads=1)(PIXELS)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_predictions_repeat_to_the_byte_and_leave_the_images_alone(exported: Path) -> None:
    before = PIXELS.copy()
    first, second = (
        predictor(exported, PREPROCESSING, threads=2)(PIXELS).tobytes() for _ in range(2)
    )
    assert first == second
    assert np.array_equal(PIXELS, before)


def test_strided_and_read_only_images_are_taken(exported: Path) -> None:
    predict = predictor(exported, PREPROCESSING, threads=1)
    channels_last = np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1))
    channels_last.flags.writeable = False
    assert np.array_equal(predict(channels_last.transpose(0, 3, 1, 2)), predict(PIXELS))


def test_preprocessing_of_another_channel_count_is_refused(exported: Path) -> None:
    grey = Preprocessing(mean=(0.5,), std=(0.2,))
    with pytest.raises(ValueError, match="takes 3 channels; the preprocessing has 1 means"):
        predictor(exported, grey, threads=1)


def test_an_unknown_provider_is_refused_with_the_known_ones(content: bytes) -> None:
    with pytest.raises(ProviderError, match=r"no execution provider 'cpu'.*CPUExecutionProvider"):
        session(content, provider="cpu", threads=1)


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_a_session_runs_where_it_was_asked_to_or_not_at_all(
    content: bytes, provider: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        opened = session(content, provider=provider, threads=1)
    except ProviderError:
        pass
    else:
        assert opened.get_providers()[0] == provider
    assert capfd.readouterr() == ("", "")


def test_idle_sessions_do_not_spin(content: bytes) -> None:
    options = session(content, threads=2).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2


@dataclass
class FakeNode:
    op_type: str


@dataclass
class FakePart:
    ep_name: str
    nodes: list[FakeNode]

    def get_nodes(self) -> list[FakeNode]:
        return self.nodes


def test_only_real_work_on_the_cpu_counts_as_a_fallback() -> None:
    gpu = FakePart("CUDAExecutionProvider", [FakeNode("Conv"), FakeNode("Relu")])
    shapes = FakePart(CPU, [FakeNode("Shape"), FakeNode("Gather")])
    assert heavy_on_cpu([gpu, shapes]) == {}
    assert heavy_on_cpu([gpu, FakePart(CPU, [FakeNode("Conv"), FakeNode("Conv")])]) == {"Conv": 2}


def test_the_assignment_that_onnxruntime_reports_is_understood(content: bytes) -> None:
    opened: onnxruntime.InferenceSession = session(content, threads=1)
    assert heavy_on_cpu(opened.get_provider_graph_assignment_info()).total() >= 2
