"""What every trial of a study is given: small, plain, and sent to every worker."""

from dataclasses import dataclass
from pathlib import Path

from compressor.config import PruneProject
from compressor.files import digest
from compressor.study.grid_schema import Grid
from compressor.study.trial_ledger import TrialLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the user asked for, and where things are."""

    grid: Grid
    project: PruneProject
    models: Path
    """The folder that ``grid.model`` starts from."""
    root: Path
    """The project's folder: relative paths and the user's own code start here."""
    out: Path
    device: str
    """``cpu`` or ``cuda``."""
    trusted: tuple[str, ...] = ()

    @property
    def ledger(self) -> TrialLedger:
        return TrialLedger(path=self.out / "ledger.jsonl")

    @property
    def locks(self) -> Path:
        """One byte of this file is locked for each trial in work."""
        return self.out / ".locks"

    def model_file(self, seed: int) -> Path:
        """The dense network of a seed; all seeds have the same unless the name says otherwise."""
        return self.models / self.grid.model.replace("{seed}", str(seed))

    def folder(self, trial: str) -> Path:
        """Where the files of a trial are."""
        return self.out / "trials" / trial[:24]

    def checkpoint(self, trial: str) -> Path:
        """Where a retraining goes on that was interrupted."""
        return self.folder(trial) / "training.safetensors"

    @property
    def key(self) -> str:
        """Two setups with the same read the same."""
        return digest(
            self.grid.model_dump_json(), self.project.model_dump_json(), repr(self.trusted),
            *map(str, (self.models, self.root, self.out, self.device)),
        )  # fmt: skip
