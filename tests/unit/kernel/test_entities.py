"""The cases of a shard at rest: as bytes they are what they were as objects."""

from __future__ import annotations

import pytest

from caseway.contracts.shard import ParkedInput
from caseway.errors import Unavailable
from caseway.kernel.entities import IN_USE_MAX, Census, Entities, Entity, Kind, Written
from tests.unit.hosting.toy import CARD, Tally

PARKED = ParkedInput(topic="t", partition=0, offset=4, at_ms=9, value="eA==", headers=())
SETTLED = Entity(Tally(("settle",)), 2)
FAULTED = Entity(Tally(("x",)), 2, (PARKED,), "ValueError")
STATELESS: Entity[Tally] = Entity(None, 1, (PARKED,))


def plain(number: int) -> Entity[Tally]:
    return Entity(Tally((f"größe {number}", '"quoted"')), number + 1)


def at_rest(rounds: int = 3) -> tuple[Entities[Tally], dict[str, Entity[Tally]]]:
    """Entities of which most rest as bytes, and the same as plain objects."""
    made, expected = Entities(CARD), {}
    expected |= {"settled": SETTLED, "faulted": FAULTED, "stateless": STATELESS}
    made.update(expected)
    for number in range(rounds * (IN_USE_MAX + 1)):
        made[f"c-{number}"] = expected[f"c-{number}"] = plain(number)
        made.turn()
    return made, expected


def test_what_rests_is_what_it_was() -> None:
    made, expected = at_rest()
    assert made == expected
    assert len(made) == len(expected)
    assert set(made) == expected.keys()
    assert "c-0" in made
    assert "nobody" not in made
    assert made.use("nobody") is None


def test_only_what_was_used_of_late_or_has_to_be_seen_is_unpacked() -> None:
    made, _ = at_rest()
    unpacked = dict(made.in_use())
    assert len(unpacked) <= 2 * (IN_USE_MAX + 1) + 2
    assert {"faulted", "stateless"} <= unpacked.keys()
    assert "settled" not in unpacked


def test_a_look_leaves_it_at_rest_and_a_use_keeps_it_at_hand() -> None:
    made, _ = at_rest()
    assert made["c-0"] == plain(0)
    assert "c-0" not in dict(made.in_use())
    used = made.use("c-0")
    assert used == plain(0)
    assert made.use("c-0") is used
    assert made["c-0"] is used


def test_a_change_of_what_rests_counts_and_is_there_once() -> None:
    made, expected = at_rest()
    made["c-0"] = made["settled"] = expected["c-0"] = expected["settled"] = plain(7)
    made.drop("c-1")
    made.drop("nobody")
    del made["c-2"], expected["c-1"], expected["c-2"]
    assert made == expected
    assert len(made) == len(list(made)) == len(expected)
    with pytest.raises(KeyError):
        del made["c-2"]


def test_a_case_is_counted_for_what_it_is_wherever_it_lies() -> None:
    made, expected = at_rest()
    assert made.census() == Census(open=len(expected) - 2, faulted=1, stuck=0)
    assert {key for key, _ in made.unsettled()} == expected.keys() - {"settled"}


def test_a_snapshot_gets_the_same_bytes_of_it_packed_or_not() -> None:
    made, expected = at_rest()
    fresh: Entities[Tally] = Entities(CARD)
    fresh.update(expected)
    assert [made.written(key) for key in expected] == [fresh.written(key) for key in expected]
    assert made.written("nobody") is None


def test_what_a_snapshot_brings_back_is_what_was_written() -> None:
    made, expected = at_rest()
    restored: Entities[Tally] = Entities(CARD)
    restored.update({"c-0": FAULTED})
    for key in expected:
        written = made.written(key)
        assert written is not None
        restored.restore(key, written)
    assert restored == expected
    assert restored.census() == made.census()
    assert dict(restored.in_use()).keys() == {"faulted", "stateless"}


def test_bytes_that_this_code_cannot_read_are_doubt_about_the_snapshot() -> None:
    made: Entities[Tally] = Entities(CARD)
    made.restore("c-1", Written(b'[[1, ""],[],{"of":"another release"}]', Kind.OPEN))
    assert not made.is_damaged
    with pytest.raises(Unavailable, match="c-1"):
        made.use("c-1")
    assert made.is_damaged
