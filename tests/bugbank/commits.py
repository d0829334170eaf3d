"""Defects of the log and of commits: fencing, whole batches, positions, and doubt."""

from __future__ import annotations

from caseway.hosting.batches import BatchReader
from caseway.hosting.host import Shard, endure
from caseway.hosting.inbox import Inbox, _Lane
from caseway.hosting.memory_broker import MemoryBroker
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "fencing-dropped",
        "The broker takes a commit of an owner whose shard another has taken over.",
        "I12, I16, I17",
        (
            Edit(
                MemoryBroker.commit,
                "if self._epochs.get((service, shard)) != epoch:",
                "if self._epochs.get((service, shard), 0) < epoch:",
            ),
        ),
    ),
    Defect(
        "fence-after-replay",
        "A new owner reads the log before it fences the old one, whose last commit may still come.",
        "I12, I02",
        (
            Edit(Shard._take_over, "yield Fence()\n", "pass\n"),
            Edit(
                Shard._take_over,
                "registry: Registry = yield",
                "yield Fence()\n    registry = yield",
            ),
        ),
    ),
    Defect(
        "positions-ahead",
        "The trailer counts what still waits in a queue as consumed.",
        "I02, I27",
        (
            Edit(
                _Lane.position.fget,
                "self.items[0].record.offset if self.items else self.seen",
                "self.seen",
            ),
        ),
    ),
    Defect(
        "positions-outside",
        "A takeover keeps the positions that were stored before the last transactions.",
        "I02",
        (
            Edit(
                Shard._replay,
                "positions = trailer.positions",
                "positions = positions or trailer.positions",
            ),
        ),
    ),
    Defect(
        "torn-half-believed",
        "A reader takes the records that no trailer vouches for along with the batch behind them.",
        "I16, I23",
        (Edit(BatchReader._close, "return Batch(whole, ", "return Batch(pending, "),),
    ),
    Defect(
        "late-commit-accepted",
        "An owner that learns of a takeover by its refused commit goes on with what it holds.",
        "I02, I12",
        (
            Edit(
                endure,
                "        yield from take_over()\n",
                "        if attempt != 1:\n                yield from take_over()\n",
            ),
        ),
    ),
    Defect(
        "event-lost-from-batch",
        "A reader takes at most three events of each batch of another service.",
        "I27, I04",
        (
            Edit(
                _Lane.receive,
                "for record in batch.records:",
                "for record in batch.records[:3]:",
            ),
        ),
    ),
    Defect(
        "waiting-record-lost",
        "A record that has to wait for the registry is taken from its queue and forgotten.",
        "I27, silence",
        (
            Edit(Inbox.take, "item = lane.items[0]", "item = lane.items.popleft()"),
            Edit(
                Inbox.take,
                "            lane.items.popleft()\n            yield",
                "            yield",
            ),
        ),
    ),
    Defect(
        "barrier-skipped",
        "A decision or report is judged by a registry that is older than the record itself.",
        "barrier",
        (Edit(Inbox.pass_barrier, "item.required = end", "item.required = 0"),),
    ),
    Defect(
        "registry-of-writer-ignored",
        "A record of a log is judged by an older registry than its writer had.",
        "barrier",
        (
            Edit(
                _Lane.receive,
                "required = batch.trailer.registry_position",
                "required = 0",
            ),
        ),
    ),
)
