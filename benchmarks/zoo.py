"""Every torchvision classifier, and six of timm: found, cut to half, tested, exported, compared.

    python benchmarks/zoo.py [--quick] [--only NAME ...] [--minutes M] [--time-limit S]
        [--peers [--modelopt ENV/bin/python]]

Each network runs in a process of its own, smallest first: random weights (no parameter constant, so
that a wrong cut shows), BatchNorm statistics taken from noise, half of the parameters asked to go
(uniform, multiples of 8; less where no aligned choice removes half), then the structural self-test,
the ONNX file and its parity. ``--quick`` takes 96 px where the network allows and writes no ONNX.
With ``--peers`` torch-pruning alone and ModelOpt's FastNAS meet the same networks, 60 s each; see
benchmarks/peers/zoo.py. Results go to benchmarks/results/zoo.json after each network; what is there
already and not asked for again stays. The table is printed at the end, and written beside it as
zoo.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

# A script's own folder is all that Python looks in.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import hardware, versions
from compressor.files import atomic_path
from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Candidate, Method, Prunable, propose, prunable
from compressor.pruning.finding import reasons
from compressor.pruning.tracing import TraceError
from compressor.training.batchnorm import reestimate
from exporters.onnx import ExportError, serialise
from exporters.parity import check_parity

RESULTS = Path(__file__).parent / "results" / "zoo.json"
TIMM = (
    "vit_small_patch16_224", "deit3_small_patch16_224", "swin_tiny_patch4_window7_224",
    "convnext_tiny", "mobilenetv4_conv_small", "efficientvit_b0",
)  # fmt: skip
RATIOS = (0.5, 0.4, 0.3, 0.2, 0.1)
PEER = Path(__file__).parent / "peers" / "zoo.py"
PEER_LIMIT_S = 60.0
LARGEST_PARAMS = 200_000_000
"""Larger networks are only traced: the copies that a cut compares need ten times their memory."""

PACKAGES = ("torch", "torchvision", "timm", "torch-pruning", "onnx", "onnxruntime", "numpy")


def main() -> None:
    """Run the networks that were asked for, and print the table of all results."""
    options = _options()
    if options.one:
        print(json.dumps(_measured(options.one, quick=options.quick)))
        return
    found: dict[str, dict[str, Any]] = {}
    if RESULTS.exists():
        found = json.loads(RESULTS.read_text(encoding="utf-8"))["networks"]
    until = time.monotonic() + 60.0 * options.minutes
    for name in options.only or _by_size():
        known = name in found and not options.only and not options.again
        if known and (not options.peers or "peers" in found[name]):
            continue
        if time.monotonic() > until:
            break
        if not known:
            before = {"peers": found[name]["peers"]} if "peers" in found.get(name, {}) else {}
            made = _in_a_process(name, quick=options.quick, limit_s=options.time_limit)
            found[name] = {**made, "hardware": hardware("cpu"), **before}
        if options.peers:
            found[name]["peers"] = _peers(name, modelopt=options.modelopt)
        print(_row(name, found[name]), flush=True)
        _save(found)
    missing = [name for name in _by_size() if name not in found]
    print(f"\n{len(found)} networks; not run: {', '.join(missing) or 'none'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    parser.add_argument("--quick", action="store_true", help="small images, no ONNX")
    parser.add_argument("--again", action="store_true", help="also what has a result already")
    parser.add_argument("--minutes", type=float, default=600.0, help="start no network after this")
    parser.add_argument("--time-limit", type=float, default=300.0, help="seconds per network")
    parser.add_argument("--peers", action="store_true", help="torch-pruning and FastNAS as well")
    parser.add_argument("--modelopt", help="Python of an environment with ModelOpt")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    return parser.parse_args()


def _by_size() -> list[str]:
    """All names, fewest parameters first; timm's begin with "timm/"."""
    sizes = {
        name: int(torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"])
        for name in torchvision.models.list_models(module=torchvision.models)
    }
    if "timm" in versions(["timm"]):
        with torch.device("meta"):
            sizes |= {f"timm/{n}": _count(_built(f"timm/{n}")) for n in TIMM}
    return sorted(sizes, key=lambda name: sizes[name])


def _in_a_process(name: str, *, quick: bool, limit_s: float) -> dict[str, Any]:
    """The child's result; its memory goes with it."""
    command = [sys.executable, __file__, "--one", name, *(["--quick"] if quick else [])]
    return _said(command, limit_s=limit_s)


def _peers(name: str, *, modelopt: str | None) -> dict[str, Any]:
    """What others make of the network."""
    pythons = {"torch-pruning": sys.executable, **({"fastnas": modelopt} if modelopt else {})}
    return {
        peer: _said([python, str(PEER), peer, name], limit_s=PEER_LIMIT_S)
        for peer, python in pythons.items()
    }


def _said(command: list[str], *, limit_s: float) -> dict[str, Any]:
    """The last line of what a process prints, as JSON."""
    try:
        done = subprocess.run(  # noqa: S603 # this very file
            command, capture_output=True, text=True, timeout=limit_s, check=False,
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"outcome": "failed", "why": f"not done within {limit_s:.0f} s"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"outcome": "failed", "why": last}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _measured(name: str, *, quick: bool) -> dict[str, Any]:
    warnings.simplefilter("ignore")  # of torch's exporter, in its hundreds
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    network, images = network_of(name, quick=quick)
    result: dict[str, Any] = {
        "params": _count(network), "size": images.shape[-1], "seconds": {},
    }  # fmt: skip
    try:
        dense = _timed(result, "trace", lambda: prunable(network, images[:4], seed=0))
        result |= _found(dense)
        if not dense.groups:
            result |= {"outcome": "refused", "why": reasons(dense.left_alone)}
            return result
        if result["params"] > LARGEST_PARAMS:
            result |= {"outcome": "traced", "why": f"above {LARGEST_PARAMS:,} parameters"}
            return result
        result |= _cut(dense, result)
    except TraceError as error:
        result |= {"outcome": "refused", "why": str(error)}
        return result
    smaller = result.pop("network")
    if not quick and smaller is not None:
        result |= _exported(smaller, images, result)
    result["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return result


def network_of(name: str, *, quick: bool = False) -> tuple[nn.Module, Tensor]:
    """A network of the zoo with random weights, and images [8 3 h w]."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251 # libraries draw their weights from it; forked
        network = _uneven(_built(name))
        size = _image_size(network, quick=quick)
        # Of unlike contrast, so that a network without normalisation tells them apart.
        images = torch.randn(8, 3, size, size) * torch.linspace(0.3, 3.0, 8).view(8, 1, 1, 1)
    return reestimate(network, [images]), images


def _found(dense: Prunable) -> dict[str, Any]:
    first = dense.left_alone[0].reason if dense.left_alone else ""
    inner = first.startswith("all but inner widths")
    return {
        "groups": len(dense.groups),
        "found_by": "forward pass" if inner else "torch-pruning",
        "left_alone": sorted({item.reason for item in dense.left_alone}),
    }


def _cut(dense: Prunable, result: dict[str, Any]) -> dict[str, Any]:
    """The outcome of the first ratio that can be reached."""
    complaint = "nothing can be cut"
    for ratio in RATIOS:
        try:
            candidate = _timed(result, "cut", lambda ratio=ratio: _candidate(dense, ratio))
        except UnreachableRatioError as error:
            complaint = str(error)
            continue
        return {
            "outcome": "pruned",
            "ratio": ratio,
            "params_kept": candidate.cost.params / dense.cost.params,
            "macs": dense.cost.macs,
            "macs_kept": candidate.cost.macs / dense.cost.macs,
            "difference": candidate.difference,
            "network": candidate.model,
        }
    return {"outcome": "refused", "why": complaint, "network": None}


def _candidate(dense: Prunable, ratio: float) -> Candidate:
    method = Method(importance="l2", allocation="uniform", align=8, compensate=False)
    return propose(dense, None, ratio=ratio, method=method, batches=[], seed=0)


def _exported(network: nn.Module, images: Tensor, result: dict[str, Any]) -> dict[str, Any]:
    try:
        content = _timed(result, "export", lambda: serialise(network, images[:2], metadata={}))
        parity = _timed(
            result, "parity", lambda: check_parity(network, content, images, batches=(1, 3))
        )
    except ExportError as error:
        return {"export": str(error)}
    return {"export": "equal", "parity": parity.max_relative_error, "file_mb": len(content) / 1e6}


def _timed(result: dict[str, Any], stage: str, act: Callable[[], Any]) -> Any:  # noqa: ANN401
    start = time.perf_counter()
    try:
        return act()
    finally:
        result["seconds"][stage] = round(time.perf_counter() - start, 2)


def _built(name: str) -> nn.Module:
    if name.startswith("timm/"):
        import timm  # noqa: PLC0415 # optional

        made: nn.Module = timm.create_model(name.removeprefix("timm/"), pretrained=False)
        return made
    # Without the heads that only training uses: they weigh half, and no image passes them here.
    plain = {"init_weights": False, "aux_logits": False}
    options = plain if name in {"googlenet", "inception_v3"} else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return network


def _uneven(network: nn.Module) -> nn.Module:
    """No parameter constant: a head of zeros or a layer scale of 1e-6 would hide a wrong cut."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                if parameter.dim() > 1 and not bool(parameter.any()):
                    parameter.normal_(std=0.02)
                elif not bool(parameter.any()):
                    parameter.uniform_(-0.1, 0.1)
                else:
                    parameter.uniform_(0.5, 1.5)
    return network.eval()


def _image_size(network: nn.Module, *, quick: bool) -> int:
    """224 px; 96 where that is asked for and the network runs on it."""
    if not quick:
        return 224
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, 96, 96))
    except (AssertionError, RuntimeError, ValueError):
        return 224
    return 96


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _save(found: Mapping[str, Mapping[str, Any]]) -> None:
    content = {
        "versions": versions(PACKAGES),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "1")),
        "networks": found,
    }
    with atomic_path(RESULTS) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    rows = [_row(name, found[name]) for name in found]
    with atomic_path(RESULTS.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join([*_HEAD, *rows, ""]), encoding="utf-8")


