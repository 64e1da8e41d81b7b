"""A waiver holds for one enforced rule, until a day, and is never the whole policy."""

import datetime as dt
from pathlib import Path

import pytest
from pydantic import ValidationError

from policies import (
    Policy,
    PolicyError,
    ShiftRule,
    Waiver,
    load_policy,
    load_waivers,
    source_of,
    waived,
)

DAY = dt.date(2030, 6, 1)
CLEAN = ShiftRule(name="clean", tolerance=0.02, reason="because")
FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="because")
SNOW = ShiftRule(name="snow", severity=3, tolerance=0.03, reason="because", enforced=False)


def waiver(shift: str = "fog-3", *, expires: dt.date = DAY) -> Waiver:
    return Waiver(shift=shift, expires=expires, reason="because", approver="Ada")


def policy(**changes: object) -> Policy:
    fields: dict[str, object] = {
        "apiVersion": "compress/v1",
        "name": "test",
        "summary": "For tests.",
        "alpha": 0.05,
        "min_images": 1,
        "shifts": (CLEAN, FOG, SNOW),
    }
    return Policy.model_validate(fields | changes)


def test_a_waived_rule_stays_enforced_and_does_not_decide() -> None:
    rules = policy(waivers=(waiver(),))
    assert rules.enforced == (CLEAN, FOG)
    assert rules.deciding == (CLEAN,)
    assert policy().deciding == (CLEAN, FOG)


def test_waivers_from_elsewhere_are_as_good_as_the_policys_own() -> None:
    within = policy(waivers=(waiver(),))
    without = waived(policy(), [waiver()], today=DAY)
    assert without == within
    assert without.digest() == within.digest() != policy().digest()


def test_without_waivers_the_policy_is_as_it_was() -> None:
    assert waived(policy(), (), today=DAY) == policy()
    forbidding = policy(waivers="forbidden")
    assert waived(forbidding, (), today=DAY) == forbidding
    assert forbidding.digest() != policy().digest()


def test_no_waivers_say_nothing() -> None:
    assert policy(waivers=()).digest() == policy().digest()


def test_a_waiver_holds_to_the_end_of_its_last_day() -> None:
    rules = waived(policy(), [waiver()], today=DAY)
    assert waived(rules, (), today=DAY) == rules
    with pytest.raises(PolicyError, match=r"waiver for fog-3 expired on 2030-06-01 .*Ada"):
        waived(policy(), [waiver()], today=DAY + dt.timedelta(days=1))
    with pytest.raises(PolicyError, match="waiver for fog-3 expired"):
        waived(rules, (), today=DAY + dt.timedelta(days=1))


@pytest.mark.parametrize(
    ("rules", "waivers", "complaint"),
    [
        (policy(), [waiver("snow-3")], "a waiver for snow-3, which the policy does not enforce"),
        (policy(), [waiver("rain")], "for rain, .* it enforces clean, fog-3"),
        (policy(), [waiver("clean"), waiver("fog-3")], "every enforced rule is waived"),
        (policy(), [waiver(), waiver()], "more than one waiver for fog-3"),
        (policy(waivers=(waiver(),)), [waiver()], "more than one waiver for fog-3"),
        (policy(waivers=(waiver(),)), [waiver("clean")], "every enforced rule is waived"),
        (policy(waivers="forbidden"), [waiver()], "forbids waivers, and there is one for fog-3"),
    ],
)
def test_a_waiver_that_does_not_fit_is_refused(
    rules: Policy, waivers: list[Waiver], complaint: str
) -> None:
    with pytest.raises(PolicyError, match=complaint):
        waived(rules, waivers, today=DAY)


@pytest.mark.parametrize("shifts", [("snow-3",), ("rain",), ("clean", "fog-3"), ("fog-3", "fog-3")])
def test_a_policy_refuses_waivers_that_do_not_fit_it(shifts: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="waive"):
        policy(waivers=tuple(waiver(shift) for shift in shifts))


def test_safety_critical_forbids_waivers() -> None:
    with pytest.raises(PolicyError, match="safety-critical forbids waivers"):
        waived(load_policy("safety-critical"), [waiver()], today=DAY)


FILE = """\
apiVersion: compress/v1
waivers:
  - {shift: fog-3, expires: 2030-06-01, reason: because, approver: Ada}
"""


def test_waivers_have_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yaml"
    path.write_text(FILE)
    assert load_waivers(path) == (waiver(),)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (", approver: Ada", "", r"yaml:3: waivers\[0\]\.approver: this key is missing"),
        ("reason: because, ", "", r"yaml:3: waivers\[0\]\.reason: this key is missing"),
        ("expires: 2030-06-01, ", "", r"yaml:3: waivers\[0\]\.expires: this key is missing"),
        ("shift: fog-3, ", "", r"yaml:3: waivers\[0\]\.shift: this key is missing"),
        ("2030-06-01", "2030-06-31", r"yaml:3: waivers\[0\]\.expires: .*date"),
        ("2030-06-01", "soon", r"yaml:3: waivers\[0\]\.expires: .*date"),
        ("approver", "aprover", r"aprover: unknown key; did you mean 'approver'"),
        ("because", "''", r"waivers\[0\]\.reason: .*at least 1 character"),
    ],
)
def test_every_field_of_a_waiver_is_needed(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "waivers.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(PolicyError, match=told):
        load_waivers(path)


def test_an_unusable_waiver_of_a_policy_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    own = "\n".join(FILE.splitlines()[1:]).replace("expires: 2030-06-01, ", "")
    path.write_text(source_of("nominal") + own + "\n")
    line = len(path.read_text().splitlines())
    with pytest.raises(PolicyError, match=rf"yaml:{line}: waivers\[0\]\.expires: this key is"):
        load_policy(str(path))


def test_a_missing_file_of_waivers_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"cannot read the waivers .*w\.yaml: No such file"):
        load_waivers(tmp_path / "w.yaml")
