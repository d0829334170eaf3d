"""Verification: honest logs pass, and every kind of tampering is named with its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest

from caseway.contracts import case, topics
from caseway.contracts.audit import CheckpointSealed
from caseway.contracts.codec import Event, decode, encode, type_of
from caseway.contracts.control import DefinitionPublished
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract
from caseway.contracts.record import Draft, Record, instant_of
from caseway.contracts.shard import ShardCommitted, ShardGenesis, SnapshotMarked
from caseway.contracts.signing import SigningKey
from caseway.contracts.submission import CaseAdmitted
from caseway.errors import ConfigError, ContractError
from caseway.hosting.batches import batch_digest
from caseway.hosting.log import Bounds, Chunk, Place
from caseway.hosting.memory_log import MemoryLog
from caseway.hosting.sealing_host import sealed_places
from caseway.kernel.emission import Cause, Emitter
from caseway.kernel.fold import Fold
from caseway.kernel.machine import compile_definition
from caseway.kernel.notes import sign_note
from caseway.kernel.processor import Card
from caseway.kernel.snapshot import SnapshotWriter
from caseway_audit.sealing import Sealer, origin_of
from caseway_audit.verify import Code, Finding, VerificationReport
from caseway_control.documents import load_document
from caseway_control.genesis import found as write_genesis
from caseway_control.roster import CARDS
from caseway_control.verification import Anchors, Verifier

KEY = SigningKey("checkpoint:1", bytes(range(32)))
GENESIS = ShardGenesis(namespace="demo", generation="g1", shards=2, checkpoint_key=KEY.public_text)
TEXT = (files("caseway_control") / "data/insurance/definition.yaml").read_text(encoding="utf-8")
DEFINITION: Any = load_document(TEXT, "definition.yaml")
PIN = compile_definition(DEFINITION).pin
CASES: Place = ("cases", 0)
REPORTS: Place = ("agent-reports", 1)


class Scribe:
    """One shard of one service that commits what it is told, as its host would."""

    def __init__(self, log: MemoryLog, card: Card[Any], shard: int = 0) -> None:
        self.log, self.card, self.shard = log, card, shard
        self.fold: Fold[Any] = Fold(card)
        self.sequence = 0
        self.changed: set[str] = set()
        self.next_own = 0
        self.emitter = Emitter(card, "demo", shard)
        self.snapshots: SnapshotWriter[Any] = SnapshotWriter(card, shard)

    async def commit(
        self,
        *events: tuple[str, Contract],
        positions: Mapping[str, int] | None = None,
        with_snapshot: bool = False,
    ) -> None:
        self.sequence += 1
        cause = Cause(f"g1/test/{self.shard}/{self.sequence}", 1, "system:test", Strength.SYSTEM)
        own: list[Draft] = []
        before = list(self._snapshot()) if with_snapshot else []
        for index, (key, data) in enumerate(events):
            number = self.fold.next_sequence(key)
            event = self.emitter.event(key, data, cause, index, sequence=number)
            self.fold.apply(event)
            own.append(encode(self.card.own.name, self.shard, event))
        self.changed |= self.fold.accept()
        trailer = ShardCommitted(
            sequence=self.sequence,
            epoch=1,
            count=len(own),
            digest=batch_digest(own),
            positions=dict(positions or {}),
            registry_position=1,
            greatest_ms=1,
        )
        last = self.emitter.event(f"{self.card.own.name}/{self.shard}", trailer, cause, 99)
        writer = await self.log.fence(self.card.service, self.shard)
        drafts = [*before, *own, encode(self.card.own.name, self.shard, last)]
        offset, _ = await writer.commit(drafts, {})
        self.next_own = offset + 1

    def _snapshot(self) -> tuple[Draft, ...]:
        def mark(round_: int, entries: int, digest: str) -> SnapshotMarked:
            return SnapshotMarked(
                round=round_,
                state_version=self.card.state_version,
                log_offset=self.next_own,
                sequence=self.sequence - 1,
                epoch=1,
                positions={},
                registry_position=1,
                greatest_ms=1,
                entries=entries,
                states_digest=digest,
                taken_at=instant_of(0),
            )

        return self.snapshots.write(self.changed, self.fold.committed.written, mark)


async def seal(log: MemoryLog, sealer: Sealer, sequence: int, key: SigningKey = KEY) -> str:
    """One checkpoint over all that is there, as the sealer's host writes it."""
    done = sealer.positions()
    for place in sealed_places(("adjusters",), log.shards):
        sealer.extend(place, log.read(place, done.get(place, 0)))
    checkpoint = sealer.seal(GENESIS, key)
    assert checkpoint is not None
    own = encode("audit", 0, _event(checkpoint))
    trailer = ShardCommitted(
        sequence=sequence,
        epoch=1,
        count=1,
        digest=batch_digest([own]),
        positions={},
        registry_position=1,
        greatest_ms=1,
    )
    writer = await log.fence("audit", 0)
    await writer.commit([own, encode("audit", 0, _event(trailer))], {})
    return checkpoint.note


