"""What ``compress doctor`` found, in words."""

from collections.abc import Iterator

from compressor.tables import table
from exporters.doctor import Diagnosis, Health


def as_text(health: Health) -> str:
    """Versions, devices, a table of the providers, and what to do about those that do not work."""
    return "\n".join(_lines(health))


def _lines(health: Health) -> Iterator[str]:
    processor, graphics = health.cpu, health.gpus
    yield f"cpu: {processor.name}, {processor.threads} threads usable{_details(health)}"
    yield f"  kernels for: {', '.join(processor.kernels) or 'not told by this system'}"
    if graphics.found:
        named = ", ".join(f"{gpu.name} ({gpu.memory})" for gpu in graphics.found)
        yield f"gpu: {named}; driver {graphics.driver} ({graphics.reason})"
    else:
        yield f"gpu: none ({graphics.reason})"
    yield ""
    rows = [_row(diagnosis) for diagnosis in health.providers]
    yield from table(["provider", "usable", "nodes of a small network", "why"], rows)
    yield ""
    for diagnosis in health.providers:
        for step in diagnosis.remedy:
            yield f"for {diagnosis.provider.name}: {step}"
    for remark in health.remarks:
        yield f"note: {remark}"
    yield f"auto is: {health.chosen or 'nothing, no provider works'}"
    yield ""
    yield ", ".join(f"{name} {version}" for name, version in health.versions.items())


def _details(health: Health) -> str:
    processor = health.cpu
    memory = f", {processor.memory_bytes / 1e9:.0f} GB" if processor.memory_bytes else ""
    clock = f", {processor.mhz:.0f} MHz now" if processor.mhz else ""
    return f"{memory}{clock} ({health.platform})"


def _row(diagnosis: Diagnosis) -> list[str]:
    provider = diagnosis.provider
    counts = {where: sum(kinds.values()) for where, kinds in provider.assignment.items()}
    nodes = ", ".join(f"{count} on {where}" for where, count in counts.items())
    reason = provider.reason.partition("; needs")[0]
    return [provider.name, "yes" if provider.usable else "no", nodes or "-", reason]
