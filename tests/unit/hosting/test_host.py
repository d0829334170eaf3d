"""The life of a shard: its takeover in order, its doubts, and what fails without taking others."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from caseway.contracts.control import AgentQuarantined, CaseRedriven
from caseway.contracts.fields import format_instant
from caseway.contracts.record import instant_of
from caseway.contracts.shard import CaseFaulted, CaseResumed, InputParked
from caseway.contracts.submission import WithdrawalAdmitted
from caseway.hosting.effects import (
    Backoff,
    Barrier,
    Commit,
    Effect,
    Fence,
    RegistryAt,
    Scan,
    Seek,
    Wait,
)
from caseway.hosting.host import Limits, Phase
from caseway.hosting.memory_broker import Failure
from tests.unit.hosting.toy import (
    CARD,
    FAILINGS,
    FIXED,
    FOREIGN_KEY,
    INBOUND,
    INTAKE,
    KEYS,
    OWN,
    REGISTRY,
    SNAPSHOTS,
    Driven,
    World,
    admitted,
    digest_of,
    large,
    spoken,
    too_new,
    wish,
)

SNAPPING = Limits(snapshot_events=4)


async def world() -> World:
    return await World().begin()


def redrive(key: str) -> CaseRedriven:
    return CaseRedriven(case_id=key, reason="mended", signers=())


# -- takeover ---------------------------------------------------------------------------------


async def test_rule_2_a_takeover_fences_restores_replays_reads_the_registry_and_seeks() -> None:
    driven = Driven(await world())
    await driven.until(Wait)
    kinds = [type(effect) for effect in driven.seen]
    assert kinds == [Fence, Scan, Scan, RegistryAt, Seek]
    assert [e.place for e in driven.seen if isinstance(e, Scan)] == [SNAPSHOTS, OWN]
    assert driven.seen[-1] == Seek({INBOUND: 0, INTAKE: 0})
    assert driven.shard.phase is Phase.RUNNING


async def test_rule_3_and_17_the_next_owner_starts_where_the_trailer_says() -> None:
    made = await world()
    await made.hear("a", "b")
    await made.admit("c", key=KEYS[1])
    await Driven(made).rest()
    trailer = (await made.batches())[-1].trailer
    assert trailer.positions == {"submissions/0": 2, "intake/0": 3}
    assert (trailer.sequence, trailer.epoch, trailer.count) == (1, 1, 3)
    second = Driven(made)
    await second.until(Wait)
    assert second.seen[-1] == Seek({INBOUND: 2, INTAKE: 3})
    await made.hear("d")
    await second.rest()
    last = (await made.batches())[-1].trailer
    assert (last.sequence, last.epoch, last.count) == (2, 2, 1)
    assert await made.words(KEYS[0]) == ["a", "b", "d"]


async def test_a_position_stays_before_what_was_fetched_and_not_decided() -> None:
    made = await world()
    await made.hear("a", "b", "c")
    driven = Driven(made, limits=Limits(share_records=2))
    commit = await driven.until(Commit)
    assert isinstance(commit, Commit)
    assert commit.positions[INBOUND] == 2
    await driven.rest()
    assert await made.words() == ["a", "b", "c"]


async def test_an_input_that_led_to_nothing_counts_as_read_after_a_while() -> None:
    """However little is said: lag goes to zero."""
    made = await world()
    await made.hear("silence")
    driven = await Driven(made).rest()
    wait = await driven.until(Wait)
    assert isinstance(wait, Wait)
    assert (wait.is_idle, wait.until_ms) == (True, made.now_ms + 500)
    assert await made.batches() == []
    made.now_ms += 500
    await driven.step()
    await driven.rest()
    (batch,) = await made.batches()
    assert batch.records == []
    assert batch.trailer.positions["submissions/0"] == 1
    wait = await driven.until(Wait)
    assert isinstance(wait, Wait)
    assert wait.until_ms is None


async def test_what_led_to_nothing_goes_with_the_next_commit() -> None:
    """A commit of its own would wake every reader of the log for nothing."""
    made = await world()
    driven = Driven(made)
    await made.hear("silence")
    await driven.rest()
    made.now_ms += 400
    await made.hear("a")
    await driven.rest()
    (batch,) = await made.batches()
    assert (len(batch.records), batch.trailer.positions["submissions/0"]) == (1, 2)


async def test_silence_ends_however_often_it_is_renewed() -> None:
    made = await world()
    driven = Driven(made)
    for _ in range(10):
        await made.hear("silence")
        await driven.rest()
        made.now_ms += 100
    (batch,) = await made.batches()
    assert batch.trailer.positions["submissions/0"] == 6


async def test_what_led_to_nothing_is_heard_again_after_a_crash() -> None:
    made = await world()
    await made.hear("silence", "a")
    await Driven(made, limits=Limits(share_records=1)).until(Commit)
    await Driven(made).rest()
    assert await made.words() == ["a"]


async def test_a_shard_without_a_genesis_waits_and_never_begins_a_log_of_its_own() -> None:
    driven = Driven(World())
    backoff = await driven.until(Backoff)
    assert isinstance(backoff, Backoff)
    assert "genesis" in backoff.reason
    for attempt in (2, 3):
        await driven.step()
        assert (await driven.until(Backoff)) == replace(backoff, attempt=attempt)


# -- doubt ------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["lost", "unknown", "torn"])
async def test_rule_6_a_commit_in_doubt_is_read_again_and_nothing_is_lost_or_doubled(
    failure: Failure,
) -> None:
    for commits in range(3):
        made = await world()
        driven = await Driven(made, limits=Limits(snapshot_events=2)).rest()
        for number in range(commits):
            await made.hear(f"before-{number}", "x")
            await driven.rest()
        await made.hear("a", "b", "c", "d")
        made.log.fail_next_commit(failure)
        await driven.rest()
        assert any(isinstance(effect, Backoff) for effect in driven.seen)
        await made.hear("e")
        await driven.rest()
        before = [word for number in range(commits) for word in (f"before-{number}", "x")]
        assert await made.words() == [*before, "a", "b", "c", "d", "e"]
        assert driven.digest == await full_replay(made)


async def test_what_was_decided_in_doubt_is_not_in_the_state_before_the_log_was_read() -> None:
    made = await world()
    driven = await Driven(made).rest()
    await made.hear("a")
    made.log.fail_next_commit("lost")
    await driven.until(Commit)
    assert driven.shard.worker.fold.committed == {}
    await driven.step()
    await driven.until(Seek)
    assert driven.shard.worker.fold.committed == {}


async def test_deciding_again_names_the_events_as_the_first_time() -> None:
    made = await world()
    await made.hear("a", "poison", "c")
    driven = Driven(made)
    first = await driven.until(Commit)
    driven.failing = lambda _step, effect: "before" if effect is first else ""
    await driven.step()
    second = await driven.until(Commit)
    assert isinstance(first, Commit)
    assert isinstance(second, Commit)
    assert first.drafts[:-1] == second.drafts[:-1]


async def test_a_zombie_that_wakes_up_commits_nothing() -> None:
    made = await world()
    zombie = await Driven(made).rest()
    await made.hear("a")
    await zombie.until(Commit)
    owner = await Driven(made).rest()
    await made.hear("b")
    await owner.rest()
    assert await made.words() == ["a", "b"]
    await zombie.step()
    assert isinstance(zombie.effect, Backoff)
    assert zombie.shard.phase is Phase.DOUBTING
    assert await made.words() == ["a", "b"]


async def test_rule_7_two_owners_that_fence_each_other_back_off_further_each_time() -> None:
    made = await world()
    await made.hear("a")

    async def perform(_effect: Effect) -> None:
        await made.log.fence("router", 0)

    driven = Driven(made)
    attempts = []
    for _ in range(4):
        await driven.until(Commit)
        await perform(driven.effect)  # type: ignore[arg-type]
        await driven.step()
        assert isinstance(driven.effect, Backoff)
        attempts.append(driven.effect.attempt)
    assert attempts == [1, 2, 3, 4]
    await driven.rest()
    await made.hear("b")
    await driven.until(Commit)
    await perform(driven.effect)  # type: ignore[arg-type]
    await driven.step()
    assert isinstance(driven.effect, Backoff)
    assert driven.effect.attempt == 1


# -- every crash point ------------------------------------------------------------------------


async def live_through(driven: Driven) -> None:
    """Two stages with everything in them: faults, timers, registry facts, snapshots, torn keys."""
    made = driven.world
    for number in range(3):
        await made.hear(f"first-{number}", "appoint" if number == 1 else "x", key=KEYS[number])
    await made.admit("a", "b", key=KEYS[4])
    await made.admit("c", "settle", key=KEYS[5])
    await made.hear("poison-1", "later-1", "later-2", key=KEYS[6])
    await made.hear("at-2000", key=KEYS[7])
    await made.hear("born", "end", key=KEYS[8])
    await driven.rest()
    made.now_ms = 3_000
    await made.publish(FIXED, redrive(KEYS[6]))
    await made.registry.barrier()
    await made.hear("second", key=KEYS[0])
    await made.admit("d", key=KEYS[4])
    await driven.rest()


async def told(made: World) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in await made.events():
        if isinstance(event.data, WithdrawalAdmitted):
            found.setdefault(event.key, []).append(event.data.reason)
    return found


async def full_replay(made: World) -> str:
    """The digest of a fold of the whole log, without any snapshot."""
    card = replace(CARD, state_version=99)
    driven = Driven(made, card=card)
    await driven.until(Seek)
    return digest_of(driven.shard)


async def test_nothing_is_lost_or_doubled_wherever_it_fails() -> None:
    calm = Driven(await world(), limits=SNAPPING)
    await live_through(calm)
    expected = await told(calm.world)
    assert expected[KEYS[6]] == ["poison-1", "later-1", "later-2"]
    assert expected[KEYS[7]] == ["at-2000", "rung"]
    assert await calm.world.log.end(SNAPSHOTS) > 0
    tried: Counter[str] = Counter()
    for failing in FAILINGS:
        for point in range(calm.steps):

            def fail(step: int, effect: Effect, at: int = point, how: str = failing) -> str:
                if step != at:
                    return ""
                tried[type(effect).__name__] += 1
                return how

            driven = Driven(await world(), limits=SNAPPING, failing=fail)
            await live_through(driven)
            where = f"{failing} effect {point}"
            assert await told(driven.world) == expected, where
            events = await driven.world.events()
            ids = Counter(event.envelope.id for event in events)
            assert max(ids.values()) == 1, where
            assert driven.digest == await full_replay(driven.world), where
    assert set(tried) >= {"Fence", "Scan", "RegistryAt", "Seek", "Wait", "Barrier", "Commit"}


@pytest.mark.parametrize("failure", ["lost", "unknown", "torn"])
async def test_nothing_is_lost_or_doubled_whichever_commit_is_in_doubt(failure: Failure) -> None:
    calm = Driven(await world(), limits=SNAPPING)
    await live_through(calm)
    expected = await told(calm.world)
    for number in range(calm.shard.commits):
        made, commits = await world(), itertools.count()

        def fail(
            _step: int, effect: Effect, at: int = number, made: World = made, n: Any = commits
        ) -> str:
            if isinstance(effect, Commit) and next(n) == at:
                made.log.fail_next_commit(failure)
            return ""

        driven = Driven(made, limits=SNAPPING, failing=fail)
        await live_through(driven)
        assert await told(driven.world) == expected, number
        ids = Counter(event.envelope.id for event in await driven.world.events())
        assert max(ids.values()) == 1, number
        assert driven.digest == await full_replay(driven.world), number
        await live_again(driven)


async def live_again(driven: Driven) -> None:
    """A torn snapshot must not spoil those after it for ever."""
    made = driven.world
    for number in range(6):
        await made.hear(f"third-{number}", "x", key=KEYS[number % 3])
        await driven.rest()
    next_owner = Driven(made, limits=SNAPPING)
    await next_owner.until(Wait)
    own = [e for e in next_owner.seen if isinstance(e, Scan) and e.place == OWN]
    assert own[0].start > 0, "the snapshot was not used"
    assert next_owner.digest == driven.digest


# -- snapshots --------------------------------------------------------------------------------


async def snapped() -> World:
    made = await world()
    driven = Driven(made, limits=SNAPPING)
    for number in range(12):
        word = ("x", "settle", "y", "end")[number % 4]
        await made.hear(f"{number}", word, key=KEYS[number % 5])
        await driven.rest()
    return made


def start_of(driven: Driven) -> int:
    """The offset that the replay of the own log began at."""
    return next(e.start for e in driven.seen if isinstance(e, Scan) and e.place == OWN)


async def test_a_snapshot_and_a_replay_of_everything_give_the_same_state() -> None:
    made = await snapped()
    driven = Driven(made, limits=SNAPPING)
    await driven.until(Seek)
    assert start_of(driven) > 0
    assert driven.shard.replayed_events < len(await made.events()) / 2
    assert driven.digest == await full_replay(made)
    seek = driven.effect
    whole = Driven(made, card=replace(CARD, state_version=7))
    assert seek == await whole.until(Seek)
    assert driven.shard.sequence == whole.shard.sequence
    assert driven.shard.worker.greatest_ms == whole.shard.worker.greatest_ms


@pytest.mark.parametrize(
    "spoil",
    [
        ("k-", b'[[1,""],[],{"heard":["forged"],"due_ms":null}]'),
        ("k-", b"not json"),
        ("~settled/", b"[]"),
        ("~settled/", b"7"),
        ("~marker", b"{}"),
        ("~marker", b"\xff"),
        ("~marker", None),
        ("resurrected", b'[[1,""],[],null]'),
    ],
)
async def test_rule_18_a_snapshot_that_is_not_as_written_is_not_used_and_is_mended(
    spoil: tuple[str, bytes | None],
) -> None:
    made = await snapped()
    prefix, value = spoil
    records = made.log.read(SNAPSHOTS, 0)
    named = [r.key for r in records if (r.key or b"").decode().startswith(prefix) and r.value]
    marker = next(r for r in reversed(records) if r.key == b"~marker")
    bad = wish("x")._replace(
        topic=SNAPSHOTS[0], key=named[-1] if named else prefix.encode(), value=value, headers=()
    )
    good = bad._replace(key=b"~marker", value=marker.value)
    # The marker comes last, so that what it vouches for is what must be found out.
    await made.log.append([bad] if prefix == "~marker" else [bad, good])
    driven = await Driven(made, limits=SNAPPING).rest()
    assert start_of(driven) == 0
    assert driven.digest == await full_replay(made)
    await live_again(driven)


async def test_a_round_without_its_marker_is_not_used() -> None:
    made = await snapped()
    await made.log.append([wish("x")._replace(topic=SNAPSHOTS[0], value=b"half a round")])
    driven = Driven(made, limits=SNAPPING)
    await driven.until(Seek)
    assert start_of(driven) == 0
    assert driven.digest == await full_replay(made)


async def test_a_snapshot_of_another_version_is_not_used_and_replaced() -> None:
    made = await snapped()
    newer = replace(CARD, state_version=2)
    driven = await Driven(made, card=newer, limits=SNAPPING).rest()
    assert start_of(driven) == 0
    for number in range(6):
        await made.hear(f"third-{number}", "x", key=KEYS[number % 3])
        await driven.rest()
    again = Driven(made, card=newer, limits=SNAPPING)
    await again.until(Seek)
    assert start_of(again) > 0
    assert again.digest == driven.digest


async def test_a_case_at_rest_that_this_code_cannot_read_makes_it_read_its_log() -> None:
    made = await snapped()
    driven = await Driven(made, limits=SNAPPING).rest()
    assert start_of(driven) > 0
    resting = driven.shard.worker.fold.committed._open
    key, raw = next(iter(resting.items()))
    resting[key] = raw.replace(b'"due_ms"', b'"more":1,"due_ms"')
    driven.seen.clear()
    await made.hear("again", key=key)
    await driven.rest()
    assert any(isinstance(effect, Backoff) for effect in driven.seen)
    assert start_of(driven) == 0
    assert (await made.words(key))[-1] == "again"
    assert driven.digest == await full_replay(made)
    await live_again(driven)


async def test_a_case_too_large_for_a_snapshot_stops_no_commit() -> None:
    made = await world()
    driven = Driven(made, limits=SNAPPING)
    for number in range(8):
        await made.log.append([large("poison", 300_000)])
        await made.hear(f"{number}", key=KEYS[1])
        await driven.rest()
    assert driven.shard.phase is Phase.RUNNING
    assert await made.words(KEYS[1]) == [str(number) for number in range(8)]


async def test_a_hole_after_the_snapshot_halts_the_shard() -> None:
    made = await snapped()
    driven = await Driven(made, limits=Limits(snapshot_events=1_000)).rest()
    for number in range(2):
        await made.hear(f"tail-{number}")
        await driven.rest()
    records = made.log.broker.records[OWN]
    marker = [r for r in made.log.read(SNAPSHOTS, 0) if r.key == b"~marker"][-1]
    start = int(re.search(rb'"log_offset":(\d+)', marker.value or b"").group(1))  # type: ignore[union-attr]
    tail = [r for r in records if r.offset >= start]
    after = next(n for n, r in enumerate(tail) if r.key == b"cases/0") + 1
    made.log.broker.records[OWN] = [r for r in records if r.offset < start] + tail[after:]
    halted = await Driven(made, limits=SNAPPING).rest()
    assert halted.shard.phase is Phase.HALTED
    assert "integrity.sequence" in halted.shard.halt_reason


# -- what fails -------------------------------------------------------------------------------


async def test_code_too_old_waits_and_goes_on_with_newer_code() -> None:
    made = await world()
    await made.admit("a", key=KEYS[1])
    await made.admit_drafts([too_new(admitted("b", KEYS[2]))])
    driven = Driven(made)
    for attempt in (1, 2, 3):
        backoff = await driven.until(Backoff)
        assert isinstance(backoff, Backoff)
        assert backoff.attempt == attempt
        assert driven.shard.phase is Phase.CODE_TOO_OLD
        await driven.step()
    assert await made.words() == []
    assert await made.dead_letters() == []


async def test_a_failing_decision_faults_its_case_alone_and_parks_what_comes_after() -> None:
    made = await world()
    await made.hear("a", "poison-1", "b", "poison-2")
    await made.hear("other", key=KEYS[1])
    driven = await Driven(made).rest()
    assert await made.words(KEYS[0]) == ["a"]
    assert await made.words(KEYS[1]) == ["other"]
    kinds = [type(event.data) for event in await made.events() if event.key == KEYS[0]]
    assert kinds[1:] == [CaseFaulted, InputParked, InputParked]
    assert dict(driven.shard.worker.fold.faulted()).keys() == {KEYS[0]}
    assert driven.shard.phase is Phase.RUNNING


async def test_a_redriven_case_decides_what_was_parked_in_order() -> None:
    made = await world()
    await made.hear("a", "poison-1", "b", "poison-2")
    driven = await Driven(made).rest()
    owner = await Driven(made).rest()  # the parked inputs lie in the log: any owner has them
    await made.publish(FIXED, redrive(KEYS[0]))
    await made.registry.barrier()
    await owner.rest()
    await made.hear("c")
    await owner.rest()
    assert await made.words(KEYS[0]) == ["a", "poison-1", "b", "poison-2", "c"]
    assert sum(isinstance(e.data, CaseResumed) for e in await made.events()) == 1
    assert dict(owner.shard.worker.fold.faulted()) == {}
    ids = [event.envelope.id for event in await made.events()]
    assert len(ids) == len(set(ids))
    assert driven.shard.phase is Phase.RUNNING


async def test_a_case_redriven_too_early_parks_its_inputs_again_in_order() -> None:
    made = await world()
    await made.hear("poison-1", "b", "poison-2")
    driven = await Driven(made).rest()
    for facts in ([redrive(KEYS[0])], [redrive(KEYS[0])], [FIXED, redrive(KEYS[0])]):
        assert await made.words() == []
        await made.publish(*facts)
        await made.registry.barrier()
        await driven.rest()
    assert await made.words() == ["poison-1", "b", "poison-2"]
    ids = [event.envelope.id for event in await made.events()]
    assert len(ids) == len(set(ids))


async def test_redriving_a_case_that_is_well_says_nothing() -> None:
    made = await world()
    await made.hear("a")
    driven = await Driven(made).rest()
    await made.publish(redrive(KEYS[0]), redrive("nobody"))
    await made.registry.barrier()
    await driven.rest()
    assert await made.words() == ["a"]
    assert len(await made.batches()) == 1


@pytest.mark.parametrize("word", ["huge", "huge-pool"])
async def test_a_decision_too_large_to_be_written_faults_its_case_and_no_more(word: str) -> None:
    made = await world()
    await made.hear(word)
    await made.hear("other", key=KEYS[1])
    driven = await Driven(made).rest()
    assert driven.shard.phase is Phase.RUNNING
    (fault,) = [e.data for e in await made.events() if isinstance(e.data, CaseFaulted)]
    assert fault.code == "EVENT_TOO_LARGE"
    assert await made.words() == ["other"]
    assert made.log.read(("offers.claims", 0), 0) == []


async def test_rule_19_the_largest_input_that_fails_is_parked_and_read_again() -> None:
    made = await world()
    for size in (639_000, 620_000, 500_000):
        await made.log.append([large("poison", size)])
    driven = await Driven(made).rest()
    assert driven.shard.phase is Phase.RUNNING
    second = await Driven(made).rest()
    assert second.shard.phase is Phase.RUNNING
    ((_, entity),) = second.shard.worker.fold.faulted()
    assert len(entity.parked) == 3


async def test_an_input_too_large_to_be_parked_is_a_dead_letter() -> None:
    made = await world()
    await made.log.append([large("a", 640_001), wish("b", KEYS[1])])
    driven = await Driven(made).rest()
    assert driven.shard.phase is Phase.RUNNING
    assert [letter.code for letter in await made.dead_letters()] == ["BODY_TOO_LARGE"]
    assert await made.words() == ["b"]


async def test_a_case_that_went_round_too_often_waits_for_a_person_and_then_goes_on() -> None:
    made = await world()
    await made.admit_drafts([admitted("a", hops=63), admitted("b", KEYS[1], hops=64)])
    driven = await Driven(made).rest()
    assert await made.words() == ["a"]
    (fault,) = [e.data for e in await made.events() if isinstance(e.data, CaseFaulted)]
    assert fault.code == "hops_exceeded"
    await made.publish(redrive(KEYS[1]))
    await made.registry.barrier()
    await driven.rest()
    assert await made.words() == ["a", "b"]


async def test_what_nobody_may_interpret_is_a_dead_letter_and_its_batch_goes_on() -> None:
    made = await world()
    hops = spoken(FIXED, KEYS[0], INBOUND)
    strange = wish("x")._replace(value=b"{")
    misrouted = wish("x", FOREIGN_KEY)
    headless = wish("x")._replace(headers=(*wish("x").headers, ("traceparent", None)))
    unnamed = wish("x")._replace(headers=(*wish("x").headers, ("\udcff", b"1")))
    await made.log.append([wish("a"), misrouted, strange, hops, headless, unnamed, wish("b")])
    driven = await Driven(made).rest()
    letters = await made.dead_letters()
    assert [(letter.offset, letter.code) for letter in letters] == [
        (1, "contract.misrouted"),
        (2, "JSON_INVALID"),
        (3, "EVENT_FORBIDDEN"),
        (4, "HEADER_TEXT"),
        (5, "HEADER_TEXT"),
    ]
    assert "murmur2" in letters[0].advice
    assert await made.words() == ["a", "b"]
    assert driven.shard.worker.dead_letters == 5


async def test_a_dead_letter_is_part_of_the_commit_that_steps_over_it() -> None:
    made = await world()
    await made.log.append([wish("x", FOREIGN_KEY)])
    driven = Driven(made)
    commit = await driven.until(Commit)
    assert isinstance(commit, Commit)
    assert [draft.topic for draft in commit.drafts] == ["dead-letters.router", "cases"]
    assert commit.positions[INBOUND] == 1


async def test_a_log_record_that_cannot_be_read_halts_the_shard_before_it_decides() -> None:
    made = await world()
    await made.admit_drafts([admitted("a")._replace(value=b"{")])
    driven = await Driven(made).rest()
    assert driven.effect is None
    assert driven.shard.phase is Phase.HALTED
    assert driven.shard.halt_reason.startswith("integrity.unreadable: intake/0@")
    assert await made.events() == []


@pytest.mark.parametrize("damage", ["missing", "altered", "sequence"])
async def test_a_damaged_own_log_halts_the_shard_and_nothing_is_written(damage: str) -> None:
    made = await world()
    driven = Driven(made)
    for number in range(3):
        await made.hear(f"{number}")
        await driven.rest()
    records = made.log.broker.records[OWN]
    assert [record.offset for record in records] == [0, 1, 2, 4, 5, 7, 8]
    if damage == "missing":
        del records[3]
    elif damage == "altered":
        records[3] = records[3]._replace(value=records[1].value)
    else:
        del records[3:5]
    end = await made.log.end(OWN)
    halted = await Driven(made).rest()
    assert halted.effect is None
    assert halted.shard.phase is Phase.HALTED
    codes = {"missing": "torn", "altered": "digest", "sequence": "sequence"}
    assert halted.shard.halt_reason.startswith(f"integrity.{codes[damage]}")
    assert await made.log.end(OWN) == end


# -- order, fairness, the barrier ------------------------------------------------------------


async def test_a_flood_on_one_topic_leaves_room_for_the_others() -> None:
    made = await world()
    await made.hear(*(f"s{number}" for number in range(30)))
    for number in range(6):
        await made.admit(f"i{number}", key=KEYS[1])
    await Driven(made, limits=Limits(share_records=5)).rest()
    first, second, *_ = await made.batches()
    assert first.trailer.count == 10
    assert second.trailer.count == 6
    assert await made.words(KEYS[0]) == [f"s{number}" for number in range(30)]
    assert await made.words(KEYS[1]) == [f"i{number}" for number in range(6)]


async def test_what_comes_amid_a_flood_waits_for_fifty_records_of_it_and_no_more() -> None:
    made = await world()
    await made.hear(*(f"s{number}" for number in range(200)))
    driven = Driven(made)
    await driven.until(Commit)
    await made.admit("i", key=KEYS[1])
    await driven.rest()
    counts = [batch.trailer.count for batch in await made.batches()]
    assert counts == [50, 51, 50, 50]
    assert await made.words(KEYS[1]) == ["i"]


async def test_a_full_queue_is_named_so_that_nothing_more_is_fetched_for_it() -> None:
    made = await world()
    driven = await Driven(made, limits=Limits(share_records=2, queue_records=4)).rest()
    await made.hear(*(str(number) for number in range(10)))
    await driven.step()
    await driven.until(Wait)
    assert isinstance(driven.effect, Wait)
    assert driven.effect.full == {INBOUND}
    await driven.rest()
    assert await made.words() == [str(number) for number in range(10)]


async def test_the_barrier_judges_by_what_was_revoked_before_the_record_came() -> None:
    made = await world()
    driven = await Driven(made).rest()
    await made.publish(AgentQuarantined(agent_id="a1", reason="r", signers=()))
    await made.hear("revocable")
    assert made.registry.current.position == 1  # nobody has looked at the registry since
    await driven.rest()
    assert "revocable-after" in await made.words()
    waits = [n for n, effect in enumerate(driven.seen) if isinstance(effect, Barrier)]
    commits = [n for n, effect in enumerate(driven.seen) if isinstance(effect, Commit)]
    assert waits[0] < commits[0]


async def test_an_inbound_record_waits_for_the_end_that_its_barrier_saw() -> None:
    made = await world()
    driven = await Driven(made).rest()
    await made.publish(AgentQuarantined(agent_id="a1", reason="r", signers=()))
    await made.hear("revocable")
    await driven.until(Barrier)
    await driven.step()
    wait = await driven.until(Wait)
    assert isinstance(wait, Wait)
    assert driven.shard.commits == 0
    assert (wait.registry_position, wait.awaited_position, wait.is_idle) == (1, 2, True)


async def test_a_log_record_waits_until_the_registry_is_where_its_writer_had_it() -> None:
    made = await world()
    driven = await Driven(made).rest()
    await made.publish(AgentQuarantined(agent_id="a1", reason="r", signers=()))
    await made.admit("revocable", registry_position=2)
    await driven.rest()
    assert await made.words() == ["revocable-after"]
    assert not any(isinstance(effect, Barrier) for effect in driven.seen)


async def test_after_a_registry_fact_the_next_wish_is_judged_by_a_registry_that_holds_it() -> None:
    made = await world()
    await made.hear("appoint-1", "appoint-2", "appoint-3")
    await Driven(made).rest()
    facts = [record.value for record in made.log.read(REGISTRY, 1)]
    names = [re.search(rb'"agent_id":"(a\d+)"', value or b"").group(1) for value in facts]  # type: ignore[union-attr]
    assert len(set(names)) == 3
    assert [batch.trailer.count for batch in await made.batches()] == [1, 1, 1]


async def test_a_registry_event_reaches_the_cases_it_touches_once() -> None:
    made = await world()
    await made.hear("a")
    await made.hear("b", key=KEYS[1])
    driven = await Driven(made).rest()
    await made.publish(AgentQuarantined(agent_id="a1", reason="r", signers=()))
    await made.registry.barrier()
    await driven.rest()
    second = await Driven(made).rest()
    assert await made.words(KEYS[0]) == ["a", "told-a1"]
    assert await made.words(KEYS[1]) == ["b", "told-a1"]
    assert second.shard.commits == 0


async def test_the_torn_half_of_another_services_commit_is_never_decided() -> None:
    made = await world()
    await made.admit("a")
    await made.log.append([admitted("torn")])
    await made.admit("b")
    driven = await Driven(made).rest()
    assert await made.words() == ["a", "b"]
    assert driven.shard.inbox.torn_records == 1


async def test_record_time_never_falls_although_topics_differ() -> None:
    made = await world()
    await made.hear("early")
    await made.admit("late", key=KEYS[1])
    driven = await Driven(made).rest()
    await made.hear("x")
    await driven.rest()
    trailers = [batch.trailer for batch in await made.batches()]
    times = [trailer.greatest_ms for trailer in trailers]
    assert times == sorted(times)
    assert times[-1] == driven.shard.worker.greatest_ms


# -- timers -----------------------------------------------------------------------------------


async def test_a_timer_is_waited_for_rings_once_and_survives_a_takeover() -> None:
    made = await world()
    await made.hear("at-2000")
    driven = await Driven(made).rest()
    assert isinstance(driven.effect, Wait)
    assert driven.effect.until_ms == 2_000
    made.now_ms = 1_999
    await driven.rest()
    assert await made.words() == ["at-2000"]
    owner = await Driven(made).rest()
    made.now_ms = 2_000
    await owner.rest()
    made.now_ms = 9_000
    await owner.rest()
    assert await made.words() == ["at-2000", "rung"]
    assert (await Driven(made).rest()).shard.commits == 0


@pytest.mark.parametrize("ahead_ms", [-1_000_000_000, 3_600_000])
async def test_time_is_the_logs_whatever_the_clock_of_the_machine_says(ahead_ms: int) -> None:
    """An hour ahead it would ring an hour early; a timer that is set again would ring for ever."""
    made = await world()
    await made.hear("at-2000")
    driven = await Driven(made, ahead_ms=ahead_ms).rest()
    assert isinstance(driven.effect, Wait)
    assert driven.effect.until_ms == 2_000 + ahead_ms
    made.now_ms = 1_999
    await driven.rest()
    assert await made.words() == ["at-2000"]
    made.now_ms = 2_000
    await driven.rest()
    assert await made.words() == ["at-2000", "rung"]
    assert (await made.events())[-1].envelope.time == format_instant(instant_of(2_000))


async def test_an_answer_that_comes_late_makes_a_timer_late_and_not_early() -> None:
    made = await world()
    await made.hear("at-2000")
    driven = Driven(made, answer_ms=300)
    await driven.until(Commit)
    await driven.step()
    assert isinstance(driven.effect, Wait)
    assert driven.effect.until_ms == 2_300


@pytest.mark.parametrize("drift_ms", [400, -400])
async def test_a_clock_that_goes_wrong_is_asked_of_the_log_before_anything_is_early(
    drift_ms: int,
) -> None:
    """In two days without a commit a bad quartz is seconds off."""
    made = await world()
    await made.hear("at-200000")
    driven = await Driven(made).rest()
    driven.ahead_ms += drift_ms
    made.now_ms = 199_700
    await driven.rest()
    made.now_ms = 199_999
    await driven.rest()
    assert await made.words() == ["at-200000"]
    made.now_ms = 200_000 + max(0, -drift_ms)
    await driven.rest()
    assert await made.words() == ["at-200000", "rung"]
    assert (await made.events())[-1].envelope.time >= format_instant(instant_of(200_000))


async def test_who_takes_over_a_timer_asks_the_log_what_time_it_is() -> None:
    """It has heard nothing since, and the clock of this machine does not count."""
    made = await world()
    await made.hear("at-2000")
    await Driven(made).rest()
    made.now_ms = 1_500
    owner = await Driven(made, ahead_ms=3_600_000).rest()
    assert await made.words() == ["at-2000"]
    assert [len(batch.records) for batch in await made.batches()] == [1, 0]
    made.now_ms = 2_000
    await owner.rest()
    assert await made.words() == ["at-2000", "rung"]


async def test_a_timer_that_was_moved_rings_at_its_last_time() -> None:
    made = await world()
    await made.hear("at-2000", "at-5000")
    driven = await Driven(made).rest()
    made.now_ms = 4_000
    await driven.rest()
    assert await made.words() == ["at-2000", "at-5000"]
    made.now_ms = 5_000
    await driven.rest()
    assert await made.words() == ["at-2000", "at-5000", "rung"]


async def test_a_faulted_case_rings_only_after_it_was_mended() -> None:
    made = await world()
    await made.hear("at-2000", "poison")
    driven = await Driven(made).rest()
    made.now_ms = 3_000
    await driven.rest()
    assert "rung" not in await made.words()
    await made.publish(FIXED, redrive(KEYS[0]))
    await made.registry.barrier()
    await driven.rest()
    assert await made.words() == ["at-2000", "poison", "rung"]


async def test_a_case_that_fails_on_a_registry_event_is_faulted_alone_and_hears_it_later() -> None:
    made = await world()
    await made.hear("fragile")
    await made.hear("b", key=KEYS[1])
    driven = await Driven(made).rest()
    await made.publish(AgentQuarantined(agent_id="a1", reason="r", signers=()))
    await made.registry.barrier()
    await driven.rest()
    assert driven.shard.phase is Phase.RUNNING
    assert await made.words(KEYS[0]) == ["fragile"]
    assert await made.words(KEYS[1]) == ["b", "told-a1"]
    await made.publish(FIXED, redrive(KEYS[0]))
    await made.registry.barrier()
    await driven.rest()
    assert await made.words(KEYS[0]) == ["fragile", "told-a1"]
    ids = [event.envelope.id for event in await made.events()]
    assert len(ids) == len(set(ids))
    again = await Driven(made).rest()
    assert again.digest == driven.digest


async def test_a_case_whose_timer_fails_is_faulted_alone_and_rings_after_the_fix() -> None:
    made = await world()
    await made.hear("at-2000", "fragile")
    await made.hear("at-2000", key=KEYS[1])
    driven = await Driven(made).rest()
    made.now_ms = 3_000
    await driven.rest()
    assert driven.shard.phase is Phase.RUNNING
    assert await made.words(KEYS[0]) == ["at-2000", "fragile"]
    assert await made.words(KEYS[1]) == ["at-2000", "rung"]
    made.now_ms = 6_000
    await made.publish(redrive(KEYS[0]))
    await made.registry.barrier()
    await driven.rest()
    assert await made.words(KEYS[0]) == ["at-2000", "fragile", "rung"]


async def test_a_clock_behind_the_log_writes_no_earlier_time() -> None:
    made = await world()
    await made.hear("at-500")  # appended after 1,000 ms of the log's clock
    made.now_ms = 600
    await Driven(made).rest()
    assert await made.words() == ["at-500", "rung"]
    times = [event.envelope.time for event in await made.events()]
    assert times == sorted(times)


async def test_a_fence_that_fails_is_tried_again() -> None:
    made = await world()
    tries = 0

    def fail(_step: int, effect: Effect) -> str:
        nonlocal tries
        tries += isinstance(effect, Fence)
        return "before" if isinstance(effect, Fence) and tries <= 3 else ""

    driven = await Driven(made, failing=fail).rest()
    attempts = [effect.attempt for effect in driven.seen if isinstance(effect, Backoff)]
    assert attempts == [1, 2, 3]
    assert driven.shard.phase is Phase.RUNNING
