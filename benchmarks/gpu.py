"""The GPU suite: providers, networks at 224 px, the main job, the shifts. Started by gpu.sh.

    benchmarks/gpu.sh [--wheels DIR] [--check] [--name NAME] [--provider cuda|cpu] [--quick]
        [--minutes 24] [--cifar DIR --weights FILE] [--stages ...] [--networks ...] [--side PX]
        [--batches ...] [--seconds S] [--out FILE]

Results are written after every stage, and everything that was left out says why, so that a suite
that ran out of time or of packages is still worth reading.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

# Without these nothing runs, and what is missing is said first; so they import nothing else.
from benchmarks.gpu_settings import Settings
from benchmarks.gpu_wheels import how_to_bring, missing, useful, wrong

_RESULTS: Final = Path(__file__).resolve().parent / "results"
_NETWORKS: Final = ("resnet50", "resnet18", "mobilenet_v2")
_BATCHES: Final = (32, 1, 8, 128)
_STAGES: Final = ("doctor", "networks", "job", "shifts")
_LACKING: Final = 2

Stage = Callable[[Settings], Iterator[tuple[str, Any]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages that were asked for; 2 if something is missing."""
    options = _options(arguments)
    if problems := (*missing(), *wrong()):
        _say(how_to_bring(missing()) if missing() else "\n".join(problems))
        return _LACKING
    if absent := useful():
        _say(f"not here, and not necessary: {', '.join(absent)}")
    if options.check:
        return 0
    settings = _settings(options)
    stages = _stages()
    record: dict[str, Any] = _head(options, settings)
    refused = _unusable(settings)
    if refused:
        _say(refused)
        return _LACKING
    for name in settings.stages:
        if settings.left_s() <= 0:
            record["left_out"].append(f"{name}: the time is over")
            continue
        began = time.perf_counter()
        found: dict[str, Any] = {}
        for part, value in stages[name](settings):
            found[part] = value
            record["stages"][name] = found
            _write(options.out, record)
        record["seconds"][name] = time.perf_counter() - began
        _say(f"{name}: {record['seconds'][name]:.0f} s")
    _write(options.out, record)
    _say(str(options.out))
    print("\n".join(_table(record["stages"].get("networks", {}))))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument("--name", help="of the machine, for the results' file")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="everything once, and small")
    parser.add_argument("--minutes", type=float, default=24.0, help="start nothing after this")
    parser.add_argument("--cifar", type=Path, help="folder with train/ and test/ of CIFAR-10")
    parser.add_argument("--weights", type=Path, help="of examples/cifar10's ResNet-20")
    parser.add_argument("--stages", nargs="+", choices=_STAGES, default=_STAGES)
    parser.add_argument("--networks", nargs="+", help="of torchvision")
    parser.add_argument("--side", type=int, help="pixels of their images; 224, quick 64")
    parser.add_argument("--batches", type=int, nargs="+", help="32 1 8 128, quick 1")
    parser.add_argument("--seconds", type=float, help="for each measurement: 4, quick 1")
    parser.add_argument("--out", type=Path, help="results/gpu-NAME.json")
    options = parser.parse_args(arguments)
    if (options.cifar is None) != (options.weights is None):
        parser.error("--cifar and --weights belong together")
    options.name = options.name or f"{options.provider}{'-quick' if options.quick else ''}"
    options.out = options.out or _RESULTS / f"gpu-{options.name}.json"
    return options


def _settings(options: argparse.Namespace) -> Settings:
    quick = options.quick
    return Settings(
        provider=options.provider,
        quick=quick,
        networks=tuple(options.networks or (("resnet18",) if quick else _NETWORKS)),
        side=options.side or (64 if quick else 224),
        batches=tuple(options.batches or ((1,) if quick else _BATCHES)),
        seconds=options.seconds or (1.0 if quick else 4.0),
        stages=tuple(options.stages),
        cifar=options.cifar,
        weights=options.weights,
        until_s=time.monotonic() + 60 * options.minutes,
    )


def _stages() -> Mapping[str, Stage]:
    # What these import may be missing, which is told before.
    from pydantic import TypeAdapter  # noqa: PLC0415

    from benchmarks import gpu_job, gpu_networks  # noqa: PLC0415
    from exporters.doctor import Health, examine  # noqa: PLC0415

    def doctor(_: Settings) -> Iterator[tuple[str, Any]]:
        yield "health", TypeAdapter(Health).dump_python(examine(), mode="json")

    return {
        "doctor": doctor,
        "networks": lambda settings: gpu_networks.measure(settings, say=_say),
        "job": lambda settings: iter([("main job", gpu_job.main_job(settings))]),
        "shifts": lambda settings: iter([("shifts", gpu_job.shift_suite(settings))]),
    }


def _head(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    from benchmarks.machine import hardware, versions  # noqa: PLC0415 # loads torch

    packages = ("torch", "torchvision", "torch-pruning", "onnx", "onnxruntime", "onnxruntime-gpu")
    return {
        "schema_version": 1,
        "name": options.name,
        "command": f"benchmarks/gpu.sh {' '.join(sys.argv[1:])}".rstrip(),
        "provider": settings.provider,
        "quick": settings.quick,
        "hardware": hardware("cuda" if settings.provider == "cuda" and _sees_gpu() else "cpu"),
        "versions": versions(packages),
        "settings": {"side": settings.side, "seconds": settings.seconds},
        "stages": {},
        "left_out": [],
        "seconds": {},
    }


def _sees_gpu() -> bool:
    import torch  # noqa: PLC0415

    return torch.cuda.is_available()


def _unusable(settings: Settings) -> str | None:
    """Why the provider does not work: a suite for GPUs that ran on the CPU would be a lie."""
    from exporters.providers import probe, remedy  # noqa: PLC0415

    found = probe(settings.provider)
    if found.usable:
        return None
    return "\n".join([f"{settings.provider} does not work here: {found.reason}", *remedy(found)])


def _write(path: Path, record: Mapping[str, Any]) -> None:
    from compressor.files import write_atomically  # noqa: PLC0415

    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(record, indent=1, default=os.fspath)
    write_atomically(path, content.encode() + b"\n")


def _table(networks: Mapping[str, Any]) -> Iterator[str]:
    """Medians and speed-ups against the dense fp32 file, for the page of measurements."""
    if networks:
        yield "| network | batch | way | file | median ms | speed-up [95 %] | of fewer MACs |"
        yield "|---|---|---|---|---|---|---|"
    for name, found in networks.items():
        pairs = zip(found.get("rounds", ()), found.get("efficiency", ()), strict=True)
        for one, shares in pairs:
            against = {entry["name"]: entry for entry in one["against"]}
            for timing in one["timings"]:
                cells = _cells(against.get(timing["name"]), shares.get(timing["name"]))
                way = "end to end" if one["mode"]["end_to_end"] else "on the device"
                way += ", CUDA graph" if one["mode"]["graphs"] else ""
                yield (
                    f"| {name} | {one['batch']} | {way} | {timing['name']} | "
                    f"{timing['median_ms']:.3f} | {cells} |"
                )


def _cells(against: Mapping[str, Any] | None, share: float | None) -> str:
    if against is None:
        return "1 | -"
    low, high = against["interval"]
    told = f"{against['ratio']:.2f} [{low:.2f}, {high:.2f}]"
    if against["verdict"] == "not distinguishable":
        told = f"not distinguishable [{low:.2f}, {high:.2f}]"
    return f"{told} | {'-' if share is None else f'{share:.2f}'}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
