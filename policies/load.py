"""A policy by its name or from its file."""

import datetime as dt
import difflib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from policies.extension import Extension
from policies.resolve import Parent, resolve
from policies.schema import Policy
from policies.strict_yaml import Document, DocumentError, Json, parse, read
from policies.waivers import FORBIDDEN, Waiver, WaiverFile, check_unexpired, check_waivers

# From the most lenient to the strictest.
_BUILT_IN: Final = ("nominal", "standard", "safety-critical")
_SUFFIXES: Final = (".yaml", ".yml")


class PolicyError(ValueError):
    """There is no such policy, or it is unusable."""


def built_in() -> tuple[str, ...]:
    """Names of the policies that come with the package, the most lenient first."""
    return _BUILT_IN


def load_policy(name_or_path: str) -> Policy:
    """The built-in policy of that name, or the one in that .yaml or .yml file.

    A policy that extends others comes whole: what it comes to, not what is written.

    Raises:
        PolicyError: there is no such policy, or its text is not a policy.
    """
    return _load(name_or_path, above=())


def load_waivers(path: Path) -> tuple[Waiver, ...]:
    """The waivers in a file of their own.

    Raises:
        PolicyError: the file is unreadable, or holds something else.
    """
    try:
        return parse(_read(path, "waivers"), WaiverFile, source=str(path)).waivers
    except DocumentError as error:
        raise PolicyError(str(error)) from error


def waived(policy: Policy, waivers: Sequence[Waiver], *, today: dt.date) -> Policy:
    """The policy with its own waivers and these, all of which hold ``today``.

    Raises:
        PolicyError: a waiver has expired, is for no enforced rule or for one that is waived
            already; the policy forbids them; or no enforced rule would be left.
    """
    if waivers and policy.waivers == FORBIDDEN:
        named = ", ".join(waiver.shift for waiver in waivers)
        raise PolicyError(
            f"the policy {policy.name} forbids waivers, and there is one for {named}; remove it, "
            "or choose another policy"
        )
    together = (*policy.waived, *waivers)
    try:
        check_waivers(together, policy.shifts)
        check_unexpired(together, today=today)
    except ValueError as error:
        raise PolicyError(f"under the policy {policy.name} {error}") from error
    return policy.model_copy(update={"waivers": together}) if waivers else policy


def source_of(name_or_path: str) -> str:
    """The YAML text of a policy, as it is written.

    Raises:
        PolicyError: there is no such policy, or no such file.
    """
    if name_or_path in _BUILT_IN:
        return files("policies").joinpath(f"{name_or_path}.yaml").read_text(encoding="utf-8")
    if name_or_path.endswith(_SUFFIXES):
        return _read(Path(name_or_path), "policy")
    raise _unknown(name_or_path)


def resolved_yaml(policy: Policy) -> str:
    """The YAML text that says everything of a policy; what it loads as has the same digest."""
    content = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text


def schema_json() -> str:
    """The JSON Schema of a policy file, for editors that complete and check YAML."""
    kinds: tuple[type[BaseModel], ...] = (Policy, Extension)
    _, shared = models_json_schema([(kind, "validation") for kind in kinds])
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy",
        "description": Policy.__doc__,
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/Extension"},
        "else": {"$ref": "#/$defs/Policy"},
        **shared,
    }
    return json.dumps(schema, indent=2) + "\n"


def _load(name: str, *, above: tuple[str, ...]) -> Policy:
    """The policy; ``above`` are those that extend it, one by the other, the outermost first."""
    try:
        document = read(source_of(name), source=name)
        if not _extends(document.content):
            return document.of(Policy)
        child = document.of(Extension)
        chain = (*above, name)
        parents = [
            Parent(parent, _parent(document, child, index, chain=chain))
            for index, parent in enumerate(child.parents)
        ]
        return resolve(document, child, parents)
    except DocumentError as error:
        raise PolicyError(str(error)) from error


def _parent(document: Document, child: Extension, index: int, *, chain: tuple[str, ...]) -> Policy:
    """One of the policies that a file extends, the file being the last of the ``chain``.

    Raises:
        DocumentError: it is not usable, or extends one of the chain.
    """
    written = child.parents[index]
    name = written if written in _BUILT_IN else str(Path(chain[-1]).parent / written)
    at = ("extends",) if isinstance(child.extends, str) else ("extends", index)
    if written not in _BUILT_IN and not written.endswith(_SUFFIXES):
        raise document.error([(at, str(_unknown(written)))])
    if Path(name).resolve() in [Path(link).resolve() for link in chain]:
        circle = " -> ".join([*chain, name])
        raise document.error([(at, f"{written} extends this policy in turn: {circle}; cut one")])
    try:
        return _load(name, above=chain)
    except PolicyError as error:
        raise document.error([(at, f"{written} is not usable: {error}")]) from error


def _extends(content: Json) -> bool:
    """Whether a text is meant to extend other policies, rightly written or not."""
    if not isinstance(content, dict):
        return False
    return "drop" in content or bool(difflib.get_close_matches("extends", content, n=1, cutoff=0.8))


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"the {what} {path} is not UTF-8 text (byte {error.start})") from error


def _unknown(name: str) -> PolicyError:
    nearest = difflib.get_close_matches(name, _BUILT_IN, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return PolicyError(
        f"no policy {name!r}; {hint}built in: {', '.join(_BUILT_IN)}; "
        "or give the path of a .yaml file"
    )
