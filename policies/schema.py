"""What a policy says: which drops are tolerated, on which shifts, shown with what certainty."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from policies.fields import Record
from policies.method import Looks, Method, Reuse
from policies.rules import Rule, ShiftRule, TaggedRule
from policies.speedup import MinSpeedup
from policies.waivers import FORBIDDEN, Waiver, Waivers, check_waivers

Ratio = Annotated[float, Field(gt=0.0, lt=1.0)]

Name = Annotated[str, Field(min_length=1, description="Name of the policy, as reports cite it.")]

Summary = Annotated[
    str, Field(min_length=1, description="What the policy is for, in one sentence.")
]

Alpha = Annotated[
    float,
    Field(
        gt=0.0,
        lt=0.5,
        description="Largest chance, over all shifts and ratios together, that a model is accepted "
        "although it exceeds some tolerance; with reuse, over all releases together too.",
    ),
]

MinImagesOfAll = Annotated[
    int,
    Field(
        ge=1,
        description="Images that each enforced rule must be measured on, at least; a rule may have "
        "a number of its own.",
    ),
]

Profile = Annotated[
    Literal["auto", "cifar-10-c", "tiny-imagenet-c", "imagenet-c"],
    Field(description="Table of what severities mean; auto chooses by the size of the images."),
]


class RatioBounds(Record):
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


class Policy(Record):
    """What may be lost when a model is pruned, and how surely more is not lost."""

    api_version: Literal["compress/v1"] = Field(
        alias="apiVersion", description="Version of this schema."
    )
    name: Name
    summary: Summary
    alpha: Alpha
    method: Method = "fixed"
    looks: Looks = Field(
        default=Looks(),
        description="When the gate looks and what each look spends; only with method: looks.",
    )
    reuse: Reuse | None = Field(
        default=None,
        description="How many releases share the gate's images, which divides alpha among them; "
        "left out, the images are for one.",
    )
    min_images: MinImagesOfAll
    min_speedup: MinSpeedup | None = Field(
        default=None,
        description="How much faster than the dense model a released one must be, as measured; "
        "one that keeps every tolerance and is not is rejected. Left out, nothing is asked.",
    )
    ratios: RatioBounds = Field(
        default=RatioBounds(), description="Which prune ratios may be tried."
    )
    shifts: tuple[TaggedRule, ...] = Field(
        min_length=1, description="The distributions that the model must survive."
    )
    profile: Profile = "auto"
    waivers: Waivers = Field(
        default=(),
        description="Enforced rules that, until a date, need not be passed, with the reason and "
        'who answers for it; or "forbidden", and there are none from elsewhere either.',
    )

    @field_validator("looks")
    @classmethod
    def _looks_go_with_their_method(cls, looks: Looks, info: ValidationInfo) -> Looks:
        method = info.data.get("method", "looks")  # where it is wrong itself, that is said already
        if method != "looks":
            raise ValueError(
                f"looks are taken with method: looks alone, and the method is {method}; remove "
                "looks, or change method"
            )
        return looks

    @field_validator("shifts")
    @classmethod
    def _rules_fit_together(cls, shifts: tuple[Rule, ...]) -> tuple[Rule, ...]:
        ids = [rule.id for rule in shifts]
        if "gate" in ids:
            raise ValueError('no rule is called "gate": so are the images of data.gate; rename it')
        if doubled := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
            raise ValueError(f"more than one rule for {', '.join(doubled)}; keep one")
        if not any(rule.enforced for rule in shifts):
            raise ValueError("no shift is enforced, so that every model would pass; enforce one")
        return shifts

    @field_validator("waivers")
    @classmethod
    def _waivers_fit_the_rules(cls, waivers: Waivers, info: ValidationInfo) -> Waivers:
        # Where the rules are wrong themselves, that is said already.
        if waivers and waivers != FORBIDDEN and "shifts" in info.data:
            check_waivers(waivers, info.data["shifts"])
        return waivers

    @model_serializer(mode="wrap")
    def _without_idle_looks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Looks that are not taken are not written: no policy file may have them.

        Nor is a speed-up that is not asked for: the digest of a policy that says nothing of it
        stays what it was.
        """
        content: dict[str, Any] = handler(self)
        if self.method != "looks":
            content.pop("looks", None)
        if self.min_speedup is None:
            content.pop("min_speedup", None)
        return content

    @property
    def enforced(self) -> tuple[Rule, ...]:
        """The rules that a model must pass, the waived ones among them."""
        return tuple(rule for rule in self.shifts if rule.enforced)

    @property
    def waived(self) -> tuple[Waiver, ...]:
        """The waivers that there are."""
        return () if self.waivers == FORBIDDEN else self.waivers

    @property
    def deciding(self) -> tuple[Rule, ...]:
        """The rules that stand in the way of a model: enforced, and not waived."""
        waived = {waiver.shift for waiver in self.waived}
        return tuple(rule for rule in self.enforced if rule.id not in waived)

    @property
    def alpha_per_release(self) -> float:
        """Largest chance that one release is accepted although it exceeds some tolerance."""
        return self.alpha / (1 if self.reuse is None else self.reuse.releases)

    def shared_among(self, sequences: int) -> Self:
        """The same policy as each of several sequences of candidates is judged by.

        With an equal share of alpha each, a model that exceeds some tolerance is accepted in any
        of them with a chance of at most alpha (Bonferroni).
        """
        if sequences == 1:
            return self
        return self.model_copy(update={"alpha": self.alpha / sequences})

    def alpha_at(self, look: int) -> float:
        """The level of one test at this look, the first being 1.

        Raises:
            ValueError: the method has no such look.
        """
        last = {"fixed": 1, "looks": len(self.looks.spend), "anytime": look}[self.method]
        if not 1 <= look <= last:
            looks = "1, 2, ..." if self.method == "anytime" else f"1..{last}"
            raise ValueError(f"the method {self.method} has the looks {looks}, not {look}")
        share = self.looks.spend[look - 1] if self.method == "looks" else 1.0
        return self.alpha_per_release * share

    def images_needed(self, rule: Rule) -> int:
        """How many images this rule must be measured on, at least."""
        return self.min_images if rule.min_images is None else rule.min_images

    def canonical(self) -> bytes:
        """Everything the policy says, as JSON in the one form that ``digest`` is of."""
        content = self.model_dump(mode="json", by_alias=True)
        for rule, written in zip(self.shifts, content["shifts"], strict=True):
            # The id that the rule has anyway says nothing.
            if isinstance(rule, ShiftRule) and rule.id == rule.derived_id:
                written["id"] = None
        if not self.waivers:
            del content["waivers"]
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    def digest(self) -> str:
        """Hexadecimal sha256 of everything the policy says; layout and comments do not count."""
        return hashlib.sha256(self.canonical()).hexdigest()
