"""What must be true once everything has come to rest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.sim.founding import GENERATION, POOLS

if TYPE_CHECKING:
    from tests.sim.city import City

READER = {
    "submissions": "intake",
    "control": "intake",
    "agent-reports": "cases",
    "decisions": "approvals",
}
LOGS = ("intake", "registry", "cases", "approvals", "deadlines")
SEALED = (*READER, *LOGS, *(f"offers.{pool}" for pool in POOLS))


def check_rest(city: City) -> None:
    """All of it.

    Raises:
        Violation: what is not so.
    """
    check_cases(city)
    check_letters(city)
    check_payments(city)
    city.scanner.rest(city.checker.cases.admitted)
    check_trees(city)


def check_cases(city: City) -> None:
    """Every admitted case was opened and has ended; no timer, gate or task is left over."""
    world, checker = city.world, city.checker
    for case in checker.cases.admitted:
        if not checker.cases.cases[case].outcome:
            world.violate("stuck", f"{case}: {checker.cases.cases[case]}")
    if checker.timers.open:
        world.violate("I05 timers", f"never ended: {sorted(checker.timers.open)}")
    left = [*city.people.desk.gates, *city.people.desk.tasks]
    if left:
        world.violate("stuck", f"people still have on their lists: {left}")
    for gate in city.checker.gates.gates.items():
        if not gate[1].is_over:
            world.violate("stuck", f"gate {gate[0]} is neither decided nor retired")


def check_letters(city: City) -> None:
    """Whatever was acknowledged was consumed, and said to be accepted, refused or a dead letter."""
    world, checker = city.world, city.checker
    for topic, partition, offset, kind, key in city.post.acknowledged:
        place = f"{topic}/{partition}"
        log = checker.logs[f"{READER[topic]}/{partition if topic != 'control' else 0}"]
        if log.positions.get(place, 0) <= offset:
            world.violate("I27 conservation", f"{place}@{offset} was never consumed")
        if (topic, partition, offset) in checker.dead_letters:
            continue
        if checker.answered[f"{GENERATION}/{place}/{offset}"] or kind == "task.heartbeat":
            continue  # a heartbeat may come too early to be worth a word
        if kind == "case.submit" and checker.letters.is_repetition(f"{place}/{offset}"):
            continue
        if topic != "control":
            world.violate("silence", f"{kind} of {key} at {place}@{offset} has no answer")
    for _, _, _, kind, key in city.post.acknowledged:
        is_ours = kind == "case.submit" and key in city.submitters.cases
        if is_ours and key not in checker.cases.admitted and not _was_refused(city, key):
            world.violate("I28 acknowledged", f"{key} was acknowledged and is nowhere")


def _was_refused(city: City, key: str) -> bool:
    """All letters about a case may have been spoilt or refused."""
    answered = city.checker.answered
    return any(
        answered[f"{GENERATION}/{topic}/{partition}/{offset}"]
        for topic, partition, offset, kind, name in city.post.acknowledged
        if name == key and kind == "case.submit"
    )


def check_payments(city: City) -> None:
    """The bank paid each effect once, on a permit of its case, and each case at most once."""
    world, cases = city.world, city.checker.cases.cases
    paid: Counter[str] = Counter()
    for effect, (case, amount, payee) in city.bank.paid.items():
        paid[case] += 1
        permit = cases[case].permits.get(effect)
        if permit is None:
            world.violate("I02 one permit", f"{effect} of {case} was paid without a permit")
        money = f"{permit['amount']['amount']} {permit['amount']['currency']}"
        if (money, permit["payee"]) != (amount, payee):
            world.violate("payment", f"{effect}: paid {amount} to {payee}, permitted {money}")
        if city.bank.executed[effect] != 1:
            world.violate("payment", f"{effect} was paid {city.bank.executed[effect]} times")
    for case in {*cases, *paid}:
        # A cashier who says it paid, and did not, is believed: nobody asks the bank again.
        if set(cases[case].done) & city.bank.lied_about:
            world.counts["lie believed"] += 1
            continue
        wanted = int(cases[case].outcome == "paid")
        if paid[case] != wanted:
            outcome = cases[case].outcome
            world.violate("payment", f"{case} ended as {outcome} and was paid {paid[case]} times")
    for line in city.checker.permits:
        if line.data["effect_id"] not in cases[line.key].permits:
            world.violate("I16 whole batches", f"{line.key}: a permit on offer and not in the log")


def check_trees(city: City) -> None:
    """The last checkpoint covers every record there is, with the root that anybody computes."""
    world = city.world
    for topic in SEALED:
        for partition in range(world.plan.shards):
            records = world.broker.read((topic, partition), 0)
            head = city.heads.get((topic, partition))
            if head is None:
                if records:
                    world.violate("I11 completeness", f"{topic}/{partition} was never sealed")
                continue
            if head["size"] != len(records):
                world.violate("I11 completeness", f"{topic}/{partition}: {head['size']} sealed")
            if root_of([_leaf(record) for record in records]).hex() != head["root"]:
                world.violate("I13 append-only", f"{topic}/{partition} has another root")


def root_of(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, over leaves that are hashed already."""
    level = list(hashes)
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        # Pairing from the left gives the same tree: a lone last node rises as it is.
        pairs = [
            hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest()
            for i in range(0, len(level) - 1, 2)
        ]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0]


def _leaf(record: Any) -> bytes:
    parts = [_sized(record.key), _sized(record.value), len(record.headers).to_bytes(4, "big")]
    for name, value in record.headers:
        parts.append(_named(name))
        parts.append(_sized(value))
    return hashlib.sha256(b"\x00" + b"".join(parts)).digest()


def _sized(raw: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if raw is None else len(raw).to_bytes(4, "big") + raw


_named = cache(lambda name: _sized(name.encode()))
