"""A policy by its name or from its file."""

import difflib
import json
from importlib.resources import files
from pathlib import Path
from typing import Final

from policies.schema import Policy
from policies.strict_yaml import DocumentError, parse

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

    Raises:
        PolicyError: there is no such policy, or its text is not a policy.
    """
    if name_or_path in _BUILT_IN:
        text = source_of(name_or_path)
    elif name_or_path.endswith(_SUFFIXES):
        text = _read(Path(name_or_path))
    else:
        raise _unknown(name_or_path)
    try:
        return parse(text, Policy, source=name_or_path)
    except DocumentError as error:
        raise PolicyError(str(error)) from error


def source_of(name: str) -> str:
    """The YAML text of a built-in policy.

    Raises:
        PolicyError: no policy of that name is built in.
    """
    if name not in _BUILT_IN:
        raise _unknown(name)
    return files("policies").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def schema_json() -> str:
    """The JSON Schema of a policy file, for editors that complete and check YAML."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Policy.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"the policy {path} is not UTF-8 text (byte {error.start})") from error


def _unknown(name: str) -> PolicyError:
    nearest = difflib.get_close_matches(name, _BUILT_IN, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return PolicyError(
        f"no policy {name!r}; {hint}built in: {', '.join(_BUILT_IN)}; "
        "or give the path of a .yaml file"
    )
