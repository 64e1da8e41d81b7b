"""Images of a run on which the dense and the pruned model part: a small file in its folder.

A page shows them without the data set. They illustrate; no verdict rests on them.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SAMPLES: Final = "samples.json"

PICTURE: Final = r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sample(_Record):
    """One image, as both models saw it, and what they said."""

    image: str = Field(description="its name in the data set")
    draw: int = Field(description="which of the rule's draws, from 0")
    picture: str = Field(pattern=f"^{PICTURE}$", description="PNG or JPEG, as a data URI")
    label: str | None = Field(description="its class; None where nobody knows")
    dense: str = Field(description="the class that the dense model gave")
    dense_confidence: float
    pruned: str = Field(description="the class that the pruned model gave")
    pruned_confidence: float
    differs: bool = Field(description="whether the two gave different classes")


class ShiftSamples(_Record):
    """What was chosen of one rule's images."""

    shift: str
    answers: int = Field(description="images counted in the cell, once for each draw")
    different: int = Field(description="of these, how many the two gave different classes")
    samples: list[Sample]


class Samples(_Record):
    """What was chosen for one candidate."""

    schema_version: Literal[1] = 1
    candidate: str = Field(description="sha256 of the judged file")
    dense: str = Field(description="sha256 of dense.onnx")
    name: str = Field(description="what people call the candidate")
    position: int = Field(description="its place in the sequence, from 0")
    shifts: list[ShiftSamples]
