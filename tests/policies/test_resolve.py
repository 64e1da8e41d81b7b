"""What a policy that extends others comes to: nothing goes unless a line says so."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from policies import (
    Policy,
    PolicyError,
    compare,
    load_policy,
    load_waivers,
    resolved_yaml,
)

BASE = """\
apiVersion: compress/v1
name: base
summary: For tests.
alpha: 0.05
reuse: {releases: 10}
min_images: 2000
ratios: {smallest: 0.1, largest: 0.5}
shifts:
  - {name: clean, tolerance: 0.02, reason: because}
  - {name: fog, severity: 3, tolerance: 0.03, accounted: true, reason: because}
  - {id: own, folder: field, tolerance: 0.05, reason: because}
  - {name: snow, severity: 2, tolerance: 0.04, enforced: false, reason: because}
"""
HEAD = "apiVersion: compress/v1\nname: mine\nsummary: Mine.\n"
WHOLE = HEAD + BASE.partition("summary: For tests.\n")[2]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a policy that extends base.yaml, and base.yaml; the path of the first."""

    def written(text: str = "", *, extends: str = "base.yaml", name: str = "mine.yaml") -> Path:
        (tmp_path / "base.yaml").write_text(BASE)
        path = tmp_path / name
        path.write_text(f"{HEAD}extends: {extends}\n{text}")
        return path

    return written


def loaded(path: Path) -> Policy:
    return load_policy(str(path))


