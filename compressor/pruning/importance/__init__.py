"""How much a unit matters: the table of importances, and the call that scores with one of them.

``table``: what there is. ``weights``: what weights alone say. ``loss``: models of the loss, with
the curvature of ``curvature``. ``inputs``: what the layers read that follow; ``readers`` watches
them. ``ablation``: what is ``measured`` of the loss. ``subject``: what is scored, and how slices of
tensors become units.
"""

from compressor.pruning.importance.subject import UnscorableError
from compressor.pruning.importance.table import IMPORTANCES, Criterion, scorable, score

__all__ = ["IMPORTANCES", "Criterion", "UnscorableError", "scorable", "score"]
