"""A short run of the torment: what takes ten minutes by hand, in half a minute of everything."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from tests.broker import demand_jars
from tests.chaos.gauges import FREEZE, KILLS, OUTAGE, Gauges, Stall, Takeover
from tests.chaos.plan import Plan
from tests.chaos.run import chaos

# About what the ten minutes do in each of theirs, on half of the cases.
SHORT = {
    "minutes": 0.3,
    "cases": 30,
    "kill_s": 4.0,
    "restart_s": 11.0,
    "freeze_s": 5.0,
    "come_and_go_s": 6.0,
    "odd_s": 3.5,
    "patience_s": 90.0,
}


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(600)
async def test_every_accepted_case_closes_once_through_everything_at_once(tmp_path: Path) -> None:
    demand_jars("a broker that can be killed needs Java 17 and Maven")
    seed = random.randrange(10**6)
    plan = Plan(seed=seed, **SHORT)
    said = sys.stderr.write
    report = await chaos(plan, tmp_path, lambda line: said(f"seed {seed}: {line}\n") and None)
    # How many faults fit into seconds depends on the machine; the long run demands its number.
    broken = [said for said in report.violations if not said.startswith("only ")]
    assert broken == [], f"seed {seed}"
    assert report.closed == report.submitted == plan.cases
    assert set(report.digests) == {"intake", "router", "approval", "sla_watchdog"}
    assert report.did["kills"] >= 1


OWN, INPUT = TopicPartition("x.cases", 0), TopicPartition("x.agent-reports", 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def gauges(clock: list[float]) -> Gauges:
    gauges = Gauges("", {OWN: [INPUT]})
    gauges._look({OWN: 10, INPUT: 5}, {OWN: 10, INPUT: 5})
    return gauges


def test_a_reader_stands_still_while_the_end_moves_and_it_does_not(
    gauges: Gauges, clock: list[float]
) -> None:
    for high in (13, 16):
        clock[0] += 1
        gauges._look({OWN: 10, INPUT: 5}, {OWN: high, INPUT: 5})
    gauges._look({OWN: 16, INPUT: 5}, {OWN: 16, INPUT: 5})
    assert gauges.longest_stall(KILLS) == Stall("cases/0", 1.0)
    assert gauges.longest_stall(OUTAGE).seconds == 0


def test_a_takeover_ends_with_a_commit_and_not_with_an_abort_marker(
    gauges: Gauges, clock: list[float]
) -> None:
    gauges._look({OWN: 10, INPUT: 6}, {OWN: 12, INPUT: 6})
    gauges.killed("router", [OWN])
    clock[0] += 1
    gauges._look({OWN: 13, INPUT: 6}, {OWN: 13, INPUT: 6})  # the open transaction was aborted
    assert gauges.takeovers == []
    clock[0] += 1
    gauges._look({OWN: 16, INPUT: 7}, {OWN: 16, INPUT: 7})
    assert gauges.takeovers == [Takeover("router", 2.0, KILLS)]


def test_a_takeover_without_work_begins_with_the_first_record_that_comes(
    gauges: Gauges, clock: list[float]
) -> None:
    gauges.killed("router", [OWN])
    for end in (5, 6):
        clock[0] += 3
        gauges._look({OWN: 10, INPUT: end}, {OWN: 10, INPUT: end})
    clock[0] += 1
    gauges._look({OWN: 14, INPUT: 6}, {OWN: 14, INPUT: 6})
    assert gauges.takeovers == [Takeover("router", 1.0, KILLS)]


def test_what_overlaps_an_outage_or_a_frozen_owner_counts_apart(
    gauges: Gauges, clock: list[float]
) -> None:
    gauges.killed("router", [OWN])
    with gauges.freeze("x.approvals"):
        assert gauges._awaited[OWN].beside == KILLS
    with gauges.freeze("x.cases"):
        assert gauges._awaited[OWN].beside == FREEZE
    with gauges.outage():
        gauges._look({OWN: 10, INPUT: 6}, {OWN: 12, INPUT: 6})
    with gauges.freeze("x.cases"):
        clock[0] += 2
        gauges._look({OWN: 13, INPUT: 6}, {OWN: 13, INPUT: 6})
    assert gauges.takeovers == [Takeover("router", 2.0, OUTAGE)]
    assert gauges.longest_stall(OUTAGE) == Stall("cases/0", 2.0)
    assert gauges.longest_stall(FREEZE).seconds == gauges.longest_stall(KILLS).seconds == 0
