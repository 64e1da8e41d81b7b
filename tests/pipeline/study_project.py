"""A study of the small network of these tests, small enough for seconds."""

from pathlib import Path

from compressor.config import load_prune_project
from compressor.study.crew import Crew
from compressor.study.grid import load_grid
from compressor.study.job import Ran, run
from compressor.study.setup import Setup
from compressor.study.trial_ledger import Record
from compressor.study.trials import Json
from compressor.terminal import Silent

GRID = """\
apiVersion: compress-study/v1
name: tiny
model: model.pt
methods:
  l2: {importance: l2}
  taylor: {importance: taylor, steps: 2}
  wt: {mask: magnitude}
ratios: [0.3, 2x]
images: {of: gate, count: 200}
shifts: {train: [clean], held_out: [gaussian_noise-3, contrast-5]}
noise: {levels: [0.0, 0.5], images: 50, draws: 2}
retrain: {epochs: 1, lr: 0.02, batch_size: 100, augment: []}
parts: [potential, excess, similarity]
base: {epochs: 2, lr: 0.05, scratch: [0.3]}
"""

TRIALS = 3 + 2 + 6 * 5 + 1
"""Dense answers; the control and its similarity; of each network prune, 3 answers, similarity;
from scratch."""


def setup_of(root: Path, folder: Path, text: str = GRID) -> Setup:
    """The study that ``text`` describes, of the project in ``root``, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "study.yaml"
    file.write_text(text)
    return Setup(
        grid=load_grid(file),
        project=load_prune_project(root / "compress.yaml"),
        models=root,
        root=root,
        out=folder / "out",
        device="cpu",
    )


def done(setup: Setup, *, engine: str = "serial", again: bool = False, workers: int = 2) -> Ran:
    """Everything that is not done yet."""
    return run(setup, engine=engine, crew=Crew(workers=workers), again=again, watch=Silent())


def found(records: dict[str, Record]) -> dict[str, Json]:
    """What trials found, by id, without how long their epochs took."""
    plain = {}
    for name, record in records.items():
        facts = dict(record.found)
        if "epochs" in facts:
            facts["epochs"] = [{**epoch, "seconds": None} for epoch in facts["epochs"]]
        plain[name] = (record.status, facts)
    return plain