def _event(data: Contract) -> Event:
    envelope = Envelope("e", "/demo/audit", data.TYPE, data.VERSION)  # type: ignore[attr-defined]
    return Event("audit/0", envelope, data)


def admitted(n: int) -> CaseAdmitted:
    return CaseAdmitted(
        definition=PIN,
        source="portal",
        key=f"K-{n}",
        body_sha256="0" * 64,
        facts={"n": n},
        submitted_at=instant_of(0),
    )


def opened(n: int) -> case.CaseOpened:
    return case.CaseOpened(
        definition=PIN, title=f"Case {n}", source="portal", requester="ann", facts={"n": n}
    )


def ann_to_eve(record: Record) -> Record:
    return record._replace(value=(record.value or b"").replace(b"ann", b"eve"))


class Stored:
    """A copy of a log that a forger has in hand."""

    def __init__(self, log: MemoryLog) -> None:
        names = [topic.name for topic in topics.all_topics(("adjusters",))]
        places = [(name, number) for name in names for number in range(log.shards)]
        self.shards = log.shards
        self.records = {place: log.read(place, 0) for place in places}
        self.firsts: dict[Place, int] = {}
        self.notes: list[str] = []

    async def scan(self, place: Place, start: int) -> Chunk:
        some = [r for r in self.records.get(place, []) if r.offset >= start]
        chunk = some[:5]
        if len(some) <= 5:
            return Chunk(chunk, max(start, await self.end(place)), True)
        return Chunk(chunk, chunk[-1].offset + 1, False)

    async def bounds(self, place: Place) -> Bounds:
        return Bounds(self.firsts.get(place, 0), await self.end(place))

    async def end(self, place: Place) -> int:
        records = self.records.get(place)
        return records[-1].offset + 1 if records else 0

    def expire(self, place: Place, first: int) -> None:
        self.records[place] = [r for r in self.records[place] if r.offset >= first]
        self.firsts[place] = first

    def change(self, place: Place, index: int, change: Callable[[Record], Record]) -> int:
        record = self.records[place][index]
        self.records[place][index] = change(record)
        return record.offset

    def find(self, place: Place, kind: str, nth: int = 0) -> int:
        kinds = [type_of(record) for record in self.records[place]]
        return [n for n, each in enumerate(kinds) if each == kind][nth]


async def honest() -> Stored:
    """Four cases in two services on two shards, reports and offers, three checkpoints."""
    log = MemoryLog(2, lambda: 1_000)
    await write_genesis(log, GENESIS)
    published = DefinitionPublished(signers=("root:1",), pin=PIN, document=DEFINITION)
    await log.append([encode("registry", 0, _event(published))])
    intake, router = Scribe(log, CARDS["intake"]), Scribe(log, CARDS["router"])
    other = Scribe(log, CARDS["router"], shard=1)
    sealer, notes = Sealer(), []
    for n in range(3):
        await intake.commit((f"c-{n}", admitted(n)))
        await router.commit(
            (f"c-{n}", opened(n)),
            (f"c-{n}", case.PhaseEntered(phase="intake", round=1)),
            positions={"intake/0": intake.next_own},
            with_snapshot=n == 2,
        )
        await log.append([Draft("agent-reports", 1, b"c-9", b'{"n":%d}' % n, ())] * 3)
        packets = [b'{"n":%d,"m":%d}' % (n, m) for m in range(2)]
        await log.append([Draft("offers.adjusters", 0, b"c-0", packet, ()) for packet in packets])
        notes.append(await seal(log, sealer, n + 1))
    await other.commit(("c-9", opened(9)))
    stored = Stored(log)
    stored.notes = notes
    return stored


