"""Prometheus metrics, read from plain numbers when somebody scrapes: the hot path counts nothing.

Only the latency of commits is observed as it happens, once a commit. Counters begin anew when a
shard is taken over, as Prometheus expects of counters; rates stay right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A commit takes 4 ms on a quiet broker, 30 ms with a flush per message; 8 s is its deadline.
_BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
# The phases a shard can be in; a test compares them with the host's own.
PHASES = ("taking over", "replaying", "running", "code too old", "doubting", "halted")


@dataclass(frozen=True, slots=True)
class ShardReading:
    """The numbers of one shard of one service at one moment; times are epoch milliseconds."""

    service: str
    shard: int
    phase: str
    halt_reason: str = ""
    records: int = 0
    commits: int = 0
    dead_letters: int = 0
    faults: int = 0
    replayed_events: int = 0
    torn_records: int = 0
    queue_records: int = 0
    oldest_ms: int | None = None
    open_cases: int = 0
    faulted_cases: int = 0
    stuck_cases: int = 0
    progress_ms: int = 0


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """One metric of the catalogue; `value` reads it, given the time of the scrape in ms."""

    name: str
    kind: Literal["counter", "gauge"]
    text: str
    value: Callable[[ShardReading, int], float]


def _age(since_ms: int | None, now_ms: int) -> float:
    return max(0.0, (now_ms - since_ms) / 1000) if since_ms is not None else 0.0


SHARD_METRICS: tuple[MetricEntry, ...] = (
    MetricEntry(
        "caseway_records_decided_total",
        "counter",
        "Records and registry changes decided since the takeover.",
        lambda r, _: r.records,
    ),
    MetricEntry(
        "caseway_commits_total",
        "counter",
        "Commits made since the process began to own the shard.",
        lambda r, _: r.commits,
    ),
    MetricEntry(
        "caseway_dead_letters_total",
        "counter",
        "Records that no processor may interpret, since the takeover.",
        lambda r, _: r.dead_letters,
    ),
    MetricEntry(
        "caseway_faults_total",
        "counter",
        "Inputs whose decision failed and faulted their case, since the takeover.",
        lambda r, _: r.faults,
    ),
    MetricEntry(
        "caseway_replayed_events_total",
        "counter",
        "Events of the own log folded by replays.",
        lambda r, _: r.replayed_events,
    ),
    MetricEntry(
        "caseway_torn_records_total",
        "counter",
        "Records of other services' logs that no trailer vouched for.",
        lambda r, _: r.torn_records,
    ),
    MetricEntry(
        "caseway_queue_records",
        "gauge",
        "Records fetched and not yet decided.",
        lambda r, _: r.queue_records,
    ),
    MetricEntry(
        "caseway_queue_age_seconds",
        "gauge",
        "Age of the oldest record not yet decided: the lag in seconds.",
        lambda r, now: _age(r.oldest_ms, now),
    ),
    MetricEntry(
        "caseway_open_cases",
        "gauge",
        "Cases of which something may still come in this service.",
        lambda r, _: r.open_cases,
    ),
    MetricEntry(
        "caseway_faulted_cases",
        "gauge",
        "Cases that wait in the operations queue because deciding failed.",
        lambda r, _: r.faulted_cases,
    ),
    MetricEntry(
        "caseway_stuck_cases",
        "gauge",
        "Open cases in which nothing is awaited; anything but 0 is a defect of Caseway.",
        lambda r, _: r.stuck_cases,
    ),
    MetricEntry(
        "caseway_progress_age_seconds",
        "gauge",
        "Time since the shard last looked around; it grows when the shard is stuck.",
        lambda r, now: _age(r.progress_ms or None, now),
    ),
)
PHASE_METRIC = ("caseway_shard_phase", "1 for the phase the shard is in, 0 for every other.")
COMMIT_METRIC = (
    "caseway_commit_seconds",
    "How long commits took, from the first send to the answer.",
)


class Metrics:
    """The metrics of one process; `readings` is asked at every scrape."""

    def __init__(
        self, readings: Callable[[], Iterable[ShardReading]], now_ms: Callable[[], int]
    ) -> None:
        # A second series for each counter, which only OpenMetrics readers ask for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(_ShardCollector(readings, now_ms))
        ProcessCollector(registry=self._registry)
        self._commits = Histogram(
            *COMMIT_METRIC, ("service",), buckets=_BUCKETS, registry=self._registry
        )

    def commit_observer(self, service: str) -> Callable[[float], None]:
        """What to call with the seconds of every commit of a service; costs about 1 µs."""
        return self._commits.labels(service).observe

    def exposition(self) -> bytes:
        """Every metric in Prometheus' text format."""
        return generate_latest(self._registry)


def metrics_table() -> str:
    """The table of docs/metrics.md: every metric with its type, labels and help."""
    rows: list[tuple[str, str, str, str]] = [
        (m.name, m.kind, "service, shard", m.text) for m in SHARD_METRICS
    ]
    rows.append((PHASE_METRIC[0], "gauge", "service, shard, phase", PHASE_METRIC[1]))
    rows.append((COMMIT_METRIC[0], "histogram", "service", COMMIT_METRIC[1]))
    lines = ["| metric | type | labels | what it is |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {labels} | {text} |" for name, kind, labels, text in rows]
    return "\n".join(lines) + "\n"


class _ShardCollector(Collector):
    def __init__(
        self, readings: Callable[[], Iterable[ShardReading]], now_ms: Callable[[], int]
    ) -> None:
        self._readings = readings
        self._now_ms = now_ms

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: a collector is not asked for values when it is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """One family a metric, one sample a shard."""
        readings, now_ms = list(self._readings()), self._now_ms()
        for entry in SHARD_METRICS:
            made = CounterMetricFamily if entry.kind == "counter" else GaugeMetricFamily
            family = made(entry.name, entry.text, labels=("service", "shard"))
            for reading in readings:
                labels = (reading.service, str(reading.shard))
                family.add_metric(labels, entry.value(reading, now_ms))
            yield family
        phases = GaugeMetricFamily(*PHASE_METRIC, labels=("service", "shard", "phase"))
        for reading in readings:
            for phase in PHASES:
                labels_of = (reading.service, str(reading.shard), phase)
                phases.add_metric(labels_of, float(reading.phase == phase))
        yield phases