def complaint(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        loaded(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_what_is_not_mentioned_is_as_in_the_parent(write: Write, tmp_path: Path) -> None:
    (tmp_path / "whole.yaml").write_text(WHOLE)
    extending, whole = loaded(write()), load_policy(str(tmp_path / "whole.yaml"))
    assert extending == whole
    assert extending.digest() == whole.digest()


def test_a_built_in_policy_can_be_extended_by_its_name(write: Write) -> None:
    policy = loaded(write("alpha: 0.01\n", extends="standard"))
    assert policy.alpha == 0.01
    assert policy.shifts == load_policy("standard").shifts


def test_scalars_replace_the_parents_one_by_one(write: Write) -> None:
    policy = loaded(write("alpha: 0.01\nratios: {largest: 0.4}\n"))
    assert (policy.alpha, policy.min_images) == (0.01, 2000)
    assert (policy.ratios.smallest, policy.ratios.largest) == (0.1, 0.4)


def test_method_looks_and_reuse_replace_the_parents(write: Write) -> None:
    own = "method: looks\nlooks: {fractions: [0.5, 1], spend: [0.5, 0.5]}\nreuse: {releases: 3}\n"
    policy = loaded(write(own, name="middle.yaml"))
    assert (policy.method, policy.alpha_at(1)) == ("looks", 0.05 / 3 * 0.5)
    below = loaded(write("alpha: 0.01\n", extends="middle.yaml"))
    assert (below.method, below.looks, below.reuse) == (policy.method, policy.looks, policy.reuse)
    once = loaded(write("method: fixed\n", extends="middle.yaml"))
    assert (once.method, once.alpha_at(1)) == ("fixed", 0.05 / 3)
    fewer = loaded(write("reuse: {releases: 2}\n", extends="middle.yaml"))
    assert (fewer.alpha_per_release, fewer.looks) == (0.025, policy.looks)


def test_a_change_overrides_the_fields_that_it_gives(write: Write) -> None:
    text = "shifts:\n  - {id: fog-3, tolerance: 0.02, reason: a wet autumn}\n"
    policy = loaded(write(text))
    before, after = loaded(write()).shifts[1], policy.shifts[1]
    assert after == before.model_copy(update={"tolerance": 0.02, "reason": "a wet autumn"})
    assert [rule.id for rule in policy.shifts] == ["clean", "fog-3", "own", "snow-2"]


def test_a_dropped_rule_is_gone_and_a_new_one_comes_last(write: Write) -> None:
    policy = loaded(
        write(
            "drop:\n  - {id: fog-3, reason: indoors}\n"
            "shifts:\n  - {name: contrast, severity: 1, tolerance: 0.01, reason: lamps}\n"
        )
    )
    assert [rule.id for rule in policy.shifts] == ["clean", "own", "snow-2", "contrast-1"]


def test_to_replace_a_rule_is_to_drop_it_and_write_it_anew(write: Write) -> None:
    policy = loaded(
        write(
            "drop:\n  - {id: own, reason: the cameras were replaced}\n"
            "shifts:\n  - {id: own, folder: field2, tolerance: 0.04, reason: new cameras}\n"
        )
    )
    assert policy.shifts[-1].id == "own"
    assert len(policy.shifts) == 4


def test_a_policy_can_extend_one_that_extends(write: Write) -> None:
    write("alpha: 0.02\n", name="middle.yaml")
    policy = loaded(write("min_images: 3000\n", extends="middle.yaml"))
    assert (policy.alpha, policy.min_images, policy.name) == (0.02, 3000, "mine")


def test_paths_start_at_the_extending_file(write: Write, tmp_path: Path) -> None:
    write()
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "mine.yaml"
    path.write_text(f"{HEAD}extends: ../base.yaml\n")
    assert loaded(path).shifts == loaded(tmp_path / "base.yaml").shifts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "drop:\n  - {id: fog-2, reason: x}\n",
            "mine.yaml:6: drop[0].id: there is no rule fog-2 in base.yaml, or it is dropped here; "
            "did you mean 'fog-3'? left: clean, fog-3, own, snow-2",
            id="dropping what is not there",
        ),
        pytest.param(
            "drop:\n  - {id: own, reason: x}\n  - {id: own, reason: x}\n",
            "mine.yaml:7: drop[1].id: there is no rule own in",
            id="dropping twice",
        ),
        pytest.param(
            "drop:\n  - {id: own}\n", "mine.yaml:6: drop[0].reason: this key is missing", id="why"
        ),
        pytest.param(
            "shifts:\n  - {id: fog-2, tolerance: 0.1, reason: x}\n",
            "mine.yaml:6: shifts[0].id: there is no rule fog-2",
            id="changing what is not there",
        ),
        pytest.param(
            "drop:\n  - {id: own, reason: x}\nshifts:\n  - {id: own, tolerance: 0.1, reason: x}\n",
            "mine.yaml:8: shifts[0].id: there is no rule own in base.yaml, or it is dropped here",
            id="changing what is dropped",
        ),
        pytest.param(
            "shifts:\n  - {id: own, tolerance: 0.1, reason: x}\n  - {id: own, reason: y}\n",
            "mine.yaml:7: shifts[1].id: own is changed twice; keep one",
            id="changing twice",
        ),
        pytest.param(
            "shifts:\n  - {id: fog-3, tolerance: 0.1}\n",
            "mine.yaml:6: shifts[0].reason: this key is missing",
            id="a change without a reason",
        ),
        pytest.param(
            "shifts:\n  - {id: fog-3, tolerence: 0.1, reason: x}\n",
            "mine.yaml:6: shifts[0].tolerence: unknown key; did you mean 'tolerance'?",
            id="an unknown key of a change",
        ),
        pytest.param(
            "shifts:\n  - {id: fog-3, severity: 1, reason: x}\n",
            "mine.yaml:6: shifts[0].severity: unknown key; known here: "
            "accounted, enforced, id, min_images, reason, tolerance",
            id="a change of what is measured",
        ),
        pytest.param(
            "shifts:\n  - {id: fog-3, metric: brier, reason: x}\n",
            "mine.yaml:6: shifts[0].metric: unknown key; known here: ",
            id="a change of the metric",
        ),
        pytest.param(
            "shifts:\n  - {id: fog-3, only: [cyclist], reason: x}\n",
            "mine.yaml:6: shifts[0].only: unknown key; known here: ",
            id="a change of the class group",
        ),
        pytest.param(
            "shifts:\n  - {name: fog, severity: 3, only: [cyclist], tolerance: 0.1, reason: x}\n",
            "mine.yaml:6: shifts[0]: a class group (only) needs an id of its own",
            id="a class group without an id",
        ),
        pytest.param(
            "looks: {fractions: [0.5, 1], spend: [0.5, 0.5]}\n",
            "mine.yaml:5: looks: looks are taken with method: looks alone, and the method is fixed",
            id="looks that the parent's method does not take",
        ),
        pytest.param(
            "method: looks\nlooks: {fractions: [0.25, 0.5, 0.8, 1]}\n",
            "mine.yaml:6: looks: looks replace the parent's, fractions and spend together; add "
            "spend",
            id="half of the looks",
        ),
        pytest.param(
            "method: looks\nlooks:\n  fractions: [0.5, 1]\n  spend: [0.5, 0.6]\n",
            "mine.yaml:8: looks.spend: the looks spend 1.1 of alpha, and there is 1",
            id="more than alpha",
        ),
        pytest.param(
            "reuse: null\n", "reuse is null; leave it out to inherit it", id="null for reuse"
        ),
        pytest.param(
            "shifts:\n  - {id: own, accounted: true, reason: x}\n",
            "mine.yaml:6: shifts[0].accounted: the rule own has no accounted; remove it",
            id="a field of another kind of rule",
        ),
        pytest.param(
            "shifts:\n  - {id: own, min_images: null, reason: x}\n",
            "mine.yaml:6: shifts[0]: min_images is null; leave it out to inherit it",
            id="null",
        ),
        pytest.param("alpha: null\n", "alpha is null; leave it out", id="null for a scalar"),
        pytest.param(
            "shifts:\n  - {name: fog, severity: 3, tolerance: 0.2, reason: x}\n",
            "mine.yaml:6: shifts[0]: there is a rule fog-3 in base.yaml; change it with {id: fog-3",
            id="a rule whose id is taken",
        ),
        pytest.param(
            "shifts:\n  - {id: a, folder: x, tolerance: 0.2, reason: x}\n"
            "  - {id: a, folder: y, tolerance: 0.2, reason: x}\n",
            "mine.yaml:7: shifts[1]: there is a rule a above; keep one",
            id="two new rules of one id",
        ),
        pytest.param(
            "shifts:\n  - {tolerance: 0.2, reason: x}\n",
            "mine.yaml:6: shifts[0]: a new rule has exactly one of name",
            id="neither a rule nor a change",
        ),
        pytest.param(
            "ratios: {smallest: 0.6}\n",
            "mine.yaml:5: ratios: smallest (0.6) is larger than largest (0.5)",
            id="bounds that cross",
        ),
        pytest.param(
            "drop:\n  - {id: clean, reason: x}\n  - {id: fog-3, reason: x}\n"
            "  - {id: own, reason: x}\n",
            "shifts: no shift is enforced",
            id="nothing enforced is left",
        ),
        pytest.param(
            "waivers:\n  - {shift: snow-2, expires: 2030-01-01, reason: x, approver: y}\n",
            "mine.yaml:5: waivers: there is a waiver for snow-2, which the policy does not enforce",
            id="a waiver for an advisory rule",
        ),
    ],
)
def test_an_error_says_where_it_is_and_what_to_do(write: Write, text: str, told: str) -> None:
    assert told in complaint(write(text))


