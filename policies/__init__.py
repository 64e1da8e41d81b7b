"""What may be lost: the schema of a policy, the strict reader, and the built-in policies."""

from policies.load import PolicyError, built_in, load_policy, schema_json, source_of
from policies.schema import Policy, RatioBounds, ShiftRule

__all__ = [
    "Policy",
    "PolicyError",
    "RatioBounds",
    "ShiftRule",
    "built_in",
    "load_policy",
    "schema_json",
    "source_of",
]
