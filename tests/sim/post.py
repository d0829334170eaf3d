"""Letters to the inbound topics: written as any client would, and not always well carried."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from caseway.contracts.record import Draft
from caseway.contracts.signing import sign
from caseway.kernel.identity import shard_of
from tests.sim.founding import NAMESPACE, key_of
from tests.sim.reading import instant

if TYPE_CHECKING:
    from tests.sim.world import World

VERSIONS = {"task.complete": 2}
_EXPIRY_MS = 600_000
DAY_MS = 86_400_000


class Post:
    """Carries letters to the bus; keeps those that were acknowledged."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent = 0
        # topic, partition, offset, type and key of every letter that the bus took.
        self.acknowledged: list[tuple[str, int, int, str, str]] = []

    def report(self, who: str, kind: str, case: str, **fields: Any) -> None:
        """A signed report on a task."""
        self.send("agent-reports", case, kind, self._signed(fields), (who,))

    def decide(self, who: str, kind: str, case: str, **fields: Any) -> None:
        """A person's signed word on a gate."""
        self.send("decisions", case, kind, self._signed(fields), (who,))

    def control(self, kind: str, name: str, signers: Sequence[str], **fields: Any) -> None:
        """An operator's signed wish; operators wait until it has arrived."""
        draft = self.letter("control", name, kind, self._signed(fields), signers)
        self.world.at(self.world.soon(1, 60), self._arrive, draft, "operators")

    def submit(self, case: str, kind: str, **fields: Any) -> None:
        """A submitter's letter, unsigned."""
        self.send("submissions", case, kind, {"namespace": NAMESPACE, **fields}, ())

    def send(
        self, topic: str, key: str, kind: str, body: dict[str, Any], signers: Sequence[str]
    ) -> None:
        """Write a letter and give it to the carrier."""
        self.carry(self.letter(topic, key, kind, body, signers), " and ".join(signers) or "portal")

    def letter(
        self, topic: str, key: str, kind: str, body: dict[str, Any], signers: Sequence[str]
    ) -> Draft:
        """A record for an inbound topic; whoever is named in `signers` signs it."""
        self.sent += 1
        value = json.dumps(body, separators=(",", ":")).encode()
        attributes = {
            "specversion": "1.0",
            "id": f"letter-{self.sent}",
            "source": f"/{signers[0].replace(':', '/')}" if signers else "/portal",
            "type": kind,
            "dataschema": f"urn:caseway:schema:{kind}:{VERSIONS.get(kind, 1)}",
            "subject": key,
            "time": instant(self.world.now_ms),
            "datacontenttype": "application/json",
        }
        headers = [("content-type", b"application/json")]
        headers += [
            (f"ce_{name}", text.encode())
            for name, text in attributes.items()
            if name != "datacontenttype"
        ]
        if signers:
            keys = [key_of(signer) for signer in signers]
            headers.append(("ce_dssematerial", sign(attributes, value, (), keys).encode()))
        shards = self.world.plan.shards
        partition = 0 if topic == "control" else shard_of(key.encode(), shards)
        return Draft(topic, partition, key.encode(), value, tuple(headers))

    def carry(self, draft: Draft, who: str) -> None:
        """Bring a letter to the bus: at once, late, twice, or again after weeks."""
        world, faults = self.world, self.world.faults
        delay = world.soon(1, 60)
        if faults.strikes("letter late"):
            delay = int(faults.amount("letter late", 1_000, 3_600_000))
        world.at(delay, self._arrive, draft, who)
        if faults.strikes("letter twice"):
            world.at(delay + world.soon(1, 5_000), self._arrive, draft, who)
        if faults.strikes("letter replayed"):
            later = faults.amount("letter replayed", 0.1 * DAY_MS, 30 * DAY_MS)
            world.at(delay + later, self._arrive, draft, who)
        shards = world.plan.shards
        if shards > 1 and draft.topic != "control" and faults.strikes("letter astray"):
            # A client of another make, whose partitioner is not Kafka's, sends the same.
            other = (draft.partition + 1 + faults.choose("letter astray", shards - 1)) % shards
            astray = draft._replace(partition=other)
            world.at(delay + world.soon(1, 5_000), self._arrive, astray, who)

    def _arrive(self, draft: Draft, who: str) -> None:
        world = self.world
        ((offset, _),) = world.broker.append([draft])
        kind = next((v.decode() for n, v in draft.headers if n == "ce_type"), "")
        key = (draft.key or b"").decode("utf-8", "replace")
        self.acknowledged.append((draft.topic, draft.partition, offset, kind, key))
        world.counts["letters"] += 1

    def _signed(self, fields: dict[str, Any]) -> dict[str, Any]:
        expires_at = instant(self.world.now_ms + _EXPIRY_MS)
        return {"namespace": NAMESPACE, "expires_at": expires_at, **fields}
