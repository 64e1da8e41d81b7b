"""Which of the tensors that a network returns is its answer, and heads that only others need.

A network may return a dictionary with an auxiliary output beside the answer, or do so in training
alone. A hook on the copy that is pruned takes the answer in both modes, and the heads of the other
outputs go, so that they are neither retrained, nor counted, nor exported.
"""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.conversions import copied, first_line
from compressor.pruning.deadline import DeadlineError
from compressor.pruning.tracing import TraceError
from compressor.wording import few

PREFERRED: Final = ("out", "logits")
"""Keys of the answer where there are several: torchvision's, and what many others call it."""

# What a forward pass may raise in training on two images and not on more: it is asked for the kind
# of its output alone, and what is really wrong fails again, visibly, in the first step.
_FAILURES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class ForwardError(TraceError):
    """The network does not run on the images that it was given."""

    def __init__(self, reason: str, *, shape: tuple[int, ...], place: str) -> None:
        super().__init__(
            f"the model cannot be traced: it does not run on images {list(shape)}{place}: {reason}"
        )
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Pick:
    """A forward hook: the answer in what a network returns."""

    name: str | None
    """The key, field or number of the answer; None for the only one, or a preferred one."""

    def __call__(self, _module: nn.Module, _inputs: object, output: object) -> Tensor:
        return chosen(output, self.name)[1]


def answer(model: nn.Module, images: Tensor) -> object:
    """What the network returns in evaluation mode, which it is left in.

    Raises:
        ForwardError: it does not run; says in which module.
    """
    try:
        with torch.no_grad():
            return model.eval()(images)
    except DeadlineError:
        raise
    # forward is the user's own code and may raise anything. It is told with the module in which it
    # happened, and chained; KeyboardInterrupt and SystemExit pass.
    except Exception as error:
        raise ForwardError(
            f"{type(error).__name__}: {first_line(error)}",
            shape=tuple(images.shape),
            place=_place(error, model),
        ) from error


def with_one_answer(
    model: nn.Module, images: Tensor, *, name: str | None
) -> tuple[nn.Module, list[str]]:
    """A network that returns one tensor, in evaluation and in training, and what was done for it.

    The one that was given, if it does; else a copy with a ``Pick``, without the modules whose
    weights its answer does not depend on.

    Raises:
        ForwardError: it does not run. TraceError: several tensors, and none is known to be the
            answer.
    """
    if any(isinstance(hook, Pick) for hook in model._forward_hooks.values()):  # noqa: SLF001 # torch has no other way
        answer(copied(model), images)  # made before, for other images perhaps
        return model, []
    output, trained = answer(copied(model), images), _in_training(model, images)
    if isinstance(output, Tensor) and (trained is None or isinstance(trained, Tensor)):
        return model, []
    seen, when = (trained, "in training ") if isinstance(output, Tensor) else (output, "")
    place, _ = chosen(seen, name)
    network = copied(model)
    network.register_forward_hook(Pick(name))
    notes = [f"of its output, {when}a {type(seen).__name__}, {place} is taken"]
    if len(list(_tensors(seen))) > 1:
        network, gone = _without_idle(network, images, trains=trained is not None)
        if gone:
            notes.append(f"what only its other outputs need is taken off: {few(gone)}")
    return network, notes


def chosen(output: object, name: str | None) -> tuple[str, Tensor]:
    """The answer in an output, and how one gets at it.

    Raises:
        TraceError: there is none, or it cannot be told which.
    """
    if isinstance(output, Tensor):
        return "", output
    found = list(_tensors(output))
    if name is not None:
        wanted = [item for item in found if name in {item.keys[-1], ".".join(item.keys)}]
    else:
        by_key = {item.keys: item for item in found}
        preferred = [by_key[(key,)] for key in PREFERRED if (key,) in by_key]
        wanted = found if len(found) == 1 else preferred[:1]
    if len(wanted) == 1:
        return wanted[0].place, wanted[0].tensor
    raise TraceError(_ambiguous(output, found, name))


