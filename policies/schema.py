"""What a policy says: which drops are tolerated, on which shifts, shown with what certainty."""

import hashlib
import json
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

CLEAN: Final = "clean"
"""Name of the shift that is none: the data as they are."""

Ratio = Annotated[float, Field(gt=0.0, lt=1.0)]


class _Record(BaseModel):
    """Fields and nothing else: no unknown keys, no conversions, no changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RatioBounds(_Record):
    """Which prune ratios may be tried, and in which order."""

    smallest: Ratio = Field(
        default=0.05, description="Smallest ratio to try: share of parameters removed, 0..1."
    )
    largest: Ratio = Field(
        default=0.95, description="Largest ratio to try: share of parameters removed, 0..1."
    )
    order: Literal["ascending"] = Field(
        default="ascending",
        description="Order of judgement. Only in ascending order, up to the first ratio that is "
        "not accepted, does each ratio keep the full alpha.",
    )

    @model_validator(mode="after")
    def _smallest_is_not_larger(self) -> Self:
        if self.smallest > self.largest:
            raise ValueError(f"smallest ({self.smallest}) is larger than largest ({self.largest})")
        return self


class ShiftRule(_Record):
    """One distribution that the pruned model must survive, and how well."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        description='Name of the shift, for example "gaussian_noise"; "clean" is the data as is.',
    )
    severity: int | None = Field(
        default=None,
        ge=1,
        le=5,
        description='Strength of the shift, 1 (mild) to 5 (severe); none for "clean", and only.',
    )
    tolerance: float = Field(
        gt=0.0,
        lt=1.0,
        description="Largest accepted drop in top-1 accuracy, dense minus pruned, absolute: "
        "0.02 is two percentage points.",
    )
    reason: str = Field(
        min_length=1, description="Why this tolerance; read by whoever reviews the policy."
    )
    enforced: bool = Field(
        default=True, description="Whether a model must pass; if not, the result is only reported."
    )
    accounted: bool = Field(
        default=False,
        description="Whether retraining may use this shift; if not, it is held out and tests "
        "what the model was not prepared for.",
    )

    @model_validator(mode="after")
    def _severity_goes_with_a_shift(self) -> Self:
        if self.name == CLEAN and self.severity is not None:
            raise ValueError('"clean" has no severity; remove it')
        if self.name != CLEAN and self.severity is None:
            raise ValueError(f"{self.name!r} needs a severity, 1 (mild) to 5 (severe)")
        return self

    @property
    def id(self) -> str:
        """Name and severity, for example ``gaussian_noise-3``; or ``clean``."""
        return self.name if self.severity is None else f"{self.name}-{self.severity}"


class Policy(_Record):
    """What may be lost when a model is pruned, and how surely more is not lost."""

    api_version: Literal["compress/v1"] = Field(
        alias="apiVersion", description="Version of this schema."
    )
    name: str = Field(min_length=1, description="Name of the policy, as reports cite it.")
    summary: str = Field(min_length=1, description="What the policy is for, in one sentence.")
    alpha: float = Field(
        gt=0.0,
        lt=0.5,
        description="Largest chance, over all shifts and ratios together, that a model is accepted "
        "although it exceeds some tolerance.",
    )
    min_images: int = Field(
        ge=1, description="Images that each enforced shift must be measured on, at least."
    )
    ratios: RatioBounds = Field(
        default=RatioBounds(), description="Which prune ratios may be tried."
    )
    shifts: tuple[ShiftRule, ...] = Field(
        min_length=1, description="The distributions that the model must survive."
    )
    profile: Literal["auto", "cifar-10-c", "tiny-imagenet-c", "imagenet-c"] = Field(
        default="auto",
        description="Table of what severities mean; auto chooses by the size of the images.",
    )

    @field_validator("shifts")
    @classmethod
    def _rules_fit_together(cls, shifts: tuple[ShiftRule, ...]) -> tuple[ShiftRule, ...]:
        ids = [rule.id for rule in shifts]
        if doubled := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
            raise ValueError(f"more than one rule for {', '.join(doubled)}; keep one")
        if not any(rule.enforced for rule in shifts):
            raise ValueError("no shift is enforced, so that every model would pass; enforce one")
        return shifts

    @property
    def enforced(self) -> tuple[ShiftRule, ...]:
        """The rules that a model must pass."""
        return tuple(rule for rule in self.shifts if rule.enforced)

    def digest(self) -> str:
        """Hexadecimal sha256 of everything the policy says; layout and comments do not count."""
        content = self.model_dump(mode="json", by_alias=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
