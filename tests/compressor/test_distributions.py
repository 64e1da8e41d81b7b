import json
from typing import Any

import pytest

from compressor.distributions import check_shifts, definitions, distribution_of
from gates.shifts import Component, Distribution, ShiftError
from policies import FolderRule, Policy

REST = {"tolerance": 0.1, "reason": "a test"}


def policy(*rules: dict[str, Any], profile: str = "auto") -> Policy:
    return Policy.model_validate_json(
        json.dumps(
            {
                "apiVersion": "compress/v1",
                "name": "p",
                "summary": "s",
                "alpha": 0.05,
                "min_images": 1,
                "profile": profile,
                "shifts": [{**rule, **REST} for rule in rules],
            }
        )
    )


RULES: dict[str, tuple[dict[str, Any], Distribution]] = {
    "clean": ({"name": "clean"}, Distribution(components=(Component(name="clean"),))),
    "a severity": (
        {"name": "contrast", "severity": 3},
        Distribution(components=(Component(name="contrast", severity=3),)),
    ),
    "a range": (
        {"name": "contrast", "severity": [2, 4], "draws": 2, "save_jpeg": 85},
        Distribution(
            components=tuple(Component(name="contrast", severity=s) for s in (2, 3, 4)),
            draws=2,
            save_jpeg=85,
        ),
    ),
    "a level": (
        {"name": "uniform_noise", "level": 0.07},
        Distribution(components=(Component(name="uniform_noise", level=0.07),)),
    ),
    "a mixture": (
        {"id": "light", "mixture": ["contrast", "brightness"], "severity": [1, 2], "draws": 3},
        Distribution(
            components=tuple(
                Component(name=name, severity=s)
                for name in ("contrast", "brightness")
                for s in (1, 2)
            ),
            draws=3,
        ),
    ),
    "a folder": (
        {"id": "site", "folder": "site"},
        Distribution(components=(Component(name="clean"),)),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_measured_as_what_it_says(name: str) -> None:
    written, expected = RULES[name]
    assert distribution_of(policy(written).shifts[0]) == expected


def test_every_rule_but_a_folder_is_defined_in_full() -> None:
    rules = policy(*(written for written, _ in RULES.values()))
    found = definitions(rules, side=32)
    assert list(found) == [r.id for r in rules.shifts if not isinstance(r, FolderRule)]
    assert json.loads(json.dumps(found)) == found
    assert found["light"]["draws"] == 3


@pytest.mark.parametrize(
    "side, profile, other",
    [(32, "auto", (64, "auto")), (32, "auto", (32, "imagenet-c"))],
)
def test_another_table_is_another_definition(
    side: int, profile: str, other: tuple[int, str]
) -> None:
    written = {"name": "gaussian_noise", "severity": 3}
    first = definitions(policy(written, profile=profile), side=side)
    assert first != definitions(policy(written, profile=other[1]), side=other[0])


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (
        {"name": "contrats", "severity": 1},
        "no shift 'contrats'; did you mean 'contrast'",
    ),
    "unknown in a mixture": (
        {"id": "m", "mixture": ["contrast", "brightnes"], "severity": 1},
        "no shift 'brightnes'; did you mean 'brightness'",
    ),
    "a level of another shift": (
        {"name": "contrast", "level": 0.5},
        "only uniform_noise has a level",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_shift_that_does_not_exist_is_refused_in_any_rule(fault: str) -> None:
    written, told = FAULTS[fault]
    with pytest.raises(ShiftError, match=told):
        check_shifts(policy({"name": "clean"}, written), side=32)
    with pytest.raises(ShiftError, match=told):
        definitions(policy({"name": "clean"}, written), side=32)
