"""Functions over logs and bytes: replay, snapshot equivalence, planted values (I22 I23 I24)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from caseway.contracts.codec import Event
from caseway.invariants.invariant import Violation
from caseway.kernel.entities import StateCodec
from caseway.kernel.fold import Fold
from caseway.kernel.processor import Card


def state_digests(card: Card[Any], events: Iterable[Event]) -> dict[str, str]:
    """The state digest of every case after these events of the card's own log."""
    return _digests(card, _folded(card, Fold(card), events))


def replay_differs(
    card: Card[Any], events: Iterable[Event], expected: Mapping[str, str]
) -> Iterator[Violation]:
    """I22: the cases whose states are not those that somebody else folded from the same log."""
    found = state_digests(card, events)
    for key in sorted(found.keys() | expected.keys()):
        if found.get(key) != expected.get(key):
            yield Violation("I22", key, f"{card.service} folds to another state than before")


def snapshot_differs(card: Card[Any], events: Sequence[Event], after: int) -> Iterator[Violation]:
    """I23: the cases that a snapshot taken after so many events would bring back otherwise."""
    codec: StateCodec[Any] = StateCodec(card)
    taken: Fold[Any] = _folded(card, Fold(card), events[:after])
    restored: Fold[Any] = Fold(card)
    restored.committed.update(
        (key, codec.decode(codec.encode(entity))) for key, entity in taken.committed.items()
    )
    found = _digests(card, _folded(card, restored, events[after:]))
    expected = state_digests(card, events)
    for key in sorted(found.keys() | expected.keys()):
        if found.get(key) != expected.get(key):
            what = f"{card.service} goes on from the snapshot after {after} events to another state"
            yield Violation("I23", key, what)


def leaks(planted: Iterable[str], written: Mapping[str, bytes]) -> Iterator[Violation]:
    """I24: the planted values that occur in what was written, plain, as JSON or in base64."""
    for value in planted:
        forms = set(_forms(value))
        for place, content in written.items():
            if any(form in content for form in forms):
                yield Violation("I24", place, "a planted value occurs here")


def _forms(value: str) -> Iterator[bytes]:
    plain = value.encode()
    yield plain
    yield json.dumps(value)[1:-1].encode()
    # In base64 a value looks otherwise at each of three alignments; its rim mixes with others.
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + plain)
        yield text[4 if shift else 0 : (shift + len(plain)) // 3 * 4]


def _folded(card: Card[Any], fold: Fold[Any], events: Iterable[Event]) -> Fold[Any]:
    for event in events:
        fold.apply(event)
    fold.accept()
    return fold


def _digests(card: Card[Any], fold: Fold[Any]) -> dict[str, str]:
    codec: StateCodec[Any] = StateCodec(card)
    return {key: codec.digest(key, entity) for key, entity in fold.committed.items()}
