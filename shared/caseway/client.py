"""What an agent, a submitter or a person's tool imports: publish, read offers, decide.

    async with connect(url) as log:
        agent = Client(log, "acme", key=SigningKey("agent:assessor-1", seed))
        async for offer in agent.offers("claims", "assessor-1"):
            await agent.complete(offer, output={...}, confidence="0.93")

Everything goes through the public topics; a client in any other language does the same.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from caseway.contracts import topics
from caseway.contracts.codec import decode
from caseway.contracts.decision import Choice, DecideGate
from caseway.contracts.fields import Contract, JsonObject, format_instant
from caseway.contracts.record import Draft, Record
from caseway.contracts.report import (
    BeginEffect,
    CompleteTask,
    EffectOutcome,
    FailTask,
    HeartbeatTask,
    PermitIssued,
    ReportEffect,
    TaskOffered,
)
from caseway.contracts.signing import SigningKey, sign
from caseway.contracts.submission import SubmitCase
from caseway.errors import Unavailable
from caseway.hosting.log import Log, Place
from caseway.kernel.identity import case_id_of, shard_of

# How long a signed report may travel; a broker outage longer than this needs a new signature.
EXPIRY = timedelta(minutes=10)
_FETCH_S = 0.5
_OUTAGE_S = 60.0
_REST_S, _REST_MAX_S = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Offer:
    """One record of an offers topic: a task packet or a permit, and the case it belongs to."""

    case_id: str
    pool: str
    agent: str
    data: TaskOffered | PermitIssued
    position: tuple[Place, int]


class Client:
    """Publishes signed records for one identity, and reads the offers of a pool."""

    def __init__(
        self, log: Log, namespace: str, *, keys: Sequence[SigningKey] = (), source: str = ""
    ) -> None:
        self._log = log
        self._namespace = namespace
        self._keys = tuple(keys)
        self._source = source or (f"/{keys[0].key_id.replace(':', '/')}" if keys else "/client")

    def submission(self, definition: str, source: str, key: str, facts: JsonObject) -> Draft:
        """The record that submits a case; the same source and key are the same case for ever."""
        case_id = case_id_of(self._namespace, source, key)
        wish = SubmitCase(
            namespace=self._namespace, definition=definition, source=source, key=key, facts=facts
        )
        return self.draft(topics.SUBMISSIONS.name, case_id, wish)

    async def send(self, topic: str, key: str, data: Contract) -> None:
        """Publish one record and wait until it is durable, through an outage of the broker too.

        After an outage it may lie there twice, byte for byte the same: every receiver knows that
        by its fencing token, its revision or its key.

        Raises:
            Unavailable: the broker did not come back within a minute.
        """
        draft = self.draft(topic, key, data)
        async with asyncio.timeout(_OUTAGE_S) as deadline:
            attempt = 0
            while True:
                try:
                    await self._log.append([draft])
                    return
                except Unavailable:
                    when = deadline.when()
                    attempt += 1
                    rest = min(_REST_S * 2**attempt, _REST_MAX_S)
                    if when is not None and asyncio.get_running_loop().time() + rest > when:
                        raise
                    await asyncio.sleep(rest)

    def draft(self, topic: str, key: str, data: Contract) -> Draft:
        """A record for an inbound topic, signed if this client has keys."""
        partition = 0 if topic == topics.CONTROL.name else shard_of(key.encode(), self._log.shards)
        body = data.__pydantic_serializer__.to_json(data)
        name, version = data.TYPE, data.VERSION  # type: ignore[attr-defined]
        attributes = {
            "specversion": "1.0",
            "id": uuid.uuid4().hex,
            "source": self._source,
            "type": name,
            "dataschema": f"urn:caseway:schema:{name}:{version}",
            "subject": key,
            "time": format_instant(datetime.now(UTC)),
            "datacontenttype": "application/json",
        }
        headers = [("content-type", b"application/json")]
        headers += [
            (f"ce_{attribute}", text.encode())
            for attribute, text in attributes.items()
            if attribute != "datacontenttype"
        ]
        if self._keys:
            headers.append(("ce_dssematerial", sign(attributes, body, (), self._keys).encode()))
        return Draft(topic, partition, key.encode(), body, tuple(headers))

    async def offers(
        self, pool: str, agent_id: str, *, start: dict[Place, int] | None = None
    ) -> AsyncGenerator[Offer, None]:
        """What is offered to this agent from now on, or from `start` on, for ever."""
        topic = topics.offers(pool).name
        places = [(topic, partition) for partition in range(self._log.shards)]
        if start is None:
            start = {place: (await self._log.bounds(place)).end for place in places}
        feed = await self._log.feed()
        try:
            await feed.seek({place: start.get(place, 0) for place in places})
            while True:
                for place, records in (await feed.fetch(_FETCH_S)).items():
                    for record in records:
                        if _addressee(record) in ("", agent_id):
                            yield _offer(pool, place, record)
        finally:
            await feed.close()

    async def heartbeat(self, offer: Offer) -> None:
        """Say that the work goes on."""
        task = _packet(offer)
        await self._report(
            offer.case_id,
            HeartbeatTask(
                namespace=self._namespace,
                task_id=task.task_id,
                token=task.token,
                expires_at=_expiry(),
            ),
        )

    async def complete(
        self, offer: Offer, output: JsonObject, confidence: str, **evidence: Any
    ) -> None:
        """Report the result; `evidence` are the optional fields of `CompleteTask`."""
        task = _packet(offer)
        await self._report(
            offer.case_id,
            CompleteTask(
                namespace=self._namespace,
                task_id=task.task_id,
                token=task.token,
                inputs_digest=task.inputs_digest,
                output=output,
                confidence=confidence,
                expires_at=_expiry(),
                **evidence,
            ),
        )

    async def fail(self, offer: Offer, code: str, detail: str, *, is_retryable: bool) -> None:
        """Report that it could not be done."""
        task = _packet(offer)
        await self._report(
            offer.case_id,
            FailTask(
                namespace=self._namespace,
                task_id=task.task_id,
                token=task.token,
                code=code,
                detail=detail,
                is_retryable=is_retryable,
                expires_at=_expiry(),
            ),
        )

    async def begin_effect(self, offer: Offer) -> None:
        """Ask for the permit; it comes as a `PermitIssued` among the offers."""
        task = _packet(offer)
        await self._report(
            offer.case_id,
            BeginEffect(
                namespace=self._namespace,
                task_id=task.task_id,
                token=task.token,
                inputs_digest=task.inputs_digest,
                expires_at=_expiry(),
            ),
        )

    async def report_effect(
        self,
        offer: Offer,
        outcome: EffectOutcome,
        output: JsonObject | None = None,
        detail: str = "",
    ) -> None:
        """Report what became of an effect, from its permit or from a reconciling task."""
        data = offer.data
        await self._report(
            offer.case_id,
            ReportEffect(
                namespace=self._namespace,
                task_id=data.task_id,
                token=data.token,
                effect_id=data.effect_id,
                outcome=outcome,
                output=output or {},
                detail=detail,
                expires_at=_expiry(),
            ),
        )

    async def decide(
        self, case_id: str, gate_id: str, revision: int, digest: str, choice: Choice, reason: str
    ) -> None:
        """Decide a gate on exactly what was shown: its revision and digest."""
        decision = DecideGate(
            namespace=self._namespace,
            gate_id=gate_id,
            revision=revision,
            digest=digest,
            choice=choice,
            reason=reason,
            expires_at=_expiry(),
        )
        await self.send(topics.DECISIONS.name, case_id, decision)

    async def _report(self, case_id: str, data: Contract) -> None:
        await self.send(topics.AGENT_REPORTS.name, case_id, data)


async def first_offer(client: Client, pool: str, agent_id: str, timeout_s: float) -> Offer:
    """The next thing offered to this agent.

    Raises:
        TimeoutError: nothing came in time.
    """
    async with asyncio.timeout(timeout_s), aclosing(client.offers(pool, agent_id)) as stream:
        return await anext(stream)


def _addressee(record: Record) -> str:
    return next((v.decode() for n, v in record.headers if n == "ce_agent" and v), "")


def _offer(pool: str, place: Place, record: Record) -> Offer:
    event = decode(record)
    assert isinstance(event.data, TaskOffered | PermitIssued)
    position = (place, record.offset + 1)
    return Offer(event.key, pool, event.envelope.agent, event.data, position)


def _packet(offer: Offer) -> TaskOffered:
    assert isinstance(offer.data, TaskOffered), "only a task packet can be reported on"
    return offer.data


def _expiry() -> datetime:
    return datetime.now(UTC) + EXPIRY
