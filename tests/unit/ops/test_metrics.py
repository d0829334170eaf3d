"""Metrics: plain numbers at the time of the scrape, one sample a shard, all of them documented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from caseway.hosting.host import Phase
from caseway.ops.metrics import PHASES, SHARD_METRICS, Metrics, ShardReading, metrics_table

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
READING = ShardReading(
    service="router",
    shard=3,
    phase="running",
    halt_reason="",
    records=7,
    commits=5,
    dead_letters=1,
    faults=2,
    replayed_events=11,
    torn_records=0,
    queue_records=4,
    oldest_ms=9_000,
    open_cases=6,
    faulted_cases=1,
    stuck_cases=0,
    progress_ms=9_500,
)


def scrape(*readings: ShardReading, now_ms: int = 10_000) -> str:
    return Metrics(lambda: readings, lambda: now_ms).exposition().decode()


def test_every_metric_of_the_catalogue_has_a_sample_a_shard() -> None:
    text = scrape(READING, replace(READING, shard=4))
    for entry in SHARD_METRICS:
        for shard in ("3", "4"):
            assert f'{entry.name}{{service="router",shard="{shard}"}}' in text, entry.name


def test_numbers_are_those_of_the_moment() -> None:
    text = scrape(READING)
    assert 'caseway_records_decided_total{service="router",shard="3"} 7.0' in text
    assert 'caseway_queue_age_seconds{service="router",shard="3"} 1.0' in text
    assert 'caseway_progress_age_seconds{service="router",shard="3"} 0.5' in text


def test_an_empty_queue_has_no_age() -> None:
    assert "caseway_queue_age_seconds{" in scrape(replace(READING, oldest_ms=None))
    assert 'queue_age_seconds{service="router",shard="3"} 0.0' in scrape(
        replace(READING, oldest_ms=None)
    )


def test_a_shard_is_in_one_phase() -> None:
    text = scrape(replace(READING, phase="halted"))
    samples = [line for line in text.splitlines() if line.startswith("caseway_shard_phase{")]
    assert len(samples) == len(PHASES)
    assert [line for line in samples if line.endswith(" 1.0")] == [
        'caseway_shard_phase{phase="halted",service="router",shard="3"} 1.0'
    ]


def test_the_phases_are_those_of_the_host() -> None:
    assert set(PHASES) == {phase.value for phase in Phase}


def test_commits_are_observed_by_service() -> None:
    metrics = Metrics(lambda: (), lambda: 0)
    metrics.commit_observer("router")(0.005)
    text = metrics.exposition().decode()
    assert 'caseway_commit_seconds_bucket{le="0.008",service="router"} 1.0' in text
    assert 'caseway_commit_seconds_count{service="router"} 1.0' in text


def test_the_table_of_the_documents_is_in_sync() -> None:
    assert metrics_table() in DOCS.read_text(encoding="utf-8"), (
        "docs/metrics.md is not what the metrics are; run `python -m caseway_control.tables`"
    )
