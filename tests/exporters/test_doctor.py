import onnxruntime
import pytest

from exporters import doctor
from exporters.device import Cpu, cpu, cpu_mhz
from exporters.doctor import Health, examine
from exporters.nvml import gpus, process_bytes, sampler
from exporters.providers import Name, Provider, remedy


@pytest.fixture(scope="module")
def health() -> Health:
    return examine()


def test_every_provider_is_tried(health: Health) -> None:
    assert [one.provider.name for one in health.providers] == ["cpu", "cuda", "tensorrt"]
    processor = health.providers[0].provider
    assert processor.usable
    (counts,) = processor.assignment.values()
    assert set(processor.assignment) == {"CPUExecutionProvider"}
    assert counts == {"Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


def test_what_does_not_work_has_a_reason_and_a_remedy(health: Health) -> None:
    for one in health.providers:
        assert one.provider.usable == (one.remedy == ())
        assert one.provider.usable == bool(one.provider.assignment)
        assert one.provider.reason


def test_only_nodes_that_ran_there_are_counted_as_a_providers(health: Health) -> None:
    """No session that asked for a GPU and got the CPU passes for one of the GPU."""
    for one in health.providers:
        assert set(one.provider.assignment) <= {one.provider.execution_provider}


def test_a_provider_without_a_driver_is_refused_by_the_drivers_name(health: Health) -> None:
    cuda = health.providers[1]
    if health.gpus.found:
        pytest.skip("there is a GPU with its driver, so that none is missing")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is built without CUDA (macOS, ARM), so that it asks for none")
    assert not cuda.provider.usable
    assert "libcuda.so.1" in cuda.provider.missing
    assert any("its driver" in step for step in cuda.remedy)
    assert any("lists CUDAExecutionProvider" in remark for remark in health.remarks)
    assert health.chosen == "cpu"


def test_gpus_are_told_or_it_is_told_why_not(health: Health) -> None:
    assert bool(health.gpus.found) == (health.gpus.driver is not None)
    assert health.gpus.reason
    if not gpus().found:
        assert sampler() is None
        assert process_bytes() is None


def test_the_processor_is_described() -> None:
    found = cpu()
    assert found.name and found.threads >= 1
    clock = cpu_mhz()
    assert clock is None or clock > 100


@pytest.mark.parametrize(
    "versions, kernels, usable, told",
    [
        ({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, "avx512_vnni", "cuda", "both"),
        ({"tensorrt": "11.4.0"}, "avx512_vnni", "cuda", "'tensorrt>=10.13,<11'"),
        ({"tensorrt-cu13": "10.16.1"}, "avx512_vnni", "cuda", None),
        ({}, "avx2", "cuda", "little of int8"),
    ],
)
def test_what_is_wrong_with_an_installation_is_said(
    versions: dict[str, str], kernels: str, usable: Name, told: str | None
) -> None:
    processor = Cpu(name="x", threads=1, kernels=(kernels,), memory_bytes=None, mhz=None)
    remarks = list(doctor._remarks(versions, processor, [usable]))
    assert len(remarks) == (0 if told is None else 1)
    assert all(told in remark for remark in remarks if told)


def test_a_library_of_pip_is_named_with_its_package() -> None:
    lacking = Provider(
        name="cuda",
        usable=False,
        reason="libcurand.so.10 is missing",
        missing=("libcurand.so.10",),
    )
    assert "pip install 'nvidia-curand>=10,<11'" in remedy(lacking)
