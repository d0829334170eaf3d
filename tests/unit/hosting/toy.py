"""A toy service that counts what each key hears, and a small world for its shard to live in.

The world performs the effects of `Shard.life()` on the model of a log, one after another; a test
says which of them fails, and what the registry shows when.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caseway.contracts import topics
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.control import AgentQuarantined, AgentReleased, ContractRaised
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract
from caseway.contracts.record import Draft, Headers
from caseway.contracts.shard import DeadLetter, ShardCommitted, ShardGenesis
from caseway.contracts.submission import SubmitCase, WithdrawalAdmitted, WithdrawCase
from caseway.errors import CasewayError, ContractError, IntegrityError, Unavailable
from caseway.hosting.batches import Batch, BatchReader, batch_digest
from caseway.hosting.effects import (
    Arrival,
    Backoff,
    Barrier,
    Commit,
    Committed,
    Effect,
    Fence,
    RegistryAt,
    Scan,
    Seek,
    Wait,
)
from caseway.hosting.host import Limits, Shard
from caseway.hosting.log import Place, Writer
from caseway.hosting.memory_log import MemoryLog
from caseway.hosting.registry_reader import RegistryReader
from caseway.kernel.entities import StateCodec
from caseway.kernel.identity import shard_of
from caseway.kernel.processor import NOTHING, Card, Delivery, Input, Offer, Step
from caseway.kernel.registry import Registry
from caseway.kernel.snapshot import digest_of_all

SHARDS = 2
OWN: Place = ("cases", 0)
SNAPSHOTS: Place = ("snapshots.router", 0)
REGISTRY: Place = ("registry", 0)
INBOUND: Place = ("submissions", 0)
INTAKE: Place = ("intake", 0)
STEPS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Tally:
    """What one key has heard, in order; `due_ms` is when it wants to be woken."""

    heard: tuple[str, ...] = ()
    due_ms: int | None = None


def decide(state: Tally | None, delivery: Delivery, registry: Registry) -> Step:
    """Say what was heard; some words do more than that."""
    data = delivery.event.data
    if isinstance(data, AgentQuarantined):
        if state is not None and "fragile" in state.heard and registry.level < 2:
            raise ValueError("this word can't bear a fact yet")
        return Step((WithdrawalAdmitted(reason=f"told-{data.agent_id}"),))
    word = data.facts["word"] if isinstance(data, SubmitCase) else getattr(data, "reason", "")
    if word.startswith("poison") and registry.level < 2:
        raise ValueError("this word can't be decided yet")
    if word == "silence":
        return NOTHING
    if word.startswith("appoint"):
        fact = AgentReleased(agent_id=f"a{registry.position}", reason=word, signers=())
        return Step((WithdrawalAdmitted(reason=word),), registry=(fact,))
    if word == "huge":
        return Step((WithdrawalAdmitted.model_construct(reason=word * 165_000),))
    if word == "pool":
        return Step((), (Offer("claims", "s", "a", WithdrawalAdmitted(reason=word)),))
    if word == "huge-pool":
        much = WithdrawalAdmitted.model_construct(reason=word * 165_000)
        return Step((WithdrawalAdmitted(reason=word),), (Offer("claims", "s", "a", much),))
    if word.startswith("revocable"):
        word = f"{word}-{'after' if registry.quarantined else 'before'}"
    return Step((WithdrawalAdmitted(reason=word),))


def evolve(state: Tally | None, event: Event) -> Tally | None:
    """One more word; `end` forgets the key, `at-5` sets its alarm."""
    word: str = getattr(event.data, "reason", "")
    if word == "end":
        return None
    state = state or Tally()
    due = int(word[3:]) if word.startswith("at-") else state.due_ms
    return Tally((*state.heard, word), None if word == "rung" else due)


def ring(state: Tally, _key: str, now_ms: int) -> Step:
    """Say that it rang; a fragile one only from its fifth second on."""
    if "fragile" in state.heard and now_ms < 5_000:
        raise ValueError("this word can't ring yet")
    return Step((WithdrawalAdmitted(reason="rung"),))


INPUTS = (
    Input(topics.SUBMISSIONS, frozenset({WithdrawCase.TYPE, SubmitCase.TYPE}), needs_barrier=True),
    Input(topics.INTAKE, frozenset({WithdrawalAdmitted.TYPE})),
)
CARD: Card[Tally] = Card(
    service="router",
    own=topics.CASES,
    inputs=INPUTS,
    state_type=Tally,
    state_version=1,
    decide=decide,
    evolve=evolve,
    is_settled=lambda state: "settle" in state.heard,
    touched=lambda states, event: (
        [key for key, _ in states] if isinstance(event.data, AgentQuarantined) else ()
    ),
    due_ms=lambda state: state.due_ms,
    wake=ring,
)
# Keys of shard 0, so that a test may name them.
KEYS = tuple(
    itertools.islice(
        (key for n in itertools.count() if shard_of((key := f"k-{n}").encode(), SHARDS) == 0), 12
    )
)
FOREIGN_KEY = next(
    key for n in itertools.count() if shard_of((key := f"f-{n}").encode(), SHARDS) == 1
)


def wish(word: str, key: str = KEYS[0], place: Place = INBOUND) -> Draft:
    """A stranger's record."""
    data = WithdrawCase(namespace="demo", source="portal", key="k", reason=word)
    return spoken(data, key, place, source="portal")


