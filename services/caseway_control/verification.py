"""Verifies a whole namespace from its logs: replays, folds, rebuilds every tree, compares.

Two passes. The first follows the audit log and rebuilds every tree beside it; it holds frontiers
and a window of claims. The second replays every log, partition after partition, and holds the
states of one shard at a time. Nothing is written, and nothing that was derived is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from caseway.contracts import topics
from caseway.contracts.audit import CheckpointSealed, TreeHead
from caseway.contracts.codec import data_of
from caseway.contracts.record import Record
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.topics import FIXED_TOPICS, FOREVER_MS, snapshots
from caseway.errors import CasewayError, ConfigError, IntegrityError
from caseway.hosting.batches import BatchReader
from caseway.hosting.log import Log, Place, first_record
from caseway.hosting.sealing_host import sealed_places
from caseway.invariants.published import Published
from caseway.invariants.watch import Watch
from caseway.kernel.processor import Card
from caseway.kernel.snapshot import digest_of_all
from caseway_audit.verify import (
    CheckpointCheck,
    Claim,
    Code,
    Finding,
    ServiceDigest,
    TreeCheck,
    VerificationReport,
    finding_of,
)
from caseway_control.broken import broken_findings
from caseway_control.log_replay import LogReplay, RegistryReplay, SnapshotCheck, SnapshotClaim
from caseway_control.roster import CARDS

# Some 50 MB of claims; a window costs each place one more seek in its scan.
WINDOW_CLAIMS = 200_000

_AUDIT: Place = (topics.AUDIT.name, 0)
_FOREVER = frozenset(topic.name for topic in FIXED_TOPICS if topic.retention_ms == FOREVER_MS)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the verification stands: `records` is how many were read of this place so far."""

    stage: str
    place: str
    records: int


@dataclass(frozen=True, slots=True)
class Anchors:
    """What the verifier knows from elsewhere; without it the genesis is believed.

    `checkpoint_key` is the public key as `caseway init` printed it; `note` the note of any
    checkpoint that was kept outside this log.
    """

    checkpoint_key: str = ""
    note: str = ""


Told = Callable[[Progress], None]
CaseTold = Callable[[str, str, str], None]


def _silent(_progress: Progress) -> None:
    """Nobody watches."""


def _forgotten(_service: str, _case_id: str, _digest: str) -> None:
    """Nobody asked for the digests of single cases."""


