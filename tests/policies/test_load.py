"""The built-in policies, and policies from files."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from policies import (
    Component,
    FolderRule,
    Looks,
    MixtureRule,
    Policy,
    PolicyError,
    Reuse,
    Rule,
    ShiftRule,
    built_in,
    load_policy,
    schema_json,
    source_of,
)

NOISE = ("gaussian_noise", "shot_noise", "impulse_noise")
BLUR = ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")
WEATHER = ("snow", "frost", "fog", "brightness")
DIGITAL = ("contrast", "elastic_transform", "pixelate", "jpeg_compression")
BENCHMARK = NOISE + BLUR + WEATHER + DIGITAL
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")

RULES = [(name, rule) for name in built_in() for rule in load_policy(name).shifts]
IDS = [f"{name}:{rule.id}" for name, rule in RULES]


def accounted(rule: Rule) -> bool:
    return not isinstance(rule, FolderRule) and rule.accounted


def test_every_packaged_policy_is_built_in() -> None:
    packaged = {
        Path(entry.name).stem
        for entry in files("policies").iterdir()
        if entry.name.endswith(".yaml")
    }
    assert packaged == set(built_in())


@pytest.mark.parametrize("name", built_in())
def test_a_built_in_policy_is_what_its_name_says(name: str) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert policy.shifts[0].id == "clean"
    reasons = {rule.reason for rule in policy.shifts}
    assert len(reasons) == len(policy.shifts)
    retraining_sees = [rule for rule in policy.shifts if accounted(rule)]
    assert 2 * len(retraining_sees) <= len(policy.shifts)


@pytest.mark.parametrize("name", built_in())
def test_a_built_in_policy_says_the_same_as_the_json_of_what_was_read(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    policy = load_policy(name)
    path.write_text(policy.model_dump_json(by_alias=True, exclude_none=True), encoding="utf-8")
    again = load_policy(str(path))
    assert again == policy and again.digest() == policy.digest()
    assert [rule.id for rule in again.shifts] == [rule.id for rule in policy.shifts]


@pytest.mark.parametrize(("name", "rule"), RULES, ids=IDS)
def test_a_built_in_rule_can_be_measured_anywhere(name: str, rule: Rule) -> None:
    assert isinstance(rule, ShiftRule | MixtureRule)
    assert len(set(rule.components)) == len(rule.components) > 0
    assert (rule.draws, rule.save_jpeg) == (1, None)
    if rule.id == "clean":
        assert rule.components == (Component("clean"),)
    else:
        assert all(item.severity in {1, 2, 3} for item in rule.components)


@pytest.mark.parametrize(("name", "rule"), RULES, ids=IDS)
def test_a_built_in_tolerance_is_one_that_ten_thousand_images_can_certify(
    name: str, rule: Rule
) -> None:
    assert rule.tolerance == (0.02 if rule.id == "clean" else 0.03)
    assert len(rule.reason) > 40 and rule.reason.endswith(".")
    assert load_policy(name).images_needed(rule) <= 10_000


@pytest.mark.parametrize(("name", "rule"), RULES, ids=IDS)
def test_a_built_in_reason_says_whether_retraining_sees_the_shift(name: str, rule: Rule) -> None:
    said = rule.reason.lower()
    assert not accounted(rule) or "retraining sees" in said
    assert ("held out" in said) == (rule.id != "clean" and not accounted(rule))


def test_each_built_in_policy_asks_for_more_than_the_one_before() -> None:
    policies = [load_policy(name) for name in built_in()]
    assert [p.min_images for p in policies] == sorted({p.min_images for p in policies})
    sizes = [len(p.enforced) for p in policies]
    assert sizes == sorted(set(sizes))


def test_the_built_in_policies_take_four_looks_and_the_strictest_shares_its_images() -> None:
    assert [load_policy(name).method for name in built_in()] == ["looks"] * 3
    assert all(load_policy(name).looks == Looks() for name in built_in())
    assert [load_policy(name).reuse for name in built_in()] == [None, None, Reuse(releases=10)]
    before, _, comment = (
        source_of("safety-critical")
        .partition("reuse: {releases: 10}")[0]
        .rpartition("\nmethod: looks\n")
    )
    assert before and "new images" in comment


@pytest.mark.parametrize("name", built_in())
def test_no_level_of_a_built_in_policy_is_below_what_an_exact_p_value_can_reach(name: str) -> None:
    policy = load_policy(name)
    levels = [policy.alpha_at(look + 1) for look in range(len(policy.looks.spend))]
    assert min(levels) >= 0.001


def test_nominal_is_about_clean_data_only() -> None:
    assert [rule.id for rule in load_policy("nominal").shifts] == ["clean"]


def test_standard_mixes_the_benchmark_family_by_family_and_holds_half_of_it_out() -> None:
    mixtures = {
        rule.id: rule for rule in load_policy("standard").enforced if isinstance(rule, MixtureRule)
    }
    # Everybody has the drawn ice; the photographs are not part of this package.
    weather = tuple("frost_synthetic" if name == "frost" else name for name in WEATHER)
    assert {id_: rule.mixture for id_, rule in mixtures.items()} == {
        "noise": NOISE,
        "blur": BLUR,
        "weather": weather,
        "digital": DIGITAL,
    }
    assert {rule.severity for rule in mixtures.values()} == {(1, 3)}
    assert {id_ for id_, rule in mixtures.items() if rule.accounted} == {"noise", "blur"}


def test_safety_critical_enforces_the_benchmark_one_by_one_and_reports_the_rest() -> None:
    policy = load_policy("safety-critical")
    assert [rule.id for rule in policy.enforced] == ["clean", *(f"{name}-3" for name in BENCHMARK)]
    advisory = [rule.id for rule in policy.shifts if not rule.enforced]
    assert advisory == [f"{name}-3" for name in EXTRA]
    assert [rule.id for rule in policy.shifts if accounted(rule)] == [
        "gaussian_noise-3",
        "gaussian_blur-3",
    ]


def test_the_policy_of_the_readme_is_one_and_shows_each_kind_of_rule(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(apiVersion: .*?)```", readme, re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    rules = load_policy(str(path)).shifts
    assert {type(rule) for rule in rules} == {ShiftRule, MixtureRule, FolderRule}
    shifts = [rule for rule in rules if isinstance(rule, ShiftRule)]
    assert any(rule.draws > 1 for rule in shifts)
    assert any(isinstance(rule.severity, tuple) for rule in shifts)
    folders = [rule for rule in rules if isinstance(rule, FolderRule)]
    assert [rule.labels for rule in folders] == ["folders", "none"]


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_policy_can_be_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_text(source_of("standard"), encoding="utf-8")
    assert load_policy(str(path)) == load_policy("standard")


def test_layout_and_comments_do_not_change_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    content = load_policy("standard").model_dump(mode="json", by_alias=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    assert load_policy(str(path)).digest() == load_policy("standard").digest()


@pytest.mark.parametrize("ask", [load_policy, source_of])
def test_an_unknown_policy_is_answered_with_the_nearest(ask: Callable[[str], object]) -> None:
    with pytest.raises(PolicyError, match=r"did you mean 'standard'.*safety-critical") as caught:
        ask("standart")
    assert "built in: nominal, standard, safety-critical" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"cannot read the policy .*mine\.yaml: No such file"):
        load_policy(str(tmp_path / "mine.yaml"))


def test_a_binary_file_is_no_policy(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="not UTF-8 text"):
        load_policy(str(path))


def test_an_unusable_file_is_a_policy_error_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(source_of("nominal").replace("tolerance: 0.02", "tolerance: 2"))
    with pytest.raises(PolicyError, match=r"mine\.yaml:12: shifts\[0\]\.tolerance: .* not 2"):
        load_policy(str(path))


def test_a_tolerance_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(source_of("nominal").replace("tolerance: 0.02", "tolerance: .nan"))
    with pytest.raises(PolicyError, match=r"shifts\[0\]\.tolerance: .*finite"):
        load_policy(str(path))
    with pytest.raises(ValidationError, match="finite"):
        load_policy("nominal").shifts[0].model_validate(
            {"name": "clean", "tolerance": math.nan, "reason": "because"}
        )


def test_the_schema_is_that_of_a_policy_file() -> None:
    schema = json.loads(schema_json())
    assert schema["if"] == {"required": ["extends"]}
    whole, extending = (
        schema["$defs"][schema[branch]["$ref"].rpartition("/")[2]] for branch in ("else", "then")
    )
    assert "apiVersion" in whole["required"]
    assert set(whole["properties"]) == {
        field.alias or name for name, field in Policy.model_fields.items()
    }
    assert set(extending["properties"]) == {*whole["properties"], "extends", "drop"}
    for model, changes in ((whole, set()), (extending, {"Change"})):
        kinds = model["properties"]["shifts"]["items"]["oneOf"]
        assert {kind["$ref"].rpartition("/")[2] for kind in kinds} == {
            "ShiftRule", "MixtureRule", "FolderRule", *changes,
        }  # fmt: skip


def test_the_schema_says_what_the_method_costs_and_what_a_metric_is() -> None:
    kinds = json.loads(schema_json())["$defs"]
    method, metric = (
        kinds["Policy"]["properties"]["method"],
        kinds["ShiftRule"]["properties"]["metric"],
    )
    assert method["enum"] == ["fixed", "looks", "anytime"]
    assert all(f"{name}: " in method["description"] for name in method["enum"])
    assert all(f"{name}: " in metric["description"] for name in metric["enum"])
    assert all(
        field["description"]
        for kind in ("Looks", "Reuse")
        for field in kinds[kind]["properties"].values()
    )


def test_the_class_groups_of_the_documentation_are_a_policy(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(apiVersion: \S+\nname: crossing\n.*?)```", text, re.DOTALL)
    path = tmp_path / "crossing.yaml"
    path.write_text(found)
    policy = load_policy(str(path))
    assert [rule.id for rule in policy.shifts] == [
        "clean", "clean-vulnerable", "fog-vulnerable", "clean-brier",
    ]  # fmt: skip
    groups = [rule for rule in policy.shifts if rule.only]
    assert {rule.only for rule in groups} == {("pedestrian", "cyclist")}
    assert {policy.images_needed(rule) for rule in groups} == {300}


def test_the_looks_of_the_documentation_are_those_that_are_taken_if_none_are_given() -> None:
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\nmethod: looks\nlooks: (\{.*?\})", text)
    looks = yaml.safe_load(found)
    assert Looks(**{key: tuple(shares) for key, shares in looks.items()}) == Looks()


def test_policies_need_no_framework() -> None:
    code = "import sys, policies; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
