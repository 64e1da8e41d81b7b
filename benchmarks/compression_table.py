"""What the compression benchmark says: intervals, differences between methods, Markdown."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist, fmean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Z: Final = NormalDist().inv_cdf(0.975)

OURS: Final = ("ours", "ours+distill")
"""Which the others are compared with: the cut alone, and the cut with the default retraining."""

Result = Mapping[str, Any]
"""One finished (method, point, seed), as it is stored."""


def wilson(right: float, n: int) -> tuple[float, float]:
    """95 % interval of a share. Wilson 1927, doi:10.1080/01621459.1927.10502953."""
    share, square = right / n, Z**2 / n
    middle = (share + square / 2) / (1 + square)
    half = Z * (share * (1 - share) / n + square / (4 * n)) ** 0.5 / (1 + square)
    return middle - half, middle + half


def packed(right: NDArray[np.bool_]) -> str:
    """Which images were named right [n], for JSON."""
    return np.packbits(right).tobytes().hex()


def unpacked(text: str, n: int) -> NDArray[np.float64]:
    """The inverse, as 0 and 1 [n]."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=n).astype(np.float64)


def paired(ours: Sequence[Result], other: Sequence[Result]) -> tuple[float, float, float]:
    """How many points more of the images ours gets right, and the 95 % interval.

    Of both methods the mean over the seeds, image by image; the interval is that of the mean over
    images, for these seeds.
    """
    n = ours[0]["n"]
    means = [np.mean([unpacked(r["right"], n) for r in side], axis=0) for side in (ours, other)]
    gain = means[0] - means[1]
    half = Z * float(gain.std(ddof=1)) / n**0.5
    middle = float(gain.mean())
    return 100 * middle, 100 * (middle - half), 100 * (middle + half)


def markdown(summary: Mapping[str, Any]) -> str:
    """All tables of one folder of results."""
    results: Sequence[Result] = summary["results"]
    parts = [*_heading(summary), *_results(summary, results), "", *_differences(results)]
    if summary["gates"]:
        parts += ["", *_gates(summary["gates"])]
    return "\n".join([*parts, ""])


def _heading(summary: Mapping[str, Any]) -> Iterator[str]:
    dense, s = summary["dense"], summary["settings"]
    low, high = wilson(dense["accuracy"] * dense["n"], dense["n"])
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    quick = " **A quick run: a check of the script, no measurement.**" if s["quick"] else ""
    yield (
        f"Dense: {dense['accuracy']:.2%} [{low:.2%}, {high:.2%}] of n = {dense['n']:,} images, "
        f"{dense['macs']:,} multiply-adds, {dense['params']:,} parameters. Everything is retrained "
        f"for {s['epochs']} epochs of {s['train_images']:,} images in batches of 128, halving rule "
        f"from {s['lr']:g}, distillation {_shares(summary)}; last epoch.{quick}"
    )
    yield ""
    yield f"{'; '.join(_machines(summary['results']))}; {versions}."
    yield ""


def _shares(summary: Mapping[str, Any]) -> str:
    """Of distillation: that of the folder, and that of methods which say that they have another."""
    usual = summary["settings"]["distill"]
    other = {r["method"]: r["distill"] for r in summary["results"] if "distill" in r}
    said = [f"{share:g} for {method}" for method, share in other.items() if share != usual]
    return ", ".join([f"{usual:g}", *said])


def _machines(results: Sequence[Result]) -> Iterator[str]:
    """What the networks were retrained on, most of them first."""
    found = Counter(
        ", ".join(f"{key} {value}" for key, value in r["hardware"].items())
        for r in results
        if "why" not in r
    )
    for machine, count in found.most_common():
        yield machine if len(found) == 1 else f"{machine} (networks: {count})"


def _results(summary: Mapping[str, Any], results: Sequence[Result]) -> Iterator[str]:
    yield (
        "| point | method | multiply-adds | parameters | multiple of | clean accuracy, mean of "
        "seeds [95 % Wilson of one] | seeds | faster at batch 1 / 32 [95 %] |"
    )
    yield "|---" * 8 + "|"
    for point, method, group in _grouped(results):
        if "why" in group[0]:
            yield f"| {point:g}x | {method} | none: {_cell(group[0]['why'])} |  |  |  |  |  |"
            continue
        n = group[0]["n"]
        mean = fmean(r["accuracy"] for r in group)
        low, high = wilson(mean * n, n)
        each = ", ".join(f"{r['accuracy']:.2%}" for r in group)
        timed = next((r["latency"] for r in group if r.get("latency")), {})
        faster = " / ".join(
            f"{t['speedup']:.2f} [{t['interval'][0]:.2f}, {t['interval'][1]:.2f}]"
            + ("" if t["distinguishable"] else " (within noise)")
            for t in timed.values()
        )
        beside = "" if group[0]["at_point"] else " **(not at the point)**"
        yield (
            f"| {point:g}x | {method} | {_fewer(summary, group, 'macs')}{beside} "
            f"| {_fewer(summary, group, 'params')} | {group[0]['align']} "
            f"| {mean:.2%} [{low:.2%}, {high:.2%}] | {each} | {faster} |"
        )


def _fewer(summary: Mapping[str, Any], group: Sequence[Result], what: str) -> str:
    found = sorted({round(summary["dense"][what] / r[what], 2) for r in group})
    return f"{found[0]:.2f}x" if len(found) == 1 else f"{found[0]:.2f} to {found[-1]:.2f}x"


def _differences(results: Sequence[Result]) -> Iterator[str]:
    """Ours against each other method, where the same seeds are there."""
    by_key = {(p, m): g for p, m, g in _grouped(results) if "why" not in g[0]}
    rows = []
    for (point, method), other in by_key.items():
        for name in OURS:
            ours = by_key.get((point, name), [])
            seeds = {r["seed"] for r in ours} & {r["seed"] for r in other}
            if method in OURS or not seeds:
                continue
            sides = [[r for r in side if r["seed"] in seeds] for side in (ours, other)]
            middle, low, high = paired(*sides)
            interval = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
            rows.append(f"| {point:g}x | {name} | {method} | {interval} | {len(seeds)} |")
    if rows:
        yield "| point | this | against | points more, the same images [95 %] | seeds |"
        yield "|---" * 5 + "|"
        yield from rows


def _gates(gates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield (
        "Judged by `compress gate`, the points of a method as one sequence. The images are those "
        "of the accuracies above and serve every method: a comparison, which releases nothing."
    )
    yield ""
    yield "| method | seed | policy | verdict | accepted up to | multiply-adds gone there | rows |"
    yield "|---" * 7 + "|"
    for gate in gates:
        point = "none" if gate["accepted"] is None else f"{gate['accepted']:g}x"
        gone = "" if gate["gone"] is None else f"{gate['gone']:.1%}"
        rows = ", ".join(f"{k}x {v}" for k, v in gate["outcomes"].items())
        yield (
            f"| {gate['method']} | {gate['seed']} | {gate['policy']} | {_cell(gate['verdict'])} "
            f"| {point} | {gone} | {rows} |"
        )


def _grouped(results: Sequence[Result]) -> Iterator[tuple[float, str, list[Result]]]:
    """Point, method and its results by seed, as they come; what is missing after what is there."""
    keys = dict.fromkeys((r["speedup"], r["method"]) for r in results)
    for point, method in sorted(keys, key=lambda key: key[0]):
        group = [r for r in results if (r["speedup"], r["method"]) == (point, method)]
        yield point, method, [r for r in group if "why" not in r] or group


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
