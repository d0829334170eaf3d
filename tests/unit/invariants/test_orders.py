"""The checker of cases raises no false alarm, whatever order things come in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from caseway.contracts.codec import Event
from caseway.contracts.envelope import Envelope
from caseway.invariants.cases import Cases
from caseway.invariants.invariant import At, Violation
from caseway.invariants.pairs import Pairs
from caseway.invariants.published import Published

from ..router.desk import World
from ..router.test_never_stuck import STARTS, Move, moves
from .histories import facts_of


def found_in(world: World) -> list[Violation]:
    """What the checker says of everything that the router said of the case."""
    found: list[Violation] = []
    report = lambda *each: found.append(Violation(*each))  # noqa: E731
    published = Published(report)
    pairs = {name: Pairs(lambda _c, _e: None) for name in ("admissions", "requests", "takings")}
    cases = Cases(published, report, pairs)
    for offset, fact in enumerate(facts_of(world.story.registry)):
        published.take(_event(fact), At("registry", 0, offset))
    for offset, data in enumerate(world.story.history):
        cases.take(At("cases", 0, offset), _event(data, published.position))
    return found


def _event(data: object, position: int = 0) -> Event:
    kind = data.TYPE  # type: ignore[attr-defined]
    return Event("c-1", Envelope("", "", kind, 1, registry_position=position), data)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@for_all(STARTS, st.lists(moves(), max_size=16))
def test_no_order_of_things_is_taken_for_a_breach(
    start: Callable[[], World], story: list[Move]
) -> None:
    world = start()
    for move in story:
        world = partial(move)(world)
    assert found_in(world) == []
