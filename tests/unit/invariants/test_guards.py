"""The guards inside the services: what they refuse by name, what it costs, and whom it faults."""

from __future__ import annotations

from typing import Any

import pytest

from caseway.contracts import case, decision, submission
from caseway.contracts.codec import Event
from caseway.contracts.fields import Contract
from caseway.contracts.record import Record
from caseway.contracts.shard import CaseFaulted
from caseway.errors import ContractError
from caseway.hosting.worker import Worker
from caseway.invariants.sentry import InvariantBroken
from caseway.kernel.processor import Card
from caseway.kernel.registry import Registry
from caseway_control.roster import CARDS

from ..story.test_claims import registry
from .histories import CASE
from .stories import STORIES, told


def replayed(
    service: str, story: str, model: type[Contract], number: int = 0, **forged: Any
) -> tuple[Any, Event, Contract | None]:
    """The state before one event of a story, that event with other fields, and what was heard."""
    history = told(story)
    card = CARDS[service]
    topic, index = history.find(model, number)
    items = history.logs[topic]
    state: Any = None
    for item in items[:index]:
        state = card.evolve(state, item.event)
    event = items[index].event
    place, _, offset = event.envelope.cause.partition("/")[2].rpartition("/")
    said = history.logs.get(place.partition("/")[0], ())
    heard = next(
        (item.event.data for item in said if str(item.origin) == offset),
        None,
    )
    return state, event._replace(data=event.data.model_copy(update=forged)), heard


LOWER = {"row": "standard", "roles": ("senior-adjuster",), "rungs": (("claims-manager",),)}
REFUSED: list[tuple[str, str, str, type[Contract], int, dict[str, Any]]] = [
    ("I06", "approval", "paid", decision.GateOpened, 0, LOWER),
    ("I06", "approval", "paid", decision.GateDecided, 0, {"by": ("person:vera",)}),
    ("I06", "approval", "paid", decision.GateDecided, 0, {"roles": ("senior-adjuster",)}),
    ("I06", "approval", "joint", decision.GateDecided, 0, {"roles": ("ceo",)}),
    ("I06", "approval", "joint", decision.DecisionEndorsed, 0, {"by": "person:sam"}),
    ("I07", "approval", "joint", decision.DecisionEndorsed, 0, {"by": "person:olga"}),
    ("I07", "approval", "paid", decision.GateDecided, 0, {"by": ("person:olga",)}),
    ("I10", "approval", "auto", decision.GateDecided, 0, {"by": ("agent:triage-1",)}),
    ("I10", "approval", "paid", decision.GateDecided, 0, {"by": ("system",)}),
    ("I20", "router", "paid", case.TaskGranted, 0, {"holder": "agent:cashier-1"}),
    ("I20", "router", "worked", case.TaskGranted, -2, {"holder": "person:lea"}),
    ("I21", "router", "paid", case.PhaseEntered, 1, {"phase": "payment"}),
    ("I21", "router", "rejected", case.PhaseEntered, -1, {"phase": "payment"}),
    ("I21", "router", "paid", case.CaseClosed, 0, {"outcome": "declined"}),
]


@pytest.mark.parametrize(("rule", "service", "story", "model", "number", "forged"), REFUSED)
def test_an_event_that_breaks_an_invariant_is_refused_by_its_name(
    rule: str, service: str, story: str, model: type[Contract], number: int, forged: dict[str, Any]
) -> None:
    guard = CARDS[service].guard
    guard(*replayed(service, story, model, number), registry())
    with pytest.raises(InvariantBroken) as refused:
        guard(*replayed(service, story, model, number, **forged), registry())
    assert refused.value.code == f"invariant.{rule}"
    assert isinstance(refused.value, ContractError)


@pytest.mark.parametrize(
    ("rule", "forged"),
    [
        ("I06", {"row": "standard"}),
        ("I06", {"roles": ("senior-adjuster",)}),
        ("I10", {"by": ("agent:triage-1",)}),
    ],
)
def test_the_router_asks_the_matrix_itself_before_a_decision_takes_effect(
    rule: str, forged: dict[str, Any]
) -> None:
    state, event, heard = replayed("router", "paid", case.GateConsumed)
    assert heard is not None
    with pytest.raises(InvariantBroken) as refused:
        CARDS["router"].guard(state, event, heard.model_copy(update=forged), registry())
    assert refused.value.code == f"invariant.{rule}"


def test_a_second_decision_is_refused() -> None:
    state, event, heard = replayed("approval", "paid", decision.GateDecided)
    decided = CARDS["approval"].evolve(state, event)
    with pytest.raises(InvariantBroken, match="I01 decision once"):
        CARDS["approval"].guard(decided, event, heard, registry())


def test_nothing_but_a_refusal_follows_the_end() -> None:
    state, event, heard = replayed("router", "paid", case.CaseClosed)
    closed = CARDS["router"].evolve(state, event)
    with pytest.raises(InvariantBroken, match="I21"):
        CARDS["router"].guard(closed, event, heard, registry())
    said = case.WishRefused(wish="case.amend", code="CASE_CLOSED", message="it is closed")
    CARDS["router"].guard(closed, event._replace(data=said), heard, registry())


def _refusing(key: str) -> Card[Any]:
    """The router's card with a guard that refuses one case."""

    def guard(_state: object, event: Event, _heard: object, _registry: Registry) -> None:
        if event.key == key and not isinstance(event.data, CaseFaulted):
            raise InvariantBroken("I06", "as a test wants it")

    card = CARDS["router"]
    return type(card)(**{name: getattr(card, name) for name in card.__slots__} | {"guard": guard})


def test_a_breach_faults_its_case_and_no_other() -> None:
    card = _refusing("c-2")
    worker: Worker[Any] = Worker(card, 0, registry())
    source = next(each for each in card.inputs if submission.CaseAdmitted.TYPE in each.hears)
    (admitted,) = [
        record
        for record in STORIES["waiting"]().logs["intake"]
        if dict(record.headers)["ce_type"] == submission.CaseAdmitted.TYPE.encode()
    ]
    for offset, key in enumerate((CASE, "c-2", "c-3")):
        worker.take(source, Record(*admitted)._replace(offset=offset, key=key.encode()))
    assert worker.faults == 1
    fault = worker.fold.get("c-2")
    assert fault is not None
    assert (fault.fault, len(fault.parked), fault.state) == ("invariant.I06", 1, None)
    for key in (CASE, "c-3"):
        entity = worker.fold.get(key)
        assert entity is not None
        assert not entity.fault
        assert entity.state is not None
