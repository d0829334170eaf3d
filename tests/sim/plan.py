"""What one seed draws: how large the city is, who lives in it, and what goes wrong there."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.sim.founding import AGENTS, PEOPLE

AGENT_WAYS = (
    "honest",
    "slow",
    "silent",
    "lying",
    "stale",
    "double",
    "thief",
    "forger",
    "unsure",
    "flip-flop",
    "quitter",
    "denier",
    "eager",
)
PEOPLE_WAYS = ("quick", "slow", "tired", "absent", "racing")

# Rates per opportunity, lowest and highest, when a seed has drawn the fault at all. Most are per
# effect of a shard, of which a case needs some hundreds; `down` is per crash.
FAULTS: dict[str, tuple[float, float]] = {
    "crash before": (0.001, 0.02),
    "crash after": (0.001, 0.02),
    "fail before": (0.001, 0.02),
    "fail after": (0.001, 0.02),
    "stall": (0.001, 0.02),
    "takeover": (0.001, 0.02),
    "lost": (0.01, 0.2),
    "unknown": (0.01, 0.2),
    "open": (0.01, 0.2),
    "torn": (0.01, 0.2),
    "open registry": (0.3, 1.0),
    "down": (0.05, 0.5),
    "lag": (0.005, 0.1),
    "slow topic": (0.005, 0.1),
    "registry lag": (0.1, 1.0),
    "trickle": (0.1, 0.9),
    "snapshot lost": (0.05, 0.5),
    "clock": (0.001, 0.02),
    "letter twice": (0.02, 0.3),
    "letter late": (0.02, 0.2),
    "letter replayed": (0.01, 0.1),
    "letter astray": (0.02, 0.2),
    "poison": (0.05, 0.5),
    "bank timeout": (0.1, 0.7),
    "bank late": (0.1, 0.5),
    "bank refuses": (0.05, 0.3),
    "cashier dies": (0.1, 0.5),
    "intruder": (0.05, 0.5),
    "amend": (0.1, 0.6),
    "withdraw": (0.05, 0.3),
    "second thoughts": (0.05, 0.5),
    "conflict": (0.1, 0.5),
}
# Drawn by itself: whoever adds a kind above gives every seed another city.
_SLOW_SCAN = (0.1, 0.7)
# What operators do in mid-flight.
CONTROLS = ("quarantine", "halt", "dismiss", "forged wish")


@dataclass(frozen=True)
class Plan:
    """All parameters of one run; everything else follows from the seed.

    `only` names the strikes of faults that may happen, `kind#ordinal`; None lets all happen.
    """

    seed: int
    shards: int = 1
    cases: tuple[int, ...] = (0,)
    days: float = 0.0
    amount: str = ""
    share_records: int = 200
    queue_records: int = 2_000
    snapshot_events: int = 5_000
    scan_records: int = 1_000
    sealing_ms: int = 60_000
    faults: tuple[tuple[str, float], ...] = ()
    agents: tuple[tuple[str, str], ...] = ()
    people: tuple[tuple[str, str], ...] = ()
    controls: tuple[str, ...] = ()
    only: frozenset[str] | None = None


def draw(seed: int) -> Plan:
    """The plan of a seed: a random subset of everything, each as strong as chance will have it."""
    chance = Random(f"plan {seed}")
    # Swarm: a seed that has few kinds of trouble reaches what many kinds together would hide.
    share = chance.choice((0.1, 0.25, 0.5, 0.75))
    faults = tuple(
        (kind, round(low * (high / low) ** chance.random(), 4))
        for kind, (low, high) in FAULTS.items()
        if chance.random() < share
    )
    slow = Random(f"plan {seed} slow scan")
    if slow.random() < share:
        faults = (*faults, ("slow scan", round(slow.uniform(*_SLOW_SCAN), 4)))
    odd = chance.choice((0.0, 0.15, 0.4))
    agents = tuple((name, chance.choice(AGENT_WAYS)) for name in AGENTS if chance.random() < odd)
    odd_people = chance.choice((0.0, 0.3, 0.6, 1.0))
    ways = chance.choice((PEOPLE_WAYS, PEOPLE_WAYS, ("absent", "slow"), ("tired", "racing")))
    people = tuple((name, chance.choice(ways)) for name in PEOPLE if chance.random() < odd_people)
    return Plan(
        seed=seed,
        shards=chance.choice((1, 1, 2, 3)),
        cases=tuple(range(chance.choice((1, 1, 2, 2, 3, 3, 4, 6, 12)))),
        days=round(60 ** chance.random() - 1, 3),
        share_records=chance.choice((1, 2, 5, 200)),
        queue_records=chance.choice((1, 3, 2_000)),
        snapshot_events=chance.choice((4, 10, 25, 100, 5_000)),
        scan_records=chance.choice((7, 50, 1_000)),
        sealing_ms=chance.choice((1_000, 60_000, 3_600_000)),
        faults=faults,
        agents=agents,
        people=people,
        controls=tuple(kind for kind in CONTROLS if chance.random() < share / 2),
    )
