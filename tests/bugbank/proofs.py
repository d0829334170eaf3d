"""Defects of the audit: trees whose root no stranger finds again, or that leave a record out."""

from __future__ import annotations

from caseway.hosting.sealing_host import SealingShard, sealed_topics
from caseway.kernel.merkle import Frontier
from caseway_audit import sealing
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "proof-node-skipped",
        "The root leaves out a subtree when there are more than three.",
        "I13",
        (
            Edit(
                Frontier.root, "for left in reversed(others):", "for left in reversed(others[:3]):"
            ),
        ),
    ),
    Defect(
        "leaf-order-swapped",
        "Two neighbouring leaves change places in their node.",
        "I13",
        (Edit(Frontier.extend, "stack.pop() + carry", "carry + stack.pop()"),),
    ),
    Defect(
        "checkpoint-of-wrong-size",
        "A checkpoint says to have sealed one offset more than it did.",
        "I11",
        (
            Edit(
                sealing.Sealer._head,
                "next_offset=tree.next_offset,",
                "next_offset=tree.next_offset + 1,",
            ),
        ),
    ),
    Defect(
        "absent-key-as-empty",
        "The leaf of a record without a key is that of a record with an empty one.",
        "I13",
        (
            Edit(
                sealing._field,
                "return _ABSENT if value is None else",
                'value = value or b""\n    return',
            ),
        ),
    ),
    Defect(
        "offers-not-sealed",
        "The offers of one pool are under no seal.",
        "I11",
        (Edit(sealed_topics, "for pool in sorted(pools)", "for pool in sorted(pools)[1:]"),),
    ),
    Defect(
        "sealed-twice-after-takeover",
        "A new sealer begins one record before the end of what was sealed.",
        "I11, I13",
        (
            Edit(
                SealingShard._take_over,
                "done.get(place, 0) for",
                "max(0, done.get(place, 0) - 1) for",
            ),
        ),
    ),
)
