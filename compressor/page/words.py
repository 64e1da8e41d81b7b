"""The sentences of a page. They are those of ``report.md``, so that no two files disagree."""

from compressor.render import binding, guarantee, headline, not_measured, reuses, waivers
from compressor.report import shown_step
from compressor.report_schema import Report


def words(report: Report) -> dict[str, str]:
    """Every sentence that is made of the record, by the name that the page gives it."""
    found = {"headline": headline(report), "lead": lead(report), "guarantee": guarantee(report)}
    found |= {f"waiver.{index}": text for index, text in enumerate(waivers(report))}
    found |= {f"reuse.{index}": text for index, text in enumerate(reuses(report))}
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
            f"The released model may be used under this policy: on every enforced shift{but}, "
            "what was lost was shown to be less than what is tolerated."
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
