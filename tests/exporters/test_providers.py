from typing import get_args

import onnxruntime
import pytest

from exporters import providers
from exporters.providers import Name, Provider, ProviderError, choose, probe


@pytest.fixture(scope="module")
def probed() -> dict[Name, Provider]:
    return {name: probe(name) for name in get_args(Name)}


def test_the_cpu_works(probed: dict[Name, Provider]) -> None:
    assert probed["cpu"].usable
    assert probed["cpu"].execution_provider == "CPUExecutionProvider"


def test_an_unusable_provider_says_what_is_missing(probed: dict[Name, Provider]) -> None:
    for provider in probed.values():
        assert provider.usable or "; needs " in provider.reason
        assert provider.usable or "pip install " in provider.reason


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_an_explicit_request_is_granted_or_refused_never_replaced(
    name: Name, probed: dict[Name, Provider]
) -> None:
    if probed[name].usable:
        assert choose(name).name == name
    else:
        with pytest.raises(ProviderError, match=rf"cannot run on {name}: .*pip install "):
            choose(name)


def test_auto_takes_what_works_and_says_why(probed: dict[Name, Provider]) -> None:
    chosen = choose("auto")
    assert chosen.usable
    assert chosen.name == ("cuda" if probed["cuda"].usable else "cpu")
    if chosen.name == "cpu":
        assert "cuda is not: " in chosen.reason


def test_being_listed_is_not_being_usable(probed: dict[Name, Provider]) -> None:
    """What onnxruntime lists says how it was built; only a session tells."""
    for provider in probed.values():
        listed = provider.execution_provider in onnxruntime.get_available_providers()
        assert listed or not provider.usable


def test_a_provider_that_hangs_is_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_TIMEOUT_S", 0.01)
    assert probe("cpu").reason.startswith("it did not answer within 0 s")