FIXED = ContractRaised(level=2, signers=())  # from here on `poison` can be decided


def large(word: str, size_bytes: int, key: str = KEYS[0]) -> Draft:
    """A stranger's record with much in it."""
    facts = {"word": word, "much": "x" * size_bytes}
    data = SubmitCase(namespace="demo", definition="d", source="portal", key="k", facts=facts)
    return spoken(data, key, INBOUND, source="portal")


def admitted(word: str, key: str = KEYS[0], place: Place = INTAKE, hops: int = 0) -> Draft:
    """A record of another service's log, without its trailer."""
    return spoken(WithdrawalAdmitted(reason=word), key, place, hops=hops)


def spoken(
    data: Contract, key: str, place: Place, *, source: str = "/demo/intake", hops: int = 0
) -> Draft:
    """Any event as a draft."""
    kind, version = data.TYPE, data.VERSION  # type: ignore[attr-defined]
    envelope = Envelope(f"id-{key}", source, kind, version, hops=hops, strength=Strength.SYSTEM)
    return encode(*place, Event(key, envelope, data))


def too_new(draft: Draft) -> Draft:
    """The same record in a version this code does not know."""
    headers: Headers = tuple(
        (name, value.replace(b":1", b":9") if name == "ce_dataschema" else value)
        for name, value in draft.headers
    )
    return draft._replace(headers=headers)


class World:
    """A log with its genesis, and what the shards of it are told."""

    def __init__(self, shards: int = SHARDS) -> None:
        self.log = MemoryLog(shards, lambda: self.now_ms)
        self.registry = RegistryReader(self.log)
        self.now_ms = 1_000
        self.intake_sequence = 0

    async def begin(self) -> World:
        """Write the genesis of every log."""
        genesis = ShardGenesis(namespace="demo", generation="g1", shards=self.log.shards)
        places = [(t, p) for t in ("cases", "intake") for p in range(self.log.shards)]
        await self.log.append([spoken(genesis, "genesis", place) for place in [*places, REGISTRY]])
        return self

    async def hear(self, *words: str, key: str = KEYS[0]) -> None:
        """Strangers send these."""
        await self.log.append([wish(word, key) for word in words])

    async def publish(self, *facts: Contract) -> None:
        """These become registry facts."""
        await self.log.append([spoken(fact, "fact", REGISTRY) for fact in facts])

    async def admit(self, *words: str, key: str = KEYS[0], registry_position: int = 1) -> None:
        """The intake shard commits one batch of these."""
        await self.admit_drafts([admitted(word, key) for word in words], registry_position)

    async def admit_drafts(self, drafts: list[Draft], registry_position: int = 1) -> None:
        """The intake shard commits these with a trailer that vouches for them."""
        self.intake_sequence += 1
        await self.log.append(
            [*drafts, trailer_of(drafts, self.intake_sequence, registry_position)]
        )

    async def batches(self, place: Place = OWN) -> list[Batch]:
        """What a reader of a log may believe."""
        return BatchReader(place, is_resumed=False).feed(self.log.read(place, 0))

    async def events(self) -> list[Event]:
        """What the shard has said, whole batches only."""
        return [
            decode(record, is_sole_writer=True)
            for batch in await self.batches()
            for record in batch.records
        ]

    async def words(self, key: str | None = None) -> list[str]:
        """What it has said of what it heard, of one key if given."""
        return [
            event.data.reason
            for event in await self.events()
            if isinstance(event.data, WithdrawalAdmitted) and key in (None, event.key)
        ]

    async def dead_letters(self) -> list[DeadLetter]:
        """What nobody may interpret."""
        records = self.log.read(("dead-letters.router", 0), 0)
        found = [decode(record, is_sole_writer=True).data for record in records]
        return [letter for letter in found if isinstance(letter, DeadLetter)]


def trailer_of(drafts: list[Draft], sequence: int, registry_position: int = 1) -> Draft:
    """The trailer of an intake batch."""
    data = ShardCommitted(
        sequence=sequence,
        epoch=1,
        count=len(drafts),
        digest=batch_digest(drafts),
        positions={},
        registry_position=registry_position,
        greatest_ms=0,
    )
    return spoken(data, "intake/0", INTAKE)


Failing = Callable[[int, Effect], str]
_BEFORE, _AFTER, _KILL_BEFORE, _KILL_AFTER = "before", "after", "kill before", "kill after"
FAILINGS = (_BEFORE, _AFTER, _KILL_BEFORE, _KILL_AFTER)


