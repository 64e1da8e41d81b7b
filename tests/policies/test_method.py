"""When the gate may decide, and how alpha is shared among looks and releases."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from policies import Looks, Policy, Reuse

CLEAN = {"name": "clean", "tolerance": 0.02, "reason": "because"}
TWO = {"fractions": (0.5, 1.0), "spend": (0.25, 0.75)}


def policy(**changes: object) -> Policy:
    fields: dict[str, object] = {
        "apiVersion": "compress/v1",
        "name": "test",
        "summary": "For tests.",
        "alpha": 0.04,
        "min_images": 1,
        "shifts": (CLEAN,),
    }
    return Policy.model_validate(fields | changes)


def test_a_policy_that_says_nothing_of_it_decides_once_and_for_one_release() -> None:
    assert (policy().method, policy().reuse, policy().looks) == ("fixed", None, Looks())


def test_the_looks_that_are_taken_if_none_are_given_are_four() -> None:
    assert Looks().fractions == (0.25, 0.5, 0.75, 1.0)
    assert Looks().spend == (0.2, 0.2, 0.2, 0.4)
    assert policy(method="looks") == policy(method="looks", looks={})


def test_the_level_of_one_test_is_what_method_and_reuse_leave_of_alpha() -> None:
    assert policy().alpha_at(1) == 0.04
    assert policy(method="looks", looks=TWO).alpha_at(1) == 0.01
    assert policy(method="looks", looks=TWO).alpha_at(2) == 0.03
    assert [policy(method="anytime").alpha_at(look) for look in (1, 7, 900)] == [0.04] * 3
    shared = policy(method="looks", looks=TWO, reuse={"releases": 4})
    assert shared.alpha_per_release == 0.01
    assert shared.alpha_at(2) == 0.0075
    assert policy(method="anytime", reuse={"releases": 4}).alpha_at(3) == 0.01


@pytest.mark.parametrize(
    ("method", "look", "told"),
    [
        ("fixed", 0, "fixed has the looks 1..1, not 0"),
        ("fixed", 2, "fixed has the looks 1..1, not 2"),
        ("looks", 0, "looks has the looks 1..4, not 0"),
        ("looks", 5, "looks has the looks 1..4, not 5"),
        ("anytime", 0, "anytime has the looks 1, 2, ..., not 0"),
    ],
)
def test_a_look_that_is_never_taken_has_no_level(method: str, look: int, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        policy(method=method).alpha_at(look)


SHARES = st.lists(st.integers(1, 100), min_size=1, max_size=8)


@given(shares=SHARES, releases=st.integers(1, 50))
def test_all_looks_at_all_releases_together_spend_no_more_than_alpha(
    shares: list[int], releases: int
) -> None:
    spend = tuple(share / sum(shares) * 0.999999 for share in shares)
    fractions = tuple((look + 1) / len(shares) for look in range(len(shares)))
    shared = policy(
        method="looks", looks={"fractions": fractions, "spend": spend}, reuse={"releases": releases}
    )
    spent = sum(shared.alpha_at(look + 1) for look in range(len(shares))) * releases
    assert spent <= shared.alpha


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ({"spend": (0.3, 0.3, 0.3, 0.2)}, "spend 1.1 of alpha, and there is 1; make [0.3, 0.3,"),
        ({"spend": (0.2, 0.2, 0.0, 0.4)}, "greater than 0"),
        ({"spend": ()}, "at least 1 item"),
        ({"fractions": (0.5, 0.25, 0.75, 1.0)}, "each look adds images: not [0.5, 0.25, 0.75, 1]"),
        ({"fractions": (0.25, 0.5, 0.5, 1.0)}, "each look adds images: not [0.25, 0.5, 0.5, 1]"),
        ({"fractions": (0.25, 0.5, 0.75, 0.9)}, "at all images, not at 0.9 of them; end with 1"),
        ({"fractions": (0.5, 1.5)}, "less than or equal to 1"),
        ({"fractions": (0.0, 1.0)}, "greater than 0"),
        ({"fractions": (25, 50, 75, 100)}, "less than or equal to 1"),
        (
            {"fractions": (0.5, 1.0)},
            "2 looks (fractions [0.5, 1]) with 4 shares of alpha (spend [0.2, 0.2, 0.2, 0.4]);",
        ),
        ({"fraction": (0.5, 1.0)}, "Extra inputs"),
    ],
)
def test_looks_refuse(looks: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        Looks.model_validate(looks)


def test_what_is_spent_is_added_as_it_is_written() -> None:
    tenths = tuple((look + 1) / 10 for look in range(10))
    assert sum([0.1] * 3 + [0.7]) > 0.9999  # floating-point sums miss 1 either way
    assert Looks(fractions=tenths, spend=(0.1,) * 10).spend == (0.1,) * 10
    assert Looks(fractions=tenths[-3:], spend=(0.7, 0.1, 0.2)).spend == (0.7, 0.1, 0.2)


@pytest.mark.parametrize("method", ["fixed", "anytime"])
def test_looks_without_their_method_are_refused(method: str) -> None:
    with pytest.raises(ValidationError) as caught:
        policy(method=method, looks=TWO)
    told = caught.value.errors()[0]
    assert told["loc"] == ("looks",)
    assert f"with method: looks alone, and the method is {method}; remove looks" in told["msg"]


def test_looks_with_a_wrong_method_are_one_error_and_not_two() -> None:
    with pytest.raises(ValidationError, match="'fixed', 'looks' or 'anytime'") as caught:
        policy(method="look", looks=TWO)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize("reuse", [{"releases": 0}, {}, {"releases": 2.0}, 10])
def test_reuse_is_a_number_of_releases(reuse: object) -> None:
    with pytest.raises(ValidationError, match="reuse"):
        policy(reuse=reuse)


@pytest.mark.parametrize("method", ["fixed", "anytime"])
def test_looks_that_are_not_taken_are_not_written_and_what_is_written_is_read(method: str) -> None:
    text = policy(method=method).canonical()
    assert b"fractions" not in text
    assert Policy.model_validate_json(text) == policy(method=method)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "looks"},
        {"method": "anytime"},
        {"method": "looks", "looks": TWO},
        {"reuse": {"releases": 1}},
        {"reuse": {"releases": 2}},
        {"shifts": (CLEAN | {"metric": "top5", "id": "clean"},)},
        {"shifts": (CLEAN | {"only": ("cyclist",), "id": "few"},)},
    ],
)
def test_the_digest_is_of_method_looks_reuse_metric_and_class_group_too(
    changes: dict[str, object],
) -> None:
    changed = policy(**changes)
    assert changed.digest() != policy().digest()
    assert Policy.model_validate_json(changed.canonical()) == changed


def test_the_looks_that_are_taken_anyway_say_nothing() -> None:
    written = policy(method="looks", looks=Looks().model_dump())
    assert written.digest() == policy(method="looks").digest()


@pytest.mark.parametrize("model", [Looks, Reuse])
def test_every_field_is_described(model: type[Looks | Reuse]) -> None:
    assert all(field.description for field in model.model_fields.values())
