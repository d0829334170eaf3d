"""Defects of intake and of identity: repetitions, conflicts, expiry, signatures and keys."""

from __future__ import annotations

from caseway.hosting import bounds
from caseway.hosting.worker import Worker
from caseway.kernel import authentication
from caseway_intake import admission, control
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "repetition-admitted",
        "A submission that comes again is admitted again.",
        "I03",
        (
            Edit(
                admission.admit,
                "if state is not None:",
                "if state is not None and state.body_sha256 != _body_digest(wish):",
            ),
        ),
    ),
    Defect(
        "conflict-passes-for-repetition",
        "Other content under the same key is taken for a repetition, and nobody hears of it.",
        "silence",
        (
            Edit(
                admission.admit,
                "if state.body_sha256 == _body_digest(wish):",
                "if state.body_sha256:",
            ),
        ),
    ),
    Defect(
        "poison-dropped",
        "A record that nobody can read is skipped without a dead letter.",
        "I27, silence",
        (
            Edit(
                Worker.take,
                "self._dead_letter(record, error)\n        return\n    if event",
                "return\n    if event",
            ),
        ),
    ),
    Defect(
        "expiry-unchecked",
        "A signed wish counts after it expired.",
        "expiry",
        (
            Edit(
                authentication.misdirected,
                "expires_at < instant_of(delivery.at_ms)",
                "expires_at < instant_of(0)",
            ),
        ),
    ),
    Defect(
        "any-signature-operates",
        "Whoever signs may change the registry.",
        "operators",
        (
            Edit(
                control._check_signers,
                "if len(signers) < needed:",
                "if len(delivery.actor.signers) < needed:",
            ),
        ),
    ),
    Defect(
        "named-sender-believed",
        "The sender of a record is who it says, and not who signed it.",
        "signature",
        (
            Edit(
                authentication.identify,
                "return Actor(signers[0],",
                'return Actor(raw.attributes.get("authid") or signers[0],',
            ),
        ),
    ),
    Defect(
        "misrouted-key-taken",
        "A case is decided in a partition that is not its own.",
        "one partition",
        (
            Edit(
                bounds.check_routed,
                'if shard_of(record.key or b"", shards) != shard:',
                'if shard_of(record.key or b"", shards) >= shards:',
            ),
        ),
    ),
)
