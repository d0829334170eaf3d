"""The life of one shard: fence, restore, replay, seek, then decide and commit, and doubt.

This is the whole of what keeps a case from being lost or decided twice, and it does no I/O: it
yields effects and is sent their answers (`effects.py`), so the simulator runs this very code.
State changes count only after their commit was answered; any doubt throws them away together
with the writer, and the log is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from caseway.contracts.record import Draft, instant_of
from caseway.contracts.shard import ShardCommitted, SnapshotMarked
from caseway.contracts.topics import snapshots
from caseway.errors import CodeTooOld, IntegrityError, Unavailable
from caseway.hosting.batches import BatchReader, batch_digest
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
from caseway.hosting.inbox import Inbox
from caseway.hosting.log import Place
from caseway.hosting.worker import Worker
from caseway.kernel.processor import Card
from caseway.kernel.registry import Registry
from caseway.kernel.snapshot import SnapshotReader, SnapshotWriter

S = TypeVar("S")
Life = Generator[Effect, Any, None]


class Phase(Enum):
    """Where a shard is in its life; only RUNNING is ready."""

    TAKING_OVER = "taking over"
    REPLAYING = "replaying"
    RUNNING = "running"
    CODE_TOO_OLD = "code too old"
    DOUBTING = "doubting"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one shard, in records of one topic, own-log events, and milliseconds."""

    # A record that comes amid a flood waits until so many of it are decided and committed, 30 ms
    # of a core. 200 made it wait four times as long; 25 costs the broker twice as much.
    share_records: int = 50
    # A record takes 3 kB while it waits, and a lane of each shard may be full at once.
    queue_records: int = 500
    # A takeover replays at most about this many events after its snapshot: a tenth of a second.
    # A round costs what some twenty events do.
    snapshot_events: int = 1_000
    # What was heard and led to nothing goes with the next commit, or alone after this: half of
    # what approval hears of a case needs no answer, and a commit wakes every reader of its log.
    silence_ms: int = 500
    # What a commit told of the time holds for so long; a bad quartz is some 10 ms off by then.
    time_ms: int = 60_000


class ShardLike(Protocol):
    """What a runner drives: `life()` is what the shard does; the rest is for looking at it."""

    number: int
    phase: Phase
    halt_reason: str
    commits: int
    replayed_events: int
    progress_ms: int

    def life(self) -> Life:
        """Own this shard until the driver stops asking."""


def endure(shard: ShardLike, take_over: Callable[[], Life], work: Callable[[], Life]) -> Life:
    """Take over and work, again and again: this is what each branch of the errors means.

    A damaged log ends it (`Phase.HALTED`); everything else is tried again. Only a commit ends a
    row of failures: two owners who fence each other both take over without any trouble.
    """
    attempt, commits = 0, shard.commits
    while True:
        try:
            yield from take_over()
            yield from work()
        except (CodeTooOld, Unavailable) as error:
            is_waiting = isinstance(error, CodeTooOld)
            shard.phase = Phase.CODE_TOO_OLD if is_waiting else Phase.DOUBTING
            attempt = attempt + 1 if shard.commits == commits else 1
            commits = shard.commits
            yield Backoff(attempt, str(error))
        except IntegrityError as damage:
            shard.phase = Phase.HALTED
            shard.halt_reason = f"{damage.code}: {damage}"
            return


