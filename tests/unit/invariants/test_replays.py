"""Replay, snapshots and planted values: the invariants that are functions over logs and bytes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from caseway.contracts.codec import Event
from caseway.invariants.replays import leaks, replay_differs, snapshot_differs, state_digests
from caseway_control.roster import CARDS

from .histories import CASE
from .stories import told

SECRET = 'Zoë "Quill" Byrne'


def events_of(service: str, story: str = "paid") -> list[Event]:
    items = told(story).logs[CARDS[service].own.name]
    return [item.event for item in items]


@pytest.mark.parametrize("service", CARDS)
def test_two_folds_of_one_log_agree_and_another_state_is_named(service: str) -> None:
    card, events = CARDS[service], events_of(service)
    digests = state_digests(card, events)
    assert list(replay_differs(card, events, digests)) == []
    found = list(replay_differs(card, events, {**digests, CASE: "0" * 64}))
    assert [(each.invariant, each.key) for each in found] == [("I22", CASE)]
    assert [each.invariant for each in replay_differs(card, events, {})] == ["I22"]


@pytest.mark.parametrize("service", CARDS)
def test_a_fold_from_any_snapshot_is_the_fold_from_the_beginning(service: str) -> None:
    card, events = CARDS[service], events_of(service, "reconciled")
    for after in range(len(events) + 1):
        assert list(snapshot_differs(card, events, after)) == []


def test_a_fold_that_remembers_what_no_snapshot_holds_is_named() -> None:
    card, seen = CARDS["router"], dict[int, Any]()

    def evolve(state: Any, event: Event) -> Any:
        # Depends on an identity that a restored state has not: what a cache outside a state does.
        # What was seen is kept alive, or a restored state could be given its identity.
        made = card.evolve(state, event)
        if state is not None and id(state) not in seen and made is not state:
            made = replace(made, source=f"{made.source}!")
        seen[id(made)] = made
        return made

    leaky = replace(card, evolve=evolve)
    found = list(snapshot_differs(leaky, events_of("router"), 5))
    assert {each.invariant for each in found} == {"I23"}


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.encode(),
        lambda text: b'{"name":"Zo\\u00eb \\"Quill\\" Byrne"}',
        lambda text: b"x" + base64.b64encode(b"1" + text.encode() + b"2"),
        lambda text: base64.b64encode(b"12" + text.encode() + b"345"),
        lambda text: base64.b64encode(text.encode() + b"12"),
    ],
)
def test_a_planted_value_is_found_however_it_was_written(write: Callable[[str], bytes]) -> None:
    written = {"cases/0": b"nothing to see", "snapshots.router/0": write(SECRET)}
    found = list(leaks([SECRET], written))
    assert [(each.invariant, each.key) for each in found] == [("I24", "snapshots.router/0")]
    assert list(leaks(["another"], written)) == []
