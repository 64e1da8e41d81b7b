"""The commands about policies. Heavy imports wait until a command needs them."""

import datetime as dt
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:  # loads pydantic, and a command's own help needs none
    from policies import Policy

DIFFERENT: Final = 3


@click.group()
def policy() -> None:
    """Look at policies and check them."""


@policy.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def policy_list(*, as_json: bool) -> None:
    """The built-in policies, from lenient to strict."""
    from policies import built_in, load_policy  # noqa: PLC0415

    policies = {name: load_policy(name) for name in built_in()}
    if as_json:
        _print([_about(found) for found in policies.values()])
        return
    for name, found in policies.items():
        click.echo(f"{name:16} {len(found.enforced):2} enforced shifts  {found.summary}")


@policy.command("show")
@click.argument("name")
@click.option("--resolved", is_flag=True, help="What it comes to, with all that it extends.")
@click.option("--json", "as_json", is_flag=True, help="Print what it comes to, as JSON.")
def policy_show(*, name: str, resolved: bool, as_json: bool) -> None:
    """The YAML of a policy, a built-in one or a file, as it is written."""
    from policies import load_policy, resolved_yaml, source_of  # noqa: PLC0415

    if as_json:
        _print(load_policy(name).model_dump(mode="json", by_alias=True))
        return
    click.echo(resolved_yaml(load_policy(name)) if resolved else source_of(name), nl=False)


@policy.command("diff")
@click.argument("first")
@click.argument("second")
@click.option("--exit-code", is_flag=True, help=f"Exit with {DIFFERENT} if the two differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def policy_diff(*, first: str, second: str, exit_code: bool, as_json: bool) -> None:
    """In what SECOND differs from FIRST, once both are resolved; stricter or looser where known."""
    from policies import Effect, compare, load_policy  # noqa: PLC0415

    found = compare(load_policy(first), load_policy(second))
    if as_json:
        _print([asdict(difference) for difference in found])
        sys.exit(DIFFERENT if found and exit_code else 0)
    for difference in found:
        click.echo(str(difference))
    counts = [sum(item.effect is effect for item in found) for effect in (*Effect, None)]
    stricter, looser, neither = counts
    click.echo(
        f"{second}: stricter in {stricter}, looser in {looser}, otherwise different in {neither}"
        if found
        else "no difference"
    )
    sys.exit(DIFFERENT if found and exit_code else 0)


@policy.command("lint")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def policy_lint(*, file: Path, as_json: bool) -> None:
    """Check a policy file: keys, values, what it extends, and that its shifts exist."""
    from compressor.distributions import check_shifts  # noqa: PLC0415 # loads torch
    from policies import load_policy, waived  # noqa: PLC0415

    found = waived(load_policy(str(file)), (), today=today())
    check_shifts(found, side=32)
    if as_json:
        _print({"file": str(file), **_about(found)})
        return
    click.echo(f"{file}: {found.name}, {len(found.enforced)} enforced shifts, no errors")


@policy.command("schema")
def policy_schema() -> None:
    """The JSON Schema of policies, for editors."""
    from policies import schema_json  # noqa: PLC0415

    click.echo(schema_json())


def _about(found: "Policy") -> dict[str, object]:
    """A policy in short."""
    return {
        "name": found.name,
        "summary": found.summary,
        "digest": found.digest(),
        "enforced": [rule.id for rule in found.enforced],
    }


def _print(content: object) -> None:
    click.echo(json.dumps(content, indent=2))


def today() -> dt.date:
    """The date by which waivers expire: the same everywhere."""
    return dt.datetime.now(tz=dt.UTC).date()
