"""The built-in policies, and policies from files."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import ValidationError

from policies import Policy, PolicyError, built_in, load_policy, schema_json, source_of

SHIFTS = {
    "clean",
    "gaussian_noise",
    "uniform_noise",
    "impulse_noise",
    "speckle_noise",
    "gaussian_blur",
    "defocus_blur",
    "brightness",
    "contrast",
    "jpeg_compression",
}


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
    assert {rule.name for rule in policy.shifts} <= SHIFTS
    assert all(len(rule.reason) > 40 for rule in policy.shifts)
    assert policy.shifts[0].id == "clean"


def test_each_built_in_policy_asks_for_more_than_the_one_before() -> None:
    policies = [load_policy(name) for name in built_in()]
    assert [p.min_images for p in policies] == sorted({p.min_images for p in policies})
    sizes = [len(p.enforced) for p in policies]
    assert sizes == sorted(set(sizes))


def test_nominal_is_about_clean_data_only() -> None:
    assert [rule.id for rule in load_policy("nominal").shifts] == ["clean"]


def test_safety_critical_enforces_every_shift_and_holds_most_of_them_out() -> None:
    policy = load_policy("safety-critical")
    assert {rule.name for rule in policy.enforced} == SHIFTS
    assert policy.enforced == policy.shifts
    assert {rule.name for rule in policy.shifts if rule.accounted} == {
        "gaussian_noise",
        "gaussian_blur",
    }
    assert all(rule.severity == 3 for rule in policy.shifts if rule.name != "clean")


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
    with pytest.raises(PolicyError, match=r"mine\.yaml:11: shifts\[0\]\.tolerance: .* not 2"):
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
    assert "apiVersion" in schema["required"]
    assert set(schema["properties"]) == {
        field.alias or name for name, field in Policy.model_fields.items()
    }


def test_policies_need_no_framework() -> None:
    code = "import sys, policies; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
