"""The sentences of a page. They are those of ``report.md``, so that no two files disagree."""

from compressor.render import (
    binding,
    guarantee,
    headline,
    not_measured,
    resizes,
    reuses,
    sequences,
    waivers,
)
from compressor.report import shown_step, slow_step
from compressor.report_schema import Report


def words(report: Report) -> dict[str, str]:
    """Every sentence that is made of the record, by the name that the page gives it."""
    found = {"headline": headline(report), "lead": lead(report), "guarantee": guarantee(report)}
    found |= {f"waiver.{index}": text for index, text in enumerate(waivers(report))}
    found |= {f"reuse.{index}": text for index, text in enumerate(reuses(report))}
    found |= {f"resize.{index}": text for index, text in enumerate(resizes(report))}
    found |= {f"sequence.{index}": text for index, text in enumerate(sequences(report))}
    found |= {f"next.{index}": text for index, text in enumerate(advice(report))}
    for index, step in enumerate(report.steps):
        found[f"binding.{index}"] = binding(step)
        found |= {f"not_measured.{index}": text for text in not_measured(step)}
    return found


def lead(report: Report) -> str:
    """The verdict in one plain sentence."""
    step = shown_step(report)
    if step is None:
        return "Nothing was judged, and no model is released."
    if report.verdict == "accepted":
        but = ", but for those that are waived" if report.waivers else ""
        return (
            f"The released model may be used under this policy: on every enforced shift{but}, it "
            "was shown to lose less than is tolerated."
        )
    if slow_step(report) is not None and report.min_speedup is not None:
        return (
            f"No model is released: {step.name} keeps every tolerance, and is not shown to be "
            f"{report.min_speedup.times:g} times as fast as the dense model."
        )
    if report.verdict == "rejected":
        return (
            f"No model is released: {step.name} loses more than is tolerated on {step.binding}, "
            "and by more than chance explains."
        )
    return (
        f"No model is released: the images at hand show neither that {step.name} holds nor that "
        f"it fails on {step.binding}."
    )


def advice(report: Report) -> list[str]:
    """What may be done next."""
    step, made = shown_step(report), report.job == "compress"
    if report.verdict == "accepted":
        told = "Check this folder with compress verify, then deploy model.onnx as it is"
        return [f"{told}: a changed file is one that nobody judged."]
    if step is None:
        return ["Mend what the reason names, and run it again."]
    if slow_step(report) is not None:
        way = "prune further, take another precision" if made else "bring a faster candidate"
        return [f"To be faster, {way}, or ask those who own the policy for another speed-up."]
    less = "a smaller ratio or longer retraining" if made else "a candidate that loses less"
    if report.verdict == "rejected":
        return [f"Try {less}; more images would not make this loss smaller."]
    if report.images_needed is None:
        told = "what was lost is about what is tolerated, and more images would not change that"
        return [f"Try {less}: {told}."]
    return [f"Give the gate more images, about {report.images_needed:,}, or try {less}."]
