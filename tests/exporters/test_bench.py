"""Real files, real sessions, real processes; small ones."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from exporters import bench
from exporters import modes as modes_module
from exporters.bench import Plan, Section, measure_on, modes, thread_counts
from exporters.intake import IncomparableError, batches_for, read_files
from exporters.latency import LatencyError
from exporters.modes import Mode, ModeError, run_of
from exporters.network_file import SignatureError
from exporters.onnx import serialise
from exporters.paired import Budget
from exporters.providers import Provider, choose, probe
from exporters.sessions import CPU, session
from exporters.tuning import choices
from tests.exporters import odd_models

BRIEF = Budget(seconds=0.3, warm_up_s=0.05)


def brief(*batches: int, **others: object) -> Plan:
    given = {"tune": False, "every_mode": False, "processes": 0, "threads": 1, **others}
    return Plan(batches=batches, budget=BRIEF, dims={}, **given)  # type: ignore[arg-type]  # each of its own type


@pytest.fixture(scope="module")
def wide(
    make_net: Callable[[int], nn.Module], images: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("bench") / "wide.onnx"
    path.write_bytes(serialise(make_net(512), images, metadata={}))
    return path


@pytest.fixture(scope="module")
def section(wide: Path, ours: Path) -> Section:
    """Everything that a full benchmark measures, briefly."""
    files = read_files([wide, ours], dims={})
    plan = brief(2, tune=True, every_mode=True, processes=2, threads=None)
    return measure_on(files, choose("cpu"), plan)


def test_a_smaller_file_is_faster_in_every_way_of_running_it(section: Section) -> None:
    assert [one.mode.name for one in section.rounds] == ["on the device", "end to end"]
    for one in section.rounds:
        (against,) = one.against
        low, high = against.interval
        assert against.verdict == "faster"
        assert 1 < low <= against.ratio <= high
        assert one.timings[0].median_ms > one.timings[1].median_ms > 0
        assert one.noise[0] <= one.noise[1]


def test_each_file_is_set_up_from_the_same_options(section: Section) -> None:
    for one in section.rounds:
        first, second = one.timings
        assert set(first.tried_ms) == set(second.tried_ms) > {first.choice}
        assert first.tried_ms[first.choice] == min(first.tried_ms.values())
        assert second.tried_ms[second.choice] == min(second.tried_ms.values())


def test_where_each_node_ran_is_recorded(section: Section) -> None:
    for one in section.rounds:
        for timing in one.timings:
            assert set(timing.nodes) == {CPU}
            assert timing.nodes[CPU]["Conv"] == 1


def test_memory_and_load_time_are_of_processes_of_their_own(section: Section) -> None:
    for held in section.footprints.values():
        assert held.processes == 2
        assert held.create_ms > 0 and held.first_run_ms > 0
        assert held.resident_bytes is None or held.resident_bytes > 0
        assert held.gpu_bytes is None


def test_one_thread_has_a_processor_time_that_neighbours_do_not_add_to(
    wide: Path, ours: Path
) -> None:
    (one,) = measure_on(read_files([wide, ours], dims={}), choose("cpu"), brief(1)).rounds
    assert one.timings[0].cpu_ms is not None
    (against,) = one.against
    assert against.cpu is not None
    assert against.cpu[0] > 1


def test_a_file_is_not_told_from_itself(wide: Path) -> None:
    files = read_files([wide, wide], dims={})
    assert [file.name for file in files] == [f"{wide.parent.name}/wide ({n})" for n in (1, 2)]
    (one,) = measure_on(files, choose("cpu"), brief(1)).rounds
    (against,) = one.against
    low, high = against.interval
    assert low < 1.1 and high > 0.9


@pytest.mark.parametrize("name", ["channels_last", "raw_pixels", "half", "beside"])
def test_files_of_any_layout_and_type_are_compared_with_ours(
    name: str, odd: Callable[[str], Path], ours: Path
) -> None:
    files = read_files([ours, odd(name)], dims={})
    (one,) = measure_on(files, choose("cpu"), brief(2)).rounds
    assert all(timing.median_ms > 0 for timing in one.timings)


def test_files_that_take_different_images_are_not_compared(
    ours: Path, make_net: Callable[[int], nn.Module], images: Tensor, tmp_path: Path
) -> None:
    smaller = tmp_path / "smaller.onnx"
    smaller.write_bytes(serialise(make_net(8), images[..., :4, :4], metadata={}))
    with pytest.raises(IncomparableError, match=r"takes .*3 8 8\] and .*takes .*3 4 4\]: compare"):
        read_files([ours, smaller], dims={})


def test_a_fixed_batch_is_the_only_one(odd: Callable[[str], Path], ours: Path) -> None:
    files = read_files([ours, odd("fixed_batch")], dims={})
    assert batches_for(files, (), default=(1, 32)) == (8,)
    assert batches_for(files, (8,), default=(1, 32)) == (8,)
    with pytest.raises(IncomparableError, match=r"batches of 8 only, not 1: ask for --batch 8"):
        batches_for(files, (1, 8), default=(1, 32))
    assert batches_for(files[:1], (4, 4), default=(1,)) == (4,)


def test_weights_that_are_not_there_are_named(odd: Callable[[str], Path], tmp_path: Path) -> None:
    alone = tmp_path / "beside.onnx"
    alone.write_bytes(odd("beside").read_bytes())
    with pytest.raises(SignatureError, match=r"keeps weights in beside\.onnx\.data, which is not"):
        read_files([alone], dims={})


def test_an_operator_set_of_the_future_is_said_to_be_one(
    make: Callable[[odd_models.Edit], Path],
) -> None:
    def newer(model: ModelProto) -> None:
        model.opset_import[0].version = 999

    with pytest.raises(SignatureError, match="needs operator set 999"):
        read_files([make(newer)], dims={})


def test_an_open_image_size_is_asked_for_by_its_name(odd: Callable[[str], Path]) -> None:
    with pytest.raises(SignatureError, match="--dim NAME=SIZE"):
        read_files([odd("all_open")], dims={})
    sizes = {"c": 3, "h": 8, "w": 8}
    files = read_files([odd("all_open")], dims=sizes)
    plan = Plan(
        batches=(2,), budget=BRIEF, tune=False, every_mode=False, processes=0, threads=1, dims=sizes
    )
    (one,) = measure_on(files, choose("cpu"), plan).rounds
    assert one.timings[0].median_ms > 0


def selects(model: ModelProto) -> None:
    odd_models.appended("NonZero")(model)
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("appended", TensorProto.INT64, [2, "found"])
    )


def test_an_output_whose_size_depends_on_the_images_is_timed_on_the_same_ones(
    make: Callable[[odd_models.Edit], Path],
) -> None:
    path = make(selects)
    (one,) = measure_on(read_files([path], dims={}), choose("cpu"), brief(2)).rounds
    assert one.timings[0].median_ms > 0
    opened = session(path, threads=1)
    feeds = {"images": np.ones((2, 3, 8, 8), np.float32)}
    graph = Mode(end_to_end=False, graphs=True)
    with pytest.raises(ModeError, match=r"size of 'appended'.* is not known beforehand"):
        run_of(opened, feeds, provider=CPU, mode=graph, batch=2)


@pytest.mark.parametrize("edit", [lambda model: None, selects], ids=["logits", "of open size"])
def test_what_a_run_writes_into_kept_memory_are_the_answers(
    make: Callable[[odd_models.Edit], Path], edit: odd_models.Edit
) -> None:
    feeds = {"images": np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)}
    opened = session(make(edit), threads=1)
    (wanted,) = opened.run(None, feeds)
    binding = opened.io_binding()
    binding.bind_cpu_input("images", feeds["images"])
    kept = modes_module._outputs(opened, binding, device="cpu", batch=2, must_know=False)
    opened.run_with_iobinding(binding)
    np.testing.assert_array_equal(kept[0].numpy(), wanted)


def test_a_process_that_is_killed_is_told_with_its_signal(wide: Path) -> None:
    """As when memory runs out, or a GPU's driver takes the process with it."""
    files = read_files([wide], dims={})
    plan = Plan(
        batches=(1,),
        budget=Budget(seconds=600, half_width=1e-9),
        tune=False,
        every_mode=False,
        processes=0,
        threads=1,
        dims={},
    )
    killer = threading.Thread(target=kill_measurement, daemon=True)
    killer.start()
    with pytest.raises(LatencyError, match=r"cannot time batch 1 on cpu: .*ended by SIGKILL"):
        measure_on(files, choose("cpu"), plan)
    killer.join()


