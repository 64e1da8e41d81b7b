"""study.json: everything that a study found, schema-versioned, the source of truth."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from compressor.study.analyses.curves import Point
from compressor.study.analyses.excess import Excess, Line
from compressor.study.analyses.losses import Correlation, Loss
from compressor.study.analyses.potential import Overparameterisation, Potential
from compressor.study.analyses.ranking import Entry
from compressor.study.analyses.rows import Network
from compressor.study.analyses.shrinkbench import Row, Summary
from compressor.study.analyses.similarity import Alike
from compressor.study.trials import Json


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Failure(_Record):
    """A trial that crashed."""

    kind: str
    about: dict[str, Json]
    trial: str
    error: str = Field(description="its traceback")


class Trials(_Record):
    """How many there are, and what became of them."""

    planned: int
    done: int
    failed: int
    missing: int = Field(description="never begun: what they start from failed")
    failures: list[Failure]


class Asked(_Record):
    """The images that networks were asked about."""

    of: Literal["gate", "tune"]
    count: int
    digest: str
    train_digest: str
    classes: list[str]
    use: int | None = Field(
        default=None, description="which use of the gate's images this is, by their ledger"
    )
    entry: str | None = Field(default=None, description="digest of the ledger's line")


class DenseNetwork(_Record):
    """What the study started from."""

    seed: int
    source: str
    sha256: str
    params: int
    macs: int
    accuracy: float = Field(description="on the images asked about, as they are")


class Informative(_Record):
    """How sure a network is of an image's class, on the whole and on the pixels it goes by."""

    network: str
    n: int
    pixels: int
    confidence_whole: float
    confidence_kept: float
    trial: str


class Crossed(_Record):
    """Confidence in the image's class of every network (column) on every one's pixels (row)."""

    networks: list[str]
    n: int
    matrix: list[list[float]]


class Effort(_Record):
    """What the last invocation took."""

    engine: str
    workers: int
    seconds: float
    worked: float = Field(description="seconds inside the trials that it did, over all workers")
    all_trials: float = Field(description="seconds inside all trials, of every invocation")


class StudyReport(_Record):
    """The whole study."""

    schema_version: Literal[1] = 1
    name: str
    command: str
    grid: dict[str, Json]
    asked: Asked
    dense: list[DenseNetwork]
    trials: Trials
    networks: list[Network]
    curves: list[Point]
    potentials: list[Potential]
    overparameterisation: list[Overparameterisation]
    excess: list[Excess]
    excess_lines: list[Line]
    similarity: list[Alike]
    standard: list[Row]
    standard_summary: list[Summary]
    features: list[Informative]
    cross: Crossed | None
    losses: list[Loss]
    loss_correlations: list[Correlation]
    entries: list[Entry] = Field(description="for comparison with other studies")
    versions: dict[str, str]
    effort: Effort
