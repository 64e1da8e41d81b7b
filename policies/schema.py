"""What a policy says: which drops are tolerated, on which shifts, shown with what certainty."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from policies.rules import FolderRule, Rule, TaggedRule

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
        ge=1,
        description="Images that each enforced rule must be measured on, at least; a rule with a "
        "folder may have a number of its own.",
    )
    ratios: RatioBounds = Field(
        default=RatioBounds(), description="Which prune ratios may be tried."
    )
    shifts: tuple[TaggedRule, ...] = Field(
        min_length=1, description="The distributions that the model must survive."
    )
    profile: Literal["auto", "cifar-10-c", "tiny-imagenet-c", "imagenet-c"] = Field(
        default="auto",
        description="Table of what severities mean; auto chooses by the size of the images.",
    )

    @field_validator("shifts")
    @classmethod
    def _rules_fit_together(cls, shifts: tuple[Rule, ...]) -> tuple[Rule, ...]:
        ids = [rule.id for rule in shifts]
        if doubled := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
            raise ValueError(f"more than one rule for {', '.join(doubled)}; keep one")
        if not any(rule.enforced for rule in shifts):
            raise ValueError("no shift is enforced, so that every model would pass; enforce one")
        return shifts

    @property
    def enforced(self) -> tuple[Rule, ...]:
        """The rules that a model must pass."""
        return tuple(rule for rule in self.shifts if rule.enforced)

    def images_needed(self, rule: Rule) -> int:
        """How many images this rule must be measured on, at least."""
        if isinstance(rule, FolderRule) and rule.min_images is not None:
            return rule.min_images
        return self.min_images

    def digest(self) -> str:
        """Hexadecimal sha256 of everything the policy says; layout and comments do not count."""
        content = self.model_dump(mode="json", by_alias=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