@pytest.mark.parametrize(
    ("extends", "told"),
    [
        ("standart", "mine.yaml:4: extends: no policy 'standart'; did you mean 'standard'?"),
        ("[nominal, other.yaml]", "mine.yaml:4: extends[1]: other.yaml is not usable: cannot read"),
        ("mine.yaml", "mine.yaml:4: extends: mine.yaml extends this policy in turn: "),
        ("[nominal, nominal]", "mine.yaml:4: extends: a parent is there more than once; keep one"),
        ("[]", "mine.yaml:4: extends: "),
    ],
)
def test_an_unusable_parent_is_named_with_its_line(write: Write, extends: str, told: str) -> None:
    assert told in complaint(write(extends=extends))


def test_a_cycle_is_told_link_by_link(write: Write) -> None:
    write(extends="other.yaml")
    path = write(extends="mine.yaml", name="other.yaml")
    assert "cut one" in complaint(path)
    assert "other.yaml -> mine.yaml -> other.yaml" in complaint(path)


def test_an_error_of_a_parent_is_told_with_its_own_line(write: Write, tmp_path: Path) -> None:
    path = write()
    (tmp_path / "base.yaml").write_text(BASE.replace("alpha: 0.05", "alpha: 5"))
    assert "mine.yaml:4: extends: base.yaml is not usable: base.yaml:4: alpha: " in complaint(path)


