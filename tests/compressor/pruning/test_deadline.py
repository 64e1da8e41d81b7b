"""What takes too long is ended between two modules, and is nobody's failure."""

import copy
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.candidate import prunable
from compressor.pruning.deadline import DeadlineError, deadline
from compressor.pruning.finding import find
from compressor.pruning.outputs import ForwardError, answer
from compressor.pruning.surgery import sound_groups
from compressor.pruning.tracing import TraceError
from tests.compressor.pruning.tiny_nets import EXAMPLE, Do, chain, classifier, conv, found_in


def after(seconds: float) -> float:
    return time.monotonic() + seconds


def slow(calls: list[int], seconds: float) -> nn.Module:
    """Passes on what it gets, and counts."""
    numbers = count()

    def wait(x: Tensor) -> Tensor:
        calls.append(next(numbers))
        time.sleep(seconds)
        return x

    return Do(wait)


def test_the_next_module_is_not_called_when_the_time_is_up() -> None:
    calls: list[int] = []
    with pytest.raises(DeadlineError), deadline(after(0.05)):
        nn.Sequential(*(slow(calls, 0.1) for _ in range(5)))(EXAMPLE)
    assert len(calls) == 1


def test_nothing_begins_when_it_is_late_already() -> None:
    with pytest.raises(DeadlineError), deadline(after(-1.0)):
        pytest.fail("it began")


def test_outside_nothing_is_ended() -> None:
    with pytest.raises(DeadlineError), deadline(after(-1.0)):
        pass
    with deadline(after(0.05)):
        time.sleep(0.1)
    assert nn.Identity()(EXAMPLE) is EXAMPLE


def test_another_thread_has_the_time_that_it_wants() -> None:
    with ThreadPoolExecutor() as other, deadline(after(0.05)):
        time.sleep(0.1)
        assert other.submit(nn.Identity(), EXAMPLE).result() is EXAMPLE
        with pytest.raises(DeadlineError):
            nn.Identity()(EXAMPLE)


def test_a_forward_that_ran_out_of_time_is_not_one_that_fails() -> None:
    model = nn.Sequential(slow([], 0.1), nn.Identity())
    with pytest.raises(DeadlineError), deadline(after(0.05)):
        answer(model, EXAMPLE)
    with pytest.raises(ForwardError, match="TimeoutError"):
        answer(Do(_times_out), EXAMPLE)


def _times_out(_: Tensor) -> Tensor:
    raise TimeoutError


def test_a_network_too_slow_to_be_tried_is_refused_within_the_limit() -> None:
    calls: list[int] = []
    layers = {f"wait{k}": slow(calls, 0.1) for k in range(40)}
    model = classifier(8, stem=conv(3, 8), **layers, body=conv(8, 8))
    prunable(classifier(8, stem=conv(3, 8), body=conv(8, 8)), EXAMPLE, seed=0)  # loads libraries
    with pytest.raises(TraceError, match=r"forward passes.*larger search\.time_limit_s"):
        prunable(model, EXAMPLE, seed=0, time_limit_s=2.0)
    assert len(calls) <= 2.0 / 0.1


def test_trial_cuts_end_with_the_time_and_what_was_not_tried_is_left_alone() -> None:
    dense = found_in("plain")
    model = copy.deepcopy(dense.model)
    model.add_module("late", slow([], 0.2))
    model.add_module("later", nn.Identity())
    sound, left = sound_groups(model, dense.groups, EXAMPLE, seed=0, until=after(0.1))
    assert sound == ()
    assert {item.reason for item in left} == {
        "not tested within the time limit; it needs a larger search.time_limit_s"
    }
    assert len(left) == len(dense.groups)


def test_a_right_network_is_tried_once_with_two_images() -> None:
    """Its own forward passes are what finding takes: dense with zeros, and cut."""
    seen: list[int] = []

    def counted(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            seen.append(len(x))
        return x

    model = chain(stem=conv(3, 8), mid=Do(counted), body=conv(8, 16))
    find(model, EXAMPLE, seed=0)
    assert seen == [2, 2]


def test_the_network_has_its_time_when_libraries_are_loaded() -> None:
    # They take seconds at their first use, and many more from a cold disk.
    begun_with = """
        import sys
        from torch import nn, zeros
        from compressor.pruning import candidate

        heavy, seen = {"torch._dynamo", "torch_pruning"}, []

        class Clock:
            def __init__(self, limit_s):
                seen.append(heavy & set(sys.modules))
            def __enter__(self):
                pass
            def __exit__(self, *_):
                seen.append(set(sys.modules))

        assert not heavy & set(sys.modules), "what is asked has no answer here"
        candidate.in_time = Clock
        layers = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        found = candidate.prunable(network, zeros(2, 3, 8, 8), seed=0)
        assert found.groups
        assert seen[0] == heavy, seen[0]
        late = set(sys.modules) - seen[1]
        assert not {name for name in late if name.startswith(("torch", "PIL"))}, late
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(begun_with)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
