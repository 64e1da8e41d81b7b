"""What is said of a smaller network that is hardly faster."""

from pathlib import Path

import pytest

from exporters.clocks import Conditions
from exporters.contest import Against, Round, Timing, Word
from exporters.efficiency import efficiency, macs_ratio, remarks
from exporters.intake import Intake
from exporters.lint import Finding, Linted
from exporters.modes import Mode
from exporters.sessions import CPU

CUDA = "CUDAExecutionProvider"
SLOW = Finding(rule="slow-convolution", nodes=("c",), what="1 of 20 convolutions", remedy="align")


def file(name: str, *, macs: int | None, findings: tuple[Finding, ...] = ()) -> Intake:
    return Intake(
        name=name,
        path=Path(f"{name}.onnx"),
        sha256="0" * 64,
        size_bytes=1,
        precision="fp32",
        params=1,
        macs=macs,
        nodes=50,
        inputs=(),
        batch=None,
        batch_name="batch",
        lint=Linted(findings=findings, convolutions=20, fast=None),
    )


def conditions() -> Conditions:
    return Conditions(
        looks=1, load=None, cpu_mhz=None, stolen=None, interruptions_per_s=None, gpu_sm_mhz=None,
        gpu_memory_mhz=None, gpu_celsius=None, gpu_watts=None, throttled=None,
    )  # fmt: skip


def timing(name: str, ms: float) -> Timing:
    return Timing(
        name=name, choice="", tried_ms={}, median_ms=ms, percentiles={}, cpu_ms=None, runs=100,
        blocks=20, stable=True, warm_up_s=1.0, nodes={},
    )  # fmt: skip


def timed(
    batch: int,
    dense_ms: float,
    pruned_ms: float,
    *,
    graphs: bool = False,
    verdict: Word = "faster",
    precise: bool = True,
) -> Round:
    ratio = dense_ms / pruned_ms
    return Round(
        batch=batch,
        mode=Mode(end_to_end=False, graphs=graphs),
        timings=(timing("dense", dense_ms), timing("pruned", pruned_ms)),
        noise=(0.99, 1.01) if precise else (0.8, 1.2),
        against=(
            Against(
                name="pruned",
                ratio=ratio,
                interval=(ratio - 0.01, ratio + 0.01),
                verdict=verdict,
                p95=None,
                cpu=None,
            ),
        ),
        precise=precise,
        half_width=0.02,
        conditions=conditions(),
    )


def said(
    *rounds: Round, provider: str, findings: tuple[Finding, ...] = (), macs: int | None = 25
) -> dict[tuple[int, str], str]:
    files = [file("dense", macs=100), file("pruned", macs=macs, findings=findings)]
    shares = [efficiency(files, one) for one in rounds]
    found = remarks(files, rounds, shares, provider=provider)
    return {(remark.batch, remark.mode): remark.text for remark in found}


def test_efficiency_is_the_speed_up_over_that_of_the_multiply_adds() -> None:
    files = [file("dense", macs=100), file("pruned", macs=25)]
    assert macs_ratio(*files) == 4
    assert efficiency(files, timed(1, 10, 5)) == {"pruned": pytest.approx(0.5)}


def test_no_efficiency_is_made_up() -> None:
    unsure = timed(1, 10, 5, verdict="not distinguishable")
    assert efficiency([file("dense", macs=100), file("pruned", macs=25)], unsure) == {
        "pruned": None
    }
    assert efficiency([file("dense", macs=100), file("pruned", macs=None)], timed(1, 10, 5)) == {
        "pruned": None
    }


def test_what_runs_as_fast_as_promised_needs_no_words() -> None:
    assert said(timed(1, 10, 2.6), provider=CPU) == {}
    assert said(timed(1, 10, 10.0), provider=CPU, macs=95) == {}


def test_time_that_does_not_grow_with_the_work_is_launching() -> None:
    found = said(timed(1, 1.0, 0.95), timed(32, 4.0, 1.1), provider=CUDA)
    assert "launch-bound at batch 1" in found[1, "on the device"]
    assert "32 times the work and takes 1.2 times as long" in found[1, "on the device"]


def test_a_graph_that_is_much_faster_shows_what_launching_costs() -> None:
    plain, graph = timed(1, 1.0, 0.95), timed(1, 0.5, 0.2, graphs=True)
    found = said(plain, graph, provider=CUDA)
    assert "one CUDA graph takes 0.200 ms instead of 0.950 ms" in found[1, "on the device"]


def test_kernels_of_a_few_microseconds_are_launching() -> None:
    assert "launch-bound" in said(timed(1, 0.3, 0.29), provider=CUDA)[1, "on the device"]
    assert "launch-bound" not in said(timed(1, 0.3, 0.29), provider=CPU)[1, "on the device"]


def test_slow_kernels_are_named_with_what_to_do() -> None:
    found = said(timed(1, 10, 5), provider=CPU, findings=(SLOW,))
    assert "1 of 20 convolutions; align" in found[1, "on the device"]


def test_a_noisy_machine_is_not_blamed_on_the_network() -> None:
    unsure = timed(1, 10, 5, verdict="not distinguishable", precise=False)
    text = said(unsure, provider=CPU)[1, "on the device"]
    assert "no difference in time that this measurement could tell" in text
    assert "differs from itself by [0.80, 1.20]" in text