async def verify(stored: Stored, **options: Any) -> VerificationReport:
    return await Verifier(stored, pools=("adjusters",), **options).run()  # type: ignore[arg-type]


def only(report: VerificationReport) -> Finding:
    places = {finding.place for finding in report.findings}
    assert len(report.findings) >= 1, "nothing was found"
    assert len(places) == 1, report.findings
    assert report.first is not None
    return report.first


# -- honest logs ------------------------------------------------------------------------------


async def test_honest_logs_are_intact_and_complete() -> None:
    report = await verify(await honest())
    assert report.findings == ()
    assert report.is_intact
    assert report.is_complete
    assert (report.checkpoints, report.snapshots_compared) == (3, 1)
    assert report.services["router"].cases == 4
    assert report.services["intake"].cases == 3
    assert report.events == 3 + 6 + 1
    assert report.unsealed_records == 2  # the last case of shard 1 and its trailer
    assert report.trees["agent-reports/1"] == 9
    assert json.loads(report.model_dump_json())["findings"] == []


async def test_the_report_is_the_same_whatever_the_window() -> None:
    stored = await honest()
    reports = [await verify(stored, window_claims=size) for size in (1, 2, 5, 1_000)]
    assert all(report == reports[0] for report in reports)


async def test_single_case_digests_add_up_and_progress_is_told() -> None:
    told: dict[tuple[str, str], int] = {}
    cases: dict[tuple[str, str], str] = {}

    def on_case(service: str, case_id: str, digest: str) -> None:
        cases[service, case_id] = digest

    def progress(step: Any) -> None:
        told[step.stage, step.place] = step.records

    report = await verify(await honest(), told=progress, on_case=on_case)
    assert {name for service, name in cases if service == "router"} == {"c-0", "c-1", "c-2", "c-9"}
    total = sum(int(d, 16) for (service, _), d in cases.items() if service == "router")
    assert f"{total % 2**256:064x}" == report.services["router"].digest
    assert told["trees", "agent-reports/1"] == 9
    assert told["states", "cases/0"] == 10


async def test_a_copy_with_other_offsets_and_times_is_as_good() -> None:
    stored = await honest()
    stored.records[REPORTS] = [
        record._replace(offset=n * 7, at_ms=5) for n, record in enumerate(stored.records[REPORTS])
    ]
    assert (await verify(stored)).findings == ()


async def test_what_expired_is_taken_up_again_from_a_signed_head() -> None:
    stored = await honest()
    place = ("offers.adjusters", 0)
    stored.expire(place, 3)  # amid those of the second checkpoint
    report = await verify(stored)
    assert report.findings == ()
    assert report.expired_records == 4
    assert report.trees["offers.adjusters/0"] == 6
    stored.change(place, 1, lambda r: r._replace(value=b"{1}"))
    assert only(await verify(stored)).code is Code.TAMPERED


async def test_a_topic_that_expired_altogether_is_counted_and_not_blamed() -> None:
    stored = await honest()
    stored.expire(("offers.adjusters", 0), 99)
    report = await verify(stored)
    assert report.findings == ()
    assert report.expired_records == 6


async def test_a_log_that_is_kept_for_ever_does_not_expire() -> None:
    stored = await honest()
    stored.expire(REPORTS, 2)
    finding = only(await verify(stored))
    assert (finding.code, finding.place) == (Code.TORN, "agent-reports/1")
    assert (finding.expected, finding.found) == ("offset 0", "offset 2")


# -- altered, removed, swapped, added ---------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r._replace(value=b'{"n":7}'),
        lambda r: r._replace(key=b"c-8"),
        lambda r: r._replace(headers=(("ce_id", b"x"),)),
        lambda r: r._replace(value=None),
    ],
    ids=["value", "key", "headers", "no value"],
)
async def test_an_altered_inbound_record_is_named(change: Callable[[Record], Record]) -> None:
    stored = await honest()
    stored.change(REPORTS, 4, change)
    report = await verify(stored)
    finding = only(report)
    assert (finding.code, finding.place, finding.offset) == (Code.TAMPERED, "agent-reports/1", 3)
    assert "3 to 5" in finding.detail
    assert len(finding.expected) == len(finding.found) == 64
    assert not report.is_intact
    assert report.is_complete
    assert report.trees["agent-reports/1"] == 3


