"""Find a network's channel groups with torch-pruning's dependency graph.

torch-pruning only finds; it never cuts here. It runs on a copy, in a forked process with a time
limit, because its graph building does not end on some networks (Swin, MaxViT), and hands back
plain data. Source of the method: Fang et al. 2023, "DepGraph" (arXiv:2301.12900), section 3.
"""

import copy
import gc
import multiprocessing
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

from compressor.pruning.assembly import CUTTABLE, RawGroup, Touch, assemble
from compressor.pruning.dataflow import follow
from compressor.pruning.flow_rules import RULES
from compressor.pruning.groups import ChannelGroup, LeftAlone

TIME_LIMIT_S = 30.0
"""Seconds that the tracing may take; a ResNet-50 needs under one."""


class TraceError(RuntimeError):
    """The network cannot be traced, so nothing of it can be pruned."""


def load() -> None:
    """Import torch-pruning: seconds that are not the network's. A forked process has it then."""
    import torch_pruning  # noqa: F401, PLC0415


def trace(
    model: nn.Module, example: Tensor, *, time_limit_s: float = TIME_LIMIT_S
) -> tuple[tuple[ChannelGroup, ...], tuple[LeftAlone, ...]]:
    """The channel groups of ``model`` and the modules that must stay whole.

    Args:
        model: any module with one tensor in and one tensor out; not changed.
        example: one batch of inputs [n c h w].
        time_limit_s: seconds after which the tracing is given up.

    Raises:
        TraceError: the model cannot be traced, or not within the limit.
    """
    load()
    return _traced(model, example, _raw_groups, time_limit_s=time_limit_s)


def trace_inner(
    model: nn.Module, example: Tensor, *, time_limit_s: float = TIME_LIMIT_S
) -> tuple[tuple[ChannelGroup, ...], tuple[LeftAlone, ...]]:
    """As ``trace``, with ``dataflow`` in place of torch-pruning: right by construction, fewer."""
    return _traced(model, example, _inner_groups, time_limit_s=time_limit_s)


_Tracer = Callable[[nn.Module, Tensor], list[RawGroup]]


def _traced(
    model: nn.Module, example: Tensor, tracer: _Tracer, *, time_limit_s: float
) -> tuple[tuple[ChannelGroup, ...], tuple[LeftAlone, ...]]:
    refuse_wrappers(model)
    try:
        twin = copy.deepcopy(model).cpu().eval()
        twin.requires_grad_()  # tracing follows gradients: a frozen layer would be invisible
    except RuntimeError as error:
        raise TraceError(f"the model cannot be copied for tracing: {error}") from error
    raw = _in_a_child(twin, example[:2].detach().cpu(), tracer, time_limit_s=time_limit_s)
    return assemble(raw, dict(model.named_modules()))