class Shard(Generic[S]):
    """One partition of one service. `life()` is what it does; the rest is for looking at it."""

    def __init__(self, card: Card[S], number: int, limits: Limits = Limits()) -> None:
        self.card = card
        self.number = number
        self.limits = limits
        self.phase = Phase.TAKING_OVER
        self.halt_reason = ""
        self.commits = 0
        self.replayed_events = 0
        self.progress_ms = 0
        self._own: Place = (card.own.name, number)
        self._inputs = tuple(i for i in card.inputs if i.topic.sharded or number == 0)
        self._distrusts_snapshot = False
        self._places: list[Place] = [
            (i.topic.name, number if i.topic.sharded else 0) for i in self._inputs
        ]
        self._reset(Registry())

    def life(self) -> Life:
        """Own this shard until the driver stops asking."""
        return endure(self, self._take_over, self._work)

    # -- takeover -----------------------------------------------------------------------------

    def _reset(self, registry: Registry) -> None:
        self.worker: Worker[S] = Worker(self.card, self.number, registry)
        self.inbox = Inbox(self._inputs, self._places, {})
        self.sequence = 0
        self.epoch = 0
        self._next_own = 0
        self._silent_ms: int | None = None  # since when there is something without an answer
        self._told: Committed | None = None  # by the last commit: what time it is
        self._last: ShardCommitted | None = None
        self._snapshots = SnapshotWriter(self.card, self.number)
        # Settled and gone keys count: after a snapshot that was not used, this is all of them.
        self._unsnapped: set[str] = set()
        self._unsnapped_events = 0

    def _take_over(self) -> Life:
        """In this order and no other; kafka.md's rule 2 says what each exchange of steps loses."""
        self.phase = Phase.TAKING_OVER
        self._distrusts_snapshot |= self.worker.fold.committed.is_damaged
        self._reset(Registry())
        yield Fence()
        snapshot = yield from self._load_snapshot()
        positions = yield from self._replay(snapshot)
        registry: Registry = yield RegistryAt(self.worker.registry_position)
        self.worker.use(registry)
        # The log itself counts its owners: a broker's epochs start anew after 32,767.
        self.epoch += 1
        self.inbox = Inbox(self._inputs, self._places, positions)
        yield Seek(self.inbox.positions())
        self.phase = Phase.RUNNING

    def _load_snapshot(self) -> Generator[Effect, Any, SnapshotMarked | None]:
        reader = SnapshotReader(self.card)
        place, start, is_end = (snapshots(self.card.service).name, self.number), 0, False
        while not is_end:
            chunk = yield Scan(place, start)
            reader.feed(chunk.records)
            start, is_end = chunk.next_offset, chunk.is_end
        loaded = None if self._distrusts_snapshot else reader.load()
        if loaded is None:
            self._snapshots.replace(reader.keys)
            return None
        self.worker.fold.committed = loaded.entities
        self._snapshots.resume(loaded)
        return loaded.marker

    def _replay(self, marker: SnapshotMarked | None) -> Generator[Effect, Any, dict[Place, int]]:
        self.phase = Phase.REPLAYING
        start, positions = 0, {}
        if marker is not None:
            start, positions = marker.log_offset, marker.positions
            self.sequence, self.epoch = marker.sequence, marker.epoch
            self.worker.registry_position = marker.registry_position
            self.worker.greatest_ms = marker.greatest_ms
        batches = BatchReader(self._own, is_resumed=False, sequence=self.sequence, epoch=self.epoch)
        is_end = False
        while not is_end:
            chunk = yield Scan(self._own, start)
            for batch in batches.feed(chunk.records):
                self._unsnapped |= self.worker.replay(batch.records)
                self._unsnapped_events += len(batch.records)
                self._last = trailer = batch.trailer
                self.sequence, self.epoch = trailer.sequence, trailer.epoch
                positions = trailer.positions
                self.worker.registry_position = trailer.registry_position
                self.worker.greatest_ms = trailer.greatest_ms
                self.replayed_events += len(batch.records)
                self._next_own = batch.next_offset
            start, is_end = chunk.next_offset, chunk.is_end
        if marker is None and batches.genesis is None:
            raise Unavailable(
                f"{self._own[0]}/{self._own[1]} has no genesis; run `caseway init`",
                code="GENESIS_MISSING",
            )
        self._next_own = start
        self.worker.index_due()
        return {_place(text): offset for text, offset in positions.items()}

    # -- work ---------------------------------------------------------------------------------

    def _work(self) -> Life:
        now_ms = 0
        while True:
            is_idle = not (
                self.inbox.needs_barrier
                or self.inbox.is_ready(self.worker.registry_position)
                or self._must_tell_time(now_ms)
            )
            arrival: Arrival = yield Wait(
                self.worker.registry_position,
                self.inbox.awaited_position(self.worker.registry_position),
                self._until_ms(),
                is_idle,
                self.inbox.full(self.limits.queue_records),
            )
            now_ms = arrival.now_ms
            self.progress_ms = now_ms
            self.inbox.receive(arrival.records)
            for event, registry in arrival.registry:
                self.worker.broadcast(event, registry)
            if self.inbox.needs_barrier:
                end: int = yield Barrier()
                self.inbox.pass_barrier(end)
            yield from self._decide_and_commit(now_ms)

    def _decide_and_commit(self, now_ms: int) -> Life:
        taken = self.inbox.take(self.limits.share_records, self.worker.registry_position)
        for source, record in taken:
            self.worker.take(source, record)
            if self.worker.has_registry_facts:
                # One control record a commit: the next is judged by a registry that holds it.
                self.inbox.require_again()
                break
        self.worker.decide_held()
        must_tell_time = self._must_tell_time(now_ms)
        if not must_tell_time and self._told is not None:
            self.worker.wake(now_ms - self._told.ahead_ms, self.sequence + 1)
        if not must_tell_time and (
            not self.worker.is_worth_a_commit or self._may_stay_silent(now_ms)
        ):
            return
        commit, trailer = self._seal()
        self._told = yield commit
        self._accept(trailer, self._told.offset + 1)

    def _must_tell_time(self, now_ms: int) -> bool:
        """Whether something is to be woken, and nobody knows well enough whether it is time.

        What is due is due by the log, and no clock of this machine says what time that has: it is
        read off the answer to a commit, be it an empty one, and a clock that can't be set counts
        on from there, for a while. The answer comes a little later, so a timer may be late by that
        and is never early.
        """
        due_ms = self.worker.next_due_ms()
        if due_ms is None:
            return False
        if self._told is None:
            return True
        is_old = now_ms - self._told.now_ms >= self.limits.time_ms
        return is_old and now_ms - self._told.ahead_ms >= due_ms

    def _may_stay_silent(self, now_ms: int) -> bool:
        """Whether all that was heard led to nothing, and may be heard again after a crash."""
        if self.worker.has_drafts:
            return False
        if self._silent_ms is None:
            self._silent_ms = now_ms
        return now_ms - self._silent_ms < self.limits.silence_ms

    def _until_ms(self) -> int | None:
        """When to look again, by the steady clock."""
        ends: list[int] = []
        due_ms = self.worker.next_due_ms()
        if due_ms is not None and self._told is not None:
            ends.append(due_ms + self._told.ahead_ms)
        if self._silent_ms is not None:
            ends.append(self._silent_ms + self.limits.silence_ms)
        return min(ends, default=None)

    def _seal(self) -> tuple[Commit, ShardCommitted]:
        own, others = self.worker.drafts()
        positions = self.inbox.positions()
        self.sequence += 1
        trailer = ShardCommitted(
            sequence=self.sequence,
            epoch=self.epoch,
            count=len(own),
            digest=batch_digest(own),
            positions={
                f"{topic}/{number}": offset for (topic, number), offset in positions.items()
            },
            registry_position=self.worker.registry_position,
            greatest_ms=self.worker.greatest_ms,
        )
        drafts: list[Draft] = [*others, *own, self.worker.trailer(trailer)]
        if self._unsnapped_events >= self.limits.snapshot_events:
            drafts = [*self._snapshot(), *drafts]
        self._unsnapped_events += len(own)
        return Commit(drafts, positions), trailer

    def _snapshot(self) -> tuple[Draft, ...]:
        """A round of everything up to, and not with, the batch that carries it."""
        before = self._last
        assert before is not None, "events were folded, so a trailer was"

        def mark(round_: int, entries: int, digest: str) -> SnapshotMarked:
            return SnapshotMarked(
                round=round_,
                state_version=self.card.state_version,
                log_offset=self._next_own,
                sequence=before.sequence,
                epoch=before.epoch,
                positions=before.positions,
                registry_position=before.registry_position,
                greatest_ms=before.greatest_ms,
                entries=entries,
                states_digest=digest,
                taken_at=instant_of(before.greatest_ms),
            )

        drafts = self._snapshots.write(self._unsnapped, self.worker.fold.committed.written, mark)
        if drafts:
            self._unsnapped = set()
        self._unsnapped_events = 0
        return drafts

    def _accept(self, trailer: ShardCommitted, next_own: int) -> None:
        self.commits += 1
        self._silent_ms = None
        self._last = trailer
        self._next_own = next_own
        self._unsnapped |= self.worker.accept()


def _place(text: str) -> Place:
    topic, _, number = text.rpartition("/")
    return topic, int(number)