def _ambiguous(output: object, found: list["_Held"], name: str | None) -> str:
    held = f"{len(found)} tensors ({few(item.place for item in found)})" if found else "no tensor"
    place = found[0].place if found else "['logits']"
    asked = "" if name is None else f", of which model.output {name!r} names no one"
    remedy = ""
    if found:
        remedy = f"say which is the answer, as in model: {{output: {found[0].keys[-1]}}}, or "
    return (
        f"its output is a {type(output).__name__} with {held}{asked}; a network with one tensor as "
        f"output is needed: {remedy}wrap it in a module whose forward returns "
        f"network(images){place}"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A tensor in an output."""

    keys: tuple[str, ...]
    place: str
    """The same as Python has it."""
    tensor: Tensor


def _tensors(output: object, keys: tuple[str, ...] = (), place: str = "") -> Iterator[_Held]:
    if isinstance(output, Tensor):
        yield _Held(keys, place, output)
    for key, way, value in _parts(output):
        yield from _tensors(value, (*keys, key), place + way)


def _parts(output: object) -> Iterator[tuple[str, str, object]]:
    """What an output holds: key, Python's way to it, value."""
    if isinstance(output, Mapping):
        yield from ((str(key), f"[{key!r}]", value) for key, value in output.items())
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        yield from ((str(n), f".{n}", v) for n, v in zip(output._fields, output, strict=True))
    elif isinstance(output, list | tuple):
        yield from ((str(number), f"[{number}]", v) for number, v in enumerate(output))
    elif is_dataclass(output):
        names = (field.name for field in fields(output))
        yield from ((name, f".{name}", getattr(output, name)) for name in names)


def _in_training(model: nn.Module, images: Tensor) -> object | None:
    """What a copy returns in training mode; None where it does not run on two images."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found: object = copied(model).train()(images)
    except _FAILURES:
        return None
    return found


def _without_idle(
    network: nn.Module, images: Tensor, *, trains: bool
) -> tuple[nn.Module, list[str]]:
    """The network without modules that its answer does not depend on, and their names."""
    gone: list[str] = []
    idle = _idle(network, images)
    before = answer(network, images) if idle else None
    for name in idle:
        # torchvision's code asks whether there is a head; other code passes through it.
        for instead in (None, nn.Identity()):
            trial = _replaced(network, name, instead)
            runs = not trains or _in_training(trial, images) is not None
            if runs and _gives(trial, images, before):
                network = trial
                gone.append(name)
                break
    return network, gone


def _gives(trial: nn.Module, images: Tensor, wanted: object) -> bool:
    """Whether the network gives that very answer in evaluation mode."""
    try:
        with torch.no_grad():
            found = trial.eval()(images)
    except _FAILURES:  # its code asks for the module
        return False
    if not isinstance(wanted, Tensor) or not isinstance(found, Tensor):
        return False
    return torch.equal(wanted, found)


def _replaced(network: nn.Module, name: str, instead: nn.Module | None) -> nn.Module:
    """A copy in evaluation mode with ``instead`` in the place of a module."""
    twin = copied(network).eval()
    parent, _, last = name.rpartition(".")
    setattr(twin.get_submodule(parent), last, instead)
    return twin


def _idle(network: nn.Module, images: Tensor) -> list[str]:
    """The outermost modules none of whose weights the answer depends on."""
    twin = copied(network).eval().requires_grad_(requires_grad=True)
    with torch.inference_mode(mode=False), torch.enable_grad():
        output = twin(images)
        if not output.requires_grad:
            return []
        weights = dict(twin.named_parameters())
        found: Sequence[Tensor | None] = torch.autograd.grad(
            output.sum(), list(weights.values()), allow_unused=True
        )
    idle = {name for name, gradient in zip(weights, found, strict=True) if gradient is None}
    names: list[str] = []
    for name, module in twin.named_modules():
        own = {f"{name}.{inner}" for inner, _ in module.named_parameters()}
        inside = any(name.startswith(f"{outer}.") for outer in names)
        if name and own and own <= idle and not inside:
            names.append(name)
    return names


def _place(error: Exception, model: nn.Module) -> str:
    """In which module it happened, by the traceback."""
    names = {id(module): name for name, module in model.named_modules()}
    running = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    known = [names[id(module)] for module in running if id(module) in names]
    return f" in its module {known[-1]!r}" if known and known[-1] else ""
