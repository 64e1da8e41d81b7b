from dataclasses import dataclass

import onnxruntime
import pytest

from exporters.providers import ProviderError
from exporters.sessions import CPU, heavy_on_cpu, session


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
