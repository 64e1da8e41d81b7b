"""What compress.yaml may say where nothing is judged: the gate's images may be left out."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from compressor.config_export import Export
from compressor.config_schema import (
    Classes,
    ExportField,
    Input,
    Latency,
    LatencyField,
    Ledger,
    Model,
    ModelField,
    Retrain,
    RetrainField,
    SearchField,
    Seed,
    Tune,
    TuneSplit,
)
from compressor.config_search import Search
from compressor.config_sources import Source

_STRICT: Final = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class PruneData(BaseModel):
    """Where the images are, when nothing is judged."""

    model_config = _STRICT

    classes: Classes = None
    train: Source | None = Field(
        default=None,
        description="for retraining, for BatchNorm statistics and for importances that look at "
        "images; without any of these nothing is read",
    )
    tune: TuneSplit = Tune()
    gate: Source | None = Field(default=None, description="not read")
    ledger: Ledger = None


class PruneProject(BaseModel):
    """The contents of compress.yaml, of which one cut needs less."""

    model_config = _STRICT

    model: ModelField = Model()
    input: Input = Field(description="what the network takes")
    data: Annotated[PruneData, Field(description="where the images are")] = PruneData()
    retrain: RetrainField = Retrain()
    search: SearchField = Search()
    export: ExportField = Export()
    latency: LatencyField = Latency()
    seed: Seed = 0