def refuse_wrappers(model: nn.Module) -> None:
    """Refuse what is not the network itself.

    Raises:
        TraceError: The model is TorchScript or compiled.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise TraceError(
            "the model is TorchScript, which cannot be pruned; give the original nn.Module"
        )
    if any(type(m).__name__ == "OptimizedModule" for m in model.modules()):
        raise TraceError("the model is wrapped by torch.compile; give the module before compiling")


def _in_a_child(
    model: nn.Module, example: Tensor, tracer: _Tracer, *, time_limit_s: float
) -> list[RawGroup]:
    context = multiprocessing.get_context("fork")  # the model need not be picklable
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(model, example, tracer, sender), daemon=True)
    with warnings.catch_warnings():
        # Python 3.12 warns about forking a process with threads; the child uses one thread only.
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
        child.start()
    sender.close()
    started = time.monotonic()
    try:
        if not receiver.poll(time_limit_s):
            raise TraceError(
                f"tracing did not end within {time_limit_s:.0f} s: torch-pruning is known to loop "
                "on windowed attention (Swin, MaxViT); a very large network needs a larger "
                "search.time_limit_s"
            )
        answer = receiver.recv()
    except EOFError as gone:
        raise TraceError(
            f"tracing died after {time.monotonic() - started:.1f} s (out of memory?)"
        ) from gone
    finally:
        child.kill()
        child.join()
        receiver.close()
    if isinstance(answer, _Fault):
        error = TraceError(f"the model cannot be traced: {answer.sentence}")
        error.add_note(f"In the process that traced:\n{answer.traceback}")
        raise error
    return list(answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """What was raised in the child; its exception need not be picklable."""

    sentence: str
    traceback: str

    @classmethod
    def of(cls, error: Exception) -> "_Fault":
        # Whose line raised it tells a fault of torch-pruning or of this project from the model's.
        # The Python module, not the file: a report is the same wherever it was made.
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        place = frame.f_globals.get("__name__", "?")
        return cls(
            sentence=f"{type(error).__name__}: {error} ({place}, line {line})",
            traceback="".join(traceback.format_exception(error)),
        )


def _report(model: nn.Module, example: Tensor, tracer: _Tracer, sender: Connection) -> None:
    """In the child: send the raw groups, or what went wrong."""
    # What the parent threw away may own threads, and to free it would be to wait for them.
    gc.freeze()
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    warnings.simplefilter("ignore")  # torch-pruning's advice is for interactive use
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            raw = tracer(model, example)
        sender.send(raw)
    # forward is the user's own code, and torch-pruning fails in many ways. A process cannot raise
    # in its parent: it sends what there is to say, and the parent raises TraceError with it.
    except Exception as error:  # noqa: BLE001 # sent, not swallowed
        sender.send(_Fault.of(error))


def _inner_groups(model: nn.Module, example: Tensor) -> list[RawGroup]:
    return follow(model, example, RULES)


def _raw_groups(model: nn.Module, example: Tensor) -> list[RawGroup]:
    import torch_pruning  # noqa: PLC0415 # as above

    outputs = _output_modules(model, example)
    graph = torch_pruning.DependencyGraph()
    graph.build_dependency(model, example_inputs=(example,), verbose=False)
    names = {module: name for name, module in model.named_modules()}
    roots = [torch_pruning.ops.TORCH_CONV, torch_pruning.ops.TORCH_LINEAR]
    return [
        _raw(group, graph=graph, names=names, outputs=outputs, ops=torch_pruning.ops)
        for group in graph.get_all_groups([], tuple(roots))
    ]


def _raw(
    group: Any,  # noqa: ANN401 # torch-pruning has no types
    *,
    graph: Any,  # noqa: ANN401
    names: dict[nn.Module, str],
    outputs: Sequence[str],
    ops: Any,  # noqa: ANN401
) -> RawGroup:
    touches: list[Touch] = []
    foreign: list[str] = []
    reaches_output = False
    for item in group:
        module, handler = item.dep.target.module, item.dep.handler
        if isinstance(module, ops._OutputOp):  # noqa: SLF001 # torch-pruning's own node types
            reaches_output = True
        if isinstance(module, nn.Parameter):
            foreign.append("a bare parameter")
        if not isinstance(module, nn.Module) or module not in names:
            continue  # additions, concatenations, views: nothing to cut
        is_out, is_in = (
            graph.is_out_channel_pruning_fn(handler),
            graph.is_in_channel_pruning_fn(handler),
        )
        if not isinstance(module, CUTTABLE):
            foreign.append(f"{names[module]} ({type(module).__name__})")
            continue
        touches.append(
            Touch(
                module=names[module],
                side="both" if is_out and is_in else ("out" if is_out else "in"),
                positions=tuple(int(i) for i in item.idxs),
                roots=tuple(int(i) for i in item.root_idxs),
            )
        )
        reaches_output = reaches_output or (is_out and names[module] in outputs)
    return RawGroup(
        root=names[group[0].dep.target.module],
        width=len(group[0].idxs),
        touches=tuple(touches),
        reaches_output=reaches_output,
        foreign=tuple(foreign),
    )


def _output_modules(model: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Names of the modules whose output is the network's output."""
    made: dict[str, Tensor] = {}

    def remember(name: str) -> Any:  # noqa: ANN401 # a hook
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                made[name] = output

        return hook

    hooks = [m.register_forward_hook(remember(n)) for n, m in model.named_modules() if n]
    try:
        final = model(example)
    finally:
        for handle in hooks:
            handle.remove()
    if not isinstance(final, Tensor):
        raise TypeError(
            f"its output is a {type(final).__name__}; a network with one tensor as output is needed"
        )
    return tuple(name for name, output in made.items() if output.grad_fn is final.grad_fn)
