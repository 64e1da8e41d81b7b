import json

import pytest
from click.testing import CliRunner

from compressor.cli import main
from exporters.providers import probe


def test_doctor_prints_the_truth_about_every_provider() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    rows = {line.split()[1]: line for line in result.output.splitlines() if line.startswith("| ")}
    for name in ("cpu", "cuda", "tensorrt"):
        assert (" yes " in rows[name]) != (" no " in rows[name])
    assert "5 on CPUExecutionProvider" in rows["cpu"]
    assert "onnxruntime" in result.output


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_provider_that_was_asked_for_and_does_not_work_is_exit_2(name: str) -> None:
    usable = probe("cuda" if name == "cuda" else "tensorrt").usable
    result = CliRunner().invoke(main, ["doctor", "--provider", name, "--json"])
    assert result.exit_code == (0 if usable else 2)
    told = {one["provider"]["name"]: one for one in json.loads(result.stdout)["providers"]}
    assert told[name]["provider"]["usable"] is usable
    if not usable:
        assert f"cannot run on {name}: " in result.stderr
        assert "pip install " in result.stderr
        assert told[name]["remedy"]
