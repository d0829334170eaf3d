"""Defects of snapshots and replay: a fold that is not the fold of its log."""

from __future__ import annotations

from caseway.hosting.host import Shard
from caseway.hosting.sealing_host import SealingShard
from caseway.kernel.fold import Fold
from caseway.kernel.snapshot import SnapshotReader, SnapshotWriter
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "snapshot-one-batch-ahead",
        "A snapshot holds the batch that carries it, which a takeover then folds once more.",
        "I23, sequence",
        (
            Edit(
                Shard._snapshot,
                "self.worker.fold.committed.written",
                "lambda key: (lambda found: found and self.worker.fold.committed._written(found))("
                "self.worker.fold.get(key))",
            ),
        ),
    ),
    Defect(
        "snapshot-misses-changes",
        "A round holds what changed with the last commit and not all since the round before.",
        "I23",
        (
            Edit(
                Shard._accept,
                "self._unsnapped |= self.worker.accept()",
                "self._unsnapped = set(self.worker.accept())",
            ),
        ),
    ),
    Defect(
        "snapshot-digest-unchecked",
        "A snapshot is used whose records are not those that its marker digests.",
        "I23",
        (
            Edit(
                SnapshotReader._load,
                "tally.digest() != marker.states_digest or len",
                "len",
            ),
        ),
    ),
    Defect(
        "snapshot-forgets-what-was-replayed",
        "The round after a takeover leaves out what the takeover replayed.",
        "I23",
        (
            Edit(
                Shard._replay,
                "self._unsnapped |= self.worker.replay(batch.records)",
                "self.worker.replay(batch.records)",
            ),
        ),
    ),
    Defect(
        "silence-taken-for-the-end-of-a-log",
        "A takeover ends its replay at a scan that brings nothing, as one of a slow broker may.",
        "I22, sequence",
        (
            Edit(
                Shard._replay,
                "start, is_end = chunk.next_offset, chunk.is_end",
                "start, is_end = chunk.next_offset, chunk.is_end or not chunk.records",
            ),
        ),
    ),
    Defect(
        "settled-case-left-open-in-snapshot",
        "A case that settled is packed, but its open record stays and wins when it is read.",
        "I23",
        (
            Edit(
                SnapshotWriter.write,
                "if tally.remove(key):",
                "if not raw and tally.remove(key):",
            ),
        ),
    ),
    Defect(
        "sequence-counts-batch-in-hand-alone",
        "The number of an event is that of the committed case, whatever the batch in hand added.",
        "sequence",
        (Edit(Fold.next_sequence, "entity = self.get(key)", "entity = self.committed.get(key)"),),
    ),
    Defect(
        "audit-snapshot-one-ahead",
        "The sealer's snapshot holds the checkpoint that carries it.",
        "halted, I13",
        (
            Edit(
                SealingShard._seal,
                "before = self._snapshot() if self._unsnapped >= self._snapshot_checkpoints"
                " else []\n    checkpoint = self._sealer.seal(self._genesis, self._key)",
                "checkpoint = self._sealer.seal(self._genesis, self._key)\n"
                "    before = self._snapshot() if self._unsnapped >= "
                "self._snapshot_checkpoints else []",
            ),
        ),
    ),
    Defect(
        "snapshot-in-order-of-a-set",
        "The records of a round come in the order of a set.",
        "I22",
        (Edit(SnapshotWriter._entries, "for key in sorted(changed):", "for key in set(changed):"),),
        needs_places=True,
    ),
)
