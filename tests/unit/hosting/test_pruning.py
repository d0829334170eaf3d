"""A card that prunes: what came together for one case is decided with all of it in sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from caseway.hosting.host import Limits
from caseway.kernel.processor import Delivery
from tests.unit.hosting.toy import CARD, KEYS, Driven, World, admitted


def _all_but_the_last_in_brackets(deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    """So that a test sees what came together."""
    *earlier, last = deliveries
    return [*map(_bracketed, earlier), last]


def _bracketed(delivery: Delivery) -> Delivery:
    data = delivery.event.data
    said = data.model_copy(update={"reason": f"({data.reason})"})  # type: ignore[attr-defined]
    return delivery._replace(event=delivery.event._replace(data=said))


PRUNING = replace(CARD, prune=_all_but_the_last_in_brackets)


async def driven(limits: Limits = Limits()) -> Driven:  # noqa: B008 - frozen
    return Driven(await World().begin(), card=PRUNING, limits=limits)


async def test_each_case_is_pruned_by_itself_and_decided_in_the_order_of_the_records() -> None:
    shard = await driven()
    world = shard.world
    await world.hear("a", "b")
    await world.hear("x", key=KEYS[1])
    await world.hear("c")
    await shard.rest()
    assert await world.words() == ["(a)", "(b)", "x", "c"]
    assert [batch.trailer.count for batch in await world.batches()] == [4]


async def test_what_comes_later_takes_nothing_back() -> None:
    shard = await driven(Limits(share_records=2))
    for words in (("a", "b", "c"), ("d",)):
        await shard.world.hear(*words)
        await shard.rest()
    assert await shard.world.words() == ["(a)", "b", "c", "d"]


async def test_a_case_that_fails_among_others_is_faulted_alone() -> None:
    shard = await driven()
    world = shard.world
    await world.hear("a")
    await world.admit_drafts([admitted("poison"), admitted("b", key=KEYS[1])])
    await shard.rest()
    assert await world.words() == ["(a)", "b"]
    entity = shard.shard.worker.fold.committed[KEYS[0]]
    assert (entity.fault, len(entity.parked)) == ("ValueError", 1)
