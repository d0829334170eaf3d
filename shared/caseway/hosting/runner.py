"""Drives the shards of one service on a real log: performs their effects, nothing more.

Everything that decides what happens to a case is in `host.py`; what is here may crash at any
line, and the shards take over again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from caseway.contracts.record import Record
from caseway.errors import (
    CasewayError,
    CodeTooOld,
    ContractError,
    IntegrityError,
    Unavailable,
)
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
from caseway.hosting.host import Limits, Phase, Shard, ShardLike
from caseway.hosting.log import Feed, Log, Place, Writer
from caseway.hosting.registry_reader import RegistryReader
from caseway.kernel.processor import Card

_log = structlog.get_logger("caseway.runner")

# An idle shard looks around this often, so that a stalled one shows within seconds.
IDLE_S = 0.5
# Whoever watches lag hears of it when a shard has committed nothing for so long: telling it is a
# transaction of its own, three requests and a marker.
_SETTLE_S = 2.0
# A commit in hand is finished before a shard is given up, if it ends within this.
DRAIN_S = 8.0
_FETCH_S = 0.5
# From here on no more of a place is fetched until its shard, which commits, has taken these.
_PILED_RECORDS = 500
_BACKOFF_S, _BACKOFF_MAX_S = 0.05, 5.0


class _Owned:
    """A shard that this process owns, with what has come for it and not been taken."""

    def __init__(self, shard: ShardLike) -> None:
        self.shard = shard
        self.writer: Writer | None = None
        self.arrived: dict[Place, list[Record]] = {}
        self.places: frozenset[Place] = frozenset()
        self.paused: frozenset[Place] = frozenset()
        # Those of the takeover or the last commit, until they have settled.
        self.positions: Mapping[Place, int] | None = None
        self.committed_s = 0.0
        self.woken = asyncio.Event()
        self.is_leaving = False
        self.task: asyncio.Task[None] | None = None


class ShardRunner:
    """Owns the shards its membership says, those in `only` if it is given, and runs them.

    `steady_ms` counts milliseconds from anywhere and is never set; what time it is the log says.
    """

    def __init__(
        self,
        service: str,
        make_shard: Callable[[int], ShardLike],
        log: Log,
        registry: RegistryReader,
        steady_ms: Callable[[], int],
        *,
        member: str,
        only: frozenset[int] | None = None,
        linger_ms: int = 0,
    ) -> None:
        self.service = service
        self._make_shard = make_shard
        self._log = log
        self._registry = registry
        self._steady_ms = steady_ms
        self._member = member
        self._only = only
        self._linger_ms = linger_ms
        self._owned: dict[int, _Owned] = {}
        self._by_place: dict[Place, _Owned] = {}
        self._feed: Feed | None = None
        # True once this process was told its shards and has begun with them, be it none.
        self.is_told = False
        self._crashed: asyncio.Future[None]

    @property
    def shards(self) -> Sequence[ShardLike]:
        """The shards this process owns now, for health and metrics."""
        return [owned.shard for owned in self._owned.values()]

    async def run(self) -> None:
        """Own and run shards until cancelled; then drain: finish the commit in hand and leave."""
        self._crashed = asyncio.get_running_loop().create_future()
        membership = await self._log.join(self.service, self._member)
        self._feed = await self._log.feed(self._linger_ms)
        pump = asyncio.create_task(self._pump(self._feed), name=f"{self.service}-pump")
        try:
            while True:
                changes = asyncio.ensure_future(membership.changes())
                watched: set[asyncio.Future[Any]] = {changes, pump, self._crashed}
                try:
                    done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changes.cancel()  # whoever is stopped here must not leave a question open
                if changes not in done:
                    done.pop().result()
                share = changes.result()
                await self._own(share if self._only is None else share & self._only)
                self.is_told = True
        finally:
            self.is_told = False
            pump.cancel()
            await self._own(frozenset())
            await asyncio.gather(pump, return_exceptions=True)
            await self._feed.close()
            await membership.close()

    async def _own(self, shards: frozenset[int]) -> None:
        leaving = set(self._owned) - shards
        gone = [self._owned[number] for number in leaving]
        for owned in gone:
            owned.is_leaving = True
            owned.woken.set()
        tasks = [owned.task for owned in gone if owned.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for number in leaving:  # kept until here: whoever is stopped meanwhile lets them go later
            await self._let_go(self._owned[number])
            del self._owned[number]
        for number in sorted(shards - set(self._owned)):
            owned = _Owned(self._make_shard(number))
            self._owned[number] = owned
            owned.task = asyncio.create_task(self._drive(owned), name=f"{self.service}-{number}")
            owned.task.add_done_callback(self._note_crash)

    def _note_crash(self, task: asyncio.Task[None]) -> None:
        """A bug in the host itself ends the process, loudly: a shard never dies in silence."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._crashed.done():
            self._crashed.set_exception(error)

    async def _pump(self, feed: Feed) -> None:
        """Spread what comes over the shards, for ever."""
        while True:
            for place, records in (await feed.fetch(_FETCH_S)).items():
                owned = self._by_place.get(place)
                if owned is not None and records:
                    piled = owned.arrived.setdefault(place, [])
                    piled.extend(records)
                    if len(piled) >= _PILED_RECORDS and place not in owned.paused:
                        feed.pause((place,))
                        owned.paused |= {place}  # its next wait lets it go on
                    owned.woken.set()

    async def _drive(self, owned: _Owned) -> None:
        shard = owned.shard
        life = shard.life()
        effect: Effect = next(life)
        while not (owned.is_leaving and isinstance(effect, Wait | Backoff)):
            failure: CasewayError | None = None
            answer: Any = None
            try:
                answer = await self._perform(owned, effect)
            except (Unavailable, CodeTooOld, IntegrityError) as error:
                failure = error
            except ContractError as error:  # the log refuses what we made: nobody can mend it
                failure = IntegrityError(str(error), code=error.code)
            except TimeoutError:
                failure = Unavailable(f"no answer in time to {type(effect).__name__}")
            try:
                effect = life.throw(failure) if failure else life.send(answer)
            except StopIteration:
                assert shard.phase is Phase.HALTED
                _log.critical(
                    "shard halted",
                    service=self.service,
                    shard=shard.number,
                    reason=shard.halt_reason,
                )
                await self._let_go(owned)  # or the feed would pile up what nobody takes
                return

    async def _perform(self, owned: _Owned, effect: Effect) -> Any:
        match effect:
            case Wait():
                return await self._wait(owned, effect)
            case Commit(drafts, positions):
                assert owned.writer is not None
                offset, at_ms = await owned.writer.commit(drafts, positions)
                owned.positions = positions
                owned.committed_s = time.monotonic()
                return Committed(offset, at_ms, self._steady_ms())
            case Barrier():
                return await self._registry.barrier()
            case Scan(place, start):
                return await self._log.scan(place, start)
            case RegistryAt(position):
                return await self._registry.at(position)
            case Fence():
                await self._let_go(owned)
                owned.writer = await self._log.fence(self.service, owned.shard.number)
                return None
            case Seek(positions):
                return await self._seek(owned, positions)
            case Backoff(attempt, reason):
                _log.warning(
                    "taking over again",
                    service=self.service,
                    shard=owned.shard.number,
                    attempt=attempt,
                    reason=reason,
                )
                await self._let_go(owned)
                # Bounded before the power is taken: an outage of hours has thousands of attempts.
                await asyncio.sleep(min(_BACKOFF_S * 2 ** min(attempt, 16), _BACKOFF_MAX_S))
                return None

    async def _wait(self, owned: _Owned, wait: Wait) -> Arrival:
        assert self._feed is not None
        if wait.full != owned.paused:
            self._feed.resume(owned.paused - wait.full)
            self._feed.pause(wait.full - owned.paused)
            owned.paused = wait.full
        fresh = self._registry.after(wait.registry_position)
        if wait.is_idle and not owned.arrived and not fresh:
            await self._rest(owned, wait)
            fresh = self._registry.after(wait.registry_position)
        else:
            await asyncio.sleep(0)  # give the other shards of this process their turn
        arrived, owned.arrived = owned.arrived, {}
        owned.woken.clear()
        return Arrival(arrived, fresh, self._steady_ms())

    async def _rest(self, owned: _Owned, wait: Wait) -> None:
        if wait.awaited_position > wait.registry_position:
            await self._registry.reach(wait.awaited_position)
            return
        span = IDLE_S
        if wait.until_ms is not None:
            span = min(span, max(0.0, (wait.until_ms - self._steady_ms()) / 1000))
        try:
            async with asyncio.timeout(span):
                await owned.woken.wait()
        except TimeoutError:
            writer, positions = owned.writer, owned.positions
            if writer is None or positions is None:
                return
            is_due = time.monotonic() - owned.committed_s >= _SETTLE_S
            if is_due and await writer.settle(positions):
                owned.positions = None

    async def _seek(self, owned: _Owned, positions: Mapping[Place, int]) -> None:
        assert self._feed is not None
        owned.arrived = {}
        owned.paused = frozenset()
        owned.places = frozenset(positions)
        owned.positions = positions
        for place in owned.places:
            self._by_place[place] = owned
        await self._feed.seek(positions)

    async def _let_go(self, owned: _Owned) -> None:
        """Throw the writer away and read nothing more for this shard."""
        if owned.places and self._feed is not None:
            for place in owned.places:
                self._by_place.pop(place, None)
            await self._feed.drop(owned.places)
            owned.places = frozenset()
            owned.arrived = {}
        writer, owned.writer = owned.writer, None
        if writer is not None:
            with contextlib.suppress(Unavailable):  # it is thrown away in any case
                await writer.close()


class ServiceRunner(ShardRunner):
    """One service in one process, by its card."""

    def __init__(
        self,
        card: Card[Any],
        log: Log,
        registry: RegistryReader,
        steady_ms: Callable[[], int],
        *,
        member: str,
        limits: Limits = Limits(),  # noqa: B008
    ) -> None:
        def make(number: int) -> Shard[Any]:
            return Shard(card, number, limits)

        super().__init__(
            card.service, make, log, registry, steady_ms, member=member, linger_ms=card.linger_ms
        )
        self.card = card
