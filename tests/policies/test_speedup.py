"""What a policy may ask of a model's speed."""

import json
from pathlib import Path

import pytest

from policies import MinSpeedup, Policy, PolicyError, built_in, compare, load_policy, schema_json

CHILD = """\
apiVersion: compress/v1
name: fast
summary: Standard, and faster.
extends: standard
{more}
"""


def written(folder: Path, more: str) -> str:
    path = folder / "fast.yaml"
    path.write_text(CHILD.format(more=more))
    return str(path)


@pytest.mark.parametrize("name", built_in())
def test_policies_that_ask_for_no_speed_keep_their_digests(name: str) -> None:
    policy = load_policy(name)
    assert policy.min_speedup is None
    assert "min_speedup" not in json.loads(policy.canonical())


def test_an_extending_policy_may_ask_for_speed(tmp_path: Path) -> None:
    policy = load_policy(written(tmp_path, "min_speedup: {times: 1.3, batch: 8}"))
    assert policy.min_speedup == MinSpeedup(times=1.3, batch=8)
    again = Policy.model_validate_json(policy.canonical())
    assert again.digest() == policy.digest() != load_policy("standard").digest()


def test_to_ask_for_more_speed_is_stricter(tmp_path: Path) -> None:
    plain = load_policy("standard")
    some, more = (
        plain.model_copy(update={"min_speedup": MinSpeedup(times=times)}) for times in (1.2, 1.5)
    )
    assert any("min_speedup.times: 1.2 -> 1.5 (stricter)" in str(d) for d in compare(some, more))
    assert any("min_speedup.times: 1.5 -> 1.2 (looser)" in str(d) for d in compare(more, some))
    assert any("(stricter)" in str(d) for d in compare(plain, some))
    assert any("(looser)" in str(d) for d in compare(some, plain))


@pytest.mark.parametrize(
    "more, told",
    [
        ("min_speedup: 1.3", "min_speedup"),
        ("min_speedup: {times: 0}", "min_speedup.times"),
        ("min_speedup: {times: 1.3, batch: 0}", "min_speedup.batch"),
        ("min_speedup: {times: 1.3, batches: 8}", "batches"),
        ("min_speedup: {batch: 8}", "times"),
    ],
)
def test_what_is_no_speed_up_is_refused_with_its_key(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        load_policy(written(tmp_path, more))


def test_the_schema_for_editors_knows_it() -> None:
    assert "min_speedup" in schema_json()


def test_sequences_share_alpha_equally() -> None:
    policy = load_policy("standard")
    assert policy.shared_among(1) is policy
    assert policy.shared_among(2).alpha_at(4) == pytest.approx(policy.alpha_at(4) / 2)