async def test_a_removed_inbound_record_is_named() -> None:
    stored = await honest()
    del stored.records[REPORTS][4]
    finding = only(await verify(stored))
    assert (finding.code, finding.place, finding.offset) == (Code.TAMPERED, "agent-reports/1", 3)


async def test_swapped_inbound_records_are_named() -> None:
    stored = await honest()
    some = stored.records[REPORTS]
    values = (some[2].value, some[3].value)
    stored.change(REPORTS, 2, lambda r: r._replace(value=values[1]))
    stored.change(REPORTS, 3, lambda r: r._replace(value=values[0]))
    finding = only(await verify(stored))
    assert (finding.code, finding.offset) == (Code.TAMPERED, 0)


async def test_an_added_inbound_record_is_named() -> None:
    stored = await honest()
    some = stored.records[REPORTS]
    stored.records[REPORTS] = [
        r._replace(offset=n) for n, r in enumerate([*some[:4], some[0], *some[4:]])
    ]
    assert only(await verify(stored)).code is Code.TAMPERED


async def test_an_altered_event_of_a_log_is_named_by_its_trailer_and_by_its_tree() -> None:
    stored = await honest()
    index = stored.find(CASES, "case.opened", 1)
    stored.change(CASES, index, ann_to_eve)
    report = await verify(stored)
    assert [f.code for f in report.findings] == [Code.TAMPERED, Code.TAMPERED]
    assert {f.place for f in report.findings} == {"cases/0"}
    assert "integrity.digest" in [f.found for f in report.findings]


async def test_an_event_altered_together_with_its_trailer_is_named_by_its_tree() -> None:
    stored = await honest()
    index = stored.find(CASES, "case.opened", 1)
    stored.change(CASES, index, ann_to_eve)
    _mend_trailer(stored, CASES, index)
    report = await verify(stored)
    finding = only(report)
    assert finding.code is Code.TAMPERED
    assert "another root" in finding.detail
    # The snapshot was taken of the honest case, so the fold differs from that as well.
    assert {f.code for f in report.findings} == {Code.TAMPERED, Code.DIVERGED}


async def test_headers_are_under_seal_though_no_trailer_digests_them() -> None:
    stored = await honest()
    index = stored.find(CASES, "phase.entered", 0)
    forged = tuple(
        (name, b"person:eve" if name == "ce_authid" else value)
        for name, value in stored.records[CASES][index].headers
    )
    stored.change(CASES, index, lambda r: r._replace(headers=forged))
    assert only(await verify(stored)).code is Code.TAMPERED


async def test_a_removed_event_of_a_log_is_torn() -> None:
    stored = await honest()
    index = stored.find(("cases", 1), "case.opened")
    del stored.records["cases", 1][index]
    report = await verify(stored)
    finding = only(report)
    assert (finding.code, finding.place, finding.found) == (
        Code.TORN,
        "cases/1",
        "integrity.torn",
    )
    assert report.is_intact
    assert not report.is_complete


async def test_a_removed_batch_is_torn() -> None:
    stored = await honest()
    place = ("cases", 0)
    first, second = (stored.find(place, ShardCommitted.TYPE, n) for n in (0, 1))
    del stored.records[place][first + 1 : second + 1]
    report = await verify(stored)
    assert {f.place for f in report.findings} == {"cases/0"}
    assert "integrity.sequence" in [f.found for f in report.findings]


async def test_a_log_cut_off_within_a_batch_is_torn() -> None:
    stored = await honest()
    del stored.records["cases", 1][-1:]
    finding = only(await verify(stored))
    assert (finding.code, finding.offset) == (Code.TORN, stored.records["cases", 1][-1].offset)


async def test_a_log_cut_off_below_what_was_sealed_is_a_rollback() -> None:
    stored = await honest()
    del stored.records[REPORTS][7:]
    report = await verify(stored)
    finding = only(report)
    assert (finding.code, finding.place) == (Code.ROLLBACK, "agent-reports/1")
    assert (finding.expected, finding.found) == ("9 records", "7 records")
    assert (report.is_intact, report.is_complete) == (True, False)