@pytest.mark.parametrize("key", ["extend", "extands", "drop"])
def test_what_is_meant_to_extend_is_read_as_such(tmp_path: Path, key: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{HEAD}{key}: standard\n")
    assert "extends: this key is missing" in complaint(path)


def second(write: Write, tmp_path: Path, old: str, new: str, text: str = "") -> Path:
    """A policy that extends base.yaml and the same with ``old`` replaced by ``new``."""
    assert old in BASE
    (tmp_path / "second.yaml").write_text(BASE.replace(old, new))
    return write(text, extends="[base.yaml, second.yaml]")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("alpha: 0.05", "alpha: 0.01"),
        ("min_images: 2000", "min_images: 3000"),
        ("largest: 0.5", "largest: 0.6"),
        ("tolerance: 0.02", "tolerance: 0.01"),
        ("enforced: false, ", ""),
        ("tolerance: 0.03, accounted: true", "tolerance: 0.03"),
    ],
)
def test_of_two_parents_the_later_wins(write: Write, tmp_path: Path, old: str, new: str) -> None:
    policy = loaded(second(write, tmp_path, old, new))
    later = loaded(tmp_path / "second.yaml")
    names = {"name": "mine", "summary": "Mine."}
    assert policy == later.model_copy(update=names)


@pytest.mark.parametrize(
    ("old", "new", "settled", "told"),
    [
        ("alpha: 0.05", "alpha: 0.06", "alpha: 0.06", "alpha: 0.05 -> 0.06 (looser)"),
        ("min_images: 2000", "min_images: 9", "min_images: 9", "min_images: 2000 -> 9 (looser)"),
        ("alpha: 0.05", "alpha: 0.05\nprofile: imagenet-c", "profile: auto", "profile: "),
        (
            "tolerance: 0.03",
            "tolerance: 0.04",
            "shifts: [{id: fog-3, tolerance: 0.04, reason: x}]",
            "fog-3 tolerance: 0.03 -> 0.04 (looser)",
        ),
        (
            "tolerance: 0.05",
            "enforced: false, tolerance: 0.05",
            "shifts: [{id: own, enforced: false, reason: x}]",
            "own enforced: true -> false (looser)",
        ),
        (
            "releases: 10",
            "releases: 2",
            "reuse: {releases: 2}",
            "reuse.releases: 10 -> 2 (looser); say here which reuse holds",
        ),
        (
            "folder: field",
            "folder: field, only: [cyclist]",
            "drop: [{id: own, reason: x}]",
            'own only: "every class" -> ["cyclist"]; drop own and write it anew',
        ),
        (
            "folder: field",
            "folder: field, metric: brier",
            "drop: [{id: own, reason: x}]",
            'own metric: "top1" -> "brier"',
        ),
        (
            "folder: field",
            "folder: other",
            "drop: [{id: own, reason: x}]",
            'own folder: "field" -> "other"',
        ),
    ],
)
def test_a_later_parent_loosens_an_earlier_one_only_if_the_child_says_so(
    write: Write, tmp_path: Path, old: str, new: str, settled: str, told: str
) -> None:
    assert f"mine.yaml:4: extends[1]: second.yaml does not agree with base.yaml: {told}" in (
        complaint(second(write, tmp_path, old, new))
    )
    assert loaded(second(write, tmp_path, old, new, f"{settled}\n")).name == "mine"


