"""What a policy file may say that extends other policies."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Discriminator, Field, Tag, field_validator, model_validator

from policies.fields import Accounted, Enforced, MinImages, Reason, Record, RuleId, Tolerance
from policies.method import Looks, Method, Reuse
from policies.rules import KINDS, FolderRule, MixtureRule, ShiftRule, kind_of
from policies.schema import Alpha, MinImagesOfAll, Name, Profile, RatioBounds, Summary
from policies.speedup import MinSpeedup
from policies.waivers import Waivers


class Change(Record):
    """Other fields for a rule of a parent; what is left out stays as it is there."""

    id: RuleId
    tolerance: Tolerance | None = None
    enforced: Enforced | None = None
    accounted: Accounted | None = None
    min_images: MinImages = None
    reason: Reason

    @model_validator(mode="after")
    def _says_what_it_gives(self) -> Self:
        _refuse_nulls(self)
        return self

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields that are given, without the id."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "id"}


class Drop(Record):
    """A rule of a parent that is left out."""

    id: RuleId
    reason: str = Field(min_length=1, description="Why nothing needs to be promised there.")


def _kind(value: object) -> str | None:
    if isinstance(value, Mapping) and "id" in value and not value.keys() & KINDS.keys():
        return "Change"
    return kind_of(value)


RuleOrChange = Annotated[
    Annotated[ShiftRule, Tag("ShiftRule")]
    | Annotated[MixtureRule, Tag("MixtureRule")]
    | Annotated[FolderRule, Tag("FolderRule")]
    | Annotated[Change, Tag("Change")],
    Discriminator(
        _kind,
        custom_error_type="rule",
        custom_error_message="a new rule has exactly one of name (one shift), mixture (several "
        "shifts) and folder (images of your own); a change has the id of a parent's rule",
    ),
]


class Extension(Record):
    """A policy file that says in what it differs from the policies that it extends."""

    api_version: Literal["compress/v1"] = Field(
        alias="apiVersion", description="Version of this schema."
    )
    name: Name
    summary: Summary
    extends: str | tuple[str, ...] = Field(
        min_length=1,
        description="The parents: built-in policies by name, others by the path of their file, "
        "relative to this one. Of several, the later wins, where that makes nothing looser.",
    )
    drop: tuple[Drop, ...] = Field(
        default=(), description="Rules of the parents that this policy does not have."
    )
    alpha: Alpha | None = None
    method: Method | None = None
    looks: Looks | None = Field(
        default=None,
        description="When the gate looks and what each look spends, in place of the parent's; both "
        "keys, since they belong together. Only where the method is looks.",
    )
    reuse: Reuse | None = Field(
        default=None, description="How many releases share the gate's images."
    )
    min_images: MinImagesOfAll | None = None
    min_speedup: MinSpeedup | None = Field(
        default=None,
        description="How much faster than the dense model a released one must be, in place of the "
        "parent's.",
    )
    ratios: RatioBounds | None = Field(
        default=None, description="Which prune ratios may be tried; a bound left out is inherited."
    )
    shifts: tuple[RuleOrChange, ...] = Field(
        default=(),
        description="Changes of the parents' rules, by their id, and new rules, whole.",
    )
    profile: Profile | None = None
    waivers: Waivers | None = Field(
        default=None,
        description="As in a policy that extends none. Those of parents are not inherited; that "
        'they are "forbidden" is, and stays.',
    )

    @field_validator("extends")
    @classmethod
    def _names_each_once(cls, extends: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(extends, str) and len(set(extends)) < len(extends):
            raise ValueError("a parent is there more than once; keep one")
        return extends

    @field_validator("looks")
    @classmethod
    def _come_whole(cls, looks: Looks | None) -> Looks | None:
        if looks is not None and (left := Looks.model_fields.keys() - looks.model_fields_set):
            raise ValueError(
                f"looks replace the parent's, fractions and spend together; add {', '.join(left)}"
            )
        return looks

    @model_validator(mode="after")
    def _says_what_it_gives(self) -> Self:
        _refuse_nulls(self)
        return self

    @property
    def parents(self) -> tuple[str, ...]:
        """Names or paths of the parents."""
        return (self.extends,) if isinstance(self.extends, str) else self.extends


def _refuse_nulls(record: BaseModel) -> None:
    """A null could mean "as the parent has it" or "none"; it is neither."""
    nulls = [name for name in sorted(record.model_fields_set) if getattr(record, name) is None]
    if nulls:
        raise ValueError(f"{', '.join(nulls)} is null; leave it out to inherit it")
