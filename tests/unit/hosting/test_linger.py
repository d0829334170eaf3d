"""A card that lingers: one commit answers what came within a while, and nothing waits longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from caseway.hosting.host import Limits
from caseway.kernel.processor import Delivery
from tests.unit.hosting.toy import CARD, KEYS, Driven, World

LINGER_MS = 250


def _last_of_each(deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    """Earlier words of a key are said in brackets, so that a test sees what came together."""
    *earlier, last = deliveries
    return [*map(_bracketed, earlier), last]


def _bracketed(delivery: Delivery) -> Delivery:
    data = delivery.event.data
    said = data.model_copy(update={"reason": f"({data.reason})"})  # type: ignore[attr-defined]
    return delivery._replace(event=delivery.event._replace(data=said))


LINGERING = replace(CARD, linger_ms=LINGER_MS, prune=_last_of_each)


async def driven(limits: Limits = Limits()) -> Driven:  # noqa: B008 - frozen
    return Driven(await World().begin(), card=LINGERING, limits=limits)


async def test_what_comes_within_the_while_is_decided_in_one_commit() -> None:
    shard = await driven()
    world = shard.world
    await world.hear("a")
    await shard.rest()
    world.now_ms += LINGER_MS - 1
    await world.hear("b")
    await world.hear("c", key=KEYS[1])
    await shard.rest()
    assert await world.batches() == []
    world.now_ms += 1
    await shard.rest()
    assert [batch.trailer.count for batch in await world.batches()] == [3]
    # Each key's records are pruned together, and said in the order in which they came.
    assert await world.words() == ["(a)", "b", "c"]


async def test_what_comes_after_the_while_begins_another() -> None:
    shard = await driven()
    world = shard.world
    for word in ("a", "b"):
        await world.hear(word)
        await shard.rest()
        world.now_ms += LINGER_MS
        await shard.rest()
    assert await world.words() == ["a", "b"]
    assert len(await world.batches()) == 2


async def test_a_full_share_does_not_wait() -> None:
    shard = await driven(Limits(share_records=2))
    await shard.world.hear("a", "b")
    await shard.rest()
    assert await shard.world.words() == ["(a)", "b"]


async def test_what_is_due_does_not_wait_and_takes_along_what_does() -> None:
    shard = await driven()
    world = shard.world
    await world.hear(f"at-{world.now_ms + LINGER_MS + 10}")
    await shard.rest()
    world.now_ms += LINGER_MS
    await shard.rest()
    await world.hear("a")
    await shard.rest()
    world.now_ms += 10
    await shard.rest()
    assert (await world.words())[1:] == ["a", "rung"]


async def test_a_clock_that_is_set_back_lets_nothing_wait_longer() -> None:
    shard = await driven()
    await shard.world.hear("a")
    await shard.rest()
    shard.world.now_ms -= 900
    await shard.world.hear("b")
    await shard.rest()
    assert await shard.world.words() == ["(a)", "b"]


async def test_an_owner_that_leaves_while_it_lingers_has_consumed_nothing() -> None:
    shard = await driven()
    world = shard.world
    await world.hear("a")
    await shard.rest()
    second = Driven(world, card=LINGERING)
    await second.rest()
    world.now_ms += LINGER_MS
    await second.rest()
    assert await world.words() == ["a"]


async def test_a_case_that_fails_while_others_are_held_is_faulted_alone() -> None:
    shard = await driven()
    world = shard.world
    await world.hear("a", "poison")
    await world.hear("b", key=KEYS[1])
    await shard.rest()
    world.now_ms += LINGER_MS
    await shard.rest()
    assert await world.words() == ["(a)", "b"]
    assert shard.shard.worker.fold.committed[KEYS[0]].fault == "ValueError"
