"""Every difference of two policies is told, with its direction where one is known."""

from typing import Any

import pytest

from policies import Effect, Policy, built_in, compare, load_policy

FOG = {"name": "fog", "severity": 3, "tolerance": 0.03, "reason": "because"}
OWN = {"id": "own", "folder": "field", "tolerance": 0.05, "reason": "because"}
MIXED = {"id": "mixed", "mixture": ["fog", "snow"], "severity": [1, 3], "tolerance": 0.03}
MIXED |= {"reason": "because"}
WAIVER = {"shift": "own", "expires": "2030-01-01", "reason": "because", "approver": "Ada"}


def policy(*rules: dict[str, Any], **changes: object) -> Policy:
    fields: dict[str, object] = {
        "apiVersion": "compress/v1",
        "name": "test",
        "summary": "For tests.",
        "alpha": 0.05,
        "min_images": 100,
        "shifts": rules or (FOG, OWN, MIXED),
    }
    return Policy.model_validate(fields | changes, strict=False)


def told(first: Policy, second: Policy) -> list[str]:
    return [str(difference) for difference in compare(first, second)]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"alpha": 0.01}, "alpha: 0.05 -> 0.01 (stricter)"),
        ({"min_images": 200}, "min_images: 100 -> 200 (stricter)"),
        ({"name": "other"}, 'name: "test" -> "other"'),
        ({"ratios": {"largest": 0.5}}, "ratios.largest: 0.95 -> 0.5"),
        ({"profile": "imagenet-c"}, 'profile: "auto" -> "imagenet-c"'),
        ({"method": "anytime"}, 'method: "fixed" -> "anytime"'),
        ({"reuse": {"releases": 10}}, "reuse.releases: none -> 10 (stricter)"),
        ({"waivers": "forbidden"}, 'waivers: "allowed" -> "forbidden" (stricter)'),
        (
            {"waivers": [WAIVER]},
            "waiver own: added: until 2030-01-01, by Ada: because (looser)",
        ),
    ],
)
def test_a_change_of_the_policy_is_told(changes: dict[str, object], line: str) -> None:
    assert told(policy(), policy(**changes)) == [line]


def test_looks_are_told_key_by_key_where_they_are_taken() -> None:
    taken = policy(method="looks")
    other = policy(method="looks", looks={"spend": [0.1, 0.1, 0.1, 0.7]})
    assert told(taken, other) == ["looks.spend: [0.2, 0.2, 0.2, 0.4] -> [0.1, 0.1, 0.1, 0.7]"]
    assert told(policy(), taken) == [
        'method: "fixed" -> "looks"',
        "looks.fractions: none -> [0.25, 0.5, 0.75, 1.0]",
        "looks.spend: none -> [0.2, 0.2, 0.2, 0.4]",
    ]
    assert told(other, policy(method="anytime"))[1] == (
        "looks.fractions: [0.25, 0.5, 0.75, 1.0] -> none"
    )


def test_images_that_more_releases_share_make_each_of_them_harder_to_accept() -> None:
    ten, twenty = (policy(reuse={"releases": releases}) for releases in (10, 20))
    assert told(ten, twenty) == ["reuse.releases: 10 -> 20 (stricter)"]
    assert told(twenty, ten) == ["reuse.releases: 20 -> 10 (looser)"]
    assert told(ten, policy()) == ["reuse.releases: 10 -> none (looser)"]


def test_a_rule_of_another_metric_or_class_group_says_so_when_it_comes() -> None:
    brier = FOG | {"metric": "brier"}
    group = FOG | {"id": "few", "metric": "top5", "only": ["bus", "cyclist"]}
    unlabelled = OWN | {"id": "tunnel", "labels": "none"}
    assert told(policy(OWN), policy(OWN, brier, group, unlabelled)) == [
        "fog-3-brier: added: enforced, tolerance 0.03 for the Brier growth (stricter)",
        "few: added: enforced, tolerance 0.03 for the top-5 drop, only bus, cyclist (stricter)",
        "tunnel: added: enforced, tolerance 0.05 for the flip rate (stricter)",
    ]


@pytest.mark.parametrize("changes", [{"metric": "brier"}, {"only": ["cyclist"]}])
def test_under_another_metric_or_on_other_classes_a_tolerance_has_no_direction(
    changes: dict[str, object],
) -> None:
    other = OWN | {"tolerance": 0.1} | changes
    effects = {d.field: d.effect for d in compare(policy(OWN), policy(other))}
    assert effects == {"tolerance": None, **dict.fromkeys(changes)}


