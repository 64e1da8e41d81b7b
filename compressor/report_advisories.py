"""The part of a run's record that is told beside the verdict and decides nothing."""

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationReport(_Record):
    """Expected calibration errors, 0..1: how far confidence is from accuracy."""

    dense: float
    pruned: float
    growth: float = Field(description="pruned minus dense; positive is worse")
    interval: tuple[float, float] = Field(description="of the growth, 95 %, a bootstrap's")


class ClassDropReport(_Record):
    """The class that lost most accuracy."""

    name: str
    drop: float
    interval: tuple[float, float] = Field(
        description="of the drop, so wide that it holds with 95 % for all classes at once"
    )
    n: int = Field(description="images of the class")


class ClassOverlapReport(_Record):
    """The class whose overlap fell most: intersection over union, over all pixels together."""

    name: str
    dense: float
    pruned: float
    drop: float = Field(description="dense minus pruned; positive is worse")
    interval: tuple[float, float] = Field(
        description="of the drop, so wide that it holds with 95 % for all classes at once; a "
        "bootstrap's"
    )
    n: int = Field(description="images that show the class")


class OverlapReport(_Record):
    """Mean intersection over union (mIoU), 0..1, over the classes that a mask shows."""

    dense: float
    pruned: float
    drop: float = Field(description="dense minus pruned; positive is worse")
    interval: tuple[float, float] = Field(description="of the drop, 95 %, a paired bootstrap's")
    classes: int = Field(description="that the mean is over")
    worst_class: ClassOverlapReport
