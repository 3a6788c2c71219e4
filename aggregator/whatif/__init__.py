"""What the loss of nodes or zones would mean: which pods would come back elsewhere, which could not, and why not."""

from __future__ import annotations

from aggregator.whatif.loss import Cause, Loss, Returning, Stranded, WhatIfError, WhatIfUnknownError
from aggregator.whatif.nodes import NOBODY, reachable
from aggregator.whatif.question import lose, lose_in_steps, nodes_of

__all__ = [
    "NOBODY",
    "Cause",
    "Loss",
    "Returning",
    "Stranded",
    "WhatIfError",
    "WhatIfUnknownError",
    "lose",
    "lose_in_steps",
    "nodes_of",
    "reachable",
]