async def test_a_log_cut_off_below_what_another_has_read_is_a_rollback() -> None:
    stored = await honest()
    stored.records["audit", 0] = stored.records["audit", 0][:1]  # no checkpoint says so
    cut = stored.find(("intake", 0), ShardCommitted.TYPE, 1)
    del stored.records["intake", 0][cut + 1 :]
    finding = only(await verify(stored))
    assert (finding.code, finding.place) == (Code.ROLLBACK, "intake/0")
    assert "cases/0" in finding.detail


async def test_a_log_cut_off_below_its_snapshot_is_a_rollback() -> None:
    stored = await honest()
    stored.records["audit", 0] = stored.records["audit", 0][:1]
    cut = stored.find(CASES, ShardCommitted.TYPE, 0)
    del stored.records[CASES][cut + 1 :]
    finding = only(await verify(stored))
    assert (finding.code, finding.expected, finding.found) == (
        Code.ROLLBACK,
        "batch 2",
        "batch 1",
    )


# -- checkpoints ------------------------------------------------------------------------------


def _checkpoint(stored: Stored, number: int) -> tuple[int, CheckpointSealed]:
    index = stored.find(("audit", 0), CheckpointSealed.TYPE, number - 1)
    data = decode(stored.records["audit", 0][index], is_sole_writer=True).data
    assert isinstance(data, CheckpointSealed)
    return index, data


def _put(stored: Stored, index: int, data: CheckpointSealed) -> int:
    value = encode("audit", 0, _event(data)).value
    offset = stored.change(("audit", 0), index, lambda r: r._replace(value=value))
    _mend_trailer(stored, ("audit", 0), index)
    return offset


def _mend_trailer(stored: Stored, place: Place, index: int) -> None:
    """What a forger does who can write the log: let the trailer vouch for the forged batch."""
    records: Sequence[Record] = stored.records[place]
    at = next(n for n in range(index, len(records)) if type_of(records[n]) == ShardCommitted.TYPE)
    trailer = decode(records[at], is_sole_writer=True).data
    assert isinstance(trailer, ShardCommitted)
    digest = batch_digest(records[at - trailer.count : at])
    value = trailer.model_copy(update={"digest": digest}).model_dump_json().encode()
    stored.change(place, at, lambda r: r._replace(value=value))


def _forged(note: str) -> str:
    lines = note.split("\n")
    at = next(n for n, line in enumerate(lines) if line.startswith("agent-reports/1"))
    lines[at] = lines[at].replace("agent-reports/1 6", "agent-reports/1 5")
    return "\n".join(lines)


async def test_an_altered_checkpoint_is_named_by_its_trailer() -> None:
    stored = await honest()
    index, _ = _checkpoint(stored, 2)
    stored.change(
        ("audit", 0), index, lambda r: r._replace(value=(r.value or b"").replace(b"a", b"b", 1))
    )
    report = await verify(stored)
    finding = only(report)
    assert (finding.code, finding.place, finding.found) == (
        Code.TAMPERED,
        "audit/0",
        "integrity.digest",
    )
    assert report.checkpoints == 1


async def test_an_altered_note_is_named_by_its_signature() -> None:
    stored = await honest()
    index, data = _checkpoint(stored, 2)
    _put(stored, index, data.model_copy(update={"note": _forged(data.note)}))
    finding = only(await verify(stored))
    assert (finding.code, finding.place) == (Code.TAMPERED, "audit/0")
    assert "SIGNATURE" in finding.detail or "did not make" in finding.detail


async def test_a_note_signed_by_another_key_is_named() -> None:
    stored = await honest()
    index, data = _checkpoint(stored, 2)
    text = data.note.split("\n\n")[0] + "\n"
    other = SigningKey("other", bytes(32))
    note = sign_note(text, origin_of(GENESIS), other)
    _put(stored, index, data.model_copy(update={"note": note}))
    assert only(await verify(stored)).code is Code.TAMPERED


async def test_a_head_other_than_its_signed_line_is_named() -> None:
    stored = await honest()
    index, data = _checkpoint(stored, 2)
    head = data.grown[0].model_copy(update={"next_offset": data.grown[0].next_offset + 1})
    _put(stored, index, data.model_copy(update={"grown": (head, *data.grown[1:])}))
    assert only(await verify(stored)).code is Code.TAMPERED