def kill_measurement() -> None:
    """The child of this process that is timing, once there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(parent) == os.getpid() and b"exporters.contest" in command:
                os.kill(int(entry.name), signal.SIGKILL)
                return
        time.sleep(0.05)


def test_a_provider_that_has_gone_is_told_apart_from_a_file_that_fails() -> None:
    """It was usable when the benchmark began; what is probed now is this machine."""
    gone = probe("tensorrt")
    if gone.usable:
        pytest.skip("TensorRT works here, so that it cannot be found gone")
    began = Provider(name="tensorrt", usable=True, reason="it ran")
    text = bench._explained(began, "CUDA failure 999", batch=8)
    assert text.startswith("tensorrt worked when the benchmark began and stopped at batch 8: ")
    assert "CUDA failure 999" in text
    still = bench._explained(choose("cpu"), "no such operator", batch=8)
    assert still == "cannot time batch 8 on cpu: no such operator"


def test_a_gpu_that_is_not_there_times_nothing(wide: Path) -> None:
    if probe("cuda").usable:
        pytest.skip("CUDA works here, so that it cannot be found gone")
    asked = Provider(name="cuda", usable=True, reason="said to work")
    with pytest.raises(
        LatencyError, match="cuda worked when the benchmark began and stopped at batch 1: "
    ):
        measure_on(read_files([wide], dims={}), asked, brief(1))


def test_gpus_are_timed_with_and_without_graphs_and_processors_without() -> None:
    assert [mode.graphs for mode in modes(CPU, every=True)] == [False, False]
    assert [mode.name for mode in modes("CUDAExecutionProvider", every=True)] == [
        "on the device",
        "on the device, CUDA graph",
        "end to end",
        "end to end, CUDA graph",
    ]


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
@pytest.mark.parametrize("graphs", [True, False])
def test_options_of_a_gpu_fix_the_batch_and_say_whether_to_capture(
    provider: str, graphs: bool, tmp_path: Path
) -> None:
    found = choices(
        provider,
        mode=Mode(end_to_end=False, graphs=graphs),
        threads=(2, 1),
        dims={"h": 8},
        batch={"n": 4},
        precision="int8",
        cache=tmp_path,
    )
    key = "enable_cuda_graph" if provider.startswith("CUDA") else "trt_cuda_graph_enable"
    for choice in found:
        assert choice.tuning.dims == {"h": 8, "n": 4}
        assert choice.tuning.provider[key] == str(int(graphs))
        assert all(isinstance(value, str) for value in choice.tuning.provider.values())
    assert len({choice.name for choice in found}) == len(found)
    if not provider.startswith("CUDA"):
        assert found[0].tuning.provider["trt_int8_enable"] == "1"
        assert found[0].tuning.provider["trt_engine_cache_path"] == str(tmp_path)


def test_threads_are_chosen_between_all_and_one_unless_given() -> None:
    assert thread_counts(3) == (3,)
    assert thread_counts(None)[-1] == 1
