"""Founds a namespace: writes the genesis as the first record of every log partition."""

from __future__ import annotations

from caseway.contracts import topics
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.record import Draft
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.topics import Topic
from caseway.errors import ConfigError, Fenced, Unavailable
from caseway.hosting.log import Log, Place, first_record
from caseway.kernel.identity import event_id

LOGS: tuple[tuple[str, Topic], ...] = (
    ("intake", topics.REGISTRY),
    ("intake", topics.INTAKE),
    ("router", topics.CASES),
    ("approval", topics.APPROVALS),
    ("sla_watchdog", topics.DEADLINES),
    ("audit", topics.AUDIT),
)

# Each waiting service takes over again after a pause that grows to seconds.
_TRIES = 20


async def found(log: Log, genesis: ShardGenesis) -> int:
    """Write the genesis where it is missing; returns how many were written. Idempotent.

    Raises:
        ConfigError: GENESIS_MISMATCH, another namespace lives on these topics.
    """
    written = 0
    for service, topic in LOGS:
        for partition in range(topic.partitions(log.shards)):
            place = (topic.name, partition)
            there = await read_genesis(log, place) or await _write(log, service, place, genesis)
            if there is None:
                written += 1
            elif there != genesis:
                raise ConfigError(
                    f"{topic.name}/{partition} belongs to namespace {there.namespace!r}, "
                    f"generation {there.generation!r}, and not to {genesis.namespace!r}, "
                    f"{genesis.generation!r}: use another prefix or the key file it was made with",
                    code="GENESIS_MISMATCH",
                )
    return written


async def _write(
    log: Log, service: str, place: Place, genesis: ShardGenesis
) -> ShardGenesis | None:
    """Write it, unless somebody was first: then theirs. After the fence nobody else can write.

    A service that already runs fences us while it waits for its genesis; then we are quicker once.
    """
    fenced = 0
    while True:
        writer = await log.fence(service, place[1])
        try:
            there = await read_genesis(log, place)
            if there is None:
                await writer.commit([_draft(genesis, place)], {})
            return there
        except Fenced:
            fenced += 1
            if fenced == _TRIES:
                raise
        finally:
            await writer.close()


async def read_genesis(log: Log, place: Place) -> ShardGenesis | None:
    """The genesis of a log partition; None when it has none yet.

    Raises:
        Unavailable: the partition holds records, but its first is no genesis.
    """
    record = await first_record(log, place)
    if record is None:
        return None
    data = decode(record, is_sole_writer=True).data
    if not isinstance(data, ShardGenesis):
        raise Unavailable(
            f"{place[0]}/{place[1]} does not begin with a genesis: its beginning was deleted",
            code="GENESIS_MISSING",
        )
    return data


def _draft(genesis: ShardGenesis, place: Place) -> Draft:
    cause = f"{genesis.generation}/{place[0]}/{place[1]}/genesis"
    envelope = Envelope(
        id=event_id(cause, "control", place[0], place[1]),
        source=f"/{genesis.namespace}/control",
        type=ShardGenesis.TYPE,
        version=ShardGenesis.VERSION,
        cause=cause,
        actor="system:control",
        strength=Strength.SYSTEM,
    )
    return encode(place[0], place[1], Event(f"{place[0]}/{place[1]}", envelope, genesis))