async def test_a_note_of_another_moment_is_named() -> None:
    stored = await honest()
    index, data = _checkpoint(stored, 2)
    _, before = _checkpoint(stored, 1)
    _put(stored, index, data.model_copy(update={"note": before.note}))
    finding = only(await verify(stored))
    assert finding.code is Code.TAMPERED
    assert "line 2 should be '2' and is '1'" in finding.detail


@pytest.mark.parametrize(("removed", "code"), [(2, Code.TORN), (1, Code.TORN)])
async def test_a_removed_checkpoint_is_named(removed: int, code: Code) -> None:
    stored = await honest()
    index, _ = _checkpoint(stored, removed)
    del stored.records["audit", 0][index : index + 2]
    finding = only(await verify(stored))
    assert (finding.code, finding.place) == (code, "audit/0")


async def test_a_repeated_checkpoint_is_a_rollback() -> None:
    stored = await honest()
    index, data = _checkpoint(stored, 3)
    _put(stored, index, data.model_copy(update={"number": 1}))
    finding = only(await verify(stored))
    assert (finding.code, finding.place) == (Code.ROLLBACK, "audit/0")


# -- what is known from elsewhere -------------------------------------------------------------


async def test_a_truncated_audit_log_is_named_by_a_note_kept_elsewhere() -> None:
    stored = await honest()
    kept = stored.notes[2]
    assert (await verify(stored, anchors=Anchors(note=kept))).findings == ()
    index, _ = _checkpoint(stored, 3)
    del stored.records["audit", 0][index:]
    assert (await verify(stored)).findings == ()  # by itself, a shorter log looks honest
    finding = only(await verify(stored, anchors=Anchors(note=kept)))
    assert (finding.code, finding.expected, finding.found) == (
        Code.ROLLBACK,
        "3 checkpoints",
        "2 checkpoints",
    )


async def test_a_forked_log_is_named_by_a_note_kept_elsewhere() -> None:
    stored, log = await honest(), MemoryLog(2, lambda: 1_000)
    await write_genesis(log, GENESIS)
    await seal(log, Sealer(), 1)
    fork = Stored(log)
    finding = only(await verify(fork, anchors=Anchors(note=stored.notes[0])))
    assert (finding.code, finding.place) == (Code.TAMPERED, "audit/0")
    assert "kept elsewhere" in finding.detail


async def test_a_log_founded_anew_under_another_key_is_named_by_the_key() -> None:
    stored = await honest()
    key = SigningKey("x", bytes(32)).public_text
    finding = only(await verify(stored, anchors=Anchors(checkpoint_key=key)))
    assert (finding.code, finding.expected, finding.found) == (
        Code.TAMPERED,
        key,
        KEY.public_text,
    )


async def test_a_note_that_the_key_did_not_sign_proves_nothing() -> None:
    stored = await honest()
    with pytest.raises(ContractError):
        await verify(stored, anchors=Anchors(note=_forged(stored.notes[1])))


# -- states -----------------------------------------------------------------------------------


async def test_a_snapshot_that_is_not_what_its_marker_says_is_named() -> None:
    stored = await honest()
    place = ("snapshots.router", 0)
    stored.change(place, 0, ann_to_eve)
    finding = only(await verify(stored))
    assert (finding.code, finding.place) == (Code.TAMPERED, "snapshots.router/0")


async def test_a_fold_that_differs_from_its_snapshot_diverged() -> None:
    log = MemoryLog(1, lambda: 1_000)
    genesis = GENESIS.model_copy(update={"shards": 1})
    await write_genesis(log, genesis)
    router = Scribe(log, CARDS["router"])
    await router.commit(("c-1", opened(1)))
    entity = router.fold.committed["c-1"]
    router.fold.committed["c-1"] = replace(entity, sequence=7)  # a fold of another release
    await router.commit(with_snapshot=True)
    finding = only(await verify(Stored(log)))
    assert (finding.code, finding.place) == (Code.DIVERGED, "cases/0")