class Verifier:
    """One verification; `run` it once."""

    def __init__(
        self,
        log: Log,
        *,
        pools: Iterable[str] = (),
        anchors: Anchors = Anchors(),
        told: Told = _silent,
        on_case: CaseTold = _forgotten,
        window_claims: int = WINDOW_CLAIMS,
    ) -> None:
        self._log = log
        self._pools = tuple(pools)
        self._anchors = anchors
        self._told = told
        self._on_case = on_case
        self._window_claims = window_claims
        self._findings: list[Finding] = []
        self._trees: dict[Place, TreeCheck] = {}
        self._next: dict[Place, int] = {}
        self._at_end: set[Place] = set()
        self._read: dict[tuple[str, Place], int] = {}
        self._expired = 0
        self._replays: list[LogReplay] = []
        self._services: dict[str, ServiceDigest] = {}

    async def run(self) -> VerificationReport:
        """Read everything and report; damage is a finding and never raised.

        Raises:
            ConfigError: GENESIS_MISSING, there is nothing to verify.
            Unavailable: the log does not answer.
        """
        genesis = await self._genesis()
        check = CheckpointCheck(genesis, self._anchors.note)
        async for window in self._windows(check):
            for place in sorted(window):
                await self._follow(place, window[place])
        await self._finish_trees(check, genesis.shards)
        await self._replay_shards(genesis, await self._replay_registry(genesis))
        await self._compare_ends()
        return self._report(genesis, check)

    def _report(self, genesis: ShardGenesis, check: CheckpointCheck) -> VerificationReport:
        trees, replays = self._trees, self._replays
        return VerificationReport(
            namespace=genesis.namespace,
            generation=genesis.generation,
            checkpoints=check.number,
            sealed_records=sum(tree.sealed for tree in trees.values()),
            unsealed_records=sum(tree.unsealed for tree in trees.values()),
            expired_records=self._expired + sum(tree.expired for tree in trees.values()),
            batches=sum(replay.batches for replay in replays),
            events=sum(replay.events for replay in replays),
            torn_records=sum(replay.torn_records for replay in replays),
            snapshots_compared=sum(replay.snapshots_compared for replay in replays),
            services=self._services,
            trees={_text(place): trees[place].sealed for place in sorted(trees)},
            findings=tuple(self._findings),
        )

    # -- the genesis --------------------------------------------------------------------------

    async def _genesis(self) -> ShardGenesis:
        record = await first_record(self._log, _AUDIT)
        data = data_of(record) if record is not None else None
        if record is None or not isinstance(data, ShardGenesis):
            raise ConfigError(
                "audit/0 does not begin with a genesis; run `caseway init`, or name the "
                "namespace that is to be verified",
                code="GENESIS_MISSING",
            )
        known, found = self._anchors.checkpoint_key, data.checkpoint_key
        if known and known != found:
            detail = "the genesis names another checkpoint key than the one given"
            self._found(Code.TAMPERED, _AUDIT, record.offset, known, found, detail)
        return data

    # -- checkpoints and trees ----------------------------------------------------------------

    async def _windows(self, check: CheckpointCheck) -> AsyncIterator[dict[Place, list[Claim]]]:
        """Claims by place, a bounded number at a time, as far as the audit log holds."""
        window: dict[Place, list[Claim]] = {}
        count = 0
        async for claim, head in self._claims(check):
            place = (head.topic, head.partition)
            await self._begin(place, head)
            window.setdefault(place, []).append(claim)
            count += 1
            if count >= self._window_claims:
                yield window
                window, count = {}, 0
        if window:
            yield window

    async def _claims(self, check: CheckpointCheck) -> AsyncIterator[tuple[Claim, TreeHead]]:
        batches = BatchReader(_AUDIT, is_resumed=False)
        offset = 0
        async for records in self._scan("checkpoints", _AUDIT):
            for record in records:
                offset = record.offset
                try:
                    found = [
                        pair
                        for batch in batches.feed((record,))
                        for own in batch.records
                        for pair in check.take(_checkpoint(own))
                    ]
                except CasewayError as error:
                    self._findings.append(finding_of(error, _AUDIT, offset))
                    return
                for pair in found:
                    yield pair
        finding = check.finish(offset + 1)
        if finding is not None:
            self._findings.append(finding)

    async def _begin(self, place: Place, head: TreeHead) -> None:
        """A tree is grown from its first record, or from the first head whose records are kept."""
        if place in self._trees or place in self._next:
            return
        first = (await self._log.bounds(place)).first
        if first > 0 and place[0] in _FOREVER:
            self._next[place] = first
            detail = "the beginning of a log that is kept for ever is gone"
            self._found(Code.TORN, place, first, "offset 0", f"offset {first}", detail)
        elif first == 0:
            self._trees[place] = TreeCheck(place)
            self._next[place] = 0
        elif head.next_offset >= first:
            self._trees[place] = TreeCheck(place, head)
            self._next[place] = first

    async def _follow(self, place: Place, claims: list[Claim]) -> None:
        """Read on until every claim of this window was compared."""
        tree = self._trees.get(place)
        if tree is None:
            return
        tree.expect(claims)
        while tree.is_hungry and place not in self._at_end:
            tree.take(await self._more(place))

    async def _finish_trees(self, check: CheckpointCheck, shards: int) -> None:
        self._expired = sum(
            head.size for place, head in check.heads.items() if place not in self._next
        )
        for place in sealed_places(self._pools, shards):
            if place not in self._next and place not in check.heads:
                self._next[place] = (await self._log.bounds(place)).first
                self._trees[place] = TreeCheck(place)
        for place in sorted(self._trees):
            tree = self._trees[place]
            tree.finish(self._next[place])
            while place not in self._at_end:
                tree.take(await self._more(place))
            if tree.finding is not None:
                self._findings.append(tree.finding)

    async def _more(self, place: Place) -> Sequence[Record]:
        chunk = await self._log.scan(place, self._next[place])
        self._next[place] = chunk.next_offset
        if chunk.is_end:
            self._at_end.add(place)
        self._tell("trees", place, len(chunk.records))
        return chunk.records

    # -- states -------------------------------------------------------------------------------

    async def _replay_registry(self, genesis: ShardGenesis) -> Published:
        replay, watch = RegistryReplay(genesis), Watch()
        async for records in self._scan("states", replay.place):
            replay.take(records)
            watch.see_all(records)
        replay.finish(await self._log.end(replay.place))
        if replay.finding is not None:
            self._findings.append(replay.finding)
        self._findings.extend(broken_findings(watch.violations, self._findings))
        return watch.published

    async def _replay_shards(self, genesis: ShardGenesis, published: Published) -> None:
        """Every shard after the other: only the states of one are held at a time."""
        cases: Counter[str] = Counter()
        sums: dict[str, list[str]] = {name: [] for name in CARDS}
        for shard in range(genesis.shards):
            watch = Watch(published=published)
            for card in CARDS.values():
                digests = await self._replay(card, shard, genesis, watch)
                cases[card.service] += len(digests)
                sums[card.service].append(digest_of_all(digests))
            self._findings.extend(broken_findings(watch.violations, self._findings))
        self._services = {
            name: ServiceDigest(cases=cases[name], digest=digest_of_all(sums[name]))
            for name in CARDS
        }

    async def _replay(
        self, card: Card[Any], shard: int, genesis: ShardGenesis, watch: Watch
    ) -> list[str]:
        """The state digests of one shard of one service; its events are watched on the way."""
        place = (card.own.name, shard)
        replay = LogReplay(place, card, genesis, await self._snapshot(card, shard))
        async for records in self._scan("states", place):
            replay.take(records)
            watch.see_all(records)
        replay.finish(await self._log.end(place))
        if replay.finding is not None:
            self._findings.append(replay.finding)
        digests = []
        for case_id, digest in replay.digests():
            self._on_case(card.service, case_id, digest)
            digests.append(digest)
        replay.forget()
        self._replays.append(replay)
        return digests

    async def _snapshot(self, card: Card[Any], shard: int) -> SnapshotClaim | None:
        place = (snapshots(card.service).name, shard)
        check = SnapshotCheck(card, place)
        async for records in self._scan("snapshots", place):
            check.take(records)
        try:
            return check.claim()
        except IntegrityError as error:
            self._findings.append(finding_of(error, place, check.offset))
            return None

    async def _compare_ends(self) -> None:
        """No log is shorter than what another has already read of it."""
        seen: dict[Place, tuple[int, Place]] = {}
        for replay in self._replays:
            registry = f"{topics.REGISTRY.name}/0"
            for text, position in {**replay.positions, registry: replay.registry_position}.items():
                topic, _, number = text.rpartition("/")
                place = (topic, int(number))
                if position > seen.get(place, (0, place))[0]:
                    seen[place] = (position, replay.place)
        for place, (position, reader) in sorted(seen.items()):
            end = await self._log.end(place)
            if end < position:
                detail = f"{_text(reader)} was decided on records that are not there"
                self._found(Code.ROLLBACK, place, end, f"end {position}", f"end {end}", detail)

    # -- helpers ------------------------------------------------------------------------------

    async def _scan(self, stage: str, place: Place) -> AsyncIterator[Sequence[Record]]:
        position, is_end = (await self._log.bounds(place)).first, False
        while not is_end:
            chunk = await self._log.scan(place, position)
            self._tell(stage, place, len(chunk.records))
            yield chunk.records
            position, is_end = chunk.next_offset, chunk.is_end

    def _tell(self, stage: str, place: Place, records: int) -> None:
        read = self._read[stage, place] = self._read.get((stage, place), 0) + records
        self._told(Progress(stage, _text(place), read))

    def _found(
        self, code: Code, place: Place, offset: int, expected: str, found: str, detail: str
    ) -> None:
        self._findings.append(
            Finding(
                code=code,
                place=_text(place),
                offset=offset,
                expected=expected,
                found=found,
                detail=detail,
            )
        )


def _text(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


def _checkpoint(record: Record) -> CheckpointSealed:
    data = data_of(record)
    if not isinstance(data, CheckpointSealed):
        raise IntegrityError("the audit log holds an event that is no checkpoint")
    return data