def never(_step: int, _effect: Effect) -> str:
    """Nothing fails."""
    return ""


class Driven:
    """Shard 0 of the toy, living on a world; `failing` says what happens at each effect.

    The clock of its machine is `ahead_ms` ahead of the log's, and a commit takes `answer_ms` to be
    answered.
    """

    def __init__(
        self,
        world: World,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        card: Card[Tally] = CARD,
        failing: Failing = never,
        ahead_ms: int = 0,
        answer_ms: int = 0,
    ) -> None:
        self.ahead_ms, self.answer_ms = ahead_ms, answer_ms
        self.world, self.limits, self.card, self.failing = world, limits, card, failing
        self.seen: list[Effect] = []
        self.steps = 0
        self.read: dict[Place, int] = {}
        self._begin()

    def _begin(self) -> None:
        self.writer: Writer | None = None
        self.shard: Shard[Tally] = Shard(self.card, 0, self.limits)
        self.life = self.shard.life()
        self.effect: Effect | None = next(self.life)

    @property
    def now_ms(self) -> int:
        """What the steady clock of its machine says."""
        return self.world.now_ms + self.ahead_ms

    async def rest(self) -> Driven:
        """Live until there is nothing to do; a halted shard rests too."""
        for _ in range(STEPS_MAX):
            if self.effect is None or await self._is_quiet(self.effect):
                return self
            await self.step()
        raise AssertionError(f"no rest within {STEPS_MAX} effects, last {self.effect}")

    async def until(self, kind: type[Effect]) -> Effect:
        """Live until it asks for this."""
        for _ in range(STEPS_MAX):
            if isinstance(self.effect, kind):
                return self.effect
            await self.step()
        raise AssertionError(f"it never asked for {kind.__name__}")

    async def step(self) -> None:
        """Perform one effect, or let it fail."""
        effect, self.steps = self.effect, self.steps + 1
        assert effect is not None
        self.seen.append(effect)
        failing = "" if isinstance(effect, Backoff) else self.failing(self.steps - 1, effect)
        answer: Any = None
        failure: CasewayError | None = None
        if failing not in (_BEFORE, _KILL_BEFORE):
            try:
                answer = await self._perform(effect)
            except (Unavailable, IntegrityError) as error:
                failure = error
            except ContractError as error:  # as the runner has it: the log refuses what we made
                failure = IntegrityError(str(error), code=error.code)
        if failing in (_KILL_BEFORE, _KILL_AFTER):
            self._begin()
        elif failing or failure:
            self._throw(failure or Unavailable("it failed"))
        else:
            self._send(answer)

    def _send(self, answer: Any) -> None:
        try:
            self.effect = self.life.send(answer)
        except StopIteration:
            self.effect = None

    def _throw(self, failure: CasewayError) -> None:
        try:
            self.effect = self.life.throw(failure)
        except StopIteration:
            self.effect = None

    async def _perform(self, effect: Effect) -> Any:
        world = self.world
        match effect:
            case Fence():
                self.writer = await world.log.fence("router", 0)
            case Scan(place, start):
                return await world.log.scan(place, start)
            case RegistryAt(position):
                return await world.registry.at(position)
            case Seek(positions):
                self.read = dict(positions)
            case Barrier():
                return await world.registry.barrier()
            case Commit(drafts, positions):
                assert self.writer is not None
                offset, at_ms = await self.writer.commit(drafts, positions)
                world.now_ms += self.answer_ms
                return Committed(offset, at_ms, self.now_ms)
            case Wait():
                return await self._wait(effect)
        return None

    async def _wait(self, wait: Wait) -> Arrival:
        world = self.world
        if wait.awaited_position > wait.registry_position:
            await world.registry.reach(wait.awaited_position)
        found = {}
        for place in self.read.keys() - wait.full:
            records = world.log.read(place, self.read[place])
            if records:
                found[place] = records
                self.read[place] = records[-1].offset + 1
        return Arrival(found, world.registry.after(wait.registry_position), self.now_ms)

    async def _is_quiet(self, effect: Effect) -> bool:
        if not isinstance(effect, Wait) or not effect.is_idle:
            return False
        world = self.world
        return not (
            effect.awaited_position > effect.registry_position
            or world.registry.after(effect.registry_position)
            or (effect.until_ms is not None and effect.until_ms <= self.now_ms)
            or any(world.log.read(place, at) for place, at in self.read.items())
        )

    @property
    def digest(self) -> str:
        """The order-free digest over all that the shard holds."""
        return digest_of(self.shard)


def digest_of(shard: Shard[Tally]) -> str:
    """The digest of a shard's whole fold."""
    codec = StateCodec(shard.card)
    return digest_of_all(codec.digest(k, e) for k, e in shard.worker.fold.committed.items())
