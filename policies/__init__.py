"""What may be lost: the schema of a policy, the strict reader, and the built-in policies."""

from policies.compare import Difference, Effect, compare
from policies.fields import STATISTICS, Component, Metric
from policies.load import (
    PolicyError,
    built_in,
    load_policy,
    load_waivers,
    resolved_yaml,
    schema_json,
    source_of,
    waived,
)
from policies.method import Looks, Method, Reuse
from policies.rules import FolderRule, MixtureRule, Rule, ShiftRule
from policies.schema import Policy, RatioBounds
from policies.speedup import MinSpeedup
from policies.waivers import Waiver

__all__ = [
    "STATISTICS",
    "Component",
    "Difference",
    "Effect",
    "FolderRule",
    "Looks",
    "Method",
    "Metric",
    "MinSpeedup",
    "MixtureRule",
    "Policy",
    "PolicyError",
    "RatioBounds",
    "Reuse",
    "Rule",
    "ShiftRule",
    "Waiver",
    "built_in",
    "compare",
    "load_policy",
    "load_waivers",
    "resolved_yaml",
    "schema_json",
    "source_of",
    "waived",
]
