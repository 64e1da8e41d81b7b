"""What may be lost: the schema of a policy, the strict reader, and the built-in policies."""

from policies.fields import Component
from policies.load import PolicyError, built_in, load_policy, schema_json, source_of
from policies.rules import FolderRule, MixtureRule, Rule, ShiftRule
from policies.schema import Policy, RatioBounds

__all__ = [
    "Component",
    "FolderRule",
    "MixtureRule",
    "Policy",
    "PolicyError",
    "RatioBounds",
    "Rule",
    "ShiftRule",
    "built_in",
    "load_policy",
    "schema_json",
    "source_of",
]