async def test_an_event_that_cannot_be_folded_is_named() -> None:
    log = MemoryLog(1, lambda: 1_000)
    await write_genesis(log, GENESIS.model_copy(update={"shards": 1}))
    router = Scribe(log, CARDS["intake"])
    await router.commit(("c-1", admitted(1)))
    stored = Stored(log)
    forged = [r._replace(topic="cases") for r in stored.records["intake", 0]]
    phase = encode(
        "cases",
        0,
        Event(
            "c-1",
            Envelope("e", "/x", "phase.entered", 1, sequence=1),
            case.PhaseEntered(phase="a", round=1),
        ),
    )
    forged[1] = forged[1]._replace(value=phase.value, headers=phase.headers)
    stored.records[CASES] = forged
    _mend_trailer(stored, CASES, 1)
    finding = only(await verify(stored))
    assert (finding.code, finding.offset) == (Code.UNREADABLE, forged[1].offset + 1)


async def test_an_event_of_a_later_release_asks_for_later_code() -> None:
    stored = await honest()
    place = ("cases", 1)
    index = stored.find(place, "case.opened")
    headers = tuple(
        (n, b"urn:caseway:schema:case.opened:9" if n == "ce_dataschema" else v)
        for n, v in stored.records[place][index].headers
    )
    stored.change(place, index, lambda r: r._replace(headers=headers))
    report = await verify(stored)
    assert only(report).code is Code.CODE_TOO_OLD
    assert report.is_intact
    assert not report.is_complete


async def unsealed() -> Stored:
    """Logs that no checkpoint vouches for: what is found, the replay has found."""
    stored = await honest()
    stored.records["audit", 0] = stored.records["audit", 0][:1]
    return stored


async def test_the_genesis_of_another_namespace_is_named() -> None:
    for place in (("cases", 1), ("registry", 0)):
        stored = await unsealed()
        stored.change(place, 0, lambda r: r._replace(value=r.value.replace(b"demo", b"prod")))  # type: ignore[union-attr]
        finding = only(await verify(stored))
        assert (finding.code, finding.offset) == (Code.TAMPERED, 0)


async def test_a_second_genesis_is_named() -> None:
    stored = await unsealed()
    some = stored.records["cases", 1]
    some.append(some[0]._replace(offset=some[-1].offset + 1))
    assert only(await verify(stored)).code is Code.TAMPERED


async def test_a_log_without_its_beginning_is_torn() -> None:
    for place in (("cases", 1), ("registry", 0)):
        stored = await unsealed()
        del stored.records[place][0]
        assert only(await verify(stored)).code is Code.TORN
    stored = await unsealed()
    del stored.records["cases", 1][:]
    assert only(await verify(stored)).code is Code.TORN


async def test_an_event_out_of_its_cases_sequence_is_torn() -> None:
    stored = await unsealed()
    index = stored.find(("cases", 1), "case.opened")
    headers = tuple(
        (name, b"4" if name == "ce_sequence" else value)
        for name, value in stored.records["cases", 1][index].headers
    )
    stored.change(("cases", 1), index, lambda r: r._replace(headers=headers))
    finding = only(await verify(stored))
    assert finding.code is Code.TORN
    assert "event 4 of case 'c-9' where 1 belongs" in finding.detail


async def test_without_a_genesis_there_is_nothing_to_verify() -> None:
    with pytest.raises(ConfigError, match="caseway init"):
        await verify(Stored(MemoryLog(2, lambda: 0)))


# -- what may never happen ------------------------------------------------------------------------


async def test_a_log_that_was_written_and_sealed_wrongly_breaks_an_invariant_by_name() -> None:
    """Every byte is as it was sealed and folded; what it says may never happen all the same."""
    log = MemoryLog(2, lambda: 1_000)
    await write_genesis(log, GENESIS)
    published = DefinitionPublished(signers=("root:1",), pin=PIN, document=DEFINITION)
    await log.append([encode("registry", 0, _event(published))])
    leap = case.PhaseEntered(phase="payment", round=1)
    await Scribe(log, CARDS["intake"]).commit(("c-0", admitted(0)))
    await Scribe(log, CARDS["router"]).commit(("c-0", opened(0)), ("c-0", leap))
    await seal(log, Sealer(), 1)
    report = await verify(Stored(log))
    (finding,) = report.findings
    assert (finding.code, finding.place, finding.offset) == (Code.INVARIANT, "cases/0", 3)
    assert finding.detail == "I21 legal transitions, c-0"
    assert not report.is_intact
    assert report.is_complete