_COLUMNS = (
    "network", "px", "outcome", "found by", "groups", "parameters", "MACs", "difference",
    "trace s", "cut s", "export s", "ONNX", "torch-pruning alone", "FastNAS",
)  # fmt: skip
_HEAD = ("| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|")


def _row(name: str, result: Mapping[str, Any]) -> str:
    seconds = result.get("seconds", {})
    stages = [f"{seconds[s]:.1f}" if s in seconds else "" for s in ("trace", "cut", "export")]
    kept = [f"{result[k]:.1%}" if k in result else "" for k in ("params_kept", "macs_kept")]
    difference = f"{result['difference']:.0e}" if "difference" in result else ""
    outcome = str(result["outcome"]) + (f": {result['why']}" if "why" in result else "")
    parity = f"equal, {result['parity']:.0e}" if "parity" in result else result.get("export", "")
    known = [str(result.get(k, "")) for k in ("size", "found_by", "groups")]
    peers = [_peer(result.get("peers", {}).get(peer)) for peer in ("torch-pruning", "fastnas")]
    cells = [name, known[0], outcome, *known[1:], *kept, difference, *stages, str(parity), *peers]
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _peer(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return ""
    figures = [f"{told['why'][:80]}"] if "why" in told else []
    if told.get("difference") is not None:
        figures.append(f"differs by {told['difference']:.0e}")
    if told["outcome"] == "runs":
        figures.append(f"smallest has {told['macs_kept']:.0%} of the MACs")
    return ": ".join([str(told["outcome"]), *figures])


if __name__ == "__main__":
    main()
