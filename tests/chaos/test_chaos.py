"""A short run of the torment: what takes ten minutes by hand, in half a minute of everything."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from tests.broker import _missing
from tests.chaos.gauges import Gauges
from tests.chaos.run import Plan, chaos

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
    if shutil.which("java") is None or shutil.which("mvn") is None:
        _missing("a broker that can be killed needs Java 17 and Maven")
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


def test_a_reader_stands_still_while_the_end_moves_and_it_does_not() -> None:
    place = TopicPartition("x.cases", 0)
    gauges = Gauges("", [place])
    gauges._look({place: 10}, {place: 10})
    assert gauges._still_since == {}
    gauges._look({place: 10}, {place: 13})
    gauges._look({place: 10}, {place: 16})
    assert place in gauges._still_since
    gauges._look({place: 16}, {place: 16})
    assert gauges._still_since == {}
    assert gauges.longest(gauges.stalls).partition == "cases/0"
    assert gauges.longest(gauges.stalls).seconds > 0


def test_a_takeover_ends_with_a_commit_and_not_with_an_abort_marker() -> None:
    place = TopicPartition("x.cases", 0)
    gauges = Gauges("", [place])
    gauges._look({place: 10}, {place: 12})
    gauges.killed("router", [place])
    gauges._look({place: 13}, {place: 13})  # the open transaction was aborted by one marker
    assert gauges.takeovers == []
    gauges._look({place: 16}, {place: 16})
    assert [service for service, _ in gauges.takeovers] == ["router"]
