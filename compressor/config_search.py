"""What compress.yaml may say about which channels go."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from compressor.config_fields import Real, Record, Share


class Search(Record):
    """Which candidates are made."""

    ratios: tuple[Annotated[Share, Field(gt=0, lt=1)], ...] = Field(
        default=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        min_length=1,
        description="shares to remove, as 0.6 or 60%, ascending; the gate goes on only while each "
        "is accepted",
    )
    of: Literal["params", "macs", "latency"] = Field(
        default="params",
        description="what a ratio is a share of: parameters, multiply-adds, or the time of the "
        "layers, each measured at several widths in ONNX Runtime on latency.provider",
    )
    latency_batch: int = Field(
        default=1, ge=1, description="images per call for which layers are timed, if of is latency"
    )
    align: int = Field(default=8, ge=1, description="channels stay a multiple of this")
    importance: str = Field(
        default="l2",
        description="score by which channels are kept: l2, l1, bn_scale, bn_scale_or_l2, fpgm, "
        "lamp (weights alone), taylor, obd, quadratic, pfp, thinet, activation (training "
        "images), random",
    )
    allocation: str = Field(
        default="global",
        description="how a ratio is spread over the layers: uniform, global, isomorphic, pfp, or "
        "knapsack, which keeps the most importance per unit of what of says",
    )
    steps: int = Field(
        default=1,
        ge=1,
        description="equal steps in which each cut is made; scores are estimated anew between them",
    )
    regulariser: Real = Field(
        default=0.0,
        ge=0,
        description="weight of half the squared norm of what is removed, in importances that model "
        "the loss: keeps them near the weights where they hold",
    )
    compensate: bool = Field(
        default=True,
        description="what removed channels gave on average goes into the next layer's bias",
    )

    @model_validator(mode="after")
    def _ascending(self) -> "Search":
        if any(low >= high for low, high in pairwise(self.ratios)):
            raise ValueError(f"ratios must rise strictly, not {list(self.ratios)}")
        return self
