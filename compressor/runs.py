"""What a run leaves behind: one folder, owned by one process, every file whole.

The plan is written before the gate's images are touched; what is found afterwards is only valid
under it. A run that was killed goes on from its files, and a folder of another job is refused.
"""

import fcntl
import importlib.metadata
import io
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from compressor.files import digest, write_atomically
from compressor.wording import few
from gates import Evidence
from gates.answers import Answers

_VERSIONED: Final = (
    "compressor", "torch", "torchvision", "torch-pruning", "numpy", "scipy", "pillow", "onnx",
    "onnxscript",
)  # fmt: skip
_EVIDENCE: Final = TypeAdapter(Evidence)

Plan = Mapping[str, object]
"""What ``plan.lock`` holds: JSON values by name, nested."""


class RunError(ValueError):
    """The run folder cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Where the files of one run are. Only ``opened`` makes one."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "plan.lock"

    @property
    def policy(self) -> Path:
        return self.path / "policy.json"

    @property
    def dense(self) -> Path:
        return self.path / "dense.onnx"

    @property
    def model(self) -> Path:
        return self.path / "model.onnx"

    @property
    def evidence(self) -> Path:
        return self.path / "evidence.jsonl"

    @property
    def speeds(self) -> Path:
        """How fast the last accepted candidates were measured to be."""
        return self.path / "speeds.json"

    @property
    def use(self) -> Path:
        """Which line of the ledger of the gate's images is this run's."""
        return self.path / "use.json"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    def candidate(self, name: str) -> Path:
        """Folder of one candidate."""
        return self.path / "candidates" / name

    def answers(self, sha256: str, measurement: str) -> Path:
        """What the file with this digest answered to the gate's images under this distribution.

        By digest, so that a candidate that is made again never inherits another file's answers.
        """
        return self.path / "answers" / sha256[:16] / f"{measurement}.npy"

    def rehearsal(self, sha256: str, measurement: str) -> Path:
        """The same for images that are not the gate's."""
        return self.path / "rehearsal" / sha256[:16] / f"{measurement}.npy"


@contextmanager
def opened(path: Path) -> Iterator[RunFolder]:
    """The run folder, for this process alone; made if it is not there.

    Raises:
        RunError: another process works in it, the path is no folder, or the folder has files that
            no run left, which a run could overwrite.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RunError(
            f"{path} cannot be a folder, for there is a file in its place; give another run "
            "folder with --run"
        ) from error
    _check_own(path)
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise RunError(
                f"another run is working in {path}; wait for it, or give another folder with --run"
            ) from busy
        # What a killed process was about to write.
        for leftover in path.rglob(".*.tmp"):
            leftover.unlink()
        yield RunFolder(path=path)


def lock_plan(run: RunFolder, plan: Plan) -> str:
    """Write the plan, or check that the folder already has this very one; its digest.

    Raises:
        RunError: the folder belongs to another job; says what differs.
    """
    text = _plan_text(plan)
    if run.plan.exists():
        differing = _differences(_read_plan(run), json.loads(text))
        if differing:
            raise RunError(
                f"{run.path} belongs to another job: {'; '.join(differing[:5])}; give another "
                "folder with --run, or delete this one"
            )
    else:
        write_atomically(run.plan, text.encode())
    return digest(text)


def planned_before(path: Path, entry: str) -> object | None:
    """What the plan in this folder says under ``entry``; None without one.

    Raises:
        RunError: the plan is damaged.
    """
    run = RunFolder(path=path)
    plan = _read_plan(run) if run.plan.exists() else None
    return plan.get(entry) if isinstance(plan, dict) else None


def plan_digest(plan: Plan) -> str:
    """What ``lock_plan`` returns, before there is a folder."""
    return digest(_plan_text(plan))


def versions() -> dict[str, str]:
    """Versions that results depend on, by the names that packages are installed by."""
    installed = {name: importlib.metadata.version(name) for name in _VERSIONED}
    for runtime in ("onnxruntime-gpu", "onnxruntime"):
        try:
            installed[runtime] = importlib.metadata.version(runtime)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **installed}


def read_evidence(run: RunFolder) -> tuple[Evidence, ...]:
    """All evidence of the run so far.

    Raises:
        RunError: a line is not evidence; the file was edited.
    """
    if not run.evidence.exists():
        return ()
    lines = run.evidence.read_bytes().splitlines()
    try:
        return tuple(_EVIDENCE.validate_json(line) for line in lines)
    except ValidationError as error:
        raise RunError(f"{run.evidence} is damaged: {error}") from error


def write_evidence(run: RunFolder, evidence: Sequence[Evidence]) -> None:
    """Replace the evidence file by ``evidence``, one line each, in their order."""
    lines = [_EVIDENCE.dump_json(item) + b"\n" for item in evidence]
    write_atomically(run.evidence, b"".join(lines))


def read_answers(path: Path) -> Answers | None:
    """Saved answers; None when there are none yet.

    Raises:
        RunError: there is a file that holds none.
    """
    if not path.exists():
        return None
    try:
        answers: Answers = np.load(path)
    except (ValueError, EOFError, OSError) as error:
        raise RunError(
            f"{path} is damaged ({error}); delete it, and it is measured again"
        ) from error
    return answers


def write_answers(path: Path, answers: Answers) -> None:
    """Save answers."""
    content = io.BytesIO()
    np.save(content, answers)
    write_atomically(path, content.getvalue())


def _check_own(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    foreign = [n for n in sorted(names) if n != ".lock" and not n.startswith(".plan.lock.")]
    if "plan.lock" not in names and foreign:
        raise RunError(
            f"{path} holds {few(foreign)}, and no plan.lock: it is not the folder of a run; give "
            "an empty or a new one with --run"
        )


def _plan_text(plan: Plan) -> str:
    return json.dumps(plan, indent=2, sort_keys=True) + "\n"


def _read_plan(run: RunFolder) -> object:
    try:
        return json.loads(run.plan.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            f"{run.plan} is damaged ({error}); give another folder with --run, or delete this one"
        ) from error


def _differences(old: object, new: object, *, path: str = "") -> list[str]:
    """Dotted keys whose values differ, with both values, shortened."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted(old.keys() | new.keys())
            for line in _differences(
                old.get(key), new.get(key), path=f"{path}.{key}" if path else key
            )
        ]
    if old == new:
        return []
    return [f"{path} was {_short(old)} and is {_short(new)}"]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
