"""What compress.yaml may say about which channels go."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from compressor.config_fields import Real, Record, Share

_TARGET: Final = re.compile(r"(\d+(?:\.\d+)?) ?ms@batch=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTarget:
    """How long a batch may take."""

    ms: float
    batch: int

    def __str__(self) -> str:
        return f"{self.ms:g}ms@batch={self.batch}"


def parse_target(text: str) -> LatencyTarget:
    """What "2.0ms@batch=8" says.

    Raises:
        ValueError: it is written otherwise, or asks for nothing.
    """
    found = _TARGET.fullmatch(text)
    if found is None or not float(found[1]) > 0 or not int(found[2]):
        raise ValueError(f"{text!r} is no latency; write milliseconds and batch as 2.0ms@batch=8")
    return LatencyTarget(ms=float(found[1]), batch=int(found[2]))


class Search(Record):
    """Which candidates are made."""

    ratios: tuple[Annotated[Share, Field(gt=0, lt=1)], ...] = Field(
        default=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        min_length=1,
        # A list, as files give it: after a look at the whole section pydantic wants a tuple else.
        strict=False,
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
    target_latency: str | None = Field(
        default=None,
        description="how long a batch may take on latency.provider, as 2.0ms@batch=8; the smallest "
        "ratio whose file is that fast is then the only one that is judged, whatever ratios says",
    )
    align: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="channels stay a multiple of this; auto is 8 from 32 channels on and 4 below "
        "that, or 2 or 1 in layers that had fewer than 16 or 8",
    )
    importance: str = Field(
        default="l2",
        description="score by which channels are kept: l2, l1, bn_scale, bn_scale_or_l2, fpgm, "
        "lamp (weights alone), taylor, obd, quadratic, pfp, thinet, activation, ablation "
        "(training images), random; left out, ablation for the allocation knapsack, else l2",
    )
    allocation: str = Field(
        default="global",
        description="how a ratio is spread over the layers: uniform, global, isomorphic, pfp, or "
        "knapsack, which keeps the most importance per unit of what of says; left out, global for "
        "params and knapsack for macs and latency",
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
    exchanges: int = Field(
        default=0,
        ge=0,
        description="whole networks that are measured on training images, to exchange channels of "
        "one layer for another's where less is lost so; 0: the allocation's choice is taken",
    )
    compensate: bool = Field(
        default=True,
        description="what removed channels gave on average goes into the next layer's bias",
    )

    time_limit_s: Real = Field(
        default=30.0,
        gt=0,
        description="seconds in which it is found what can be cut; more for the largest networks",
    )

    @field_validator("target_latency")
    @classmethod
    def _is_a_latency(cls, text: str | None) -> str | None:
        if text is not None:
            parse_target(text)
        return text

    @property
    def target(self) -> LatencyTarget | None:
        """The target, read."""
        return None if self.target_latency is None else parse_target(self.target_latency)

    @model_validator(mode="before")
    @classmethod
    def _unsaid(cls, given: Any) -> Any:  # noqa: ANN401 # what was handed in
        if not isinstance(given, dict):
            return given
        # By parameters the knapsack empties the last, widest layers, which compute little.
        spread = "global" if given.get("of", "params") == "params" else "knapsack"
        # It weighs losses of one layer against those of another, so they must be losses.
        chosen = "ablation" if given.get("allocation", spread) == "knapsack" else "l2"
        return {"allocation": spread, "importance": chosen, **given}

    @model_validator(mode="after")
    def _ascending(self) -> "Search":
        if any(low >= high for low, high in pairwise(self.ratios)):
            raise ValueError(f"ratios must rise strictly, not {list(self.ratios)}")
        return self
