import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import Result

from policies import Policy, built_in, load_policy

Compress = Callable[..., Result]

COMMANDS = ["demo", "policy", "run"]


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
    assert commands_of(result.stdout) == ["lint", "list", "schema", "show"]


def test_every_option_of_the_main_job_is_explained(compress: Compress) -> None:
    result = compress("run", "--help")
    for option in ("--policy", "--project", "--run", "--set", "--trust-class", "--json"):
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


def test_schema_is_that_of_policies(compress: Compress) -> None:
    schema = json.loads(compress("policy", "schema").stdout)
    assert schema["properties"].keys() == Policy.model_json_schema()["properties"].keys()
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
