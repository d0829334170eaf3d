"""What can be judged only once nothing moves any more (I04 I05 I15 I19 I27 I28 I29)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from caseway.contracts import topics
from caseway.contracts.deadline import TimerKind
from caseway.invariants.accounts import Accounts
from caseway.invariants.cases import Cases
from caseway.invariants.gates import Gates
from caseway.invariants.invariant import Violation
from caseway.invariants.life import HELD, Life, Task
from caseway.invariants.pairs import Pairs
from caseway.invariants.published import Published
from caseway.invariants.timers import Open, Timers

# The committed group offset by service, then by `topic/partition`.
Offsets = Mapping[str, Mapping[str, int]]

# Which timers carry a task on from each status, as (lease, retry).
_CARRIES: dict[str, tuple[TimerKind | None, TimerKind | None]] = {
    "open": (None, TimerKind.OFFER),
    "granted": (TimerKind.LEASE, None),
    "permitted": (TimerKind.PERMIT, None),
    "resting": (None, TimerKind.RETRY),
    "queued": (None, None),
}


class Seen(Protocol):
    """What a watch has seen."""

    accounts: Accounts
    cases: Cases
    gates: Gates
    timers: Timers
    published: Published
    pairs: dict[str, Pairs]

    def positions(self) -> Mapping[str, Mapping[str, int]]:
        """How far each log's writer has read every input."""


def at_rest(
    seen: Seen, is_all_closed: bool, acknowledged: Collection[str], offsets: Offsets
) -> list[Violation]:
    """Everything that does not hold at quiescence."""
    return [
        *_cases(seen, is_all_closed),
        *_conserved(seen),
        *_acknowledged(seen, acknowledged),
        *_offsets(seen, offsets),
    ]


def _cases(seen: Seen, is_all_closed: bool) -> Iterator[Violation]:
    for key, life in seen.cases.lives.items():
        timers = seen.timers.open.get(key, {})
        if seen.accounts.faulted.get(key):
            continue  # it waits in the queue of operations, which is people's
        if life.is_closed:
            if timers:
                yield Violation("I05", key, f"{', '.join(sorted(timers))} of a closed case is set")
            continue
        if is_all_closed:
            yield Violation("I27", key, f"the case is still open, in phase {life.phase!r}")
        yield from _moves(seen, key, life, timers)


def _moves(seen: Seen, key: str, life: Life, timers: Mapping[str, Open]) -> Iterator[Violation]:
    waiting = [task for task in life.tasks.values() if task.status != "done"]
    if not waiting and life.gate is None:
        yield Violation("I04", key, f"nothing moves the case on from phase {life.phase!r}")
    for task in waiting:
        yield from _task_moves(key, task, timers)
        if task.status in HELD and seen.published.is_quarantined(
            task.holder, seen.published.position
        ):
            yield Violation("I19", key, f"{task.holder} holds {task.task_id} in quarantine")
    about = {task.task_id for task in waiting}
    if life.gate is not None:
        about.add(life.gate[0])
        yield from _gate_moves(seen, key, life.gate[:2], timers)
    for name, timer in sorted(timers.items()):
        if timer.about.partition("#")[0] not in about:
            yield Violation("I05", key, f"{name} is set, and nobody waits for it")


def _task_moves(key: str, task: Task, timers: Mapping[str, Open]) -> Iterator[Violation]:
    lease, retry = (timers.get(f"{kind}/{task.task_id}") for kind in ("lease", "retry"))
    found = (lease.kind if lease else None, retry.kind if retry else None)
    if found != _CARRIES[task.status]:
        yield Violation("I04", key, f"{task.task_id} is {task.status}, and no timer carries it on")
    elif lease is not None and lease.about != f"{task.task_id}#{task.token}":
        yield Violation("I04", key, f"the lease of {task.task_id} is about an older token")


def _gate_moves(
    seen: Seen, key: str, gate: tuple[str, int], timers: Mapping[str, Open]
) -> Iterator[Violation]:
    name, revision = gate
    bench = seen.gates.benches.get((key, name))
    if bench is None or bench.revision != revision or bench.status in ("decided", "retired"):
        status = "unknown" if bench is None or bench.revision != revision else bench.status
        yield Violation("I04", key, f"the case waits for {name}, which is {status} there")
    elif bench.status == "open" and not any(timer.about == name for timer in timers.values()):
        if name in seen.timers.breached.get(key, ()):
            yield Violation("I29", key, f"the promise of {name} was missed, and nobody is told")
        else:
            yield Violation("I04", key, f"{name} is open without a promise")


def _conserved(seen: Seen) -> Iterator[Violation]:
    faulted = seen.accounts.faulted
    admissions, openings = seen.pairs["admissions"], seen.pairs["requests"]
    for key, (at, _) in admissions.causes.items():
        if not faulted.get(str(key)):
            yield Violation("I27", str(key), "the case is admitted and was never opened", at)
    for key, (at, _) in admissions.effects.items():
        yield Violation("I27", str(key), "the case is opened and was never admitted", at)
    for _, (at, event) in openings.effects.items():
        yield Violation("I06", event.key, "a gate is opened that nobody asked for", at)
    for _, (at, event) in seen.pairs["takings"].effects.items():
        yield Violation("I06", event.key, "a decision takes effect that nobody made", at)
    if seen.published.unjudged:
        found = f"{seen.published.unjudged} events stand on a registry that is not there"
        yield Violation("I12", "registry/0", found)
    read: dict[str, int] = {}
    for positions in seen.positions().values():
        for place, position in positions.items():
            read[place] = max(read.get(place, 0), position)
    for at in seen.accounts.unanswered(read):
        yield Violation("I27", f"{at.topic}/{at.partition}", "a record was dropped in silence", at)


def _acknowledged(seen: Seen, acknowledged: Collection[str]) -> Iterator[Violation]:
    for key in sorted(acknowledged):
        if key not in seen.accounts.admitted and key not in seen.accounts.refused:
            yield Violation("I28", key, "the id was given to a caller, and is not in the log")


def _offsets(seen: Seen, offsets: Offsets) -> Iterator[Violation]:
    logs = seen.positions()
    for service, committed in offsets.items():
        own = topics.OWN_LOGS[service].name
        for place, offset in sorted(committed.items()):
            shard = place.rpartition("/")[2]
            position = logs.get(f"{own}/{shard}", {}).get(place)
            if position is not None and position != offset:
                found = f"{service}'s group stands at {offset} of {place}, its log at {position}"
                yield Violation("I15", f"{own}/{shard}", found)