@pytest.mark.parametrize(
    ("rule", "changes", "line"),
    [
        (FOG, {"tolerance": 0.02}, "fog-3 tolerance: 0.03 -> 0.02 (stricter)"),
        (FOG, {"enforced": False}, "fog-3 enforced: true -> false (looser)"),
        (FOG, {"accounted": True}, "fog-3 accounted: false -> true"),
        (FOG, {"reason": "well"}, 'fog-3 reason: "because" -> "well"'),
        (MIXED, {"severity": 3}, "mixed severity: [1, 3] -> 3 (stricter)"),
        (MIXED, {"severity": [2, 4]}, "mixed severity: [1, 3] -> [2, 4] (stricter)"),
        (MIXED, {"severity": [1, 2]}, "mixed severity: [1, 3] -> [1, 2] (looser)"),
        (MIXED, {"severity": 2}, "mixed severity: [1, 3] -> 2"),
        (MIXED, {"mixture": ["snow", "fog"]}, None),
        (MIXED, {"metric": "top5"}, 'mixed metric: "top1" -> "top5"'),
        (OWN, {"only": ["cyclist"]}, 'own only: "every class" -> ["cyclist"]'),
        (FOG, {"min_images": 50}, "fog-3 min_images: none -> 50 (looser)"),
        (OWN, {"min_images": 90}, "own min_images: none -> 90 (looser)"),
        (OWN, {"min_images": 110}, "own min_images: none -> 110 (stricter)"),
        (OWN, {"min_images": 100}, "own min_images: none -> 100"),
    ],
)
def test_a_change_of_a_rule_is_told(
    rule: dict[str, Any], changes: dict[str, object], line: str | None
) -> None:
    others = [other for other in (FOG, OWN, MIXED) if other is not rule]
    found = told(policy(rule, *others), policy(rule | changes, *others))
    assert found == [line] if line else len(found) == 1


def test_where_something_else_is_measured_a_tolerance_has_no_direction() -> None:
    other = OWN | {"folder": "other", "tolerance": 0.1}
    effects = {d.field: d.effect for d in compare(policy(OWN), policy(other))}
    assert effects == {"folder": None, "tolerance": None}


def test_what_does_not_decide_makes_nothing_stricter_or_looser() -> None:
    advisory = OWN | {"enforced": False}
    looser = advisory | {"tolerance": 0.5}
    assert [d.effect for d in compare(policy(FOG, advisory), policy(FOG, looser))] == [None]
    assert told(policy(FOG), policy(FOG, advisory)) == ["own: added: advisory, tolerance 0.05"]


def test_rules_that_come_and_go_are_told() -> None:
    assert told(policy(FOG, OWN), policy(FOG, MIXED)) == [
        "own: removed: enforced, tolerance 0.05 (looser)",
        "mixed: added: enforced, tolerance 0.03 (stricter)",
    ]


def test_the_order_of_the_rules_is_told() -> None:
    assert told(policy(FOG, OWN), policy(OWN, FOG)) == [
        'order of shifts: ["fog-3", "own"] -> ["own", "fog-3"]'
    ]


def test_waivers_are_compared() -> None:
    before = policy(waivers=[WAIVER])
    later = policy(waivers=[WAIVER | {"expires": "2031-01-01"}])
    assert told(before, later) == ['waiver own expires: "2030-01-01" -> "2031-01-01" (looser)']
    assert [d.effect for d in compare(before, policy())] == [Effect.STRICTER]
    assert [d.effect for d in compare(policy(waivers="forbidden"), policy())] == [Effect.LOOSER]


def test_the_id_that_a_rule_has_anyway_is_no_difference() -> None:
    named = policy(FOG | {"id": "fog-3"})
    assert compare(policy(FOG), named) == ()
    assert policy(FOG).digest() == named.digest()


@pytest.mark.parametrize("first", built_in())
@pytest.mark.parametrize("second", built_in())
def test_there_is_no_difference_exactly_if_the_digests_are_equal(first: str, second: str) -> None:
    one, two = load_policy(first), load_policy(second)
    assert (compare(one, two) == ()) == (one.digest() == two.digest())


@pytest.mark.parametrize("first", built_in())
@pytest.mark.parametrize("second", built_in())
def test_what_is_stricter_one_way_is_looser_the_other(first: str, second: str) -> None:
    there = compare(load_policy(first), load_policy(second))
    back = {
        (d.subject, d.field): d.effect for d in compare(load_policy(second), load_policy(first))
    }
    turned = {Effect.STRICTER: Effect.LOOSER, Effect.LOOSER: Effect.STRICTER, None: None}
    assert {(d.subject, d.field): turned[d.effect] for d in there} == back