def test_rules_of_several_parents_add_up(write: Write) -> None:
    policy = loaded(write("min_images: 1000\n", extends="[nominal, base.yaml]"))
    assert [rule.id for rule in policy.shifts] == ["clean", "fog-3", "own", "snow-2"]
    assert policy.shifts[0].reason == "because"


def test_that_waivers_are_forbidden_is_inherited_for_good(write: Write, tmp_path: Path) -> None:
    write()
    (tmp_path / "base.yaml").write_text(BASE + "waivers: forbidden\n")
    path = tmp_path / "mine.yaml"
    assert loaded(path).waivers == "forbidden"
    path.write_text(f"{path.read_text()}waivers: []\n")
    assert "mine.yaml:5: waivers: a parent forbids waivers" in complaint(path)
    path.write_text(path.read_text().replace("base.yaml", "[nominal, base.yaml]"))
    assert "a parent forbids waivers" in complaint(path)


def test_waivers_of_a_parent_are_not_inherited(write: Write, tmp_path: Path) -> None:
    path = write()
    waiver = "{shift: fog-3, expires: 2030-01-01, reason: x, approver: y}"
    (tmp_path / "base.yaml").write_text(f"{BASE}waivers: [{waiver}]\n")
    assert loaded(path).waived == ()
    assert len(loaded(tmp_path / "base.yaml").waived) == 1


def test_the_example_of_the_documentation_is_what_it_says(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for source, name in (("README.md", "dashcam"), ("docs/policies.md", "dashcam-winter")):
        text = (root / source).read_text(encoding="utf-8")
        found = re.findall(rf"```yaml\n(apiVersion: \S+\nname: {name}\n.*?)```", text, re.DOTALL)
        (tmp_path / f"{name.removeprefix('dashcam-')}.yaml").write_text(found[0])
    told = (root / "docs" / "policies.md").read_text().partition("dashcam.yaml winter.yaml\n")[2]
    parent, child = loaded(tmp_path / "dashcam.yaml"), loaded(tmp_path / "winter.yaml")
    lines = [str(difference) for difference in compare(parent, child)]
    wanted = told.partition("\n```")[0].splitlines()
    assert [line for line in lines if not re.search("summary|reason", line)] == wanted
    assert len(lines) == len(wanted) + 2


def test_the_waiver_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    path = tmp_path / "waivers.yaml"
    path.write_text(re.findall(r"```yaml\n(apiVersion: \S+\nwaivers:.*?)```", text, re.DOTALL)[0])
    assert [waiver.shift for waiver in load_waivers(path)] == ["fog-3"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "waivers: forbidden\n",
        "profile: imagenet-c\n",
        "method: anytime\n",
        "method: looks\nlooks: {fractions: [0.5, 1], spend: [0.5, 0.5]}\nreuse: {releases: 3}\n",
        "shifts: [{id: a, folder: b, labels: none, tolerance: 0.1, reason: x}]\n",
        "shifts: [{id: a, name: clean, metric: brier, only: [b], tolerance: 0.1, reason: x}]\n",
    ],
)
def test_the_resolved_text_loads_back_to_the_same_digest(
    write: Write, tmp_path: Path, text: str
) -> None:
    policy = loaded(write(text))
    again = tmp_path / "again.yaml"
    again.write_text(resolved_yaml(policy))
    assert load_policy(str(again)).digest() == policy.digest()
    assert resolved_yaml(load_policy(str(again))) == resolved_yaml(policy)
