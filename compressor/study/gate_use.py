"""A study of the gate's images is a use of them: recorded beside them, before it looks."""

from compressor.files import digest
from compressor.ledger import Entry, Use, ledger_path, record
from compressor.study.shop import Shop
from compressor.watch import Watch


def claim(shop: Shop, watch: Watch) -> Use | None:
    """Record that the gate's images are studied; None where the study asks about others.

    A study that is resumed, or whose grid has grown, is the same use as long as it asks the same
    dense networks about the same images. It accepts nothing, so that it takes no alpha; but it
    has looked, and the gates after it say so.

    Raises:
        LedgerError: the ledger was changed by other hands, or cannot be written.
    """
    setup = shop.setup
    source = setup.project.data.gate
    if setup.grid.images.of != "gate" or source is None:
        return None
    dense = digest(*(model.sha256 for model in shop.models.values()))
    plan = digest("study", setup.grid.name, dense, shop.digests["asked"])
    entry = Entry(
        images={"gate": shop.digests["source"]},
        plan=plan,
        job="study",
        policy=setup.grid.name,
        policy_digest=plan,
        alpha_spent=0.0,
        releases=None,
        dense=dense,
        candidates=(),
        seed=setup.project.seed,
    )
    path = setup.project.data.ledger or ledger_path(source, root=setup.root)
    use = record(path, entry)
    watch.say(
        f"use {use.ordinal} of the gate's images, recorded in {path}: they will certify nothing "
        "that is chosen by this study"
    )
    return use
