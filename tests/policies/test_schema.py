"""What a policy may say."""

import hashlib
import re

import pytest
from pydantic import ValidationError

from policies import FolderRule, MixtureRule, Policy, RatioBounds, ShiftRule, built_in, load_policy

CLEAN = ShiftRule(name="clean", tolerance=0.02, reason="because")
FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="because")
OTHER = FolderRule(id="fog-3", folder="field", tolerance=0.03, reason="because")


def policy(**changes: object) -> Policy:
    fields: dict[str, object] = {
        "apiVersion": "compress/v1",
        "name": "test",
        "summary": "For tests.",
        "alpha": 0.05,
        "min_images": 1,
        "shifts": (CLEAN, FOG),
    }
    return Policy.model_validate(fields | changes)


def test_enforced_rules_leave_out_the_advisory_ones() -> None:
    advisory = FOG.model_copy(update={"enforced": False})
    assert policy(shifts=(CLEAN, advisory)).enforced == (CLEAN,)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"alpha": 0.5}, "less than 0.5"),
        ({"alpha": 0.0}, "greater than 0"),
        ({"alpha": float("nan")}, "finite"),
        ({"min_images": 0}, "greater than or equal to 1"),
        ({"min_images": 10.0}, "valid integer"),
        ({"apiVersion": "compress/v2"}, "compress/v1"),
        ({"profile": "imagenet"}, "imagenet-c"),
        ({"shifts": ()}, "at least 1 item"),
        ({"shifts": (CLEAN, FOG, FOG)}, "more than one rule for fog-3"),
        ({"shifts": (FOG, OTHER)}, "more than one rule for fog-3"),
        ({"shifts": (FOG.model_copy(update={"enforced": False}),)}, "no shift is enforced"),
        ({"waiver": ()}, "Extra inputs"),
        ({"method": "sequential"}, "'fixed', 'looks' or 'anytime'"),
        ({"method": None}, "'fixed', 'looks' or 'anytime'"),
        ({"looks": None, "method": "looks"}, "Looks"),
    ],
)
def test_a_policy_refuses(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        policy(**changes)


def test_ratio_bounds_are_in_order() -> None:
    with pytest.raises(ValidationError, match="is larger than largest"):
        RatioBounds(smallest=0.6, largest=0.5)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        policy().alpha = 0.4  # type: ignore[misc]  # the point of the test


def test_the_digest_is_of_what_the_policy_says() -> None:
    assert policy().digest() == policy().digest()
    assert policy().digest() == policy(ratios=RatioBounds()).digest()
    assert re.fullmatch("[0-9a-f]{64}", policy().digest())


@pytest.mark.parametrize("name", built_in())
def test_the_canonical_form_is_what_the_digest_is_of_and_is_read_back(name: str) -> None:
    text = load_policy(name).canonical()
    assert hashlib.sha256(text).hexdigest() == load_policy(name).digest()
    again = Policy.model_validate_json(text)
    assert again.canonical() == text
    assert again == load_policy(name)


@pytest.mark.parametrize(
    "changes", [{"alpha": 0.01}, {"summary": "Other."}, {"shifts": (FOG, CLEAN)}]
)
def test_another_policy_has_another_digest(changes: dict[str, object]) -> None:
    assert policy(**changes).digest() != policy().digest()


def test_a_rule_may_need_a_number_of_images_of_its_own() -> None:
    own = FolderRule(id="own", folder="x", min_images=7, tolerance=0.1, reason="because")
    plain = FolderRule(id="plain", folder="x", tolerance=0.1, reason="because")
    mixed = MixtureRule(id="m", mixture=("a", "b"), severity=1, tolerance=0.1, reason="because")
    few = CLEAN.model_copy(update={"own_id": "few", "only": ("cyclist",), "min_images": 9})
    rules = policy(shifts=(CLEAN, own, plain, mixed, few), min_images=20)
    assert [rules.images_needed(rule) for rule in rules.shifts] == [20, 7, 20, 20, 9]


@pytest.mark.parametrize("model", [Policy, RatioBounds])
def test_every_field_is_described(model: type[Policy | RatioBounds]) -> None:
    assert all(field.description for field in model.model_fields.values())
