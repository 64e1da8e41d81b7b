import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import Result

from policies import Policy, built_in, load_policy

Compress = Callable[..., Result]

COMMANDS = [
    "bench",
    "demo",
    "doctor",
    "export",
    "gate",
    "ledger",
    "lint",
    "plan",
    "policy",
    "prune",
    "report",
    "run",
    "shifts",
    "study",
    "verify",
]


def commands_of(text: str) -> list[str]:
    """The names under "Commands:" of a help text."""
    _, listed = text.split("Commands:\n")
    return re.findall(r"^  (\S+)", listed, re.MULTILINE)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(compress: Compress, flag: str) -> None:
    result = compress(flag)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: main [OPTIONS] COMMAND [ARGS]...")
    assert commands_of(result.stdout) == COMMANDS


def test_help_of_policy_lists_its_commands(compress: Compress) -> None:
    result = compress("policy", "--help")
    assert commands_of(result.stdout) == ["diff", "lint", "list", "schema", "show"]


def test_every_option_of_the_main_job_is_explained(compress: Compress) -> None:
    result = compress("run", "--help")
    for option in (
        "--policy", "--waivers", "--project", "--run", "--set", "--trust-class", "--json",
    ):  # fmt: skip
        assert re.search(rf"^  {option}\b.*  \w", result.stdout, re.MULTILINE), option


def test_version_is_that_of_the_package(compress: Compress) -> None:
    assert compress("--version").stdout == f"compress, version {version('compressor')}\n"


def test_list_names_every_built_in_policy_from_lenient_to_strict(compress: Compress) -> None:
    lines = compress("policy", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(built_in())
    for line, name in zip(lines, built_in(), strict=True):
        assert f"{len(load_policy(name).enforced)} enforced shifts" in line
        assert load_policy(name).summary in line


@pytest.mark.parametrize("name", built_in())
def test_what_show_prints_is_the_policy_and_passes_lint(
    compress: Compress, tmp_path: Path, name: str
) -> None:
    shown = compress("policy", "show", name)
    file = tmp_path / "policy.yaml"
    file.write_text(shown.stdout)
    assert load_policy(str(file)) == load_policy(name)
    linted = compress("policy", "lint", str(file))
    assert linted.exit_code == 0
    assert linted.stdout == (
        f"{file}: {name}, {len(load_policy(name).enforced)} enforced shifts, no errors\n"
    )


def test_show_of_an_unknown_policy_names_the_known_ones(compress: Compress) -> None:
    result = compress("policy", "show", "standart")
    assert result.exit_code == 2
    assert "no policy 'standart'; did you mean 'standard'?" in result.stderr
    assert ", ".join(built_in()) in result.stderr


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("alpha: 0.05", "alpha: 0.7", r"policy\.yaml:4: alpha: .*0\.5"),
        ("alpha: 0.05", "alfa: 0.05", r"policy\.yaml:4: alfa: .*did you mean 'alpha'"),
        ("name: gaussian_noise", "name: gausian_noise", "gausian_noise"),
        ("severity: 1", "severity: 9", r"policy\.yaml:\d+: shifts\[1\]\.severity: .*5"),
    ],
)
def test_lint_names_what_is_wrong_and_where(
    compress: Compress, root: Path, tmp_path: Path, old: str, new: str, told: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text((root / "lenient.yaml").read_text().replace(old, new))
    result = compress("policy", "lint", str(file))
    assert result.exit_code == 2
    assert re.search(told, result.stderr), result.stderr
    assert result.stdout == ""


EXTENDING = """\
apiVersion: compress/v1
name: mine
summary: For tests.
extends: lenient.yaml
alpha: 0.01
shifts:
  - {id: clean, tolerance: 0.2, reason: a test}
"""


@pytest.fixture
def extending(root: Path, tmp_path: Path) -> Path:
    """A policy that extends lenient.yaml, which lies beside it."""
    (tmp_path / "lenient.yaml").write_text((root / "lenient.yaml").read_text())
    file = tmp_path / "mine.yaml"
    file.write_text(EXTENDING)
    return file


def test_show_prints_a_file_as_it_is_written_or_what_it_comes_to(
    compress: Compress, extending: Path
) -> None:
    assert compress("policy", "show", str(extending)).stdout == EXTENDING
    shown = compress("policy", "show", str(extending), "--resolved").stdout
    resolved = extending.with_name("resolved.yaml")
    resolved.write_text(shown)
    assert "extends" not in shown
    assert load_policy(str(resolved)).digest() == load_policy(str(extending)).digest()


def test_lint_reads_what_a_policy_extends(compress: Compress, extending: Path) -> None:
    linted = compress("policy", "lint", str(extending))
    assert linted.stdout == f"{extending}: mine, 2 enforced shifts, no errors\n"
    extending.write_text(EXTENDING.replace("id: clean", "id: cleen"))
    result = compress("policy", "lint", str(extending))
    assert result.exit_code == 2
    assert f"{extending}:7: shifts[0].id: there is no rule cleen in lenient.yaml" in result.stderr


def test_diff_tells_what_is_stricter_and_what_looser(compress: Compress, extending: Path) -> None:
    first = str(extending.with_name("lenient.yaml"))
    result = compress("policy", "diff", first, str(extending))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        'name: "lenient" -> "mine"',
        "alpha: 0.05 -> 0.01 (stricter)",
        "clean tolerance: 0.1 -> 0.2 (looser)",
        'clean reason: "it is a test" -> "a test"',
        f"{extending}: stricter in 1, looser in 1, otherwise different in 2",
    ]


def test_diff_has_an_exit_code_if_it_is_asked_for(compress: Compress) -> None:
    assert compress("policy", "diff", "nominal", "standard", "--exit-code").exit_code == 3
    assert compress("policy", "diff", "nominal", "standard").exit_code == 0
    same = compress("policy", "diff", "nominal", "nominal", "--exit-code")
    assert (same.exit_code, same.stdout) == (0, "no difference\n")
    assert compress("policy", "diff", "nominal", "nosuch", "--exit-code").exit_code == 2


def test_schema_is_that_of_policies(compress: Compress) -> None:
    schema = json.loads(compress("policy", "schema").stdout)
    whole = schema["$defs"]["Policy"]
    assert whole["properties"].keys() == Policy.model_json_schema()["properties"].keys()
    assert schema["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize(
    "words", [("--policy", "nosuch", "model.pt"), ("model.pt", "--policy", "nosuch")]
)
def test_without_a_command_the_words_are_those_of_the_main_job(
    compress: Compress, words: tuple[str, ...]
) -> None:
    short, full = compress(*words), compress("run", *words)
    assert (short.exit_code, short.output) == (full.exit_code, full.output)
    assert short.stderr.startswith("compress: no policy 'nosuch'")
