"""The results of the compression benchmark, judged by the command that judges any files."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.compression_setup import Setup
from compressor.files import write_atomically

_COMMAND: Final = (sys.executable, "-c", "from compressor.cli import main; main()", "gate")

_DECIDED: Final = {0: "accepted", 3: "rejected", 4: "undecided"}
"""Exit codes of a verdict; all others say that there is none."""


def judged(out: Path, setup: Setup, *, policy: str, data: Path) -> None:
    """One verdict for each method and seed, its points in rising order; what is there stays.

    Each sequence has a ledger of its own: no network here is released, and one count for all
    would make the verdicts depend on the order of the methods.
    """
    _project(out, setup, data)
    (out / "gates").mkdir(exist_ok=True)
    sequences: dict[tuple[str, int], list[tuple[Path, Mapping[str, Any]]]] = {}
    for file in (out / "results").glob("*.json"):
        result = json.loads(file.read_text(encoding="utf-8"))
        if "why" not in result:
            key = (result["method"], result["seed"])
            sequences.setdefault(key, []).append((file.with_suffix(".onnx"), result))
    dense = json.loads((out / "dense.json").read_text(encoding="utf-8"))
    for (method, seed), members in sorted(sequences.items()):
        members.sort(key=lambda member: member[1]["speedup"])
        points = "-".join(f"{result['speedup']:g}" for _, result in members)
        name = f"{Path(policy).stem}-{method.replace(':', '-')}-{points}-{seed}"
        file = out / "gates" / f"{name}.json"
        if not file.exists():
            facts = _gate(out, name, [path for path, _ in members], policy)
            verdict = _worded(facts, [result for _, result in members], dense["macs"])
            said = {"method": method, "seed": seed, "policy": policy, **verdict}
            write_atomically(file, json.dumps(said, indent=1).encode())


def _project(out: Path, setup: Setup, data: Path) -> None:
    """What the gate has to know: it lies where the decoded images are."""
    content = {
        "input": setup.project.input.model_dump(mode="json"),
        "data": {
            "train": {"folder": str(data / "train")},
            "gate": {"folder": str(data / "test")},
        },
    }
    write_atomically(out / "compress.yaml", yaml.safe_dump(content).encode())


def _gate(out: Path, name: str, files: Sequence[Path], policy: str) -> dict[str, Any]:
    """The exit code and the report, if there is one."""
    run = out / "gate-runs" / name
    options = [
        "--dense", out / "dense.onnx", "--policy", policy, "--project", out / "compress.yaml",
        "--run", run, "--set", f"data.ledger={json.dumps(str((run / 'ledger.jsonl').resolve()))}",
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603 # our own command
        [*_COMMAND, *map(str, files), *map(str, options)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = run / "report.json"
    found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    return {"code": done.returncode, "said": done.stderr.strip(), "report": found}


def _worded(
    facts: Mapping[str, Any], results: Sequence[Mapping[str, Any]], dense_macs: int
) -> dict[str, Any]:
    """Which points pass; ``results`` in the order in which they were judged."""
    if facts["code"] not in _DECIDED or facts["report"] is None:
        last = (facts["said"].splitlines() or [f"exit code {facts['code']}"])[-1]
        return {"verdict": f"none: {last}", "accepted": None, "gone": None, "outcomes": {}}
    outcomes = [step["outcome"] for step in facts["report"]["steps"]]
    accepted = [
        result for result, outcome in zip(results, outcomes, strict=False) if outcome == "accepted"
    ]
    return {
        "verdict": _DECIDED[facts["code"]],
        "accepted": accepted[-1]["speedup"] if accepted else None,
        "gone": 1.0 - accepted[-1]["macs"] / dense_macs if accepted else None,
        "outcomes": {
            f"{result['speedup']:g}": outcome
            for result, outcome in zip(results, outcomes, strict=False)
        },
    }
