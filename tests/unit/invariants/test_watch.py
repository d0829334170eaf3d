"""Every invariant: silent over honest histories, and alone in speaking over a forged one."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from caseway.contracts import case, control, deadline, decision
from caseway.contracts.codec import Event, decode, type_of
from caseway.contracts.record import Record
from caseway.contracts.shard import ShardCommitted
from caseway.contracts.submission import CaseAdmitted
from caseway.invariants.invariant import INVARIANTS, Mark, Violation
from caseway.invariants.watch import Watch

from .histories import CASE, History, flat, rewrite
from .stories import STORIES, told

Logs = dict[str, list[Record]]
Forge = Callable[[History], object]


def ids(violations: list[Violation]) -> set[str]:
    return {violation.invariant for violation in violations}


def watched(logs: Logs) -> Watch:
    watch = Watch(has_inbound=True)
    watch.see_all(flat(logs))
    return watch


@pytest.mark.parametrize("name", STORIES)
def test_an_honest_history_breaks_nothing(name: str) -> None:
    watch = watched(told(name).seal())
    assert watch.violations == []
    assert watch.rest(acknowledged={CASE}) == []


# -- what must hold at every step -----------------------------------------------------------------


def _second_quarantine(history: History) -> None:
    shut = control.AgentQuarantined(signers=(), agent_id="triage-1", reason="odd")
    history.registry.append(shut)


def _card(history: History, **changes: Any) -> None:
    facts = history.registry
    index = next(i for i, f in enumerate(facts) if isinstance(f, control.AgentRegistered))
    fact: Any = facts[index]
    facts[index] = fact.model_copy(update={"card": fact.card.model_copy(update=changes)})


def _roles(history: History, person: str, *roles: str) -> None:
    for index, fact in enumerate(history.registry):
        if isinstance(fact, control.PersonAppointed) and fact.card.person_id == person:
            card = fact.card.model_copy(update={"roles": roles})
            history.registry[index] = fact.model_copy(update={"card": card})


def _signers(history: History, *signers: str) -> None:
    for index, fact in enumerate(history.registry):
        if isinstance(fact, control.MatrixPublished):
            history.registry[index] = fact.model_copy(update={"signers": signers})


def _decided_by(history: History, *by: str, roles: tuple[str, ...] = ("claims-manager",)) -> None:
    history.change(decision.GateDecided, by=by, roles=roles)
    history.change(case.GateConsumed, by=by)


def _on_a_lower_row(history: History) -> None:
    row = {"row": "standard", "roles": ("senior-adjuster",)}
    history.change(decision.GateOpened, **row, rungs=(("claims-manager",),))
    history.change(decision.GateDecided, **row, by=("person:sam",))
    history.change(case.GateConsumed, by=("person:sam",))


def _other_digest(history: History) -> None:
    for model in (decision.GateDecided, case.GateConsumed):
        history.change(model, digest="a" * 64)


def _late_rung(history: History) -> None:
    data = history.logs["approvals"][0].event.data
    assert isinstance(data, decision.GateOpened)
    retired = decision.GateRetired(gate_id=data.gate_id, revision=data.revision, reason="late")
    history.add("approvals", retired, decision.GateDecided)


def _early(history: History) -> None:
    (fired,) = [i.event.data for i in history.logs["deadlines"] if _is_fired(i.event)]
    assert isinstance(fired, deadline.TimerFired)
    at = fired.due_at - timedelta(seconds=1)
    history.change(deadline.TimerFired, detected_at=at)


def _is_fired(event: Event) -> bool:
    return isinstance(event.data, deadline.TimerFired)


MONEY = {"amount": "75000.01", "currency": "USD"}
FORGED: list[tuple[str, str, str, Forge]] = [
    ("I01", "a second decision", "paid", lambda h: h.repeat(decision.GateDecided)),
    ("I01", "it takes effect twice", "paid", lambda h: h.repeat(case.GateConsumed)),
    ("I02", "a second permit", "paid", lambda h: h.repeat(case.EffectPermitted)),
    ("I02", "another effect", "paid", lambda h: h.change(case.EffectSettled, effect_id="b" * 64)),
    ("I03", "admitted twice", "paid", lambda h: h.repeat(CaseAdmitted)),
    ("I03", "opened twice", "paid", lambda h: h.repeat(case.CaseOpened)),
    ("I05", "a timer nobody set", "paid", lambda h: h.drop(deadline.TimersUpdated)),
    ("I05", "fired early", "reconciled", _early),
    ("I05", "fired twice", "reconciled", lambda h: h.repeat(deadline.TimerFired)),
    ("I05", "warned twice", "escalated", lambda h: h.repeat(deadline.TimerWarned)),
    ("I06", "a lower row", "paid", _on_a_lower_row),
    ("I06", "no role", "paid", lambda h: _decided_by(h, "person:vera")),
    ("I06", "the lower role", "paid", lambda h: _decided_by(h, "person:sam", roles=("sam",))),
    ("I06", "alone", "joint", lambda h: _decided_by(h, "person:cleo", roles=("ceo",))),
    ("I06", "the level", "decided above", lambda h: h.change(decision.GateDecided, level=0)),
    ("I06", "other flags", "fraud", lambda h: h.change(case.GateRequested, flags=())),
    ("I06", "taken otherwise", "paid", lambda h: h.change(case.GateConsumed, by=("person:vera",))),
    ("I06", "paid to another", "paid", lambda h: h.change(case.EffectPermitted, payee="person-x")),
    ("I06", "no approval", "paid", lambda h: h.change(case.EffectPermitted, revision=2)),
    ("I07", "an owner", "paid", lambda h: h.change(decision.GateOpened, owners=("person:cid",))),
    ("I07", "owner by the card", "paid", lambda h: _card(h, owner="cid")),
    ("I07", "forgotten preparers", "paid", lambda h: h.change(case.GateRequested, preparers=())),
    ("I08", "handed on twice", "delegated", lambda h: h.repeat(decision.GateDelegated)),
    ("I09", "signed alone", "paid", lambda h: _signers(h, "root:1", "root:1")),
    ("I09", "other facts", "paid", _other_digest),
    ("I09", "a closed gate", "paid", _late_rung),
    ("I10", "an agent", "auto", lambda h: _decided_by(h, "agent:triage-1", roles=("system",))),
    ("I10", "nobody", "paid", lambda h: _decided_by(h, "system", roles=("system",))),
    ("I18", "granted twice", "paid", lambda h: h.repeat(case.TaskGranted)),
    ("I18", "a stale token", "paid", lambda h: h.change(case.TaskCompleted, token=9)),
    ("I18", "another holder", "paid", lambda h: h.change(case.AttemptEnded, holder="agent:x")),
    ("I19", "in quarantine", "paid", _second_quarantine),
    ("I20", "without the skill", "paid", lambda h: _card(h, skills=())),
    ("I20", "of another pool", "paid", lambda h: _card(h, pool="payments")),
    ("I20", "of another queue", "worked", lambda h: _roles(h, "dora", "legal")),
    ("I21", "a leap", "paid", lambda h: h.change(case.PhaseEntered, 1, phase="payment")),
    ("I21", "another end", "paid", lambda h: h.change(case.CaseClosed, outcome="declined")),
    ("I21", "after the end", "paid", lambda h: h.repeat(case.CaseClosed)),
    ("I21", "work left", "waiting", lambda h: h.repeat(case.PhaseEntered, -1, round=5)),
    ("I27", "other facts", "paid", lambda h: h.change(case.CaseOpened, source="elsewhere")),
    ("I29", "a rung too far", "escalated", lambda h: h.change(decision.GateEscalated, level=2)),
    ("I29", "the rung", "escalated", lambda h: h.change(decision.GateEscalated, roles=("legal",))),
    ("I29", "one alarm twice", "overdue", lambda h: h.change(decision.GateOverdue, -1, alarm=1)),
]


@pytest.mark.parametrize(("expected", "why", "story", "forge"), FORGED, ids=lambda v: str(v)[:24])
def test_a_forged_event_breaks_just_its_invariant(
    expected: str, why: str, story: str, forge: Forge
) -> None:
    history = told(story)
    if why == "another holder":
        history = told("queued")
    forge(history)
    found = watched(history.seal()).violations
    assert ids(found) == {expected}, [str(each) for each in found]
    assert expected in str(found[0])


# -- the log itself -------------------------------------------------------------------------------


def _trailers(records: list[Record]) -> list[int]:
    return [i for i, record in enumerate(records) if type_of(record) == ShardCommitted.TYPE]


def _trailer(number: int, **fields: Any) -> Callable[[list[Record]], object]:
    def forge(records: list[Record]) -> None:
        index = _trailers(records)[number]

        def change(event: Event) -> Event:
            return event._replace(data=event.data.model_copy(update=fields))

        records[index] = rewrite(records[index], change)

    return forge


def _envelope(index: int, **fields: Any) -> Callable[[list[Record]], object]:
    def forge(records: list[Record]) -> None:
        records[index] = rewrite(
            records[index], lambda e: e._replace(envelope=e.envelope._replace(**fields))
        )

    return forge


def _without_a_batch(records: list[Record]) -> None:
    first, second = _trailers(records)[:2]
    del records[first + 1 : second + 1]


def _swapped(records: list[Record]) -> None:
    value = (records[1].value or b"").replace(b"portal", b"partal")
    records[1] = records[1]._replace(value=value)


def _sooner(records: list[Record]) -> None:
    records[-1] = records[-1]._replace(at_ms=records[0].at_ms - 1)


def _foreign(records: list[Record]) -> None:
    last = decode(records[-2], is_sole_writer=True)
    assert last.envelope.type == case.CaseClosed.TYPE
    headers = tuple((n, v.replace(b"case.closed", b"case.klosed")) for n, v in records[-2].headers)
    records[-2] = records[-2]._replace(headers=headers)


DAMAGED: list[tuple[str, Callable[[list[Record]], object]]] = [
    ("I02", _trailer(-1, positions={"intake/0": 0})),
    ("I02", _envelope(-2, cause="g1/intake/0/0")),
    ("I12", lambda records: records.pop(0)),
    ("I12", lambda records: records.insert(1, records[0]._replace(offset=0))),
    ("I12", _without_a_batch),
    ("I12", _envelope(1, sequence=7)),
    ("I16", lambda records: records.pop(2)),
    ("I16", _swapped),
    ("I17", _trailer(1, epoch=0)),
    ("I26", _foreign),
    ("I30", _trailer(1, greatest_ms=1)),
    ("I30", _sooner),
    ("I30", _envelope(2, time="2020-01-01T00:00:00.000Z")),
]


@pytest.mark.parametrize(("expected", "forge"), DAMAGED)
def test_a_damaged_log_breaks_just_its_invariant(
    expected: str, forge: Callable[[list[Record]], object]
) -> None:
    logs = told("paid").seal()
    forge(logs["cases"])
    found = watched(logs).violations
    # One forged number may leave a hole behind it as well: all are of one invariant.
    assert ids(found) == {expected}, [str(each) for each in found]
    assert found[0].where is not None
    assert found[0].where.topic == "cases"


def test_an_event_of_another_log_is_named() -> None:
    history = told("paid")
    history.add("approvals", case.CaseClosed(outcome="paid"), decision.GateDecided)
    assert ids(watched(history.seal()).violations) == {"I26"}


# -- what must hold at rest -----------------------------------------------------------------------


def _quarantined_late(history: History) -> None:
    shut = control.AgentQuarantined(signers=(), agent_id="cashier-1", reason="odd")
    history.late.append(shut)


def _silent_breach(history: History) -> None:
    history.drop(decision.GateEscalated).drop(deadline.TimersUpdated, -1)


def _never_opened(history: History) -> None:
    for topic in ("cases", "approvals", "deadlines"):
        history.logs[topic] = []


RESTLESS: list[tuple[str, str, Forge, dict[str, Any]]] = [
    ("I04", "waiting", lambda h: h.drop(deadline.TimersUpdated, -1), {}),
    ("I04", "unpaid", lambda h: h.drop(deadline.TimersUpdated, -1), {}),
    ("I05", "rejected", lambda h: h.drop(deadline.TimersUpdated, -1), {}),
    ("I06", "auto", lambda h: h.drop(decision.GateDecided), {}),
    ("I15", "paid", lambda _h: None, {"offsets": {"router": {"intake/0": 1}}}),
    ("I19", "unpaid", _quarantined_late, {}),
    ("I27", "paid", _never_opened, {}),
    ("I27", "repeated", lambda h: h.drop(case.ReportRefused), {}),
    ("I27", "waiting", lambda _h: None, {"is_all_closed": True}),
    ("I28", "paid", lambda _h: None, {"acknowledged": {"c-2"}}),
    ("I29", "escalated", _silent_breach, {}),
]


@pytest.mark.parametrize(("expected", "story", "forge", "known"), RESTLESS)
def test_at_rest_a_forged_history_breaks_just_its_invariant(
    expected: str, story: str, forge: Forge, known: dict[str, Any]
) -> None:
    history = told(story)
    forge(history)
    watch = watched(history.seal())
    assert watch.violations == []
    found = watch.rest(**known)
    assert ids(found) == {expected}, [str(each) for each in found]
    assert watch.rest(**known) == found


def test_the_right_group_offsets_are_the_trailers() -> None:
    watch = watched(told("paid").seal())
    router = dict(watch.positions()["cases/0"])
    assert watch.rest(offsets={"router": router}) == []


# -- the watch itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("forge", [lambda h: None, _on_a_lower_row, _second_quarantine])
def test_the_order_of_partitions_does_not_matter_and_a_full_scan_finds_the_same(
    seed: int, forge: Forge
) -> None:
    """A simulator that looks at every record finds what a fresh watch over the logs finds."""
    history = told("paid")
    forge(history)
    logs = history.seal()
    queues = [list(records) for records in logs.values()]
    chance, step = random.Random(seed), Watch(has_inbound=True)
    told_at_once: list[Violation] = []
    while queues:
        queue = chance.choice(queues)
        told_at_once += step.see(queue.pop(0))
        queues = [each for each in queues if each]
    scan = watched(logs)
    assert set(told_at_once) == set(step.violations) == set(scan.violations)
    assert step.rest() == scan.rest()


def test_nothing_is_judged_behind_a_break_and_other_partitions_go_on() -> None:
    history = told("paid")
    history.repeat(CaseAdmitted)
    logs = history.seal()
    logs["cases"].pop(2)
    found = [(str(v.where).partition("@")[0], v.invariant) for v in watched(logs).violations]
    assert sorted(found) == [("cases/0", "I16"), ("intake/0", "I03")]


def test_every_invariant_of_the_catalogue_was_seen_red() -> None:
    seen = {each[0] for each in (*FORGED, *DAMAGED, *RESTLESS)}
    assert INVARIANTS.keys() - seen == {"I22", "I23", "I24"}  # test_replays.py
    assert list(INVARIANTS) == sorted(INVARIANTS)
    for each in INVARIANTS.values():
        assert bool(each.running) == (Mark.RUNTIME in each.marks), each.id
