"""What our own exporter writes into a file, read back; anybody may have written it."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

from onnx import ModelProto
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Per channel: (x / 255 - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Scaling(BaseModel):
    """The metadata ``compressor.preprocessing``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size: tuple[
        Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]
    ]
    """Channels, height, width."""
    mean: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    std: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    scale: Literal["pixel / 255"]
    layout: Literal["nchw", "nhwc"]
    inside: bool = False
    """Whether the network does it itself, and takes the pixels as they are."""
    resize: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Height and width to which the network brings its images, which have ``size``; None if it
    takes them as they are."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done with the pixels."""
        return Preprocessing(mean=self.mean, std=self.std)


_SCALING: Final = TypeAdapter(Scaling)
_NAMES: Final = TypeAdapter(tuple[str, ...])


def scaling_in(model: ModelProto) -> Scaling | None:
    """Size and normalisation of the images; None unless there and well-formed."""
    return _value(model, "preprocessing", _SCALING)


def class_names_in(model: ModelProto) -> tuple[str, ...] | None:
    """The names of the classes, in order; None unless there and well-formed."""
    return _value(model, "classes", _NAMES)


def _value(model: ModelProto, name: str, kind: TypeAdapter[_T]) -> _T | None:
    for entry in model.metadata_props:
        if entry.key == f"compressor.{name}":
            try:
                return kind.validate_json(entry.value)
            except ValidationError:
                return None  # Another tool's, of the same name: it says nothing to us.
    return None
