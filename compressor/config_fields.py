"""What the fields of compress.yaml are made of."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _no_text(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f"{value!r} is text; YAML wants a dot in a number, as in 5.0e-4")  # noqa: TRY004  pydantic collects ValueErrors only
    return value


def _percent(value: object) -> object:
    if not isinstance(value, str) or not value.endswith("%"):
        return _no_text(value)
    try:
        return float(value[:-1]) / 100.0
    except ValueError:
        raise ValueError(f"{value!r} is no share; write 0.6 or 60%") from None


Real = Annotated[float, BeforeValidator(_no_text)]

Share = Annotated[float, BeforeValidator(_percent)]
"""A number of 0..1, or text as "60%"."""


class Record(BaseModel):
    """Holds what a part of the file says; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
