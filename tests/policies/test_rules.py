"""What a rule may say, and what it is called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from policies import STATISTICS, Component, FolderRule, MixtureRule, Rule, ShiftRule
from policies.rules import TaggedRule

ADAPTER: TypeAdapter[Rule] = TypeAdapter(TaggedRule)
COMMON = {"tolerance": 0.02, "reason": "because"}
MIXTURE = {"id": "air", "mixture": ("fog", "snow"), "severity": (1, 2)}
FOLDER = {"id": "field", "folder": "data/field"}
FOG = {"name": "fog", "severity": 3}
UNLABELLED: dict[str, object] = {**FOLDER, "labels": "none"}
GROUP = {"id": "walkers", "only": ("pedestrian", "cyclist")}

NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,20}\Z").filter(lambda name: name != "clean")
RANGES = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda p: (min(p), max(p) + 1))
SEVERITIES = st.integers(1, 5) | RANGES
STRENGTHS = st.fixed_dictionaries({"severity": SEVERITIES}) | st.fixed_dictionaries(
    {"level": st.floats(0.0, 1.0, exclude_min=True)}
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "draws": st.integers(1, 9),
        "save_jpeg": st.integers(1, 95),
        "metric": st.sampled_from(["top1", "top5", "brier"]),
        "min_images": st.integers(1, 9999),
    },
)


def rule(fields: dict[str, object]) -> Rule:
    return ADAPTER.validate_python(COMMON | fields)


@pytest.mark.parametrize(
    ("fields", "id_"),
    [
        ({"name": "clean"}, "clean"),
        ({"name": "clean", "save_jpeg": 85}, "clean-jpeg85"),
        ({"name": "fog", "severity": 3}, "fog-3"),
        ({"name": "fog", "severity": (1, 3)}, "fog-1to3"),
        ({"name": "uniform_noise", "level": 0.07}, "uniform_noise-level0.07"),
        ({"name": "fog", "severity": 3, "draws": 3}, "fog-3x3"),
        ({"name": "fog", "severity": (1, 3), "draws": 2, "save_jpeg": 85}, "fog-1to3x2-jpeg85"),
        ({"name": "clean", "metric": "top5"}, "clean-top5"),
        (FOG | {"metric": "brier"}, "fog-3-brier"),
        (FOG | {"metric": "flips"}, "fog-3-flips"),
        (FOG | {"metric": "top1"}, "fog-3"),
        (FOG | {"draws": 2, "save_jpeg": 85, "metric": "brier"}, "fog-3x2-jpeg85-brier"),
        (FOG | GROUP, "walkers"),
        ({"name": "fog", "severity": 3, "id": "harbour"}, "harbour"),
        (MIXTURE, "air"),
        (FOLDER, "field"),
    ],
)
def test_a_rule_is_known_by_what_it_says_or_by_an_id_of_its_own(
    fields: dict[str, object], id_: str
) -> None:
    assert rule(fields).id == id_


@given(name=NAMES, strength=STRENGTHS, options=OPTIONS)
def test_every_derived_id_is_one_that_could_be_given(
    name: str, strength: dict[str, object], options: dict[str, object]
) -> None:
    derived = rule({"name": name, **strength, **options})
    given_id = rule({"name": name, **strength, **options, "id": derived.id})
    assert given_id.id == derived.id


@given(name=NAMES, one=STRENGTHS, other=STRENGTHS)
def test_rules_that_differ_in_strength_differ_in_id(
    name: str, one: dict[str, object], other: dict[str, object]
) -> None:
    ids = {rule({"name": name, **strength}).id for strength in (one, other)}
    assert (len(ids) == 1) == (one == other)


@given(name=NAMES, strength=STRENGTHS, metrics=st.tuples(*[st.sampled_from(list(STATISTICS))] * 2))
def test_rules_that_differ_in_metric_differ_in_id(
    name: str, strength: dict[str, object], metrics: tuple[str, str]
) -> None:
    ids = {rule({"name": name, **strength, "metric": metric}).id for metric in metrics}
    assert len(ids) == len(set(metrics))


@given(
    fields=st.one_of(
        st.builds(lambda name, strength: {"name": name, **strength}, NAMES, STRENGTHS),
        st.fixed_dictionaries(
            {
                "id": st.just("air"),
                "mixture": st.lists(NAMES, min_size=2, max_size=4, unique=True).map(tuple),
                "severity": SEVERITIES,
            }
        ),
    ),
    options=OPTIONS,
)
def test_what_a_rule_says_is_read_again_as_the_same_rule(
    fields: dict[str, object], options: dict[str, object]
) -> None:
    first = rule(fields | options)
    assert ADAPTER.validate_json(ADAPTER.dump_json(first, by_alias=True)) == first


@pytest.mark.parametrize("fields", [FOG, MIXTURE, FOLDER], ids=["shift", "mixture", "folder"])
@pytest.mark.parametrize(
    ("metric", "statistic"),
    [
        ("top1", "drop"),
        ("top5", "top-5 drop"),
        ("brier", "Brier growth"),
        ("flips", "flip rate"),
    ],
)
def test_each_kind_of_rule_is_judged_by_the_metric_that_it_names(
    fields: dict[str, object], metric: str, statistic: str
) -> None:
    found = rule(fields | {"metric": metric})
    assert (found.metric, found.statistic) == (metric, statistic)


@pytest.mark.parametrize("fields", [FOG, MIXTURE, FOLDER], ids=["shift", "mixture", "folder"])
def test_a_rule_that_names_no_metric_is_judged_by_top_1_on_all_images(
    fields: dict[str, object],
) -> None:
    found = rule(fields)
    assert (found.metric, found.statistic, found.only) == ("top1", "drop", ())


def test_without_labels_flips_are_what_is_judged_whether_it_is_said_or_not() -> None:
    silent, said = rule(UNLABELLED), rule(UNLABELLED | {"metric": "flips"})
    assert silent == said
    assert (silent.metric, silent.statistic) == ("flips", "flip rate")
    assert ADAPTER.validate_json(ADAPTER.dump_json(silent)) == silent


@pytest.mark.parametrize("fields", [FOG, MIXTURE, FOLDER], ids=["shift", "mixture", "folder"])
def test_each_kind_of_rule_can_be_about_a_class_group(fields: dict[str, object]) -> None:
    group = rule(fields | GROUP | {"min_images": 300})
    assert (group.id, group.only, group.min_images) == ("walkers", ("pedestrian", "cyclist"), 300)
    assert ADAPTER.validate_json(ADAPTER.dump_json(group, by_alias=True)) == group


def test_the_components_of_a_shift_are_its_severities() -> None:
    ranged = ShiftRule.model_validate({"name": "fog", "severity": (2, 4), **COMMON})
    assert ranged.components == tuple(Component("fog", severity) for severity in (2, 3, 4))
    levelled = ShiftRule.model_validate({"name": "uniform_noise", "level": 0.07, **COMMON})
    assert levelled.components == (Component("uniform_noise", None, 0.07),)


def test_the_components_of_a_mixture_are_shift_by_shift() -> None:
    mixed = MixtureRule.model_validate(MIXTURE | COMMON)
    assert mixed.components == (
        Component("fog", 1),
        Component("fog", 2),
        Component("snow", 1),
        Component("snow", 2),
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "clean", "severity": 1}, '"clean" has no severity'),
        ({"name": "clean", "level": 0.5}, '"clean" has no level'),
        ({"name": "clean", "draws": 2}, '"clean" has nothing to draw'),
        ({"name": "fog"}, "'fog' needs a severity"),
        ({"name": "fog", "severity": 6}, "less than or equal to 5"),
        ({"name": "fog", "severity": 0}, "greater than or equal to 1"),
        ({"name": "fog", "severity": True}, "valid integer"),
        ({"name": "fog", "severity": (3, 3)}, "low below high, not [3, 3]"),
        ({"name": "fog", "severity": (3, 1)}, "low below high, not [3, 1]"),
        ({"name": "fog", "severity": (3, 6)}, "less than or equal to 5"),
        ({"name": "fog", "severity": (1, 2, 3)}, "at most 2 items"),
        ({"name": "fog", "severity": 3, "level": 0.1}, "a severity and a level"),
        ({"name": "fog", "level": 0.0}, "greater than 0"),
        ({"name": "fog", "level": 1.5}, "less than or equal to 1"),
        ({"name": "fog", "severity": 3, "draws": 0}, "greater than or equal to 1"),
        ({"name": "fog", "severity": 3, "save_jpeg": 96}, "less than or equal to 95"),
        ({"name": "fog", "severity": 3, "id": "Fog"}, "match pattern"),
        ({"name": "fog", "severity": 3, "id": "../fog"}, "match pattern"),
        ({"name": "Fog-3", "severity": 3}, "match pattern"),
        (FOG | {"metric": "accuracy"}, "'top1', 'top5', 'brier' or 'flips'"),
        (FOG | {"metric": "flips", "draws": 2}, "one draw of each image, not on 2; remove draws"),
        (MIXTURE | {"metric": "flips", "draws": 3}, "one draw of each image, not on 3"),
        (FOG | {"only": ("cyclist",)}, "needs an id of its own, because fog-3 is that of all"),
        (FOG | {"only": ("cyclist",), "id": "fog-3"}, 'add for example "id: fog-3-group"'),
        (FOG | GROUP | {"only": ("cyclist", "cyclist")}, "cyclist is there more than once"),
        (FOG | GROUP | {"only": ("",)}, "at least 1 character"),
        (FOG | GROUP | {"only": (3,)}, "valid string"),
        (FOG | GROUP | {"only": "cyclist"}, "valid tuple"),
        (FOG | {"min_images": 0}, "greater than or equal to 1"),
        (UNLABELLED | {"metric": "brier"}, "without labels no answer is right, so that only flips"),
        (UNLABELLED | {"metric": "top1"}, "can be counted, not top1; remove metric"),
        (UNLABELLED | {"only": ("cyclist",)}, "not known which images are of cyclist; remove only"),
        ({"name": "clean", "tolerance": 0.0}, "greater than 0"),
        ({"name": "clean", "tolerance": 1.0}, "less than 1"),
        ({"name": "clean", "tolerance": "0.1"}, "valid number"),
        ({"name": "clean", "reason": ""}, "at least 1 character"),
        (MIXTURE | {"mixture": ("fog",)}, "at least 2 items"),
        (MIXTURE | {"mixture": ("fog", "snow", "fog")}, "fog is there more than once"),
        (MIXTURE | {"mixture": ("fog", "clean")}, '"clean" is no shift to mix'),
        (MIXTURE | {"severity": None}, "valid integer"),
        (MIXTURE | {"level": 0.1}, "Extra inputs"),
        (FOLDER | {"labels": "some"}, "'folders' or 'none'"),
        (FOLDER | {"labels": "none", "classes": "classes.yaml"}, "without labels no classes"),
        (FOLDER | {"min_images": 0}, "greater than or equal to 1"),
        (FOLDER | {"folder": ""}, "at least 1 character"),
        (FOLDER | {"accounted": True}, "Extra inputs"),
        (FOLDER | {"draws": 2}, "Extra inputs"),
        (FOLDER | {"name": "fog"}, "exactly one of name (one shift), mixture (several shifts)"),
        (MIXTURE | FOLDER, "exactly one of name"),
        ({"severity": 3}, "exactly one of name"),
    ],
)
def test_a_rule_refuses(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(complaint)) as caught:
        rule(fields)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize("model", [ShiftRule, MixtureRule, FolderRule])
def test_every_field_is_described(model: type[Rule]) -> None:
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize("model", [ShiftRule, MixtureRule, FolderRule])
def test_a_number_says_what_it_is_a_number_of(model: type[Rule]) -> None:
    said = {name: field.description or "" for name, field in model.model_fields.items()}
    units = {
        "severity": "1 (mild) to 5 (severe)",
        "level": "share of the range",
        "draws": "each image",
        "save_jpeg": "1..95",
        "tolerance": "0.02 is two percentage points",
        "min_images": "Images",
        "only": "names of the model's classes",
    }
    assert all(unit in said[name] for name, unit in units.items() if name in said)
    assert all(f"{metric}: " in said["tolerance"] for metric in ("top5", "brier", "flips"))
