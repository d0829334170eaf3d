"""Reads the history of one case: the merge of its logs by cause and time, and its state then.

A cause always stands before what it caused, whatever the clocks of two partitions say; within
that, append time decides. Nothing is looked up: the records of the case are all there is.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from caseway.casefile.evolve import evolve
from caseway.casefile.state import CaseState
from caseway.casefile.wording import in_words
from caseway.contracts import topics
from caseway.contracts.codec import Event
from caseway.contracts.record import Record, instant_of, millis_of
from caseway.errors import ConfigError
from caseway.kernel.identity import coordinates

# The logs that tell of a case, in the order in which they hear of it.
LOGS = (topics.INTAKE, topics.CASES, topics.APPROVALS, topics.DEADLINES)
_SERVICES = {topic.name: service for service, topic in topics.OWN_LOGS.items()}
_RANK = {topic.name: rank for rank, topic in enumerate(LOGS)}


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a case as a log holds it."""

    event: Event
    topic: str
    offset: int
    at_ms: int
    coordinates: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a timeline; `sequence` counts the events of the case in that service's log."""

    at: datetime
    service: str
    text: str
    actor: str
    strength: str
    type: str
    sequence: int
    coordinates: str
    cause: str
    definition: str
    matrix: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case as of one event of its log; `latest` is how many events there are in all."""

    case_id: str
    sequence: int
    latest: int
    at: datetime
    state: CaseState


def told(generation: str, record: Record, event: Event) -> Told:
    """An event with the place it was read from."""
    place = coordinates(generation, record)
    return Told(event, record.topic, record.offset, record.at_ms, place)


def in_order(events: Iterable[Told]) -> list[Told]:
    """The events of one case, causes before what they caused, and else by append time.

    Within one log the order is the log's own.
    """
    pending = list(events)
    index = {item.coordinates: number for number, item in enumerate(pending)}
    after: dict[int, list[int]] = {}
    open_causes = [0] * len(pending)
    last_of: dict[str, int] = {}
    for number in sorted(range(len(pending)), key=lambda n: (pending[n].topic, pending[n].offset)):
        item = pending[number]
        before = {last_of.get(item.topic), index.get(item.event.envelope.cause)} - {None, number}
        last_of[item.topic] = number
        for cause in before:
            assert cause is not None
            after.setdefault(cause, []).append(number)
            open_causes[number] += 1
    ready = [_key(pending[n], n) for n, count in enumerate(open_causes) if not count]
    heapq.heapify(ready)
    ordered = []
    while ready:
        number = heapq.heappop(ready)[-1]
        ordered.append(pending[number])
        for effect in after.get(number, ()):
            open_causes[effect] -= 1
            if not open_causes[effect]:
                heapq.heappush(ready, _key(pending[effect], effect))
    return ordered


def timeline(events: Iterable[Told]) -> list[Line]:
    """What happened to a case, in order and in plain words."""
    return [_line(item) for item in in_order(events)]


def view(case_id: str, events: Iterable[Told], at: datetime | int | None = None) -> CaseView | None:
    """The case now, as of an instant, or as of a sequence number of its log; None if unknown.

    Raises:
        ConfigError: RANGE, the case did not exist then, or has no such event.
    """
    own = sorted((e for e in events if e.topic == topics.CASES.name), key=lambda e: e.offset)
    if not own:
        return None
    shown = _until(case_id, own, at)
    state: CaseState | None = None
    for item in shown:
        state = evolve(state, item.event)
    assert state is not None, "the first event of a case opens it"
    last = shown[-1]
    return CaseView(
        case_id,
        last.event.envelope.sequence,
        own[-1].event.envelope.sequence,
        instant_of(last.at_ms),
        state,
    )


def _until(case_id: str, own: Sequence[Told], at: datetime | int | None) -> Sequence[Told]:
    if at is None:
        return own
    if isinstance(at, int):
        latest = own[-1].event.envelope.sequence
        if not 1 <= at <= latest:
            raise ConfigError(
                f"case {case_id!r} has the events 1 to {latest}, and not {at}; name one of them",
                code="RANGE",
            )
        return [item for item in own if item.event.envelope.sequence <= at]
    shown = [item for item in own if item.at_ms <= millis_of(at)]
    if not shown:
        raise ConfigError(
            f"case {case_id!r} opened at {instant_of(own[0].at_ms).isoformat()}; name a later time",
            code="RANGE",
        )
    return shown


def _key(item: Told, number: int) -> tuple[int, int, int, int]:
    return item.at_ms, _RANK.get(item.topic, len(_RANK)), item.offset, number


def _line(item: Told) -> Line:
    envelope = item.event.envelope
    return Line(
        at=instant_of(item.at_ms),
        service=_SERVICES.get(item.topic, item.topic),
        text=in_words(item.event),
        actor=envelope.actor,
        strength=envelope.strength.value,
        type=envelope.type,
        sequence=envelope.sequence,
        coordinates=item.coordinates,
        cause=envelope.cause,
        definition=envelope.definition,
        matrix=envelope.matrix,
    )
